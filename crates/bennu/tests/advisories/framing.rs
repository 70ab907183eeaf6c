//! WebSocket frames: what no peer may send, and what it may send too much of.

use std::time::{Duration, Instant};

use bennu_proto::websocket::{
    Decoder, Event, Limits, Opcode, ProtocolError, Role, frame, masked_frame,
};
use bennu_testkit::{TestWire, WireEvent};

use crate::target::{PATIENCE, Target, beats, closes, joined, others_are_well, wire};

const MASK: [u8; 4] = [1, 2, 3, 4];

/// A masked frame of which only the header is there: the first byte, and the announced length.
fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..126 => header.push(0x80 | u8::try_from(length).unwrap()),
        126..0x1_0000 => {
            header.push(0x80 | 126);
            header.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend(MASK);
    header
}

fn fragment(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    masked_frame(fin, opcode, MASK, payload).to_vec()
}

/// CVE-2026-48779 (ws), CVE-2026-42786 (Bandit): fragments of no or one byte cost a list cell each and
/// never reach a limit that counts payload. Here each counts 16 bytes, so they end.
#[tokio::test]
async fn endless_tiny_fragments() {
    for payload in [&b""[..], b"x"] {
        let kit = Target::with(|target| target.limits.message_bytes_max = 1 << 16).kit();
        let mut wire = wire(&kit).await;
        wire.send_bytes(&fragment(false, Opcode::Text, payload))
            .await;
        // 16 bytes for each: the message is over after 4,096 of them, and 8 times as many are sent.
        let more = fragment(false, Opcode::Continuation, payload).repeat(8 * 4096);
        wire.send_bytes(&more).await;
        closes(&mut wire, 1009).await;
        others_are_well(&kit).await;
    }
}

/// CVE-2026-42786 (Bandit): a message that never ends, in large fragments, is collected until the machine
/// has no memory left.
#[tokio::test]
async fn unbounded_fragments() {
    let kit = Target::with(|target| target.limits.message_bytes_max = 1 << 16).kit();
    let mut wire = wire(&kit).await;
    let piece = [b'x'; 1000];
    wire.send_bytes(&fragment(false, Opcode::Text, &piece))
        .await;
    let more = fragment(false, Opcode::Continuation, &piece).repeat(200);
    wire.send_bytes(&more).await;
    closes(&mut wire, 1009).await;
    others_are_well(&kit).await;
}

/// CVE-2026-65623 (Bandit): each fragment is appended to a copy of all before it, so that four times the
/// fragments take sixteen times the time.
#[test]
fn quadratic_reassembly() {
    let limits = Limits {
        message_bytes_max: 64 << 20,
        ..Limits::default()
    };
    let time = |fragments: usize| {
        let mut stream = fragment(false, Opcode::Binary, b"");
        for _ in 0..fragments {
            stream.extend(fragment(false, Opcode::Continuation, &[7; 64]));
        }
        stream.extend(fragment(true, Opcode::Continuation, b""));
        let mut decoder = Decoder::new(Role::Server);
        let started = Instant::now();
        // As a network delivers it, so that nothing is whole in the input.
        let read = stream.chunks_mut(1000).any(|chunk| {
            let decoded = decoder.decode(&limits, chunk).unwrap();
            matches!(decoded.event, Some(Event::Binary(bytes)) if bytes.len() == 64 * fragments)
        });
        assert!(read);
        started.elapsed()
    };
    // The best of some: the machine may be busy with something else.
    let best = |fragments| (0..3).map(|_| time(fragments)).min().unwrap();
    let (one, four) = (best(20_000), best(80_000));
    assert!(
        four < one * 8,
        "{one:?} for one, {four:?} for four times as much"
    );
}

/// GHSA-rhh8-5xw9-c3gm (Bandit): frames without a mask are accepted, which RFC 6455 forbids because
/// proxies can be made to cache them.
#[tokio::test]
async fn unmasked_frames() {
    let kit = Target::new().kit();
    for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Close] {
        let mut wire = wire(&kit).await;
        wire.send_bytes(&frame(opcode, b"")).await;
        closes(&mut wire, 1002).await;
    }
    others_are_well(&kit).await;
}

