//! Transports: how an HTTP request becomes a socket. [`SocketService`] answers requests; what is asked of
//! every client is in `admission.rs`, the WebSocket handshake in `websocket.rs`, long polling in
//! `long_poll.rs`. What happens on the socket afterwards is the driver's.

mod admission;
mod admit_error;
mod handshake;
mod long_poll;
pub(crate) mod peer;
mod permit;
pub(crate) mod proxies;
mod service;
pub(crate) mod subprotocol;
pub(crate) mod throttle;
mod websocket;

pub(crate) use long_poll::LongPolling;
pub(crate) use permit::Held;
pub use service::SocketService;
