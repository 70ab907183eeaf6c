//! The codec: messages to frames and back. Only this module and those below it know array positions,
//! object keys and binary headers.
//!
//! [`decode`] reads what a client sent; [`encode`] writes what a client gets, as one finished
//! [`Frame`] that may be shared by many connections. The other direction, for clients and tests,
//! is in [`client`].

pub mod client;
mod v1;
mod v2;

use bytes::Bytes;

use crate::message::{Incoming, Outgoing};
use crate::reference::RefError;
use crate::vsn::Vsn;
use crate::websocket::{FrameBuilder, Opcode};

/// The longest field (reference, topic, event, status) of a binary frame, in bytes.
pub const BINARY_FIELD_BYTES_MAX: usize = 255;

/// How messages are put into units of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Framing {
    /// The message alone, without a header (tests, transports of others).
    Bare,
    /// A whole unmasked WebSocket frame, header included.
    WebSocket,
    /// The same for connections that have negotiated permessage-deflate. [`encode`] leaves the message
    /// plain, which they accept as well; whoever holds a compressor makes it shorter
    /// (`websocket::deflate::Deflater::deflate_frame`).
    WebSocketDeflate,
    /// The message as a JSON string literal, as it stands in the answer to a poll.
    LongPoll,
}

/// The form of a message for one kind of connection. Two connections of the same form are sent the
/// same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// The version of the wire format.
    pub vsn: Vsn,
    /// What is around each message.
    pub framing: Framing,
}

impl Form {
    /// How many forms there are, for tables indexed by [`Form::index`].
    pub const COUNT: usize = 8;

    /// A number below [`Form::COUNT`], different for each form.
    #[must_use]
    pub fn index(self) -> usize {
        let vsn = match self.vsn {
            Vsn::V1 => 0,
            Vsn::V2 => 1,
        };
        let framing = match self.framing {
            Framing::Bare => 0,
            Framing::WebSocket => 1,
            Framing::WebSocketDeflate => 2,
            Framing::LongPoll => 3,
        };
        vsn + 2 * framing
    }
}

/// One finished transport unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether the message in it is binary.
    pub binary: bool,
    /// The bytes, header included where the framing has one.
    pub bytes: Bytes,
}

/// The content of a frame from a client, after unmasking and reassembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// What a client sent is not a message. The connection that carried it closes with 1011.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON, or not the shape that the version asks for.
    #[error("message is not valid: {0}")]
    Json(String),
    /// A binary message that is too short for its own sizes.
    #[error("binary message ends before its {0}")]
    Truncated(&'static str),
    /// A binary message of a kind that clients do not send.
    #[error("binary message of kind {0}, clients send kind 0 (push)")]
    Kind(u8),
    /// A field of a binary message is not UTF-8.
    #[error("the {0} of a binary message is not UTF-8")]
    Utf8(&'static str),
    /// A reference is too long.
    #[error(transparent)]
    Ref(#[from] RefError),
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

/// A message cannot be written in the form that was asked for. The mistake is the sender's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A push or a broadcast whose payload is neither an object nor bytes.
    #[error("the payload of a push or a broadcast must be a JSON object or binary")]
    NotAnObject,
    /// Bytes for a client that speaks version 1, which has no binary messages.
    #[error("a client of vsn 1.0.0 cannot be sent binary payloads")]
    BinaryOnV1,
    /// Bytes for a client that polls: the answer to a poll is JSON text.
    #[error("a client that polls cannot be sent binary payloads")]
    BinaryOnLongPoll,
    /// A field that a binary frame cannot carry.
    #[error(
        "the {field} is {len} bytes long, a binary frame carries at most {BINARY_FIELD_BYTES_MAX}"
    )]
    FieldTooLong {
        /// Which field.
        field: &'static str,
        /// How long it is, in bytes.
        len: usize,
    },
}

