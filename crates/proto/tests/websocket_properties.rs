//! What must hold for the framing whatever a peer sends and however the network splits it, and where we agree
//! with tungstenite.

#![cfg(test)]

use std::io::{self, Cursor, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tungstenite::Message;
use tungstenite::protocol::{Role as TungsteniteRole, WebSocket, WebSocketConfig};

use bennu_proto::websocket::*;

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

#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<Seen>,
    /// Whether the decoder is idle at the end, or why it failed.
    end: Result<bool, ProtocolError>,
}

fn limits(message_bytes_max: usize, fragment_cost_bytes_min: usize) -> Limits {
    Limits {
        message_bytes_max,
        fragment_cost_bytes_min,
        ..Limits::default()
    }
}

/// Feeds `bytes` in pieces of these sizes, over and over; all at once if there are none.
fn decode(role: Role, limits: &Limits, bytes: &[u8], sizes: &[usize]) -> Outcome {
    let mut decoder = Decoder::new(role);
    let mut events = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut rest = bytes.to_vec();
    let mut rest = &mut rest[..];
    let mut last = false;
    while !last {
        let size = sizes
            .next()
            .map_or(rest.len(), |size| rest.len().min(*size));
        let (mut input, later) = rest.split_at_mut(size);
        rest = later;
        last = rest.is_empty();
        loop {
            let length = input.len();
            let (consumed, more) = match decoder.decode(limits, input) {
                Ok(Decoded { consumed, event }) => {
                    let more = event.is_some();
                    events.extend(event.map(Seen::from));
                    (consumed, more)
                }
                Err(error) => {
                    assert_eq!(
                        decoder.decode(limits, &mut [0x8a, 0x80]),
                        Err(error.clone())
                    );
                    assert_eq!(decoder.buffered_bytes(), 0);
                    return Outcome {
                        events,
                        end: Err(error),
                    };
                }
            };
            assert!(consumed <= length);
            assert!(decoder.buffered_bytes() <= limits.message_bytes_max + 125);
            if !more {
                assert_eq!(consumed, length);
                break;
            }
            input = &mut input[consumed..];
        }
        assert!(!decoder.is_idle() || decoder.buffered_bytes() == 0);
    }
    Outcome {
        events,
        end: Ok(decoder.is_idle()),
    }
}

fn data_opcode() -> impl Strategy<Value = Opcode> {
    prop_oneof![Just(Opcode::Text), Just(Opcode::Binary)]
}

fn any_opcode() -> impl Strategy<Value = Opcode> {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    prop::sample::select(vec![
        Continuation,
        Continuation,
        Text,
        Text,
        Binary,
        Close,
        Ping,
        Pong,
    ])
}

/// Bytes that are mostly text, with the pieces that UTF-8 validators stumble over.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => ".{0,8}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..3),
        2 => prop::sample::select(vec![
            &b"\xed\xa0\x80"[..], b"\xf4\x90", b"\xf4\x8f\xbf\xbf", b"\xe0\xa0", b"\xe0\x9f", b"\xc0",
            b"\xf0\x8f", b"\xf0\x90\x80", b"\x80", b"\xff", b"\xed\x9f\xbf", b"\xc2",
        ]).prop_map(<[u8]>::to_vec),
        1 => "[a-z]{64,90}".prop_map(String::into_bytes),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => nearly_text(),
        2 => vec(any::<u8>(), 0..40),
        1 => vec(any::<u8>(), 110..300),
        1 => (prop_oneof![900..1100_u16, 2900..5100_u16], ".{0,4}")
            .prop_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat()),
    ]
}

/// A frame that is right most of the time.
fn wild_frame() -> impl Strategy<Value = Vec<u8>> {
    let flaw = prop_oneof![9 => Just(None), 1 => (0..12_usize, any::<u8>()).prop_map(Some)];
    (
        any::<bool>(),
        any_opcode(),
        any::<[u8; 4]>(),
        payload(),
        flaw,
    )
        .prop_map(|(fin, opcode, mask, payload, flaw)| {
            let mut bytes = masked_frame(fin || opcode.is_control(), opcode, mask, &payload);
            if let Some((at, bits)) = flaw
                && let Some(byte) = bytes.get_mut(at)
            {
                *byte ^= bits;
            }
            bytes
        })
}

fn wild_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![9 => wild_frame(), 1 => vec(any::<u8>(), 0..20)];
    vec(piece, 0..7).prop_map(|pieces| pieces.concat())
}

