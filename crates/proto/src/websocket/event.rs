//! What comes out of a decoder. How it gets there is not here (`decoder`).

use super::close::parse_close;
use super::header::Opcode;
use super::protocol_error::ProtocolError;

/// A message, or a control frame, that is complete. It borrows from the input or from the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping; the peer waits for a pong with the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// A pong, asked for or not; at most 125 bytes.
    Pong(&'a [u8]),
    /// The peer says goodbye, with a code and a reason if it gave one. Nothing that it sends afterwards is
    /// looked at.
    Close(Option<(u16, &'a str)>),
}

/// The body of a close frame is judged before the state says that one has been read.
pub(super) fn check_close(opcode: Opcode, payload: &[u8]) -> Result<(), ProtocolError> {
    if opcode == Opcode::Close {
        parse_close(payload)?;
    }
    Ok(())
}

/// Gives a complete payload its type.
#[inline]
pub(super) fn read_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    Ok(match opcode {
        // A message that came in pieces was judged on the way, so this only gives it its type; safe code has
        // no cheaper way to a `str`.
        Opcode::Text => Event::Text(
            simdutf8::basic::from_utf8(payload).map_err(|_| ProtocolError::TextNotUtf8)?,
        ),
        // `end_frame` has put the opcode of the message in the place of a continuation's.
        Opcode::Binary | Opcode::Continuation => Event::Binary(payload),
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => Event::Close(parse_close(payload)?),
    })
}