/// Reads one message of a client. The payload of JSON is checked to be valid and left as text.
///
/// # Errors
/// [`DecodeError`] when it is not a message of that version.
pub fn decode(vsn: Vsn, inbound: Inbound<'_>) -> Result<Incoming<'_>, DecodeError> {
    match (vsn, inbound) {
        (Vsn::V2, Inbound::Text(text)) => v2::decode_text(text),
        (Vsn::V2, Inbound::Binary(bytes)) => v2::decode_binary(bytes),
        (Vsn::V1, Inbound::Text(text)) => v1::decode(text),
        // Version 1 does not look at the kind of frame.
        (Vsn::V1, Inbound::Binary(bytes)) => match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => v1::decode(text),
            Err(_) => Err(DecodeError::Utf8("text")),
        },
    }
}

/// Writes one message as a finished frame.
///
/// # Errors
/// [`EncodeError`] when the form cannot carry the message.
pub fn encode(form: Form, message: &Outgoing<'_>) -> Result<Frame, EncodeError> {
    check_payload(message)?;
    let payload_len = match message {
        Outgoing::Push { payload, .. } | Outgoing::Broadcast { payload, .. } => payload.len(),
        Outgoing::Reply { response, .. } => response.len(),
        Outgoing::Close { .. } | Outgoing::Error { .. } => 0,
    };
    let mut out = FrameBuilder::with_capacity(payload_len + ENVELOPE_BYTES_ESTIMATE);
    let binary = match form.vsn {
        Vsn::V1 => v1::encode(message, &mut out)?,
        Vsn::V2 => v2::encode(message, &mut out)?,
    };
    let message_bytes = out.payload_bytes();
    let frame = out.finish(if binary { Opcode::Binary } else { Opcode::Text });
    let bytes = match form.framing {
        Framing::Bare => frame.slice(frame.len() - message_bytes..),
        Framing::WebSocket | Framing::WebSocketDeflate => frame,
        Framing::LongPoll if binary => return Err(EncodeError::BinaryOnLongPoll),
        Framing::LongPoll => string_literal(&frame.slice(frame.len() - message_bytes..)),
    };
    Ok(Frame { binary, bytes })
}

/// Room for topic, event and references of the usual lengths; a longer envelope grows once.
const ENVELOPE_BYTES_ESTIMATE: usize = 96;

/// Checks what every version asks of pushes and broadcasts, so that a mistake shows at once and not
/// only when a client of some version happens to listen.
///
/// # Errors
/// [`EncodeError::NotAnObject`], or [`EncodeError::FieldTooLong`] for binary ones.
pub fn check_payload(message: &Outgoing<'_>) -> Result<(), EncodeError> {
    let (Outgoing::Push {
        topic,
        event,
        payload,
        ..
    }
    | Outgoing::Broadcast {
        topic,
        event,
        payload,
    }) = message
    else {
        return Ok(());
    };
    if payload.is_binary() {
        binary_field("topic", topic.as_bytes())?;
        binary_field("event", event.as_bytes())?;
        return Ok(());
    }
    if payload.is_object() {
        Ok(())
    } else {
        Err(EncodeError::NotAnObject)
    }
}

/// The size byte of a field of a binary frame.
fn binary_field(field: &'static str, bytes: &[u8]) -> Result<u8, EncodeError> {
    u8::try_from(bytes.len()).map_err(|_| EncodeError::FieldTooLong {
        field,
        len: bytes.len(),
    })
}

/// A message, which is text, as a JSON string.
fn string_literal(text: &[u8]) -> Bytes {
    // A quarter more for the escapes of quotes.
    let mut literal = FrameBuilder::with_capacity(text.len() / 4 * 5 + 2);
    write_json_string(&mut literal, &String::from_utf8_lossy(text));
    let len = literal.payload_bytes();
    let frame = literal.finish(Opcode::Text);
    frame.slice(frame.len() - len..)
}

/// Writes a JSON string literal.
fn write_json_string(out: &mut FrameBuilder, text: &str) {
    // Most topics and events need no escapes, and a scan is cheaper than the general writer.
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.extend_from_slice(b"\"");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\"");
    } else {
        // A string always has a JSON form, and memory takes every write.
        let written = serde_json::to_writer(&mut *out, text);
        debug_assert!(written.is_ok());
    }
}

fn write_ref(out: &mut FrameBuilder, reference: Option<&crate::reference::Ref>) {
    out.extend_from_slice(reference.map_or(b"null", crate::reference::Ref::as_json));
}
