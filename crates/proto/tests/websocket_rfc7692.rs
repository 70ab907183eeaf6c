//! permessage-deflate: the examples of RFC 7692, the rules for its bit and for offers, bombs, and what must hold
//! whatever a peer sends.

#![cfg(test)]

use std::io::Read;

use bennu_proto::websocket::deflate::{Deflater, EXTENSIONS_BYTES_MAX, Inflater, negotiate};
use bennu_proto::websocket::{
    Decoder, Deflated, Event, INFLATED_BYTES_FREE, Limits, Opcode, ProtocolError, Role, frame,
    masked_frame, plain_message,
};
use flate2::read::DeflateDecoder;
use flate2::{Compress, Compression, FlushCompress};
use proptest::collection::vec;
use proptest::prelude::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const RSV1: u8 = 0x40;
/// "Hello", of section 7.2.3.1.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

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
            Event::Deflated(_) => panic!("inflated before"),
        }
    }
}

/// All that a connection with the extension makes of `bytes`, in pieces of at most `size`.
fn read(limits: &Limits, bytes: &[u8], size: usize) -> (Vec<Seen>, Result<(), ProtocolError>) {
    let mut decoder = Decoder::new(Role::Server).with_deflate();
    let mut inflater = Inflater::new();
    let mut events = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            let decoded = match decoder.decode(limits, input) {
                Ok(decoded) => decoded,
                Err(error) => return (events, Err(error)),
            };
            let consumed = decoded.consumed;
            match decoded.event {
                None => break,
                Some(Event::Deflated(deflated)) => match inflater.inflate(limits, deflated) {
                    Ok(event) => events.push(event.into()),
                    Err(error) => return (events, Err(error)),
                },
                Some(event) => events.push(event.into()),
            }
            input = &mut input[consumed..];
        }
        assert!(!decoder.is_idle() || decoder.buffered_bytes() == 0);
    }
    (events, Ok(()))
}

/// A frame of a client, with reserved bits.
fn sent(fin: bool, reserved: u8, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = masked_frame(fin, opcode, MASK, payload);
    bytes[0] |= reserved;
    bytes
}

fn inflate(payload: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    inflate_within(&Limits::default(), payload)
}

fn inflate_within(limits: &Limits, payload: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    let mut inflater = Inflater::new();
    let text = false;
    match inflater.inflate(limits, Deflated { text, payload })? {
        Event::Binary(bytes) => Ok(bytes.to_vec()),
        other => panic!("{other:?}"),
    }
}

/// What another level of the library makes of a message, without a look at whether it is shorter.
fn compressed(level: u32, message: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::new(level), false);
    let mut payload = Vec::with_capacity(message.len() + message.len() / 8 + 256);
    compress
        .compress_vec(message, &mut payload, FlushCompress::Sync)
        .unwrap();
    payload.truncate(payload.len() - 4);
    payload
}

#[test]
fn the_examples_of_section_7_2_3() {
    let hello = vec![Seen::Text("Hello".into())];
    let examples: [(&str, Vec<u8>); 6] = [
        ("7.2.3.1, one frame", sent(true, RSV1, Opcode::Text, HELLO)),
        (
            "7.2.3.1, two frames",
            [
                sent(false, RSV1, Opcode::Text, &HELLO[..3]),
                sent(true, 0, Opcode::Continuation, &HELLO[3..]),
            ]
            .concat(),
        ),
        (
            "7.2.3.3, a block with no compression",
            sent(
                true,
                RSV1,
                Opcode::Text,
                b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            ),
        ),
        (
            "7.2.3.4, a last block",
            sent(
                true,
                RSV1,
                Opcode::Text,
                b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            ),
        ),
        (
            "7.2.3.5, two blocks",
            sent(
                true,
                RSV1,
                Opcode::Text,
                b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            ),
        ),
        ("not compressed", sent(true, 0, Opcode::Text, b"Hello")),
    ];
    for (name, bytes) in examples {
        for size in 1..=bytes.len() {
            let (events, end) = read(&Limits::default(), &bytes, size);
            assert_eq!((events, end), (hello.clone(), Ok(())), "{name}");
        }
    }
    // 7.2.3.6: an empty message.
    assert_eq!(inflate(b"\x00").unwrap(), b"");
    // 7.2.3.2: the second message refers back to the first, which nobody remembers.
    assert_eq!(
        inflate(b"\xf2\x00\x11\x00\x00"),
        Err(ProtocolError::NotDeflate)
    );
}

