//! The behaviour of sockets and channels, through the public API and the testkit, as a client sees it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these files hold nothing but tests and what tests are made of"
)]

mod broadcasts;
mod closes;
mod connect;
mod crashes;
mod deflate;
mod door;
mod duplicates;
mod expiry;
mod intercepts;
mod joins;
mod lab;
mod leaves;
mod long_poll;
mod messages;
mod origins;
mod overflow;
mod poller;
mod pressure;
mod races;
mod rates;
mod replies;
mod smoke;
mod stops;
mod stress;
mod support;
mod telemetry;
mod timers;
mod versions;
