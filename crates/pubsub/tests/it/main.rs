//! The behaviour of the PubSub, through its public API.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these files hold nothing but tests and what tests are made of"
)]

mod adapter;
mod broadcast;
mod concurrency;
mod lanes;
mod model;
mod pubsub;
mod subscription;
mod support;
