//! Compressed messages, behind a server that has agreed to permessage-deflate: a little that becomes a lot.

use std::net::SocketAddr;

use bennu_proto::websocket::deflate::{Deflater, Inflater};
use bennu_proto::websocket::{Deflated, Limits, Opcode, ProtocolError, masked_frame};
use bennu_testkit::TestWire;

use crate::client::{Plain, UPGRADE};
use crate::target::{Target, beats, closes, join};

const RSV1: u8 = 0x40;

/// A socket over a loopback port that compresses.
async fn deflating(addr: SocketAddr) -> TestWire {
    let mut client = Plain::connect(addr).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    client
        .send(UPGRADE.trim_end().to_owned() + "\r\n" + offer)
        .await;
    let head = client.head().await;
    assert!(
        head.contains("sec-websocket-extensions: permessage-deflate"),
        "{head}"
    );
    TestWire::over(client.0)
}

fn deflated(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = masked_frame(fin, opcode, [9; 4], payload).to_vec();
    frame[0] |= RSV1;
    frame
}

/// So many megabytes of the same letter, in about a thousandth of that.
fn bomb(megabytes: usize) -> Vec<u8> {
    let text = "a".repeat(megabytes << 20);
    Deflater::new(9).deflate(text.as_bytes()).unwrap().to_vec()
}

/// CVE-2026-39804 (Bandit), CVE-2026-43970 (cowlib), Centrifugo before 6.8.4: a message is inflated whole
/// before anybody asks for its size, so that 50 KB become 50 MB.
#[tokio::test(flavor = "multi_thread")]
async fn inflate_bombs_by_size() {
    let target = Target::with(|target| target.limits.inflate_ratio_max = usize::MAX);
    let server = target.serve().await;
    for megabytes in [2, 50] {
        let bomb = bomb(megabytes);
        assert!(bomb.len() < megabytes << 11);
        let mut whole = deflating(server.addr).await;
        whole.send_bytes(&deflated(true, Opcode::Text, &bomb)).await;
        closes(&mut whole, 1009).await;
        // The same in pieces, of which each is harmless.
        let mut pieces = deflating(server.addr).await;
        pieces.send_bytes(&deflated(false, Opcode::Text, b"")).await;
        for piece in bomb.chunks(100) {
            let piece = masked_frame(false, Opcode::Continuation, [9; 4], piece);
            pieces.send_bytes(&piece).await;
        }
        let end = masked_frame(true, Opcode::Continuation, [9; 4], b"");
        pieces.send_bytes(&end).await;
        closes(&mut pieces, 1009).await;
    }
    beats(&mut deflating(server.addr).await).await;
}

/// The same class below the limit of size: many small bombs cost a server a thousand times what they cost
/// their sender. A ratio of more than 100 ends the connection.
#[tokio::test(flavor = "multi_thread")]
async fn inflate_bombs_by_ratio() {
    let server = Target::new().serve().await;
    let text = "a".repeat(1_000_000);
    let bomb = Deflater::new(9).deflate(text.as_bytes()).unwrap().to_vec();
    let mut wire = deflating(server.addr).await;
    join(&mut wire, "room:1").await;
    wire.send_bytes(&deflated(true, Opcode::Text, &bomb)).await;
    closes(&mut wire, 1009).await;
    beats(&mut deflating(server.addr).await).await;
}

/// The fix of Cowboy 2.18 (max_inflate_size): the limit held for each call of the inflater and not for the
/// message. Here what the second piece inflates to counts on top of the first's.
#[test]
fn a_limit_on_the_wrong_thing() {
    let limits = Limits {
        message_bytes_max: 1 << 20,
        inflate_ratio_max: usize::MAX,
        ..Limits::default()
    };
    let mut inflater = Inflater::new();
    for size in [(1 << 20) + 1, 3 << 20, 20 << 20] {
        let text = "a".repeat(size);
        let mut deflater = Deflater::new(9);
        let payload = deflater.deflate(text.as_bytes()).unwrap();
        let inflated = inflater.inflate(
            &limits,
            Deflated {
                text: true,
                payload,
            },
        );
        assert!(
            matches!(inflated, Err(ProtocolError::InflatedTooBig { .. })),
            "{size}"
        );
    }
}

/// RFC 7692, section 6.1: the bit that says "compressed" belongs to the first frame of a message; a
/// lax server inflates, or does not, by the wrong frame.
#[tokio::test(flavor = "multi_thread")]
async fn the_compressed_bit_where_it_must_not_be() {
    let server = Target::new().serve().await;
    let payload = Deflater::new(9).deflate(&[b'a'; 200]).unwrap().to_vec();
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        let mut wire = deflating(server.addr).await;
        wire.send_bytes(&deflated(true, opcode, b"")).await;
        closes(&mut wire, 1002).await;
    }
    let mut continuation = deflating(server.addr).await;
    continuation
        .send_bytes(&deflated(false, Opcode::Text, &payload[..4]))
        .await;
    continuation
        .send_bytes(&deflated(true, Opcode::Continuation, &payload[4..]))
        .await;
    closes(&mut continuation, 1002).await;
    // Nobody has agreed.
    let mut plain = Plain::websocket(server.addr).await;
    plain
        .send_bytes(&deflated(true, Opcode::Text, &payload))
        .await;
    closes(&mut plain, 1002).await;
}

/// Streams that are no DEFLATE, that end in the middle, or that refer to before their beginning end the
/// process, or make it loop, where the decoder is not prepared for them.
#[tokio::test(flavor = "multi_thread")]
async fn broken_streams() {
    let server = Target::new().serve().await;
    let streams: [&[u8]; 6] = [
        // A reserved kind of block, a stored block whose length is wrong, a far distance, no end, an endless
        // row of empty blocks, and text that is no UTF-8.
        b"\x06",
        b"\x00\x01\x00\x00\x00x",
        b"\x4b\x84\xff\xff\xff\xff",
        b"\x4c\x8e",
        &[0, 0, 0, 0xff, 0xff].repeat(40_000),
        b"\x00\x02\x00\xfd\xff\xc3\x28\x00",
    ];
    for stream in streams {
        let mut wire = deflating(server.addr).await;
        wire.send_bytes(&deflated(true, Opcode::Text, stream)).await;
        let closing = crate::target::closing(&mut wire).await;
        assert!(matches!(closing, 1007 | 1009 | 1011), "{closing}");
    }
    beats(&mut deflating(server.addr).await).await;
}