#[test]
fn blocks_of_every_kind_in_any_number() {
    let empty = [0x00, 0x00, 0x00, 0xff, 0xff];
    let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    let table: [(&str, Vec<u8>, &[u8]); 6] = [
        ("no bytes at all", vec![], b""),
        ("empty blocks", [&empty.repeat(50)[..], &[0]].concat(), b""),
        (
            "empty blocks, then data",
            [&empty.repeat(9)[..], HELLO].concat(),
            b"Hello",
        ),
        ("a last block and nothing more", last.to_vec(), b"Hello"),
        (
            "two last blocks",
            [&last[..], last, &[0]].concat(),
            b"HelloHello",
        ),
        (
            "data after a last block",
            [&last[..], HELLO].concat(),
            b"HelloHello",
        ),
    ];
    for (name, payload, message) in table {
        assert_eq!(inflate(&payload).as_deref(), Ok(message), "{name}");
    }
}

#[test]
fn what_is_no_deflate_is_refused_with_1007() {
    let cut = compressed(
        9,
        "a message that is long enough to be cut "
            .repeat(4)
            .as_bytes(),
    );
    let mut refused: Vec<Vec<u8>> = vec![
        // A block type that does not exist, lengths that contradict each other, a stored block that ends early.
        vec![0x06],
        vec![0x00, 0x05, 0x00, 0x00, 0x00, b'a'],
        vec![0x00, 0x05, 0x00, 0xfa, 0xff, b'a'],
        // As long as what is read behind it.
        vec![0x00, 0x09, 0x00, 0xf6, 0xff],
        b"not compressed at all".to_vec(),
        vec![0xff; 40],
        // A header of zlib, of gzip.
        vec![0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01],
        vec![0x1f, 0x8b, 0x08, 0x00],
        // What is removed from the end was left there, in part.
        [HELLO, &[0x00, 0x00]].concat(),
    ];
    refused.extend((1..cut.len()).map(|end| cut[..end].to_vec()));
    for payload in refused {
        let error = inflate(&payload).unwrap_err();
        assert_eq!(error, ProtocolError::NotDeflate, "{payload:x?}");
        assert_eq!(error.close_code(), 1007);
    }
}

#[test]
fn the_bit_is_for_the_first_frame_of_a_message_and_nothing_else() {
    let ping_between = [
        sent(false, RSV1, Opcode::Text, &HELLO[..2]),
        sent(true, 0, Opcode::Ping, b"between"),
        sent(false, 0, Opcode::Continuation, &[]),
        sent(true, 0, Opcode::Continuation, &HELLO[2..]),
        sent(true, 0, Opcode::Text, b"plain"),
    ]
    .concat();
    let (events, end) = read(&Limits::default(), &ping_between, 7);
    let expected = [
        Seen::Ping(b"between".into()),
        Seen::Text("Hello".into()),
        Seen::Text("plain".into()),
    ];
    assert_eq!((&events[..], end), (&expected[..], Ok(())));

    let begun = sent(false, RSV1, Opcode::Text, &HELLO[..2]);
    let refused = [
        sent(true, RSV1, Opcode::Ping, b""),
        sent(true, RSV1, Opcode::Pong, b""),
        sent(true, RSV1, Opcode::Close, b""),
        sent(true, RSV1 | 0x20, Opcode::Text, HELLO),
        sent(true, 0x20, Opcode::Text, b"x"),
        sent(true, 0x10, Opcode::Binary, b"x"),
        [
            &begun[..],
            &sent(true, RSV1, Opcode::Continuation, &HELLO[2..]),
        ]
        .concat(),
        [&begun[..], &sent(true, RSV1, Opcode::Ping, b"")].concat(),
    ];
    for bytes in refused {
        let (events, end) = read(&Limits::default(), &bytes, bytes.len());
        assert_eq!(events, []);
        let error = end.unwrap_err();
        assert!(
            matches!(error, ProtocolError::ReservedBits { .. }),
            "{error}"
        );
        assert_eq!(error.close_code(), 1002);
    }
    // A message within a message has a worse fault.
    let nested = [&begun[..], &sent(true, RSV1, Opcode::Text, HELLO)].concat();
    let (_, end) = read(&Limits::default(), &nested, nested.len());
    assert_eq!(end, Err(ProtocolError::ExpectedContinuation));
}