/// One message as a client may send it: cut at these places, with a control frame wherever it likes.
#[derive(Clone, Debug)]
struct Sent {
    opcode: Opcode,
    payload: Vec<u8>,
    cuts: Vec<prop::sample::Index>,
    between: Vec<Option<(bool, Vec<u8>)>>,
    mask: [u8; 4],
}

fn sent() -> impl Strategy<Value = Sent> {
    let opcode_and_payload = prop_oneof![
        ".{0,60}".prop_map(|text| (Opcode::Text, text.into_bytes())),
        vec(any::<u8>(), 0..400).prop_map(|bytes| (Opcode::Binary, bytes)),
        (
            data_opcode(),
            prop::sample::select(vec![125_usize, 126, 127, 65_535, 65_536, 70_000])
        )
            .prop_map(|(opcode, length)| (opcode, vec![b'*'; length])),
    ];
    let control = prop::option::weighted(0.3, (any::<bool>(), vec(any::<u8>(), 0..=125)));
    let cuts = vec(any::<prop::sample::Index>(), 0..6);
    (opcode_and_payload, cuts, vec(control, 7), any::<[u8; 4]>()).prop_map(
        |((opcode, payload), cuts, between, mask)| Sent {
            opcode,
            payload,
            cuts,
            between,
            mask,
        },
    )
}

impl Sent {
    fn write(&self, bytes: &mut Vec<u8>, expected: &mut Vec<Seen>) {
        let length = self.payload.len();
        let mut cuts: Vec<_> = self.cuts.iter().map(|cut| cut.index(length + 1)).collect();
        cuts.sort_unstable();
        cuts.push(length);
        let mut start = 0;
        for (number, end) in cuts.iter().enumerate() {
            if let Some(Some((is_ping, payload))) = self.between.get(number) {
                let opcode = if *is_ping { Opcode::Ping } else { Opcode::Pong };
                bytes.extend(masked_frame(true, opcode, self.mask, payload));
                let seen = if *is_ping { Seen::Ping } else { Seen::Pong };
                expected.push(seen(payload.clone()));
            }
            let opcode = if number == 0 {
                self.opcode
            } else {
                Opcode::Continuation
            };
            let fin = number + 1 == cuts.len();
            bytes.extend(masked_frame(
                fin,
                opcode,
                self.mask,
                &self.payload[start..*end],
            ));
            start = *end;
        }
        expected.push(match self.opcode {
            Opcode::Text => Seen::Text(String::from_utf8(self.payload.clone()).unwrap()),
            _ => Seen::Binary(self.payload.clone()),
        });
    }
}

