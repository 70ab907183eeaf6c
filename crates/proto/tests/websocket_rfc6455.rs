//! RFC 6455 case by case, in the order of the Autobahn test suite: what a client sends, and what it must come
//! to, however the bytes are split.

#![cfg(test)]
#![expect(
    clippy::too_many_lines,
    reason = "a table of cases reads best in one piece"
)]

use bennu_proto::websocket::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const HELLO: &str = "Hello-µ@ßöäüàá-UTF-8!!";

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Binary(bytes) => Self::Binary(bytes.into()),
            Event::Ping(bytes) => Self::Ping(bytes.into()),
            Event::Pong(bytes) => Self::Pong(bytes.into()),
            Event::Close(body) => Self::Close(body.map(|(code, reason)| (code, reason.into()))),
            Event::Deflated(_) => panic!("nothing was negotiated"),
        }
    }
}

/// How the bytes of a case leave the connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Nothing is missing: the next frame may come, or a close has been read.
    Idle,
    /// A frame or a message is incomplete.
    Partial,
    /// The connection is failed with this close code.
    Failed(u16),
}

struct Case {
    name: String,
    bytes: Vec<u8>,
    events: Vec<Seen>,
    end: End,
}

/// Feeds `chunks`, and checks on the way what must hold at every step.
fn read<'c>(
    role: Role,
    limits: &Limits,
    chunks: impl IntoIterator<Item = &'c [u8]>,
) -> (Vec<Seen>, Result<bool, ProtocolError>) {
    let mut decoder = Decoder::new(role);
    let mut events = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        loop {
            let length = input.len();
            match decoder.decode(limits, input) {
                Ok(Decoded { consumed, event }) => {
                    assert!(consumed <= length);
                    let more = event.is_some();
                    events.extend(event.map(Seen::from));
                    if !more {
                        assert_eq!(consumed, length, "without an event all input is taken");
                        break;
                    }
                    input = &mut input[consumed..];
                }
                Err(error) => {
                    assert_eq!(
                        decoder.buffered_bytes(),
                        0,
                        "nothing is held after a failure"
                    );
                    let mut harmless = masked_frame(true, Opcode::Text, MASK, b"x");
                    let again = decoder.decode(limits, &mut harmless);
                    assert_eq!(again, Err(error.clone()), "the first error stays");
                    return (events, Err(error));
                }
            }
        }
        assert!(decoder.buffered_bytes() <= limits.message_bytes_max + 125);
        if decoder.is_idle() {
            assert_eq!(
                decoder.buffered_bytes(),
                0,
                "nothing is held between messages"
            );
        }
    }
    (events, Ok(decoder.is_idle()))
}

fn check(case: &Case, how: &str, chunks: Vec<&[u8]>) {
    let (events, result) = read(Role::Server, &Limits::default(), chunks);
    let end = match result {
        Ok(true) => End::Idle,
        Ok(false) => End::Partial,
        Err(error) => End::Failed(error.close_code()),
    };
    let same = events == case.events;
    assert!(
        same,
        "{} {how}: {:?}, not {:?}",
        case.name,
        brief(&events),
        brief(&case.events)
    );
    assert_eq!(end, case.end, "{} {how}", case.name);
}

fn brief(events: &[Seen]) -> String {
    let mut all = format!("{events:?}");
    all.truncate(all.floor_char_boundary(400));
    all
}

fn check_all(cases: &[Case]) {
    for case in cases {
        let bytes = &case.bytes[..];
        check(case, "whole", vec![bytes]);
        check(case, "in chops of 997", bytes.chunks(997).collect());
        if bytes.len() <= 70_000 {
            check(case, "byte by byte", bytes.chunks(1).collect());
        }
        if bytes.len() <= 400 {
            for at in 0..=bytes.len() {
                let (left, right) = bytes.split_at(at);
                check(case, &format!("split at {at}"), vec![left, right]);
            }
        }
    }
}

fn case(name: impl Into<String>, frames: &[Vec<u8>], events: &[Seen], end: End) -> Case {
    Case {
        name: name.into(),
        bytes: frames.concat(),
        events: events.to_vec(),
        end,
    }
}

