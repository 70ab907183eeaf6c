//! The playground: one small server, on the public API alone, that shows every behaviour a client can
//! see. Any Phoenix client, test or load generator can be pointed at it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `socket.rs` | who may connect, and which channels there are |
//! | `room.rs` | `room:*` |
//! | `intercept.rs` | `intercept:*` |
//! | `http.rs` | the page, `/api/…`, `/healthz`, `/metrics` |

pub mod http;
mod intercept;
mod room;
mod socket;

pub use socket::{Config, DEFAULT_SECRET, sockets};
