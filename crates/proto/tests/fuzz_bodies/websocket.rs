//! Any bytes from a peer, in any pieces: the decoder never panics, makes the same of them however they are
//! cut, and holds no more than it may. Shared by the fuzz target and by tests.

use bennu_proto::websocket::{Decoder, Event, Limits, Opcode, ProtocolError, Role, masked_frame};

const MESSAGE_BYTES_MAX: usize = 512;
/// Above the largest message: a control frame and the rounding of a growing buffer.
const BUFFER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX + 256;

/// The first byte says whose side, the second how the rest is cut.
pub(crate) fn run(data: &[u8]) {
    let [side, cut, frames @ ..] = data else {
        return;
    };
    let role = if side.is_multiple_of(2) {
        Role::Server
    } else {
        Role::Client
    };
    let whole = read(role, frames, frames.len());
    let pieces = read(role, frames, usize::from(*cut % 32) + 1);
    assert_eq!(whole, pieces);
    assert_eq!(whole, read(role, frames, 1));
    own_frames_are_read(*side, *cut, frames);
}

/// All events in words, and how it ended.
fn read(role: Role, frames: &[u8], piece_bytes: usize) -> (Vec<String>, Option<ProtocolError>) {
    let limits = Limits {
        message_bytes_max: MESSAGE_BYTES_MAX,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(role);
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
            let event = decoded.event.map(|event| {
                if let Event::Binary(bytes) = event {
                    assert!(bytes.len() <= MESSAGE_BYTES_MAX);
                }
                format!("{event:?}")
            });
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

/// Bytes that we put in a frame ourselves come out of it.
fn own_frames_are_read(mask: u8, cut: u8, payload: &[u8]) {
    let payload = &payload[..payload.len().min(MESSAGE_BYTES_MAX)];
    let mask = [mask, cut, mask ^ cut, mask.wrapping_add(cut)];
    let mut frame = masked_frame(true, Opcode::Binary, mask, payload);
    let mut decoder = Decoder::new(Role::Server);
    let decoded = decoder.decode(&Limits::default(), &mut frame).unwrap();
    assert_eq!(decoded.event, Some(Event::Binary(payload)));
}