fn whole(opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked_frame(true, opcode, MASK, payload.as_ref())
}

fn part(opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked_frame(false, opcode, MASK, payload.as_ref())
}

/// A frame whose first byte is replaced, for opcodes and reserved bits that cannot be asked for.
fn with_first(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = whole(Opcode::Text, payload);
    bytes[0] = first;
    bytes
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    whole(Opcode::Close, [&code.to_be_bytes(), reason].concat())
}

fn text(text: impl Into<String>) -> Seen {
    Seen::Text(text.into())
}

fn ping(payload: impl AsRef<[u8]>) -> Seen {
    Seen::Ping(payload.as_ref().to_vec())
}

fn pong(payload: impl AsRef<[u8]>) -> Seen {
    Seen::Pong(payload.as_ref().to_vec())
}

fn closed(code: u16, reason: &str) -> Seen {
    Seen::Close(Some((code, reason.into())))
}

#[test]
fn section_1_framing() {
    let mut cases = Vec::new();
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
        let stars = "*".repeat(length);
        let frame = whole(Opcode::Text, &stars);
        let name = format!("1.1 text of {length}");
        cases.push(case(name, &[frame], &[text(stars)], End::Idle));

        let bytes = vec![0xfe; length];
        let frame = whole(Opcode::Binary, &bytes);
        let name = format!("1.2 binary of {length}");
        cases.push(case(name, &[frame], &[Seen::Binary(bytes)], End::Idle));
    }
    let many: Vec<_> = (0..20)
        .map(|n| whole(Opcode::Text, n.to_string()))
        .collect();
    let seen: Vec<_> = (0..20).map(|n| text(n.to_string())).collect();
    cases.push(case("many frames in one read", &many, &seen, End::Idle));
    cases.push(case("nothing", &[], &[], End::Idle));
    let cut = whole(Opcode::Text, "cut off")[..9].to_vec();
    cases.push(case("a frame cut short", &[cut], &[], End::Partial));
    cases.push(case("half a header", &[vec![0x81]], &[], End::Partial));
    check_all(&cases);
}

#[test]
fn section_1_header_errors() {
    use ProtocolError::*;

    let length_16 = |length: u16| [&[0x81, 0xfe][..], &length.to_be_bytes()].concat();
    let length_64 = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes()].concat();
    // The last byte of each is the one that gives it away.
    let cases = [
        (vec![0x81, 0x01], UnmaskedFrame),
        (vec![0x81, 0x7f], UnmaskedFrame),
        (vec![0x89, 0x00], UnmaskedFrame),
        (length_16(0), LengthNotMinimal { length: 0 }),
        (length_16(125), LengthNotMinimal { length: 125 }),
        (length_64(126), LengthNotMinimal { length: 126 }),
        (length_64(65_535), LengthNotMinimal { length: 65_535 }),
        (length_64(1 << 63), LengthTopBit { length: 1 << 63 }),
        (length_64(u64::MAX), LengthTopBit { length: u64::MAX }),
        (vec![0x89, 0xfe], ControlTooLong),
        (vec![0x88, 0xff], ControlTooLong),
    ];
    for (bytes, error) in cases {
        let limits = Limits::default();
        let (before, _) = bytes.split_at(bytes.len() - 1);
        assert_eq!(
            read(Role::Server, &limits, [before]),
            (vec![], Ok(before.is_empty()))
        );
        assert_eq!(
            read(Role::Server, &limits, [&bytes[..]]),
            (vec![], Err(error.clone()))
        );
        assert_eq!(
            read(Role::Server, &limits, bytes.chunks(1)),
            (vec![], Err(error.clone()))
        );
        assert_eq!(error.close_code(), 1002);
    }
}