/// How many bytes of `text` it takes to see that it is no UTF-8, whatever follows.
fn hopeless_after(text: &[u8]) -> Option<usize> {
    (1..=text.len()).find(|end| {
        std::str::from_utf8(&text[..*end]).is_err_and(|error| error.error_len().is_some())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn chunking_changes_nothing(
        bytes in wild_bytes(),
        sizes in vec(1..40_usize, 1..5),
        max in prop_oneof![0..64_usize, 100..2000_usize],
        min in 0..20_usize,
        is_server in prop::bool::weighted(0.9),
    ) {
        let limits = limits(max, min);
        let role = if is_server { Role::Server } else { Role::Client };
        let whole = decode(role, &limits, &bytes, &[]);
        prop_assert_eq!(&decode(role, &limits, &bytes, &[1]), &whole);
        prop_assert_eq!(&decode(role, &limits, &bytes, &sizes), &whole);
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..64), sizes in vec(0..9_usize, 0..3)) {
        // Empty reads among the others.
        let sizes = [&sizes[..], &[0, 5]].concat();
        for role in [Role::Server, Role::Client] {
            let whole = decode(role, &limits(100, 16), &bytes, &[]);
            prop_assert_eq!(decode(role, &limits(100, 16), &bytes, &sizes), whole);
        }
    }

    #[test]
    fn text_is_judged_as_std_does(
        payload in nearly_text(),
        cuts in vec(any::<prop::sample::Index>(), 0..4),
        sizes in vec(1..40_usize, 1..5),
    ) {
        let mask = [9, 8, 7, 6];
        let sent = Sent { opcode: Opcode::Binary, payload: payload.clone(), cuts, between: vec![], mask };
        let mut bytes = Vec::new();
        sent.write(&mut bytes, &mut Vec::new());
        bytes[0] = bytes[0] & 0xf0 | Opcode::Text as u8;

        let outcome = decode(Role::Server, &Limits::default(), &bytes, &sizes);
        match std::str::from_utf8(&payload) {
            Ok(text) => prop_assert_eq!(outcome.events, [Seen::Text(text.into())]),
            Err(_) => prop_assert_eq!(outcome.end, Err(ProtocolError::TextNotUtf8)),
        }
        if let Some(bad) = hopeless_after(&payload) {
            let frame = masked_frame(true, Opcode::Text, mask, &[&payload[..], &[b'.'; 99]].concat());
            let needed = frame.len() - payload.len() - 99 + bad;
            let good = decode(Role::Server, &Limits::default(), &frame[..needed - 1], &sizes);
            prop_assert_eq!(good.end, Ok(false));
            let outcome = decode(Role::Server, &Limits::default(), &frame[..needed], &sizes);
            prop_assert_eq!(outcome.end, Err(ProtocolError::TextNotUtf8));
        }
    }

    #[test]
    fn masking_is_xor(
        mask in any::<[u8; 4]>(),
        payload in vec(any::<u8>(), 0..200),
        sizes in vec(1..40_usize, 1..5),
    ) {
        let bytes = masked_frame(true, Opcode::Binary, mask, &payload);
        let start = bytes.len() - payload.len();
        let naive: Vec<_> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        prop_assert_eq!(&bytes[start..], naive);
        let outcome = decode(Role::Server, &Limits::default(), &bytes, &sizes);
        prop_assert_eq!(outcome.events, [Seen::Binary(payload)]);
    }

    #[test]
    fn what_a_client_reads_is_what_we_wrote(
        payload in payload(),
        opcode in data_opcode(),
        estimate in 0..400_usize,
    ) {
        let once = frame(opcode, &payload);
        let mut builder = FrameBuilder::with_capacity(estimate);
        builder.write_all(&payload).unwrap();
        prop_assert_eq!(&builder.finish(opcode), &once);
        let outcome = decode(Role::Client, &Limits::default(), &once, &[]);
        match (opcode, String::from_utf8(payload.clone())) {
            (Opcode::Binary, _) => prop_assert_eq!(outcome.events, [Seen::Binary(payload)]),
            (_, Ok(text)) => prop_assert_eq!(outcome.events, [Seen::Text(text)]),
            (_, Err(_)) => prop_assert_eq!(outcome.end, Err(ProtocolError::TextNotUtf8)),
        }
    }

    #[test]
    fn close_frames_are_legal(
        code in prop_oneof![1000..1004_u16, 1007..1015_u16, 3000..5000_u16],
        reason in ".{0,140}",
    ) {
        let bytes = close_frame(Some(code), &reason);
        prop_assert!(bytes.len() <= 2 + 125);
        let outcome = decode(Role::Client, &Limits::default(), &bytes, &[]);
        let Ok([Seen::Close(Some((read, cut)))]) = <[Seen; 1]>::try_from(outcome.events) else {
            return Err(TestCaseError::fail("no close"));
        };
        prop_assert_eq!(read, code);
        prop_assert!(reason.starts_with(&cut));
        prop_assert!(cut == reason || cut.len() >= 120);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn messages_survive_fragmentation(
        messages in vec(sent(), 0..4),
        sizes in vec(1..3000_usize, 1..5),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for message in &messages {
            message.write(&mut bytes, &mut expected);
        }
        let expected = Outcome { events: expected, end: Ok(true) };
        prop_assert_eq!(&decode(Role::Server, &Limits::default(), &bytes, &[]), &expected);
        prop_assert_eq!(&decode(Role::Server, &Limits::default(), &bytes, &sizes), &expected);
        prop_assert_eq!(&tungstenite_reads(TungsteniteRole::Server, 1 << 20, &bytes), &expected.events);
    }

    #[test]
    fn we_read_what_a_tungstenite_client_writes(
        messages in vec(sent(), 0..4),
        sizes in vec(1..3000_usize, 1..5),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for message in &messages {
            message.write(&mut bytes, &mut expected);
        }
        let mut client = WebSocket::from_raw_socket(Pipe::default(), TungsteniteRole::Client, None);
        for seen in &expected {
            let message = match seen.clone() {
                Seen::Text(text) => Message::text(text),
                Seen::Binary(bytes) => Message::binary(bytes),
                Seen::Ping(bytes) => Message::Ping(bytes.into()),
                Seen::Pong(bytes) => Message::Pong(bytes.into()),
                Seen::Close(_) => continue,
            };
            client.send(message).unwrap();
        }
        client.close(None).unwrap();
        expected.push(Seen::Close(None));
        let written = &client.get_ref().written;
        let outcome = decode(Role::Server, &Limits::default(), written, &sizes);
        prop_assert_eq!(outcome, Outcome { events: expected, end: Ok(true) });
    }

    #[test]
    fn a_tungstenite_client_reads_what_we_write(
        payloads in vec((data_opcode(), ".{0,200}"), 0..4),
        code in 3000..5000_u16,
        reason in ".{0,140}",
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (opcode, text) in payloads {
            bytes.extend(frame(opcode, text.as_bytes()));
            bytes.extend(frame(Opcode::Ping, b"?"));
            expected.push(if opcode == Opcode::Text { Seen::Text(text) } else { Seen::Binary(text.into()) });
            expected.push(Seen::Ping(b"?".into()));
        }
        let cut = reason[..reason.floor_char_boundary(123)].to_owned();
        bytes.extend(close_frame(Some(code), &reason));
        expected.push(Seen::Close(Some((code, cut))));
        prop_assert_eq!(tungstenite_reads(TungsteniteRole::Client, 1 << 20, &bytes), expected);
    }
}

/// A connection whose other end has sent everything that it will.
#[derive(Debug, Default)]
struct Pipe {
    unread: Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.unread.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite_reads(role: TungsteniteRole, max: usize, bytes: &[u8]) -> Vec<Seen> {
    let (events, _) = tungstenite_outcome(role, max, bytes);
    events
}

/// What tungstenite makes of `bytes`, and whether it then refused them; the end of the bytes is no refusal.
fn tungstenite_outcome(role: TungsteniteRole, max: usize, bytes: &[u8]) -> (Vec<Seen>, bool) {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;

    let config = WebSocketConfig::default()
        .max_message_size(Some(max))
        .max_frame_size(Some(max));
    let pipe = Pipe {
        unread: Cursor::new(bytes.to_vec()),
        written: Vec::new(),
    };
    let mut socket = WebSocket::from_raw_socket(pipe, role, Some(config));
    let mut events = Vec::new();
    loop {
        events.push(match socket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.to_string()),
            Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Seen::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Seen::Pong(bytes.to_vec()),
            Ok(Message::Close(body)) => {
                let body = body.map(|body| (body.code.into(), body.reason.to_string()));
                events.push(Seen::Close(body));
                return (events, false);
            }
            Ok(Message::Frame(_)) => continue,
            Err(Error::Protocol(ResetWithoutClosingHandshake) | Error::ConnectionClosed) => {
                return (events, false);
            }
            Err(_) => return (events, true),
        });
    }
}

/// Where we differ from tungstenite 0.30 on purpose:
///
/// * it takes lengths that are written in more bytes than they need, on control frames too; we refuse them;
/// * it hands out an illegal close code as 1002 "Protocol violation", we fail the connection; 1014 is illegal
///   to it, and legal to us;
/// * it waits for the end of a frame before it judges its first byte, its mask or its text, so at the end of
///   the bytes it may still be waiting.
fn agrees(ours: &Outcome, theirs: &(Vec<Seen>, bool)) -> Result<(), String> {
    let (their_events, refused) = theirs;
    let violation = Seen::Close(Some((1002, "Protocol violation".into())));
    for (number, their_event) in their_events.iter().enumerate() {
        match (ours.events.get(number), &ours.end) {
            (Some(event), _) if event == their_event => {}
            (Some(Seen::Close(Some((1014, _)))), _) if *their_event == violation => return Ok(()),
            (None, Err(ProtocolError::LengthNotMinimal { .. } | ProtocolError::ControlTooLong)) => {
                return Ok(());
            }
            (None, Err(ProtocolError::CloseCode { .. })) if *their_event == violation => {
                return Ok(());
            }
            (event, _) => return Err(format!("event {number}: {event:?}, not {their_event:?}")),
        }
    }
    match (ours.events.len() == their_events.len(), refused, &ours.end) {
        (true, true, Err(_)) | (true, false, _) => Ok(()),
        (false, ..) => Err(format!("we saw more than {}", their_events.len())),
        (true, true, Ok(_)) => Err("they refused, we did not".into()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn tungstenite_agrees(
        bytes in wild_bytes(),
        max in 300..1000_usize,
        is_server in prop::bool::weighted(0.9),
    ) {
        let (role, their_role) = match is_server {
            true => (Role::Server, TungsteniteRole::Server),
            false => (Role::Client, TungsteniteRole::Client),
        };
        let ours = decode(role, &limits(max, 0), &bytes, &[]);
        let theirs = tungstenite_outcome(their_role, max, &bytes);
        if let Err(why) = agrees(&ours, &theirs) {
            return Err(TestCaseError::fail(format!("{why}\nours {ours:?}\ntheirs {theirs:?}")));
        }
    }
}
