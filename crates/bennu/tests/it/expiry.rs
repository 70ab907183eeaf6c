//! Sockets that end at a time, and clients that put that off.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bennu::{
    Channel, Context, Joined, Payload, PubSub, RawEvent, Refused, Rejection, Reply, Sockets, Stop,
};
use bennu_proto::websocket::Opcode;
use bennu_testkit::{TestEndpoint, TestWire, WireEvent};
use serde::Deserialize;
use tokio::time::Instant;

struct Room;

impl Channel for Room {
    type Assigns = String;
    type Params = Payload;
    type In = RawEvent;

    async fn join(_: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        Ok(Room.into())
    }

    async fn handle_in(&mut self, _: &mut Context<'_, Self>, _: RawEvent) -> Result<Reply, Stop> {
        Ok(Reply::empty())
    }
}

/// What a client presents.
#[derive(Deserialize)]
struct Token {
    user: String,
    seconds: u64,
}

fn sockets(lifetime: Duration) -> Sockets<String, Room> {
    Sockets::new(PubSub::local(), async || Ok::<_, Refused>("ada".to_owned()))
        .with_expiry(move |_| Some(SystemTime::now() + lifetime))
        .channel::<Room>("room:*")
}

async fn refresh(user: Arc<String>, payload: Payload) -> Result<Option<SystemTime>, Rejection> {
    let token: Token = payload.decode()?;
    match token.seconds {
        _ if token.user != *user => Err(Rejection::because("another user")),
        0 => Ok(None),
        13 => panic!("thirteen"),
        7 => {
            tokio::time::sleep(Duration::from_secs(7)).await;
            Ok(None)
        }
        seconds => Ok(Some(SystemTime::now() + Duration::from_secs(seconds))),
    }
}

async fn connect(kit: &TestEndpoint) -> TestWire {
    let request = TestEndpoint::request(&[]).body(()).unwrap();
    kit.connect_wire(request).await.unwrap()
}

/// Keeps the connection from being idle.
async fn beat(wire: &mut TestWire) {
    wire.send_text(r#"[null,"b","phoenix","heartbeat",{}]"#)
        .await;
    let reply = r#"[null,"b","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(wire.next_text().await, reply);
}

#[tokio::test(start_paused = true)]
async fn a_socket_ends_with_1001_when_its_time_is_up() {
    let kit = TestEndpoint::new(sockets(Duration::from_secs(100)));
    let before = Instant::now();
    let mut wire = connect(&kit).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    beat(&mut wire).await;
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1001))));
    let lived = before.elapsed();
    assert!((99..=101).contains(&lived.as_secs()), "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn without_refresh_the_event_is_unknown_and_nobody_is_told() {
    let kit = TestEndpoint::new(sockets(Duration::from_secs(40)));
    let mut wire = connect(&kit).await;
    wire.send_text(r#"[null,"1","phoenix","refresh",{}]"#).await;
    let reply = r#"[null,"1","phoenix","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#;
    assert_eq!(wire.next_text().await, reply);
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1001))));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_presents_something_new_lives_on() {
    let kit = TestEndpoint::new(sockets(Duration::from_secs(100)).with_refresh(refresh));
    let before = Instant::now();
    let mut wire = connect(&kit).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    beat(&mut wire).await;
    let expiring = wire.next_text().await;
    assert!(
        expiring.starts_with(r#"[null,null,"phoenix","expiring",{"expires_in":"#),
        "{expiring}"
    );
    let told = before.elapsed();
    assert!((69..=71).contains(&told.as_secs()), "{told:?}");
    wire.send_text(r#"[null,"2","phoenix","refresh",{"user":"ada","seconds":50}]"#)
        .await;
    let reply = wire.next_text().await;
    assert!(
        reply.starts_with(
            r#"[null,"2","phoenix","phx_reply",{"status":"ok","response":{"expires_in":"#
        ),
        "{reply}"
    );
    assert!(wire.next_text().await.contains("expiring"));
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1001))));
    let lived = before.elapsed();
    assert!((119..=122).contains(&lived.as_secs()), "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_crashes_changes_nothing() {
    let kit = TestEndpoint::new(sockets(Duration::from_secs(20)).with_refresh(refresh));
    let mut wire = connect(&kit).await;
    // There is less time than the notice asks for: it comes at once.
    assert!(wire.next_text().await.contains("expiring"));
    for (payload, response) in [
        (
            r#"{"user":"bob","seconds":9}"#,
            r#""error","response":{"reason":"another user"}}]"#,
        ),
        (
            r#"{"user":"ada","seconds":13}"#,
            r#""error","response":{"reason":"refresh crashed"}}]"#,
        ),
        ("{}", r#""error","response":{"reason":"refresh crashed"}}]"#),
    ] {
        wire.send_text(&format!(r#"[null,"1","phoenix","refresh",{payload}]"#))
            .await;
        let reply = wire.next_text().await;
        assert!(reply.ends_with(response), "{payload}: {reply}");
    }
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1001))));
}

#[tokio::test(start_paused = true)]
async fn one_refresh_at_a_time_and_for_ever_is_for_ever() {
    let kit = TestEndpoint::new(sockets(Duration::from_secs(20)).with_refresh(refresh));
    let mut wire = connect(&kit).await;
    assert!(wire.next_text().await.contains("expiring"));
    wire.send_text(r#"[null,"1","phoenix","refresh",{"user":"ada","seconds":7}]"#)
        .await;
    wire.send_text(r#"[null,"2","phoenix","refresh",{"user":"ada","seconds":9}]"#)
        .await;
    let busy = r#"[null,"2","phoenix","phx_reply",{"status":"error","response":{"reason":"refresh in progress"}}]"#;
    assert_eq!(wire.next_text().await, busy);
    let done = r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{"expires_in":null}}]"#;
    assert_eq!(wire.next_text().await, done);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        beat(&mut wire).await;
    }
    wire.send_frame(Opcode::Close, &[]).await;
    assert!(matches!(wire.next().await, Some(WireEvent::Close(_))));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_waits_does_not_outlive_its_connection() {
    let kit = TestEndpoint::new(sockets(Duration::from_secs(100)).with_refresh(refresh));
    let mut wire = connect(&kit).await;
    wire.send_text(r#"[null,"1","phoenix","refresh",{"user":"ada","seconds":7}]"#)
        .await;
    beat(&mut wire).await;
    drop(wire);
    while kit.endpoint().connection_count() > 0 {
        tokio::task::yield_now().await;
    }
}