/// CVE-2022-35922 (the Rust crate websocket), RUSTSEC-2017-0006 (rmpv): memory is reserved for a length
/// that was only announced, and the process ends. That nothing is reserved is measured in `memory.rs`.
#[tokio::test]
async fn huge_announced_lengths() {
    let kit = Target::new().kit();
    for (length, code) in [
        (i64::MAX as u64, 1009),
        (u64::from(u32::MAX), 1009),
        ((1 << 20) + 1, 1009),
        // RFC 6455, section 5.2: the most significant bit must be 0.
        (u64::MAX, 1002),
        (1 << 63, 1002),
    ] {
        for first in [0x81, 0x82, 0x01, 0x02] {
            let mut wire = wire(&kit).await;
            wire.send_bytes(&header(first, length)).await;
            closes(&mut wire, code).await;
        }
    }
    // Small announcements whose sum is huge.
    let mut wire = wire(&kit).await;
    wire.send_bytes(&fragment(false, Opcode::Text, b"x")).await;
    wire.send_bytes(&header(0x80, 1 << 20)).await;
    closes(&mut wire, 1009).await;
    others_are_well(&kit).await;
}

/// RFC 6455, section 5.2: extension bits that nobody has agreed on, opcodes that do not exist, and
/// continuations of nothing are passed to the application by lax servers.
#[tokio::test]
async fn reserved_bits_and_opcodes() {
    let kit = Target::new().kit();
    let first_bytes = [0xc1, 0xa1, 0x91, 0xf1, 0xc0, 0xc9, 0xa8, 0x80, 0x00]
        .into_iter()
        .chain(0x83..=0x87)
        .chain(0x8b..=0x8f);
    for first in first_bytes {
        let mut wire = wire(&kit).await;
        wire.send_bytes(&header(first, 0)).await;
        closes(&mut wire, 1002).await;
    }
    // A second message inside of the first.
    let mut wire = wire(&kit).await;
    wire.send_bytes(&fragment(false, Opcode::Text, b"a")).await;
    wire.send_bytes(&fragment(true, Opcode::Text, b"b")).await;
    closes(&mut wire, 1002).await;
    others_are_well(&kit).await;
}

/// RFC 6455, section 5.5; CVE-2016-10542 (ws): control frames that are long or in pieces take memory
/// beside the limit on messages.
#[tokio::test]
async fn long_and_fragmented_control_frames() {
    let kit = Target::new().kit();
    for opcode in [0x8, 0x9, 0xa] {
        for (first, length) in [
            (0x80 | opcode, 126),
            (0x80 | opcode, 65_536),
            (0x80 | opcode, i64::MAX as u64),
            (opcode, 1),
        ] {
            let mut wire = wire(&kit).await;
            wire.send_bytes(&header(first, length)).await;
            closes(&mut wire, 1002).await;
        }
    }
    others_are_well(&kit).await;
}

/// RFC 6455, section 7.4; CVE-2026-45736 (ws): a close frame with a body of one byte, a code that does
/// not exist, or a reason that is not UTF-8 is echoed, or makes the server read beyond it.
#[tokio::test]
async fn malformed_close_frames() {
    let kit = Target::new().kit();
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535];
    let bodies = codes.map(|code: u16| code.to_be_bytes().to_vec());
    let others = [(vec![3], 1002), (b"\x03\xe8\xff".to_vec(), 1007)];
    for (body, code) in bodies.map(|body| (body, 1002)).into_iter().chain(others) {
        let mut wire = wire(&kit).await;
        wire.send_frame(Opcode::Close, &body).await;
        closes(&mut wire, code).await;
        assert_eq!(wire.next().await, None, "the transport ends at once");
    }
    others_are_well(&kit).await;
}

