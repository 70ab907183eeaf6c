//! Topics and their subscribers, here and on other nodes: the PubSub of Bennu.
//!
//! ```
//! use bennu_proto::payload::Payload;
//! use bennu_pubsub::{Broadcast, PubSub};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pubsub = PubSub::local();
//! let mut lobby = pubsub.subscribe("room:lobby");
//!
//! let hello = Payload::from_json_text(r#"{"body":"hello"}"#)?;
//! pubsub.broadcast(Broadcast::new("room:lobby", "new_msg", hello)?)?;
//!
//! let broadcast = lobby.recv().await?;
//! assert_eq!(broadcast.event(), "new_msg");
//! # Ok(())
//! # }
//! ```
//!
//! A [`Subscription`] is for any task of a program. A connection that serves many channels implements
//! [`Subscriber`] instead and takes broadcasts on the spot, together with the frame that everybody of
//! its form shares ([`Broadcast::frame`]): the fastlane. What a topic's size changes, and what
//! order can be relied on, is said at [`PubSub`]; how broadcasts reach other nodes, at [`Adapter`].
//!
//! Messages and their frames are `bennu_proto`'s. Nothing here opens a socket or reads a clock.

mod adapter;
mod broadcast;
mod dispatch;
mod gate;
mod hub;
mod options;
mod publish;
mod pubsub;
mod registration;
mod registry;
mod subscriber;
mod subscription;

pub use adapter::{Adapter, AdapterShutdown, Inbox, Local, PublishError};
pub use broadcast::Broadcast;
pub use gate::Gate;
pub use options::{PubSubOptions, SubscriptionOptions};
pub use publish::{BroadcastError, Dispatched, Publish, Scope};
pub use pubsub::PubSub;
pub use registration::{Registration, RegistrationId};
pub use subscriber::Subscriber;
pub use subscription::{RecvError, Subscription, TryRecvError};
