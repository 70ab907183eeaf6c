//! Channels that take broadcasts on their way out.

use bennu::channel::SubscribedBroadcast;
use bennu::{
    Channel, ConnectParams, Context, Handle, Intercept, Joined, Payload, PubSub, RawEvent, Refused,
    Rejection, Reply, Sockets, Stop,
};
use bennu_testkit::{TestChannel, TestEndpoint};
use serde_json::{Value, json};

/// Adds a name to `named`, drops `secret`, and stops or panics when it is told so.
struct Filter;

impl Channel for Filter {
    type Assigns = String;
    type Params = Payload;
    type In = RawEvent;

    async fn join(_: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        Ok(Filter.into())
    }

    async fn handle_in(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: RawEvent,
    ) -> Result<Reply, Stop> {
        if event.event == "both" {
            cx.broadcast_raw("named", Payload::empty())?;
            cx.broadcast_raw("plain", Payload::empty())?;
        } else {
            cx.broadcast_raw(&event.event, event.payload)?;
        }
        Ok(Reply::none())
    }
}

impl Intercept for Filter {
    const EVENTS: &'static [&'static str] = &["named", "secret", "stop", "fail", "panic"];

    async fn handle_out(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: &str,
        payload: Payload,
    ) -> Result<(), Stop> {
        assert!(cx.reply_later().is_none());
        match event {
            "named" => {
                let mut value: Value = payload.decode()?;
                value["to"] = cx.assigns().as_str().into();
                cx.push_raw(event, &Payload::json(&value)?)?;
            }
            "stop" => return Err(Stop::normal()),
            "fail" => return Err(Stop::error("told to")),
            "panic" => panic!("handle_out"),
            _ => {}
        }
        Ok(())
    }
}

impl Handle<SubscribedBroadcast> for Filter {
    async fn handle(
        &mut self,
        _: &mut Context<'_, Self>,
        _: SubscribedBroadcast,
    ) -> Result<(), Stop> {
        Ok(())
    }
}

fn kit() -> TestEndpoint {
    let connect = async |params: ConnectParams| {
        let name = params.get("name").ok_or(Refused::forbidden())?;
        Ok::<_, Refused>(name.to_owned())
    };
    let sockets = Sockets::new(PubSub::local(), connect)
        .channel::<Filter>("filter:*")
        .intercept()
        .channel::<Filter>("plain:*");
    TestEndpoint::new(sockets)
}

async fn joined(kit: &TestEndpoint, name: &str, topic: &str) -> TestChannel {
    let socket = kit.connect(&[("name", name)]).await.unwrap();
    socket.subscribe_and_join(topic, &json!({})).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_intercepted_event_is_changed_for_each_client() {
    let kit = kit();
    let (ada, bob) = (
        joined(&kit, "ada", "filter:1").await,
        joined(&kit, "bob", "filter:1").await,
    );
    ada.push("named", &json!({"n": 1})).await;
    ada.assert_push("named", &json!({"n": 1, "to": "ada"}))
        .await;
    bob.assert_push("named", &json!({"n": 1, "to": "bob"}))
        .await;
    // Once, and not the original; which the rest of the program does see.
    bob.refute_push("named").await;
    bob.assert_broadcast("named", &json!({"n": 1})).await;
}

#[tokio::test(start_paused = true)]
async fn only_exactly_the_named_events_are_intercepted() {
    let kit = kit();
    let room = joined(&kit, "ada", "filter:1").await;
    for event in ["Named", "named2", "name", "plain"] {
        room.push(event, &json!({})).await;
        room.assert_push(event, &json!({})).await;
    }
    room.push("secret", &json!({})).await;
    room.refute_push("secret").await;
}

#[tokio::test(start_paused = true)]
async fn interception_is_of_the_route_that_asked_for_it() {
    let kit = kit();
    let room = joined(&kit, "ada", "plain:1").await;
    room.push("named", &json!({})).await;
    room.assert_push("named", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn broadcasts_from_anywhere_are_intercepted() {
    let kit = kit();
    let room = joined(&kit, "ada", "filter:1").await;
    kit.endpoint()
        .broadcast_raw("filter:1", "named", Payload::empty())
        .unwrap();
    room.assert_push("named", &json!({"to": "ada"})).await;
}

#[tokio::test(start_paused = true)]
async fn an_intercepted_broadcast_may_be_overtaken_by_a_plain_one() {
    let kit = kit();
    let room = joined(&kit, "ada", "filter:1").await;
    room.push("both", &json!({})).await;
    room.socket().assert_in_order(&["plain", "named"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_intercepted_broadcast_that_stops_the_channel_closes_it() {
    let kit = kit();
    for (event, crash) in [("stop", false), ("fail", true), ("panic", true)] {
        let room = joined(&kit, "ada", "filter:1").await;
        room.push(event, &json!({})).await;
        if crash {
            room.assert_crashed().await;
        } else {
            room.assert_closed().await;
        }
    }
}