#[test]
fn section_1_client_role() {
    let limits = Limits::default();
    let hello = frame(Opcode::Text, b"hello");
    assert_eq!(
        read(Role::Client, &limits, [&hello[..]]),
        (vec![text("hello")], Ok(true))
    );
    assert_eq!(
        read(Role::Client, &limits, hello.chunks(1)),
        (vec![text("hello")], Ok(true))
    );
    let masked = whole(Opcode::Text, b"hello");
    let refused = (vec![], Err(ProtocolError::MaskedFrame));
    assert_eq!(read(Role::Client, &limits, [&masked[..2]]), refused);
}

#[test]
#[rustfmt::skip]
fn section_2_pings_and_pongs() {
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    let full = [0xfe; 125];
    let pings: Vec<_> = (0..10)
        .map(|n| whole(Opcode::Ping, n.to_string()))
        .collect();
    let seen: Vec<_> = (0..10).map(|n| ping(n.to_string())).collect();
    check_all(&[
        case("2.1 empty", &[whole(Opcode::Ping, "")], &[ping("")], End::Idle),
        case("2.2 text", &[whole(Opcode::Ping, "Hello")], &[ping("Hello")], End::Idle),
        case("2.3 binary", &[whole(Opcode::Ping, binary)], &[ping(binary)], End::Idle),
        case("2.4 and 2.6 of 125", &[whole(Opcode::Ping, full)], &[ping(full)], End::Idle),
        case("2.5 of 126", &[whole(Opcode::Ping, [0xfe; 126])], &[], End::Failed(1002)),
        case("2.7 pong", &[whole(Opcode::Pong, "")], &[pong("")], End::Idle),
        case("2.8 pong", &[whole(Opcode::Pong, "unasked")], &[pong("unasked")], End::Idle),
        case(
            "2.9 pong, then ping",
            &[whole(Opcode::Pong, "unasked"), whole(Opcode::Ping, "p")],
            &[pong("unasked"), ping("p")],
            End::Idle,
        ),
        case("2.10 and 2.11 ten pings", &pings, &seen, End::Idle),
        case("pong of 126", &[whole(Opcode::Pong, [0; 126])], &[], End::Failed(1002)),
    ]);
}

#[test]
fn section_3_reserved_bits() {
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        for first in [0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0x01] {
            let bad = with_first(first | bits << 4, b"x");
            let frames = [whole(Opcode::Text, HELLO), bad, whole(Opcode::Ping, "")];
            let name = format!("3.{bits} on {first:#x}");
            cases.push(case(name, &frames, &[text(HELLO)], End::Failed(1002)));
        }
    }
    let inside = [part(Opcode::Text, "a"), with_first(0xc0, b"b")];
    cases.push(case("on a continuation", &inside, &[], End::Failed(1002)));
    check_all(&cases);
}

#[test]
fn section_4_reserved_opcodes() {
    let mut cases = Vec::new();
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"reserved"] {
            let bad = with_first(0x80 | opcode, payload);
            let frames = [whole(Opcode::Text, "first"), bad, whole(Opcode::Ping, "")];
            let name = format!("4 opcode {opcode}");
            cases.push(case(name, &frames, &[text("first")], End::Failed(1002)));
        }
    }
    check_all(&cases);
}

