//! Every class of advisory that servers of this kind have had, played against ours: a file for each family, a
//! test for each class, named after the attack. `README.md` beside this file is the table.
//!
//! A test's documentation names the advisories and says what a naive server does. Attacks are bounded in time
//! and in count. Those on HTTP go over loopback ports, the others over pipes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these files hold nothing but tests and what tests are made of"
)]

mod channels;
#[path = "../serve/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
mod framing;
mod handshake;
mod http1;
mod http2;
mod inflation;
mod long_poll;
mod memory;
#[path = "../it/poller.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod poller;
mod readers;
mod secrets;
mod target;