/// RFC 6455, section 8.1: text that is no UTF-8 is kept until its message is complete, up to whatever is
/// the limit. Here the first byte that is wrong ends the connection, also in the middle of a fragment.
#[tokio::test]
async fn text_that_is_not_utf_8_at_once() {
    let kit = Target::new().kit();
    for bytes in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ] {
        let mut in_fragment = wire(&kit).await;
        in_fragment
            .send_bytes(&fragment(false, Opcode::Text, bytes))
            .await;
        closes(&mut in_fragment, 1007).await;
        // The frame is not complete.
        let mut in_frame = wire(&kit).await;
        let mut bytes = bytes.to_vec();
        for (byte, mask) in bytes.iter_mut().zip(MASK) {
            *byte ^= mask;
        }
        in_frame.send_bytes(&header(0x81, 500_000)).await;
        in_frame.send_bytes(&bytes).await;
        closes(&mut in_frame, 1007).await;
    }
    others_are_well(&kit).await;
}

/// A ping costs its sender six bytes and, unread, the server a pong: a queue of pongs grows for ever (the
/// class of CVE-2019-9512, with WebSocket pings). Only the last pong is of interest, so only one waits.
#[tokio::test]
async fn ping_floods() {
    let kit = Target::with(|target| target.limits.outbound_bytes_max = 4096)
        .kit()
        .with_pipe_bytes(1024);
    let mut flooding = joined(&kit, "room:1").await;
    let pings = fragment(true, Opcode::Ping, &[b'x'; 125]).repeat(20_000);
    // It is read to the end although nothing is taken, and that is no reason to be cut off.
    flooding.send_bytes(&pings).await;
    flooding.send_text(BEAT_AFTER).await;
    let mut pongs = 0;
    loop {
        match flooding.next().await.unwrap() {
            WireEvent::Pong(_) => pongs += 1,
            WireEvent::Text(text) => break assert!(text.contains("\"8\"")),
            other => panic!("{other:?}"),
        }
    }
    assert!(pongs < 100, "{pongs} pongs waited");
    beats(&mut flooding).await;
    others_are_well(&kit).await;
}

const BEAT_AFTER: &str = r#"[null,"8","phoenix","heartbeat",{}]"#;

/// CVE-2016-10518 and CVE-2016-10542 (ws), CVE-2020-36048 to CVE-2023-31125 (engine.io): frames that
/// nobody has thought of end the process. Every pair of first bytes is tried, and each costs its
/// connection at most.
#[test]
fn crafted_frames() {
    let limits = Limits::default();
    for first in 0..=255_u8 {
        for second in 0..=255_u8 {
            let mut stream = vec![first, second];
            stream.extend([0xff; 14]);
            for role in [Role::Server, Role::Client] {
                let mut decoder = Decoder::new(role).with_deflate();
                let mut input = stream.clone();
                let decoded = decoder.decode(&limits, &mut input);
                let is_error = decoded.is_err();
                assert!(decoder.buffered_bytes() <= 64 + stream.len());
                if is_error {
                    let again: Result<_, ProtocolError> = decoder.decode(&limits, &mut []);
                    assert!(again.is_err(), "an error is for ever");
                }
            }
        }
    }
}

/// What a server still reads after its own close frame: a client that goes on sending for ever keeps the
/// connection (the class of CVE-2026-39806, where a trailer is read without end).
#[tokio::test]
async fn chatter_after_the_close() {
    let kit = Target::with(|target| target.limits.close_timeout = Duration::from_secs(3600)).kit();
    let mut wire: TestWire = wire(&kit).await;
    wire.send_text("nonsense").await;
    closes(&mut wire, 1011).await;
    let chatter = masked_frame(true, Opcode::Binary, MASK, &[0; 60_000]).repeat(16);
    // 32 MB: when the server has had enough it ends the transport, and writing costs nothing any more.
    for _ in 0..32 {
        wire.send_bytes(&chatter).await;
    }
    let ended = async {
        while kit.endpoint().connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    others_are_well(&kit).await;
}