#[test]
#[rustfmt::skip]
fn section_5_fragmentation() {
    use Opcode::{Binary, Continuation, Ping, Pong, Text};

    let failed = End::Failed(1002);
    let ab = [part(Text, "a"), whole(Continuation, "b")].concat();
    let many = [
        part(Text, "fragment1"),
        part(Continuation, "fragment2"),
        whole(Ping, "ping1"),
        part(Continuation, "fragment3"),
        part(Continuation, "fragment4"),
        whole(Ping, "ping2"),
        whole(Continuation, "fragment5"),
    ];
    let joined = "fragment1fragment2fragment3fragment4fragment5";
    let crowd = [
        part(Binary, "a"),
        whole(Pong, "1"),
        whole(Ping, "2"),
        whole(Ping, ""),
    ];
    let crowd = [
        crowd.concat(),
        part(Continuation, ""),
        whole(Continuation, "b"),
    ];
    let crowd_seen = [pong("1"), ping("2"), ping(""), Seen::Binary(b"ab".into())];
    check_all(&[
        case("5.1 ping", &[part(Ping, "a"), whole(Continuation, "b")], &[], failed),
        case("5.2 pong", &[part(Pong, "a"), whole(Continuation, "b")], &[], failed),
        case("5.3 to 5.5", std::slice::from_ref(&ab), &[text("ab")], End::Idle),
        case(
            "5.6 to 5.8 ping between",
            &[part(Text, "a"), whole(Ping, "p"), whole(Continuation, "b")],
            &[ping("p"), text("ab")],
            End::Idle,
        ),
        case("5.9 nothing to continue", &[whole(Continuation, "a")], &[], failed),
        case("5.12 nothing to continue", &[part(Continuation, "a")], &[], failed),
        case("5.15", &[ab.clone(), part(Continuation, "c")], &[text("ab")], failed),
        case("5.17", &[ab.clone(), whole(Continuation, "c")], &[text("ab")], failed),
        case("5.18 text in text", &[part(Text, "a"), whole(Text, "b")], &[], failed),
        case("text begun twice", &[part(Text, "a"), part(Text, "b")], &[], failed),
        case("binary in text", &[part(Text, "a"), whole(Binary, "b")], &[], failed),
        case("text in binary", &[part(Binary, "a"), part(Text, "b")], &[], failed),
        case("5.19, 5.20", &many, &[ping("ping1"), ping("ping2"), text(joined)], End::Idle),
        case("two messages", &[ab.clone(), ab], &[text("ab"), text("ab")], End::Idle),
        case("control frames between", &crowd, &crowd_seen, End::Idle),
        case("never finished", &[part(Text, "a"), whole(Ping, "")], &[ping("")], End::Partial),
        case("begun empty", &[part(Binary, "")], &[], End::Partial),
    ]);
}

#[test]
#[rustfmt::skip]
fn section_6_text_in_fragments() {
    use Opcode::{Continuation, Text};

    let octets: Vec<_> = HELLO
        .as_bytes()
        .iter()
        .map(|byte| part(Continuation, [*byte]))
        .collect();
    let octets = [
        part(Text, "").as_slice(),
        &octets.concat(),
        &whole(Continuation, ""),
    ]
    .concat();
    let greek = "κόσμε".as_bytes();
    let cases = [
        case("6.1.1 empty", &[whole(Text, "")], &[text("")], End::Idle),
        case(
            "6.1.2 empty three times",
            &[
                part(Text, ""),
                part(Continuation, ""),
                whole(Continuation, ""),
            ],
            &[text("")],
            End::Idle,
        ),
        case(
            "6.1.3 the middle one is not empty",
            &[
                part(Text, ""),
                part(Continuation, "middle"),
                whole(Continuation, ""),
            ],
            &[text("middle")],
            End::Idle,
        ),
        case("6.2.1", &[whole(Text, HELLO)], &[text(HELLO)], End::Idle),
        case("6.2.3, 6.2.4", &[octets], &[text(HELLO)], End::Idle),
        case(
            "cut inside a code point",
            &[part(Text, &greek[..3]), whole(Continuation, &greek[3..])],
            &[text("κόσμε")],
            End::Idle,
        ),
        case(
            "a ping inside a code point",
            &[
                part(Text, &greek[..3]),
                whole(Opcode::Ping, [0xff]),
                whole(Continuation, &greek[3..]),
            ],
            &[ping([0xff]), text("κόσμε")],
            End::Idle,
        ),
        case("ends inside a code point", &[whole(Text, &greek[..3])], &[], End::Failed(1007)),
        case(
            "ends inside a code point, two fragments",
            &[part(Text, &greek[..3]), whole(Continuation, "")],
            &[],
            End::Failed(1007),
        ),
        case("waits inside a code point", &[part(Text, &greek[..3])], &[], End::Partial),
        case(
            "the next text starts afresh",
            &[
                part(Text, "a"),
                whole(Continuation, "b"),
                whole(Text, [0xbf]),
            ],
            &[text("ab")],
            End::Failed(1007),
        ),
        case("binary is not judged", &[whole(Opcode::Binary, [0xff])], &[Seen::Binary(vec![0xff])], End::Idle),
    ];
    check_all(&cases);
}

