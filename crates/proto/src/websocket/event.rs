//! What comes out of a decoder. How it gets there is not here (`decoder`), nor how what is compressed is
//! inflated (`deflate`).

use std::fmt;

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
    /// A message that permessage-deflate has compressed; what is in it comes out of
    /// `deflate::Inflater::inflate`. Only from a decoder that was made
    /// [`with_deflate`](super::Decoder::with_deflate).
    Deflated(Deflated<'a>),
}

/// A complete message that is still compressed (RFC 7692, section 7.2.2). Nothing is known yet of what is in
/// it, UTF-8 included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Deflated<'a> {
    /// Whether it is a text message once it is inflated.
    pub text: bool,
    /// The payload of all its frames, unmasked.
    pub payload: &'a [u8],
}

impl fmt::Debug for Deflated<'_> {
    /// Shows how long the payload is and not what it is: it is somebody's message, and not readable anyway.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflated")
            .field("text", &self.text)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
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
