//! The contract of the playground, row by row.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these files hold nothing but tests and what tests are made of"
)]

mod http;
mod intercept;
mod process;
mod room;
mod socket;

use bennu::PubSub;
use bennu_testkit::{TestChannel, TestEndpoint, TestSocket};
use playground::Config;
use serde_json::{Value, json};

/// The playground as the node `n1`.
fn kit() -> TestEndpoint {
    TestEndpoint::new(playground::sockets(PubSub::local(), &Config::new("n1")).unwrap())
}

async fn join(socket: &TestSocket, topic: &str, params: &Value) -> TestChannel {
    socket.subscribe_and_join(topic, params).await.unwrap()
}

/// A fresh client in this room, with this user id.
async fn joined(kit: &TestEndpoint, user_id: &str, topic: &str) -> TestChannel {
    let socket = kit.connect(&[("user_id", user_id)]).await.unwrap();
    join(&socket, topic, &json!({})).await
}