/// 6.5 to 6.23 and the sequences of 6.3 and 6.4: each of them whole, in fragments, and where exactly it
/// fails.
const SEQUENCES: &[&[u8]] = &[
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
    // First and last sequence of each length.
    b"\x00",
    b"\xc2\x80",
    b"\xe0\xa0\x80",
    b"\xf0\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\x7f",
    b"\xdf\xbf",
    b"\xef\xbf\xbf",
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    // Other boundaries.
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xf4\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    // Continuation bytes without a start, starts without continuation bytes.
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80\xbf",
    b"\xc0 \xc1 \xc2 ",
    b"\xe0 \xe1 ",
    b"\xf0 \xf1 ",
    b"\xf8 ",
    b"\xfc ",
    b"\xc2",
    b"\xe0\xa0",
    b"\xf0\x90\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf4\x8f\xbf",
    b"\xfe",
    b"\xff",
    // Overlong forms.
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    // Surrogates, alone and in pairs.
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xaf\xbf",
    b"\xed\xb0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
    // Noncharacters are characters to UTF-8.
    b"\xef\xbf\xbe",
    b"\xf0\x9f\xbf\xbe",
    b"\xf0\x9f\xbf\xbf",
    b"\xf4\x8f\xbf\xbe",
];

/// How many bytes of `text` it takes to see that it is no UTF-8, whatever follows.
fn hopeless_after(text: &[u8]) -> Option<usize> {
    (1..=text.len()).find(|end| {
        std::str::from_utf8(&text[..*end]).is_err_and(|error| error.error_len().is_some())
    })
}

#[test]
fn section_6_sequences() {
    let mut cases = Vec::new();
    for sequence in SEQUENCES {
        let (events, end) = match std::str::from_utf8(sequence) {
            Ok(valid) => (vec![text(valid)], End::Idle),
            Err(_) => (vec![], End::Failed(1007)),
        };
        let frame = whole(Opcode::Text, sequence);
        cases.push(case(format!("6 {sequence:x?}"), &[frame], &events, end));
        for at in 0..=sequence.len() {
            let (left, right) = sequence.split_at(at);
            let frames = [part(Opcode::Text, left), whole(Opcode::Continuation, right)];
            cases.push(case(
                format!("6 {sequence:x?} at {at}"),
                &frames,
                &events,
                end,
            ));
        }
    }
    check_all(&cases);
}

#[test]
fn section_6_4_an_invalid_byte_fails_at_once() {
    for before in ["", "a", "κόσμε", &"x".repeat(200)] {
        for sequence in SEQUENCES {
            let payload = [
                before.as_bytes(),
                sequence,
                b" and a tail that need not arrive",
            ]
            .concat();
            let Some(bad) = hopeless_after(&payload) else {
                continue;
            };
            let frame = whole(Opcode::Text, &payload);
            let header_len = frame.len() - payload.len();
            let octets = payload
                .iter()
                .map(|byte| part(Opcode::Continuation, [*byte]));
            let fragments: Vec<_> = std::iter::once(part(Opcode::Text, ""))
                .chain(octets)
                .collect();

            let good = read(
                Role::Server,
                &Limits::default(),
                frame[..header_len + bad - 1].chunks(1),
            );
            assert_eq!(
                good,
                (vec![], Ok(false)),
                "{sequence:x?}: the byte before is fine"
            );
            for chunks in [1, 7, 1000] {
                let cut = frame[..header_len + bad].chunks(chunks);
                let (_, result) = read(Role::Server, &Limits::default(), cut);
                assert_eq!(result, Err(ProtocolError::TextNotUtf8), "{sequence:x?}");
            }
            let good = fragments[..bad].iter().map(Vec::as_slice);
            assert_eq!(
                read(Role::Server, &Limits::default(), good),
                (vec![], Ok(false))
            );
            let cut = fragments[..=bad].iter().map(Vec::as_slice);
            let (_, result) = read(Role::Server, &Limits::default(), cut);
            assert_eq!(
                result,
                Err(ProtocolError::TextNotUtf8),
                "{sequence:x?} in fragments"
            );
        }
    }
}

