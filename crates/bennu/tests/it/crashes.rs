//! Panics in user code: contained where they happen.

use bennu::{
    Channel, Context, Handle, Joined, Payload, PubSub, RawEvent, Refused, Rejection, Reply,
    Sockets, Stop,
};
use bennu_testkit::{TestEndpoint, TestSocket};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::support::{Bench, join, wire};

#[tokio::test(start_paused = true)]
async fn a_panic_in_handle_in_ends_the_channel_after_its_terminate() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"terminate": "push"})).await;
    let other = join(room.socket(), "lab:2", &json!({})).await;
    let neighbour = bench.joined().await;
    room.push("silent", &json!({})).await;
    room.push("panic", &json!({})).await;
    assert_eq!(
        wire(room.socket()).await,
        [
            // Last words come before phx_error.
            r#"["1",null,"lab:1","bye",{}]"#,
            r#"["1","1","lab:1","phx_error",{"reason":"channel_crash"}]"#,
        ]
    );
    // The state survived: it has counted both events.
    let log = bench.log.take();
    assert!(
        log.contains(&"terminate lab:1: panic after 2".to_owned()),
        "{log:?}"
    );
    for room in [&other, &neighbour] {
        let echo = room.push("echo", &json!({})).await;
        room.assert_reply(&echo, "ok", &json!({})).await;
    }
    // The client joins again.
    join(room.socket(), "lab:1", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_handler_waits_is_contained() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("tell", &json!("panic")).await;
    room.assert_crashed().await;
    bench.log.wait_for("terminate lab:1: panic after 1").await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_terminate_is_contained() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let room = join(&socket, "lab:1", &json!({"terminate": "panic"})).await;
    let leave = room.leave().await;
    room.assert_reply(&leave, "ok", &json!({})).await;
    room.assert_closed().await;
    let room = join(&socket, "lab:1", &json!({"terminate": "panic"})).await;
    room.push("panic", &json!({})).await;
    room.assert_crashed().await;
    join(&socket, "lab:2", &json!({"terminate": "panic"})).await;
    socket.close(None).await;
    let dropped = bench
        .log
        .take()
        .iter()
        .filter(|entry| entry.starts_with("drop"))
        .count();
    assert_eq!(dropped, 3);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_drop_is_contained() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let bad = json!({"drop": true});
    // By a leave, a stop, a crash, a newer join, and the end of the connection.
    join(&socket, "lab:1", &bad).await.leave().await;
    join(&socket, "lab:2", &bad)
        .await
        .push("stop", &json!({"reason": "normal"}))
        .await;
    join(&socket, "lab:3", &bad)
        .await
        .push("panic", &json!({}))
        .await;
    join(&socket, "lab:4", &bad).await;
    join(&socket, "lab:4", &bad).await;
    let heartbeat = socket.heartbeat().await;
    socket.assert_reply(&heartbeat, "ok", &json!({})).await;
    socket.close(None).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_waiting_handlers_state_is_contained() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let room = join(&socket, "lab:1", &json!({"drop": true})).await;
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    join(&socket, "lab:1", &json!({"drop": true})).await;
    bench.log.wait_for("drop lab:1").await;
    let heartbeat = socket.heartbeat().await;
    socket.assert_reply(&heartbeat, "ok", &json!({})).await;
    // And of one whose response cannot be sent.
    let params = json!({"how": "unserializable", "drop": true});
    socket.join("lab:2", &params).await.unwrap_err();
    socket.close(None).await;
}

/// A channel whose messages misbehave.
struct Odd;

/// Panics when it is decoded from `true`.
struct Params;

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let panics = bool::deserialize(deserializer)?;
        assert!(!panics, "deserialize");
        Ok(Self)
    }
}

/// Panics when it is cloned or dropped.
struct Beat;

impl Clone for Beat {
    fn clone(&self) -> Self {
        panic!("clone");
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("drop of a message");
        }
    }
}

impl Channel for Odd {
    type Assigns = ();
    type Params = Params;
    type In = RawEvent;

    async fn join(_: &mut Context<'_, Self>, _: Params) -> Result<Joined<Self>, Rejection> {
        Ok(Odd.into())
    }

    async fn handle_in(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: RawEvent,
    ) -> Result<Reply, Stop> {
        match event.event.as_str() {
            "interval" => {
                cx.send_interval(std::time::Duration::from_millis(10), Beat)?;
            }
            "timer" => {
                cx.send_after(std::time::Duration::from_secs(10), Beat)?;
            }
            "messages" => {
                cx.send_self(Beat)?;
                cx.send_self(Beat)?;
                return Err(Stop::normal());
            }
            _ => {}
        }
        Ok(Reply::empty())
    }
}

impl Handle<Beat> for Odd {
    async fn handle(&mut self, _: &mut Context<'_, Self>, beat: Beat) -> Result<(), Stop> {
        std::mem::forget(beat);
        Ok(())
    }
}

async fn odd_socket() -> TestSocket {
    let connect = async || Ok::<_, Refused>(());
    let sockets = Sockets::new(PubSub::local(), connect).channel::<Odd>("odd:*");
    TestEndpoint::new(sockets).connect(&[]).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_deserialize_of_params_is_join_crashed() {
    let socket = odd_socket().await;
    let crashed = socket.join("odd:1", &true).await.unwrap_err();
    assert_eq!(crashed.response(), json!({"reason": "join crashed"}));
    socket.join("odd:1", &false).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_clone_of_an_intervals_message_is_contained() {
    let socket = odd_socket().await;
    let room = socket.join("odd:1", &false).await.unwrap();
    room.push("interval", &json!({})).await;
    socket.messages().await;
    let push = room.push("anything", &json!({})).await;
    room.assert_reply(&push, "ok", &json!({})).await;
    // The interval is dropped with its channel, and its message panics in that, too.
    room.leave().await;
    room.assert_closed().await;
    socket.close(None).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_timers_message_is_contained() {
    let socket = odd_socket().await;
    let room = socket.join("odd:1", &false).await.unwrap();
    room.push("timer", &json!({})).await;
    room.leave().await;
    room.assert_closed().await;
    let room = socket.join("odd:1", &false).await.unwrap();
    room.push("timer", &json!({})).await;
    room.push("anything", &json!({})).await;
    let heartbeat = socket.heartbeat().await;
    socket.assert_reply(&heartbeat, "ok", &json!({})).await;
    // Set when the connection ends.
    socket.close(None).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_message_that_nobody_takes_is_contained() {
    let socket = odd_socket().await;
    let room = socket.join("odd:1", &false).await.unwrap();
    room.push("messages", &json!({})).await;
    room.assert_closed().await;
    let heartbeat = socket.heartbeat().await;
    socket.assert_reply(&heartbeat, "ok", &json!({})).await;
    socket.close(None).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_deserialize_of_an_event_ends_the_channel() {
    struct Strict;

    enum In {}

    impl<'de> Deserialize<'de> for In {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("deserialize");
        }
    }

    impl Channel for Strict {
        type Assigns = ();
        type Params = Payload;
        type In = In;

        async fn join(_: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
            Ok(Strict.into())
        }

        async fn handle_in(&mut self, _: &mut Context<'_, Self>, event: In) -> Result<Reply, Stop> {
            match event {}
        }
    }

    let connect = async || Ok::<_, Refused>(());
    let sockets = Sockets::new(PubSub::local(), connect).channel::<Strict>("strict");
    let socket = TestEndpoint::new(sockets).connect(&[]).await.unwrap();
    let room = socket.join("strict", &json!({})).await.unwrap();
    room.push("x", &json!({})).await;
    room.assert_crashed().await;
}
