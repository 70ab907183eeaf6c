//! The testkit itself: what its assertions accept, and what they say when they fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these files hold nothing but tests and what tests are made of"
)]

mod asserts;
mod failures;

use bennu::{
    Channel, ConnectParams, Context, Joined, Payload, PubSub, RawEvent, Refused, Rejection, Reply,
    Sockets, Stop,
};
use bennu_testkit::{TestChannel, TestEndpoint};
use serde_json::json;

/// Answers with what it gets, and pushes, broadcasts or ends as the event says.
struct Room;

impl Channel for Room {
    type Assigns = ();
    type Params = Payload;
    type In = RawEvent;

    async fn join(cx: &mut Context<'_, Self>, params: Payload) -> Result<Joined<Self>, Rejection> {
        if cx.wildcard() == "refused" {
            return Err(Rejection::new(&params));
        }
        Ok(Joined::from(Room).with_response(&params))
    }

    async fn handle_in(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: RawEvent,
    ) -> Result<Reply, Stop> {
        match event.event.as_str() {
            "push" => cx.push_raw("pushed", &event.payload)?,
            "broadcast" => cx.broadcast_raw("told", event.payload)?,
            "stop" => return Err(Stop::normal()),
            "crash" => return Err(Stop::error("told to")),
            "silent" => {}
            _ => return Ok(Reply::ok(&event.payload)),
        }
        Ok(Reply::none())
    }
}

fn kit() -> TestEndpoint {
    let connect = async |params: ConnectParams| match params.get("deny") {
        Some(_) => Err(Refused::forbidden()),
        None => Ok(()),
    };
    let sockets = Sockets::new(PubSub::local(), connect)
        .with_id(|()| Some("everybody".into()))
        .channel::<Room>("room:*");
    TestEndpoint::new(sockets)
}

async fn joined() -> TestChannel {
    let socket = kit().connect(&[]).await.unwrap();
    socket
        .subscribe_and_join("room:1", &json!({}))
        .await
        .unwrap()
}