#[test]
#[rustfmt::skip]
fn section_7_closing() {
    let failed = End::Failed(1002);
    let bye = closed(1000, "");
    let goodbye = close(1000, b"");
    let long = "r".repeat(123);
    let after = |frame: Vec<u8>| [goodbye.clone(), frame];
    let torn = [
        part(Opcode::Text, "a"),
        goodbye.clone(),
        whole(Opcode::Continuation, "b"),
    ];
    let big = "*".repeat(256 * 1024);
    let last = [
        whole(Opcode::Text, &big),
        goodbye.clone(),
        whole(Opcode::Ping, ""),
    ];
    let mut cases = vec![
        case("7.1.1 after a message", &[whole(Opcode::Text, "Hello"), goodbye.clone()], &[text("Hello"), bye.clone()], End::Idle),
        case("7.1.2 twice", &after(goodbye.clone()), std::slice::from_ref(&bye), End::Idle),
        case("7.1.3 then a ping", &after(whole(Opcode::Ping, "")), std::slice::from_ref(&bye), End::Idle),
        case("7.1.4 then a text", &after(whole(Opcode::Text, "")), std::slice::from_ref(&bye), End::Idle),
        case("then noise", &after(vec![0xff; 40]), std::slice::from_ref(&bye), End::Idle),
        case("7.1.5 between fragments", &torn, std::slice::from_ref(&bye), End::Idle),
        case("7.1.6 after 256 KiB", &last, &[text(big), bye.clone()], End::Idle),
        case("7.3.1 empty", &[whole(Opcode::Close, "")], &[Seen::Close(None)], End::Idle),
        case("7.3.2 one byte", &[whole(Opcode::Close, "a")], &[], failed),
        case("7.3.4 reason", &[close(1000, b"Hello")], &[closed(1000, "Hello")], End::Idle),
        case("7.3.5 reason of 123", &[close(1000, long.as_bytes())], &[closed(1000, &long)], End::Idle),
        case("7.3.6 reason of 124", &[close(1000, &[b'r'; 124])], &[], failed),
        case("7.5.1 reason", &[close(1000, b"\xce\xba\xed\xa0\x80")], &[], End::Failed(1007)),
        case("reason cut short", &[close(1000, b"\xce")], &[], End::Failed(1007)),
        case("bad code, bad reason", &[close(1005, b"\xff")], &[], failed),
        case("bad code in a message", &[part(Opcode::Text, "a"), close(0, b"")], &[], failed),
    ];
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        let name = format!("7.7 code {code}");
        cases.push(case(
            name,
            &[close(code, b"")],
            &[closed(code, "")],
            End::Idle,
        ));
    }
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        cases.push(case(
            format!("7.9, 7.13 code {code}"),
            &[close(code, b"")],
            &[],
            failed,
        ));
    }
    check_all(&cases);

    let valid = (0..=u16::MAX).filter(|code| close_code_is_valid(*code));
    let expected = (1000..=1003).chain(1007..=1014).chain(3000..=4999);
    assert!(valid.eq(expected));
}

