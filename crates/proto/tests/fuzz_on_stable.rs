//! The bodies of the fuzz targets in `fuzz/`, on their seeds, on pieces of them, and on bytes at random:
//! what the fuzzers look for in depth is looked for here at every change.

#![cfg(test)]

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "fuzz_bodies/codec.rs"]
#[allow(dead_code)] // tests elsewhere use more of it
mod codec;
#[path = "fuzz_bodies/long_poll.rs"]
mod long_poll;
#[path = "fuzz_bodies/machine.rs"]
#[allow(dead_code)] // tests elsewhere use more of it
mod machine;
#[path = "fuzz_bodies/near_seeds.rs"]
mod near_seeds;
#[path = "fuzz_bodies/websocket.rs"]
mod websocket;

use near_seeds::near_the_seeds;

#[test]
fn codec_near_its_seeds() {
    near_the_seeds("codec", codec::run);
}

#[test]
fn long_poll_near_its_seeds() {
    near_the_seeds("long_poll", long_poll::run);
}

#[test]
fn machine_near_its_seeds() {
    near_the_seeds("machine", machine::run);
}

#[test]
fn websocket_near_its_seeds() {
    near_the_seeds("websocket", websocket::run);
}

/// FIN, RSV1, opcode, whether it is masked, payload.
fn short_frame() -> impl Strategy<Value = (bool, bool, u8, bool, Vec<u8>)> {
    let deflated = prop::bool::weighted(0.2);
    let payload = prop_oneof![
        vec(any::<u8>(), 0..20),
        Just(vec![0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]),
    ];
    (any::<bool>(), deflated, 0..11_u8, any::<bool>(), payload)
}

proptest! {
    #[test]
    fn codec_at_random(data in vec(any::<u8>(), 0..300)) {
        codec::run(&data);
    }

    #[test]
    fn long_poll_at_random(data in vec(any::<u8>(), 0..300)) {
        long_poll::run(&data);
    }

    /// Mostly line ends, text and base64, of which some is padded right.
    #[test]
    fn long_poll_of_lines(
        kind in 0..2_u8,
        lines in "((\\[[^\n]{0,9}\\]|[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}==|[ \t{}a=]{0,3}|[A]{80,100})\r?\n){0,9}",
    ) {
        let data = [&[kind], lines.as_bytes()].concat();
        long_poll::run(&data);
    }

    #[test]
    fn machine_at_random(data in vec(any::<u8>(), 0..600)) {
        machine::run(&data);
    }

    #[test]
    fn websocket_at_random(data in vec(any::<u8>(), 0..300)) {
        websocket::run(&data);
    }

    /// Bytes that look like short frames get further in.
    #[test]
    fn websocket_of_short_frames(
        side in any::<[u8; 2]>(),
        frames in vec(short_frame(), 0..12),
    ) {
        let mut data = side.to_vec();
        for (fin, deflated, opcode, masked, payload) in frames {
            data.push(opcode | if fin { 0x80 } else { 0 } | if deflated { 0x40 } else { 0 });
            data.push(u8::try_from(payload.len()).unwrap() | if masked { 0x80 } else { 0 });
            if masked {
                data.extend([1, 2, 3, 4]);
            }
            data.extend(payload);
        }
        websocket::run(&data);
    }
}
