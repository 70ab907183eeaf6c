//! The server over real ports, as clients see it: limits, HTTP/2, TLS, and the end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these files hold nothing but tests and what tests are made of"
)]

mod client;
mod floods;
mod http2;
mod limits;
mod requests;
mod stop;
mod support;
#[cfg(feature = "tls")]
mod tls;