#[test]
fn without_the_extension_the_bit_is_refused() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let mut bytes = sent(true, RSV1, opcode, HELLO);
        let mut decoder = Decoder::new(Role::Server);
        let error = decoder.decode(&Limits::default(), &mut bytes).unwrap_err();
        assert_eq!(error, ProtocolError::ReservedBits { bits: 0b100 });
    }
}

#[test]
fn text_is_judged_after_it_is_inflated() {
    // The bytes that are sent are no UTF-8, the text is; and the other way round.
    let bad = compressed(6, b"\xff\xfe");
    let bytes = [
        sent(true, RSV1, Opcode::Text, HELLO),
        sent(false, RSV1, Opcode::Text, &bad[..1]),
        sent(true, 0, Opcode::Continuation, &bad[1..]),
    ]
    .concat();
    let (events, end) = read(&Limits::default(), &bytes, 3);
    assert_eq!(events, [Seen::Text("Hello".into())]);
    assert_eq!(end, Err(ProtocolError::TextNotUtf8));
    // The state of the text before does not leak into the next.
    let bytes = [
        sent(false, RSV1, Opcode::Text, &HELLO[..4]),
        sent(true, 0, Opcode::Continuation, &HELLO[4..]),
        sent(false, 0, Opcode::Text, b"\xc3"),
        sent(true, 0, Opcode::Continuation, b"\xa4"),
    ]
    .concat();
    let (events, end) = read(&Limits::default(), &bytes, 1);
    assert_eq!(events, [Seen::Text("Hello".into()), Seen::Text("ä".into())]);
    assert_eq!(end, Ok(()));
}

#[test]
fn a_bomb_is_put_out_at_the_ratio() {
    let bomb = compressed(9, &vec![0; 1 << 20]);
    assert!(bomb.len() < 1100, "a thousandfold: {}", bomb.len());
    let mut inflater = Inflater::new();
    let deflated = Deflated {
        text: true,
        payload: &bomb,
    };
    let error = inflater.inflate(&Limits::default(), deflated).unwrap_err();
    assert_eq!(error, ProtocolError::InflateRatio { ratio_max: 100 });
    assert_eq!(error.close_code(), 1009);
    assert!(
        inflater.buffered_bytes() <= 64 * 1024,
        "nothing is kept of it"
    );
}

#[test]
fn the_limit_is_for_what_is_inflated_and_stops_it_at_once() {
    let limits = Limits {
        message_bytes_max: 4096,
        inflate_ratio_max: usize::MAX,
        ..Limits::default()
    };
    // Hundreds of megabytes, if anybody went on.
    let block = compressed(9, &vec![b'a'; 1 << 20]);
    for (bytes, fits) in [(4095, true), (4096, true), (4097, false), (1 << 20, false)] {
        let message = vec![b'a'; bytes];
        let result = inflate_within(&limits, &compressed(9, &message));
        if fits {
            assert_eq!(result, Ok(message));
        } else {
            let error = result.unwrap_err();
            assert_eq!(error, ProtocolError::InflatedTooBig { bytes_max: 4096 });
            assert_eq!(error.close_code(), 1009);
        }
    }
    // Blocks that are complete in themselves count together.
    let mut blocks = Vec::new();
    for _ in 0..500 {
        blocks.extend_from_slice(&block);
        blocks.extend([0x00, 0x00, 0xff, 0xff]);
    }
    let mut inflater = Inflater::new();
    let deflated = Deflated {
        text: false,
        payload: &blocks,
    };
    let error = inflater.inflate(&limits, deflated).unwrap_err();
    assert_eq!(error, ProtocolError::InflatedTooBig { bytes_max: 4096 });
    assert!(inflater.buffered_bytes() <= 8192);
}

#[test]
fn just_under_and_just_over_the_ratio() {
    let payload = compressed(9, &vec![b'x'; 2 * INFLATED_BYTES_FREE]);
    let ratio = (2 * INFLATED_BYTES_FREE).div_ceil(payload.len());
    let with = |inflate_ratio_max| Limits {
        inflate_ratio_max,
        ..Limits::default()
    };
    assert!(inflate_within(&with(ratio), &payload).is_ok());
    assert_eq!(
        inflate_within(&with(ratio - 1), &payload),
        Err(ProtocolError::InflateRatio {
            ratio_max: ratio - 1
        })
    );
    // Short messages may be as thin as they like.
    let free = compressed(9, &vec![b'x'; INFLATED_BYTES_FREE]);
    assert!(inflate_within(&with(0), &free).is_ok());
    let over = compressed(9, &vec![b'x'; INFLATED_BYTES_FREE + 1]);
    assert!(inflate_within(&with(0), &over).is_err());
}

