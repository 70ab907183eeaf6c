//! Tests of Bennu channels without a network: for the `tests/` of Bennu and of its users.
//!
//! A [`TestEndpoint`] serves your [`Sockets`](bennu::Sockets) over pipes in memory. Its clients speak the
//! real protocol in real WebSocket frames, so that a test sees what the official JavaScript client would
//! see, and nothing waits for a network: with a paused tokio clock a test of timers, timeouts and silence
//! takes no time at all.
//!
//! ```
//! use bennu::{Channel, ConnectParams, Context, Joined, Payload, PubSub, Refused, Rejection, Reply, Sockets, Stop};
//! use bennu_testkit::TestEndpoint;
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//!
//! struct Room;
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "snake_case")]
//! enum In {
//!     Say { body: String },
//! }
//!
//! #[derive(Serialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Out<'a> {
//!     Said { by: &'a str, body: &'a str },
//! }
//!
//! impl Channel for Room {
//!     type Assigns = String;
//!     type Params = Payload;
//!     type In = In;
//!
//!     async fn join(cx: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
//!         if cx.wildcard() == "cellar" {
//!             return Err(Rejection::unauthorized());
//!         }
//!         Ok(Room.into())
//!     }
//!
//!     async fn handle_in(&mut self, cx: &mut Context<'_, Self>, event: In) -> Result<Reply, Stop> {
//!         let In::Say { body } = event;
//!         cx.broadcast(&Out::Said { by: cx.assigns(), body: &body })?;
//!         Ok(Reply::empty())
//!     }
//! }
//!
//! async fn connect(params: ConnectParams) -> Result<String, Refused> {
//!     Ok(params.get("name").ok_or(Refused::forbidden())?.to_owned())
//! }
//!
//! # async fn says_what_is_said() -> Result<(), Box<dyn std::error::Error>> {
//! // #[tokio::test(start_paused = true)]
//! // async fn says_what_is_said() -> Result<(), Box<dyn std::error::Error>> {
//! let sockets = Sockets::new(PubSub::local(), connect).channel::<Room>("room:*");
//! let kit = TestEndpoint::new(sockets);
//!
//! let ada = kit.connect(&[("name", "ada")]).await?;
//! let room = ada.subscribe_and_join("room:lobby", &json!({})).await?;
//!
//! let say = room.push("say", &json!({"body": "hello"})).await;
//! room.assert_push("said", &json!({"by": "ada", "body": "hello"})).await;
//! room.assert_reply(&say, "ok", &json!({})).await;
//! room.assert_broadcast("said", &json!({"by": "ada", "body": "hello"})).await;
//! room.refute_push("said").await;
//!
//! let refused = ada.join("room:cellar", &json!({})).await.unwrap_err();
//! assert_eq!(refused.response(), json!({"reason": "unauthorized"}));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(says_what_is_said())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The mailbox
//! What a client gets lies in its mailbox until a test asks for it. An `assert_*` takes the first message
//! that fits and leaves the others where they are, so the order of asserts need not be the order of
//! messages; where order matters, [`TestSocket::next_message`] and [`TestSocket::assert_in_order`] take
//! messages as they came. An assert that fails lists what lies there.
//!
//! # Time
//! An `assert_*` waits 100 ms for its message, and a `refute_*` waits as long to be sure that none comes;
//! [`TestEndpoint::with_timeout`] changes that. Under `#[tokio::test(start_paused = true)]` (tokio's feature
//! `test-util`) both cost no real time: the clock jumps ahead whenever every task waits.
//!
//! # Words
//! | Phoenix.ChannelTest | here |
//! | --- | --- |
//! | `connect` | [`TestEndpoint::connect`], [`TestEndpoint::connect_with`] |
//! | `join`, `subscribe_and_join` | [`TestSocket::join`], [`TestSocket::subscribe_and_join`] |
//! | `push`, `leave`, `close`, `broadcast_from` | the same of [`TestChannel`] |
//! | `assert_push`, `assert_reply`, `assert_broadcast`, `refute_…` | the same of [`TestChannel`] |
//! | a pattern instead of a value | `…_matching`, with a closure |
//! | `@endpoint.subscribe` | [`TestEndpoint::subscribe`] |

#![allow(
    clippy::panic,
    reason = "a failed assertion is what these functions are for"
)]

mod channel;
mod endpoint;
mod failure;
mod mailbox;
mod message;
mod reader;
mod socket;
mod subscription;
mod wire;

pub use channel::TestChannel;
pub use endpoint::TestEndpoint;
pub use message::{JoinRefused, Message, PushRef};
pub use socket::TestSocket;
pub use subscription::TestSubscription;
pub use wire::{TestWire, WireEvent};
