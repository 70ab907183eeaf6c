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
mod door;
mod duplicates;
mod intercepts;
mod joins;
mod lab;
mod leaves;
mod messages;
mod origins;
mod overflow;
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
