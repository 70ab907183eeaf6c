//! Transports: how an HTTP request becomes a socket. [`SocketService`] answers requests; the WebSocket
//! handshake is in `websocket.rs`. What happens on the socket afterwards is the driver's.

mod handshake;
mod permit;
mod service;
mod websocket;

pub(crate) use permit::Held;
pub use service::SocketService;
