//! Version 2: JSON arrays of five, and the binary layouts.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{DecodeError, EncodeError, binary_field, write_json_string, write_ref};
use crate::message::{self, Field, Incoming, Outgoing, PayloadRef};
use crate::payload::Payload;
use crate::reference::Ref;
use crate::websocket::FrameBuilder;

/// The kind bytes of binary messages.
pub(super) const PUSH: u8 = 0;
pub(super) const REPLY: u8 = 1;
pub(super) const BROADCAST: u8 = 2;

pub(super) fn decode_text(text: &str) -> Result<Incoming<'_>, DecodeError> {
    let five: Five<'_> = serde_json::from_str(text)?;
    let [join_ref, reference, topic, event, payload] = five.0;
    Ok(Incoming {
        join_ref: Ref::from_json(join_ref)?,
        reference: Ref::from_json(reference)?,
        topic: field(topic)?,
        event: field(event)?,
        payload: PayloadRef::Json(payload),
    })
}

/// Reads an element that ought to be text.
pub(super) fn field(raw: &str) -> Result<Field<'_>, DecodeError> {
    let Some(content) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) else {
        return Ok(Field::Other(raw));
    };
    if content.contains('\\') {
        return Ok(Field::Text(Cow::Owned(serde_json::from_str(raw)?)));
    }
    Ok(Field::Text(Cow::Borrowed(content)))
}

/// The first five elements of an array, as JSON text; what follows is skipped.
struct Five<'a>([&'a str; 5]);

impl<'de> Deserialize<'de> for Five<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FiveVisitor;

        impl<'de> Visitor<'de> for FiveVisitor {
            type Value = Five<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array [join_ref, ref, topic, event, payload]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut five = [""; 5];
                for (index, slot) in five.iter_mut().enumerate() {
                    let raw: &RawValue = seq
                        .next_element()?
                        .ok_or_else(|| serde::de::Error::invalid_length(index, &self))?;
                    *slot = raw.get();
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Five(five))
            }
        }

        deserializer.deserialize_seq(FiveVisitor)
    }
}

pub(super) fn decode_binary(bytes: &[u8]) -> Result<Incoming<'_>, DecodeError> {
    let mut rest = bytes;
    match take(&mut rest, 1, "kind")? {
        [PUSH] => {}
        [kind, ..] => return Err(DecodeError::Kind(*kind)),
        [] => return Err(DecodeError::Truncated("kind")),
    }
    let &[join_ref, reference, topic, event] = take(&mut rest, 4, "sizes")? else {
        return Err(DecodeError::Truncated("sizes"));
    };
    let mut text = |size: u8, name| -> Result<&str, DecodeError> {
        let bytes = take(&mut rest, usize::from(size), name)?;
        simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::Utf8(name))
    };
    let join_ref = text(join_ref, "join_ref")?;
    let reference = text(reference, "ref")?;
    let topic = text(topic, "topic")?;
    let event = text(event, "event")?;
    Ok(Incoming {
        // A field of size 0 is the empty string, not "none".
        join_ref: Some(Ref::text(join_ref)?),
        reference: Some(Ref::text(reference)?),
        topic: Field::Text(Cow::Borrowed(topic)),
        event: Field::Text(Cow::Borrowed(event)),
        payload: PayloadRef::Binary(rest),
    })
}

/// Cuts `len` bytes off the front.
pub(super) fn take<'a>(
    rest: &mut &'a [u8],
    len: usize,
    name: &'static str,
) -> Result<&'a [u8], DecodeError> {
    let (head, tail) = rest
        .split_at_checked(len)
        .ok_or(DecodeError::Truncated(name))?;
    *rest = tail;
    Ok(head)
}

