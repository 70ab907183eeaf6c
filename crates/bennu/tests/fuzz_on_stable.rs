//! The bodies of the fuzz targets in `fuzz/`, on their seeds, on pieces of them, and on bytes at random:
//! what the fuzzers look for in depth is looked for here at every change.

#![cfg(test)]

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "fuzz_bodies/cookie.rs"]
mod cookie;
#[path = "../../proto/tests/fuzz_bodies/near_seeds.rs"]
mod near_seeds;
#[path = "fuzz_bodies/query.rs"]
mod query;
#[path = "fuzz_bodies/token.rs"]
mod token;

use near_seeds::near_the_seeds;

#[test]
fn token_near_its_seeds() {
    near_the_seeds("token", token::run);
}

#[test]
fn cookie_near_its_seeds() {
    near_the_seeds("cookie", cookie::run);
}

#[test]
fn query_near_its_seeds() {
    near_the_seeds("query", query::run);
}

/// Bytes of which many are the tags of terms.
fn tags() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop::sample::select(b"\x83PFabcdhijklmnotvwxsg\0\x01\x02\x03\xff".as_slice());
    vec(prop_oneof![3 => tag, 1 => any::<u8>()], 0..100)
}

proptest! {
    #[test]
    fn token_at_random(data in vec(any::<u8>(), 0..300)) {
        token::run(&data);
    }

    #[test]
    fn token_of_tags(data in tags()) {
        token::run(&data);
    }

    #[test]
    fn cookie_at_random(data in vec(any::<u8>(), 0..300)) {
        cookie::run(&data);
    }

    #[test]
    fn query_at_random(data in vec(any::<u8>(), 0..300)) {
        query::run(&data);
    }

    #[test]
    fn query_of_pairs(text in "((a|b|%5B)?(\\[(a|b|)\\]){0,20}=?[a%+]{0,3}&?){0,12}") {
        query::run(text.as_bytes());
    }

    #[test]
    fn query_of_many_pairs(pairs in 1000..1050_usize) {
        query::run("a=1&".repeat(pairs).as_bytes());
    }

    #[test]
    fn cookie_of_text(text in "[A-Za-z0-9_.-]{0,120}") {
        cookie::run(text.as_bytes());
    }
}