#[test]
#[rustfmt::skip]
fn section_9_size_limits() {
    use Opcode::{Binary, Continuation, Text};

    let max = 1 << 20;
    let full = "*".repeat(max);
    let (left, right) = full.split_at(max / 2);
    let too_big = End::Failed(1009);
    // Headers alone: what they announce never has to come.
    let announced = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &MASK].concat();
    check_all(&[
        case("9.1 1 MiB", &[whole(Text, &full)], &[text(&full)], End::Idle),
        case("9.3 1 MiB in two fragments", &[part(Text, left), whole(Continuation, right)], &[text(&full)], End::Idle),
        case(
            "9.3 one byte more, in two fragments",
            &[part(Text, left), whole(Continuation, [right, "*"].concat())],
            &[],
            too_big,
        ),
        case("one byte more", &[announced(max as u64 + 1)], &[], too_big),
        case("the largest legal length", &[announced(u64::MAX >> 1)], &[], too_big),
        case("as much as is allowed", &[announced(max as u64)], &[], End::Partial),
        case("a control frame in a full message", &[part(Text, &full), whole(Opcode::Ping, "p")], &[ping("p")], End::Partial),
        case(
            "the next message has the whole limit again",
            &[
                whole(Binary, ""),
                whole(Text, &full),
                part(Text, left),
                whole(Continuation, right),
            ],
            &[Seen::Binary(vec![]), text(&full), text(&full)],
            End::Idle,
        ),
    ]);
    let limits = Limits::default();
    assert_eq!(
        (limits.message_bytes_max, limits.fragment_cost_bytes_min),
        (max, 16)
    );
}

#[test]
fn section_9_what_a_fragment_costs() {
    let limits = Limits {
        message_bytes_max: 64,
        fragment_cost_bytes_min: 16,
        ..Limits::default()
    };
    let start = part(Opcode::Binary, "");
    for payload in ["", "x", "sixteen bytes ..."] {
        let mut bytes = start.clone();
        for _ in 0..3 {
            bytes.extend(part(
                Opcode::Continuation,
                &payload[..payload.len().min(16)],
            ));
        }
        let fits = (vec![], Ok(false));
        assert_eq!(read(Role::Server, &limits, [&bytes[..]]), fits);
        // The fifth fragment, last or not, is one too many.
        bytes.push(0x80);
        bytes.extend([0x80, 1, 2, 3, 4]);
        let error = ProtocolError::MessageTooBig {
            cost_bytes: 80,
            bytes_max: 64,
        };
        assert_eq!(
            read(Role::Server, &limits, [&bytes[..]]),
            (vec![], Err(error.clone()))
        );
        assert_eq!(
            read(Role::Server, &limits, bytes.chunks(1)),
            (vec![], Err(error))
        );
    }
    // A message in one frame costs its length and no more.
    let tight = Limits {
        message_bytes_max: 3,
        fragment_cost_bytes_min: 16,
        ..Limits::default()
    };
    let short = whole(Opcode::Text, "abc");
    assert_eq!(
        read(Role::Server, &tight, [&short[..]]),
        (vec![text("abc")], Ok(true))
    );
    let empty = whole(Opcode::Ping, "more than three");
    let (seen, _) = read(Role::Server, &tight, [&empty[..]]);
    assert_eq!(
        seen,
        [ping("more than three")],
        "control frames have a limit of their own"
    );
}

#[test]
fn section_9_endless_fragments_end() {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Role::Server);
    let mut start = part(Opcode::Text, "");
    assert!(decoder.decode(&limits, &mut start).is_ok());
    let mut refused_after = None;
    for count in 1..100_000 {
        let mut fragment = part(Opcode::Continuation, "");
        if let Err(error) = decoder.decode(&limits, &mut fragment) {
            assert_eq!(error.close_code(), 1009);
            refused_after = Some(count);
            break;
        }
        assert_eq!(decoder.buffered_bytes(), 0);
    }
    assert_eq!(refused_after, Some((1 << 20) / 16));
}

#[test]
fn memory_follows_the_bytes_that_are_there() {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Role::Server);
    let message = vec![7; 1 << 20];
    let mut bytes = whole(Opcode::Binary, &message);
    let mut arrived = 0;
    for chunk in bytes.chunks_mut(1000) {
        let length = chunk.len();
        let decoded = decoder.decode(&limits, chunk).unwrap();
        assert_eq!(decoded.consumed, length);
        let done = decoded.event.is_some();
        arrived += length;
        assert!(decoder.buffered_bytes() <= (2 * arrived).clamp(64, 1 << 20));
        assert_eq!(done, decoder.is_idle());
    }
    assert!(decoder.is_idle());
    assert_eq!(
        decoder.buffered_bytes(),
        1 << 20,
        "the message is still lent out"
    );
    decoder.release();
    assert_eq!(decoder.buffered_bytes(), 0);
}