/// Writes the message; true if it is a binary one.
pub(super) fn encode(message: &Outgoing<'_>, out: &mut FrameBuilder) -> Result<bool, EncodeError> {
    match *message {
        Outgoing::Push {
            join_ref,
            topic,
            event,
            payload,
        } => match payload.as_json() {
            Some(json) => {
                let topic = Field::Text(Cow::Borrowed(topic));
                envelope(out, join_ref, None, &topic, event);
                out.extend_from_slice(json);
            }
            None => return binary_push(join_ref, topic, event, payload, out),
        },
        Outgoing::Broadcast {
            topic,
            event,
            payload,
        } => match payload.as_json() {
            Some(json) => {
                envelope(out, None, None, &Field::Text(Cow::Borrowed(topic)), event);
                out.extend_from_slice(json);
            }
            None => return binary_broadcast(topic, event, payload, out),
        },
        Outgoing::Reply {
            join_ref,
            reference,
            topic,
            status,
            response,
        } => {
            let Some(json) = response.as_json() else {
                return binary_reply(message, out);
            };
            envelope(out, join_ref, reference, topic, message::REPLY);
            out.extend_from_slice(b"{\"status\":");
            write_json_string(out, status);
            out.extend_from_slice(b",\"response\":");
            out.extend_from_slice(json);
            out.extend_from_slice(b"}");
        }
        Outgoing::Close { join_ref, topic } => {
            let topic = Field::Text(Cow::Borrowed(topic));
            envelope(out, join_ref, join_ref, &topic, message::CLOSE);
            out.extend_from_slice(b"{}");
        }
        Outgoing::Error { join_ref, topic } => {
            let topic = Field::Text(Cow::Borrowed(topic));
            envelope(out, join_ref, join_ref, &topic, message::ERROR);
            out.extend_from_slice(br#"{"reason":"channel_crash"}"#);
        }
    }
    out.extend_from_slice(b"]");
    Ok(false)
}

/// Everything before the payload.
fn envelope(
    out: &mut FrameBuilder,
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &Field<'_>,
    event: &str,
) {
    out.extend_from_slice(b"[");
    write_ref(out, join_ref);
    out.extend_from_slice(b",");
    write_ref(out, reference);
    out.extend_from_slice(b",");
    match topic {
        Field::Text(text) => write_json_string(out, text),
        Field::Other(json) => out.extend_from_slice(json.as_bytes()),
    }
    out.extend_from_slice(b",");
    write_json_string(out, event);
    out.extend_from_slice(b",");
}

fn binary_push(
    join_ref: Option<&Ref>,
    topic: &str,
    event: &str,
    payload: &Payload,
    out: &mut FrameBuilder,
) -> Result<bool, EncodeError> {
    let join_ref = join_ref.map_or(Cow::Borrowed(&b""[..]), Ref::binary_text);
    let sizes = [
        PUSH,
        binary_field("join_ref", &join_ref)?,
        binary_field("topic", topic.as_bytes())?,
        binary_field("event", event.as_bytes())?,
    ];
    let parts = [&sizes[..], &join_ref, topic.as_bytes(), event.as_bytes()];
    Ok(binary(out, &parts, payload))
}

fn binary_reply(message: &Outgoing<'_>, out: &mut FrameBuilder) -> Result<bool, EncodeError> {
    let Outgoing::Reply {
        join_ref,
        reference,
        topic,
        status,
        response,
    } = *message
    else {
        return Ok(false);
    };
    let join_ref = join_ref.map_or(Cow::Borrowed(&b""[..]), Ref::binary_text);
    let reference = reference.map_or(Cow::Borrowed(&b""[..]), Ref::binary_text);
    let topic = match topic {
        Field::Text(text) => text.as_bytes(),
        Field::Other(json) => json.as_bytes(),
    };
    let sizes = [
        REPLY,
        binary_field("join_ref", &join_ref)?,
        binary_field("ref", &reference)?,
        binary_field("topic", topic)?,
        binary_field("status", status.as_bytes())?,
    ];
    let parts = [&sizes[..], &join_ref, &reference, topic, status.as_bytes()];
    Ok(binary(out, &parts, response))
}

fn binary_broadcast(
    topic: &str,
    event: &str,
    payload: &Payload,
    out: &mut FrameBuilder,
) -> Result<bool, EncodeError> {
    let sizes = [
        BROADCAST,
        binary_field("topic", topic.as_bytes())?,
        binary_field("event", event.as_bytes())?,
    ];
    Ok(binary(
        out,
        &[&sizes[..], topic.as_bytes(), event.as_bytes()],
        payload,
    ))
}

fn binary(out: &mut FrameBuilder, parts: &[&[u8]], payload: &Payload) -> bool {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(payload.as_binary().map_or(&[], |bytes| &bytes[..]));
    true
}
