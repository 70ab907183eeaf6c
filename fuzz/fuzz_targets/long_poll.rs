//! The body is shared with the tests of `bennu-proto`, which run it on stable.
#![no_main]

#[path = "../../crates/proto/tests/fuzz_bodies/long_poll.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
