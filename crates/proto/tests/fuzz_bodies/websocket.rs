//! Any bytes from a peer, in any pieces: the decoder never panics, makes the same of them however they are
//! cut, and holds no more than it may; with permessage-deflate and without. Shared by the fuzz target and by
//! tests.

use bennu_proto::websocket::deflate::{Deflater, Inflater};
use bennu_proto::websocket::{
    Decoded, Decoder, Event, Limits, Opcode, ProtocolError, Role, frame, masked_frame,
    plain_message,
};

const MESSAGE_BYTES_MAX: usize = 512;
/// Above the largest message: a control frame and the rounding of a growing buffer.
const BUFFER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX + 256;

/// The first byte says whose side and whether there is an extension, the second how the rest is cut.
pub(crate) fn run(data: &[u8]) {
    let [side, cut, frames @ ..] = data else {
        return;
    };
    let role = if side.is_multiple_of(2) {
        Role::Server
    } else {
        Role::Client
    };
    let new = || {
        let decoder = Decoder::new(role);
        if side & 2 == 0 {
            decoder
        } else {
            decoder.with_deflate()
        }
    };
    let whole = read(new(), frames, frames.len());
    let pieces = read(new(), frames, usize::from(*cut % 32) + 1);
    assert_eq!(whole, pieces);
    assert_eq!(whole, read(new(), frames, 1));
    own_frames_are_read(*side, *cut, frames);
    own_deflated_frames_are_read(*side, *cut, frames);
}

/// All events in words, and how it ended.
fn read(
    mut decoder: Decoder,
    frames: &[u8],
    piece_bytes: usize,
) -> (Vec<String>, Option<ProtocolError>) {
    let limits = Limits {
        message_bytes_max: MESSAGE_BYTES_MAX,
        ..Limits::default()
    };
    let mut inflater = Inflater::new();
    let mut events = Vec::new();
    for piece in frames.chunks(piece_bytes.max(1)) {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            let offered = input.len();
            let decoded = match decoder.decode(&limits, input) {
                Ok(decoded) => decoded,
                Err(error) => return (events, Some(error)),
            };
            let consumed = decoded.consumed;
            assert!(consumed <= offered);
            let event = match in_words(&limits, &mut inflater, decoded) {
                Ok(event) => event,
                Err(error) => return (events, Some(error)),
            };
            assert!(decoder.buffered_bytes() <= BUFFER_BYTES_MAX);
            match event {
                Some(event) => events.push(event),
                None => {
                    assert_eq!(consumed, offered, "without an event everything is taken");
                    break;
                }
            }
            let rest = input.len().min(consumed);
            input = &mut input[rest..];
        }
    }
    (events, None)
}

fn in_words(
    limits: &Limits,
    inflater: &mut Inflater,
    decoded: Decoded<'_>,
) -> Result<Option<String>, ProtocolError> {
    let event = match decoded.event {
        Some(Event::Deflated(deflated)) => {
            assert!(deflated.payload.len() <= MESSAGE_BYTES_MAX);
            Some(inflater.inflate(limits, deflated)?)
        }
        event => event,
    };
    if let Some(Event::Binary(bytes)) = event {
        assert!(bytes.len() <= MESSAGE_BYTES_MAX);
    }
    let words = event.map(|event| format!("{event:?}"));
    assert!(inflater.buffered_bytes() <= BUFFER_BYTES_MAX);
    Ok(words)
}

/// Bytes that we compress ourselves come out of it, and in between they are not longer.
fn own_deflated_frames_are_read(mask: u8, cut: u8, payload: &[u8]) {
    let message = payload.repeat(1 + usize::from(cut % 4));
    let plain = frame(Opcode::Binary, &message);
    let Some(deflated) = Deflater::new(u32::from(mask)).deflate_frame(&plain) else {
        return;
    };
    assert!(deflated.len() < plain.len());
    let mut deflated = deflated.to_vec();
    let mut decoder = Decoder::new(Role::Client).with_deflate();
    let limits = Limits::default();
    let Some(Event::Deflated(deflated)) = decoder.decode(&limits, &mut deflated).unwrap().event
    else {
        panic!("what is compressed says so");
    };
    let mut inflater = Inflater::new();
    let event = inflater.inflate(&limits, deflated).unwrap();
    assert_eq!(event, Event::Binary(&message));
    assert_eq!(plain_message(&plain), Some((Opcode::Binary, &message[..])));
}

/// Bytes that we put in a frame ourselves come out of it.
fn own_frames_are_read(mask: u8, cut: u8, payload: &[u8]) {
    let payload = &payload[..payload.len().min(MESSAGE_BYTES_MAX)];
    let mask = [mask, cut, mask ^ cut, mask.wrapping_add(cut)];
    let mut frame = masked_frame(true, Opcode::Binary, mask, payload);
    let mut decoder = Decoder::new(Role::Server);
    let decoded = decoder.decode(&Limits::default(), &mut frame).unwrap();
    assert_eq!(decoded.event, Some(Event::Binary(payload)));
}
