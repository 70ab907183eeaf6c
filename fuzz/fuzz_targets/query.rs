//! The body is shared with the tests of `bennu`, which run it on stable.
#![no_main]

#[path = "../../crates/bennu/tests/fuzz_bodies/query.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
