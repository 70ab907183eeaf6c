//! Bennu: the Phoenix real-time stack for Rust.
//!
//! Clients that speak the Phoenix protocol, the official JavaScript client first of all, connect to
//! a [`Sockets`] mount of your axum application, join topics, and talk to your [`Channel`]s. What one
//! channel broadcasts reaches everybody on its topic through [`PubSub`].
//!
//! | you write | Bennu gives you |
//! | --- | --- |
//! | a type that implements [`Channel`] | one value of it for each client and topic, its messages in order |
//! | an async `connect` function | [`Sockets`], a tower service to nest in a router |
//! | | an [`Endpoint`], to broadcast and disconnect from anywhere |
//!
//! Everything is bounded: see [`Limits`]. Metrics and logs are described in [`telemetry`].
//!
//! # Features
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `axum` | yes | axum extractors in `connect`, `Sockets::into_router` |
//! | `deflate` | no | compressed WebSocket messages, for mounts that ask for it: `Sockets::with_deflate` |
//! | `serve` | yes | `bennu::serve`: a server of our own, with limits and an orderly end |
//! | `tls` | no | HTTPS for it |
//! | `systemd` | no | socket activation and notifications for it |
//! | `jwt` | no | `token::jwt`: JSON Web Tokens of other issuers |

pub mod channel;
mod connection;
#[cfg(feature = "deflate")]
mod deflate;
mod driver;
pub mod endpoint;
pub mod limits;
#[cfg(feature = "serve")]
pub mod serve;
pub mod socket;
pub mod telemetry;
pub mod token;
mod transport;

pub use bennu_proto::event::{self, RawEvent};
pub use bennu_proto::payload::Payload;
pub use bennu_proto::topic::Topic;
pub use bennu_pubsub::{self as pubsub, PubSub};
pub use channel::{Channel, Context, Handle, Intercept, Joined, Rejection, Reply, Stop};
#[cfg(feature = "deflate")]
pub use deflate::DeflateOptions;
pub use endpoint::Endpoint;
pub use limits::Limits;
pub use socket::{ConnectParams, Refused, Sockets};
pub use transport::SocketService;