#[test]
fn input_without_output_ends_at_the_limit_too() {
    let limits = Limits {
        message_bytes_max: 20_000,
        ..Limits::default()
    };
    // Nothing comes out of these, ever.
    for block in [&[0x00, 0x00, 0x00, 0xff, 0xff][..], &[0x03, 0x00]] {
        let whole = sent(
            true,
            RSV1,
            Opcode::Binary,
            &block.repeat(20_001 / block.len() + 1),
        );
        let (events, end) = read(&limits, &whole, 1024);
        assert_eq!(events, []);
        assert!(matches!(end, Err(ProtocolError::MessageTooBig { .. })));

        let mut fragments = sent(false, RSV1, Opcode::Binary, block);
        while fragments.len() < 100_000 {
            fragments.extend(sent(false, 0, Opcode::Continuation, block));
        }
        let (events, end) = read(&limits, &fragments, 4096);
        assert_eq!(events, []);
        assert!(matches!(end, Err(ProtocolError::MessageTooBig { .. })));
    }
    // Empty fragments, of which the first alone says that it is compressed.
    let mut fragments = sent(false, RSV1, Opcode::Text, b"");
    fragments.extend(sent(false, 0, Opcode::Continuation, b"").repeat(20_000 / 16 + 1));
    let (_, end) = read(&limits, &fragments, 1 << 20);
    assert!(matches!(end, Err(ProtocolError::MessageTooBig { .. })));
}

#[test]
fn an_inflater_keeps_no_large_buffer_and_goes_on_after_an_error() {
    let mut inflater = Inflater::new();
    let text: String = (0..60_000).map(|n| format!("{n},")).collect();
    let large = compressed(3, text.as_bytes());
    let limits = Limits::default();
    for _ in 0..3 {
        let deflated = |payload| Deflated {
            text: true,
            payload,
        };
        let event = inflater.inflate(&limits, deflated(&large)).unwrap();
        assert_eq!(event, Event::Text(&text));
        assert!(inflater.buffered_bytes() >= text.len());
        assert!(inflater.inflate(&limits, deflated(&[0x06])).is_err());
        let event = inflater.inflate(&limits, deflated(HELLO)).unwrap();
        assert_eq!(event, Event::Text("Hello"));
        assert!(inflater.buffered_bytes() <= 64 * 1024);
    }
}

