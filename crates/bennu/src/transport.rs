//! Transports: how an HTTP request becomes a socket. [`SocketService`] answers requests; what is asked of
//! every client is in `admission.rs`, the WebSocket handshake in `websocket.rs`. What happens on the socket
//! afterwards is the driver's.

mod admission;
mod admit_error;
mod handshake;
pub(crate) mod peer;
pub(crate) mod proxies;
mod service;
pub(crate) mod subprotocol;
pub(crate) mod throttle;
mod websocket;

pub use service::SocketService;