#[test]
fn the_buffer_is_seldom_moved() {
    // Each fragment fills what the ping before it had room for: growing by what is missing would copy the
    // message every time.
    let limits = Limits::default();
    let mut decoder = Decoder::new(Role::Server);
    let mut moves = 0;
    let mut capacity = 0;
    let mut opcode = Opcode::Binary;
    for _ in 0..10_000 {
        let fragment = part(opcode, "ab");
        let ping = whole(Opcode::Ping, "ab");
        let (left, right) = ping.split_at(ping.len() - 1);
        for bytes in [&fragment, left, right] {
            assert!(decoder.decode(&limits, &mut bytes.to_vec()).is_ok());
            moves += usize::from(decoder.buffered_bytes() != capacity);
            capacity = decoder.buffered_bytes();
        }
        opcode = Opcode::Continuation;
    }
    assert!(moves <= 12, "{moves}");
    assert!(capacity <= 64 * 1024);
}

#[test]
fn a_whole_frame_is_not_copied() {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Role::Server);
    // The header alone first: that the payload comes in another read does not matter, as long as it comes
    // whole.
    let mut bytes = whole(Opcode::Text, "in place");
    let (header, payload) = bytes.split_at_mut(6);
    assert_eq!(decoder.decode(&limits, header).unwrap().event, None);
    assert!(!decoder.is_idle());
    let expected = payload.as_ptr();
    let event = decoder.decode(&limits, payload).unwrap().event;
    assert!(matches!(event, Some(Event::Text(text)) if text.as_ptr() == expected));
    assert_eq!(decoder.buffered_bytes(), 0);
}

#[test]
fn debug_output_keeps_the_payload_to_itself() {
    let mut decoder = Decoder::new(Role::Server);
    let mut bytes = part(Opcode::Text, "secret");
    assert!(decoder.decode(&Limits::default(), &mut bytes).is_ok());
    let shown = format!("{decoder:?}");
    assert!(shown.contains("buffered_bytes: 64"), "{shown}");
    assert!(
        !shown.contains("secret") && !shown.contains("115, 101"),
        "{shown}"
    );
}

#[test]
fn frames_we_write() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let payload = vec![0x5a; length];
        let header: &[u8] = match length {
            0..126 => &[0x82, length as u8],
            126..65_536 => &[&[0x82, 126][..], &(length as u16).to_be_bytes()].concat(),
            _ => &[&[0x82, 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        let expected = [header, &payload].concat();
        assert_eq!(frame(Opcode::Binary, &payload), expected);

        let mut out = [0xee; HEADER_BYTES_MAX];
        let header_len = encode_header(Opcode::Binary, length, &mut out);
        assert_eq!(&out[..header_len], header);

        for estimate in [0, length, 3 * length] {
            let mut builder = FrameBuilder::with_capacity(estimate);
            let (left, right) = payload.split_at(length / 2);
            builder.extend_from_slice(left);
            std::io::Write::write_all(&mut builder, right).unwrap();
            assert_eq!(builder.payload_bytes(), length);
            assert_eq!(builder.finish(Opcode::Binary), expected);
        }
    }
}

#[test]
fn close_frames_we_write() {
    assert_eq!(close_frame(None, "ignored"), [0x88, 0x00][..]);
    assert_eq!(close_frame(Some(1001), ""), [0x88, 0x02, 0x03, 0xe9][..]);
    assert_eq!(
        close_frame(Some(3000), "go"),
        [0x88, 0x04, 0x0b, 0xb8, b'g', b'o'][..]
    );
    let full = close_frame(Some(1000), &"r".repeat(500));
    assert_eq!(full.len(), 2 + 125);
    // 123 bytes would end inside the last of these two-byte characters.
    let cut = close_frame(Some(1000), &"é".repeat(100));
    let seen = vec![closed(1000, &"é".repeat(61))];
    assert_eq!(
        read(Role::Client, &Limits::default(), [&cut[..]]),
        (seen, Ok(true))
    );
}