#[test]
fn a_message_is_compressed_by_itself_and_only_if_that_makes_it_shorter() {
    let mut deflater = Deflater::new(2);
    let text = r#"[null,null,"room:1","new_msg",{"body":"hello hello hello hello"}]"#;
    let plain = frame(Opcode::Text, text.as_bytes());
    let first = deflater.deflate_frame(&plain).unwrap();
    assert_eq!(first[0], 0xc1);
    assert_eq!(usize::from(first[1]), first.len() - 2);
    assert!(first.len() < plain.len());
    assert_eq!(inflate(&first[2..]).unwrap(), text.as_bytes());
    assert!(!first.ends_with(&[0x00, 0x00, 0xff, 0xff]));
    // Nothing of the first is remembered.
    assert_eq!(deflater.deflate_frame(&plain).unwrap(), first);

    // What is random stays as it is, and so do control frames, and what is no frame.
    let mut state = 1_u32;
    let noise: Vec<u8> = (0..5000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    for bytes in [
        frame(Opcode::Binary, &noise),
        frame(Opcode::Text, b""),
        frame(Opcode::Text, b"{}"),
        frame(Opcode::Ping, &[b'a'; 100]),
        frame(Opcode::Close, &[b'a'; 100]),
        first,
        plain.slice(..20),
        plain.slice(..1),
        bytes::Bytes::new(),
    ] {
        assert_eq!(deflater.deflate_frame(&bytes), None);
    }
}

#[test]
fn headers_of_all_lengths_are_understood() {
    for length in [0, 125, 126, 65_535, 65_536] {
        let message = vec![b'm'; length];
        let plain = frame(Opcode::Binary, &message);
        assert_eq!(plain_message(&plain), Some((Opcode::Binary, &message[..])));
        assert_eq!(plain_message(&plain[..plain.len() - 1]), None);
    }
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table of cases reads best in one piece"
)]
fn offers() {
    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    const WINDOW: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";
    let table: &[(&[&str], Option<&str>)] = &[
        (&[], None),
        (&[""], None),
        (&["permessage-deflate"], Some(BOTH)),
        // Chromium and Firefox, Safari, npm ws.
        (&["permessage-deflate; client_max_window_bits"], Some(BOTH)),
        (&["x-webkit-deflate-frame, permessage-deflate"], Some(BOTH)),
        (
            &["permessage-deflate;client_no_context_takeover;server_no_context_takeover"],
            Some(BOTH),
        ),
        (
            &["permessage-deflate; client_max_window_bits=8"],
            Some(BOTH),
        ),
        (
            &["permessage-deflate; client_max_window_bits=\"10\""],
            Some(BOTH),
        ),
        (
            &["permessage-deflate; server_max_window_bits=15"],
            Some(WINDOW),
        ),
        (
            &["permessage-deflate; server_max_window_bits=\"1\\5\""],
            Some(WINDOW),
        ),
        (
            &["permessage-deflate ;\tserver_max_window_bits = 15 ; client_max_window_bits"],
            Some(WINDOW),
        ),
        // Ours has one window for all.
        (&["permessage-deflate; server_max_window_bits=14"], None),
        (&["permessage-deflate; server_max_window_bits=8"], None),
        // The next best offer (section 5.1, section 7.1.3).
        (
            &["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
            Some(BOTH),
        ),
        (
            &[
                "permessage-deflate; server_max_window_bits=10",
                "permessage-deflate; client_max_window_bits",
            ],
            Some(BOTH),
        ),
        (
            &["permessage-deflate; server_max_window_bits=15, permessage-deflate"],
            Some(WINDOW),
        ),
        (
            &["permessage-deflate, permessage-deflate; server_max_window_bits=15"],
            Some(BOTH),
        ),
        (
            &["permessage-foo; use_y; x=\"a,b;c\\\"\", permessage-deflate"],
            Some(BOTH),
        ),
        // Values that a parameter does not have, or that it needs.
        (&["permessage-deflate; server_no_context_takeover=1"], None),
        (
            &["permessage-deflate; client_no_context_takeover=true"],
            None,
        ),
        (&["permessage-deflate; server_max_window_bits"], None),
        (&["permessage-deflate; server_max_window_bits=16"], None),
        (&["permessage-deflate; server_max_window_bits=7"], None),
        (&["permessage-deflate; server_max_window_bits=015"], None),
        (&["permessage-deflate; server_max_window_bits=150"], None),
        (&["permessage-deflate; server_max_window_bits=1x"], None),
        (&["permessage-deflate; server_max_window_bits=\"\""], None),
        (&["permessage-deflate; client_max_window_bits=16"], None),
        (&["permessage-deflate; client_max_window_bits=08"], None),
        (&["permessage-deflate; client_max_window_bits=\" 9\""], None),
        // Twice, or unknown.
        (
            &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
            None,
        ),
        (
            &["permessage-deflate; client_no_context_takeover; client_no_context_takeover"],
            None,
        ),
        (
            &["permessage-deflate; client_max_window_bits; client_max_window_bits=15"],
            None,
        ),
        (
            &["permessage-deflate; server_max_window_bits=15; server_max_window_bits=15"],
            None,
        ),
        (&["permessage-deflate; mux"], None),
        (&["permessage-deflate; Server_No_Context_Takeover"], None),
        (&["permessage-deflate2"], None),
        // Not as RFC 6455 has it; a line by itself.
        (&["permessage-deflate;"], None),
        (&["permessage-deflate; =1"], None),
        (&["permessage-deflate; server_max_window_bits="], None),
        (&["permessage-deflate; client_max_window_bits=\"15"], None),
        (&["permessage-deflate; client_max_window_bits=\"15\\"], None),
        (&["permessage-deflate client_max_window_bits"], None),
        (&["permessage-deflate, (what)"], None),
        (&["\u{e4}, permessage-deflate"], None),
        (&["(what)", "permessage-deflate"], Some(BOTH)),
        (&[", ,permessage-deflate,"], Some(BOTH)),
    ];
    for (lines, response) in table {
        let agreed = negotiate(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(
            agreed.map(|agreed| agreed.response()),
            *response,
            "{lines:?}"
        );
    }
}

#[test]
fn an_endless_offer_is_not_read() {
    let offer = "permessage-deflate; mux, ";
    let long = format!("permessage-deflate, {}", offer.repeat(100));
    assert!(long.len() > EXTENSIONS_BYTES_MAX);
    assert_eq!(negotiate([long.as_bytes()]), None);
    // Nor endless lines of nothing.
    let lines = (0..2000).map(|_| &b""[..]);
    assert_eq!(negotiate(lines.chain([&b"permessage-deflate"[..]])), None);
    let padded = format!(
        "permessage-deflate{}",
        " ".repeat(EXTENSIONS_BYTES_MAX - 19)
    );
    assert!(negotiate([padded.as_bytes()]).is_some());
}

/// Messages as they are sent, and what has most of everything.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        (vec(0_u8..4, 0..40), 1..200_usize).prop_map(|(bytes, times)| bytes.repeat(times)),
        "[a-c{}:\", ]{0,400}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn what_is_deflated_is_inflated(message in message(), level in 0..11_u32) {
        let mut deflater = Deflater::new(level);
        if let Some(payload) = deflater.deflate(&message) {
            prop_assert!(payload.len() < message.len());
            let limits = Limits { inflate_ratio_max: 2000, ..Limits::default() };
            prop_assert_eq!(inflate_within(&limits, payload), Ok(message.clone()));
            // Another reader, to which a last block has to be given.
            let mut oracle = Vec::new();
            let stream = [payload, &[0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff]].concat();
            DeflateDecoder::new(&stream[..]).read_to_end(&mut oracle).unwrap();
            prop_assert_eq!(oracle, message);
        }
    }

    /// Frames of any kind, compressed or said to be, come to the same however they are split.
    #[test]
    fn splits_make_no_difference(
        frames in vec((message(), prop::bool::weighted(0.8), any::<bool>(), 0..4_u8), 1..5),
        sizes in vec(1..40_usize, 3),
    ) {
        let mut bytes = Vec::new();
        for (message, honest, text, fragments) in frames {
            let payload = if honest { compressed(6, &message) } else { message };
            let opcode = if text { Opcode::Text } else { Opcode::Binary };
            let size = payload.len() / (usize::from(fragments) + 1) + 1;
            let mut first = true;
            let mut rest = &payload[..];
            loop {
                let (piece, later) = rest.split_at(size.min(rest.len()));
                rest = later;
                let reserved = if first { RSV1 } else { 0 };
                let opcode = if first { opcode } else { Opcode::Continuation };
                bytes.extend(sent(rest.is_empty(), reserved, opcode, piece));
                if rest.is_empty() {
                    break;
                }
                bytes.extend(sent(true, 0, Opcode::Ping, b"p"));
                first = false;
            }
        }
        let limits = Limits { message_bytes_max: 3000, ..Limits::default() };
        let whole = read(&limits, &bytes, bytes.len());
        for size in sizes {
            prop_assert_eq!(&read(&limits, &bytes, size), &whole);
        }
    }

    /// What we accept is what a plain reader of DEFLATE makes of it.
    #[test]
    fn noise_is_read_as_by_a_plain_reader(mut noise in vec(any::<u8>(), 1..60), kind in 0..4_u8) {
        // Mostly blocks of fixed codes, which noise can be.
        noise[0] = noise[0] & !0b111 | if kind == 0 { 0 } else { 0b010 };
        if let Ok(message) = inflate(&noise) {
            let stream = [&noise[..], &[0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff]].concat();
            let mut oracle = Vec::new();
            DeflateDecoder::new(&stream[..]).read_to_end(&mut oracle).unwrap();
            prop_assert!(message.starts_with(&oracle));
        }
    }

    #[test]
    fn offers_at_random_are_read_without_a_panic(
        lines in vec(vec(prop::sample::select(b"permessage-deflate;,=\"\\ 158_\xff".to_vec()), 0..60), 0..5),
    ) {
        let _ = negotiate(lines.iter().map(Vec::as_slice));
    }
}
