//! The client's side of the codec: [`encode`] what a client sends and [`decode`] what it gets, for
//! tests, load tools and clients. Version 2 only, and without framing.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;

use super::v2::{BROADCAST, PUSH, REPLY, field, take};
use super::{BINARY_FIELD_BYTES_MAX, DecodeError, EncodeError, Inbound, binary_field};
use crate::message::{self, Field};
use crate::payload::Payload;
use crate::reference::Ref;

/// A message as a client sees or makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which instance of the channel; `None` for broadcasts.
    pub join_ref: Option<Ref>,
    /// The reference of a push, or of what is answered.
    pub reference: Option<Ref>,
    /// The topic. Of one that is not text (an answer to such a message), its JSON text.
    pub topic: String,
    /// The event.
    pub event: String,
    /// For a reply, its status; the payload then is the response alone. `None` also for something
    /// else that was sent under the name of a reply.
    pub status: Option<String>,
    /// The payload.
    pub payload: Payload,
}

/// Writes a message of a client: text for JSON, a binary push for bytes.
///
/// # Errors
/// [`EncodeError::FieldTooLong`] for a binary push with a field of more than 255 bytes.
pub fn encode(message: &Message) -> Result<(bool, Bytes), EncodeError> {
    let text = |reference: &Option<Ref>| match reference {
        Some(reference) => reference.binary_text().into_owned(),
        None => Vec::new(),
    };
    let Some(payload) = message.payload.as_binary() else {
        return Ok((false, encode_text(message)));
    };
    let (join_ref, reference) = (text(&message.join_ref), text(&message.reference));
    let (topic, event) = (message.topic.as_bytes(), message.event.as_bytes());
    let mut out = BytesMut::with_capacity(5 + 4 * BINARY_FIELD_BYTES_MAX + payload.len());
    out.put_slice(&[
        PUSH,
        binary_field("join_ref", &join_ref)?,
        binary_field("ref", &reference)?,
        binary_field("topic", topic)?,
        binary_field("event", event)?,
    ]);
    for part in [&join_ref[..], &reference, topic, event, payload] {
        out.put_slice(part);
    }
    Ok((true, out.freeze()))
}

fn encode_text(message: &Message) -> Bytes {
    let null = || &b"null"[..];
    let mut out = Vec::with_capacity(message.payload.len() + 64);
    out.push(b'[');
    for reference in [&message.join_ref, &message.reference] {
        out.extend_from_slice(reference.as_ref().map_or_else(null, Ref::as_json));
        out.push(b',');
    }
    for text in [&message.topic, &message.event] {
        out.extend_from_slice(
            serde_json::Value::from(text.as_str())
                .to_string()
                .as_bytes(),
        );
        out.push(b',');
    }
    out.extend_from_slice(message.payload.as_json().unwrap_or_default());
    out.push(b']');
    out.into()
}

/// Reads a message of the server.
///
/// # Errors
/// [`DecodeError`] when it is none.
pub fn decode(inbound: Inbound<'_>) -> Result<Message, DecodeError> {
    match inbound {
        Inbound::Text(text) => decode_text(text),
        Inbound::Binary(bytes) => decode_binary(bytes),
    }
}

fn decode_text(text: &str) -> Result<Message, DecodeError> {
    type Five<'a> = (
        &'a RawValue,
        &'a RawValue,
        &'a RawValue,
        String,
        &'a RawValue,
    );
    #[derive(serde::Deserialize)]
    struct Reply<'a> {
        status: String,
        #[serde(borrow)]
        response: &'a RawValue,
    }
    let payload =
        |raw: &RawValue| Payload::from_valid_json(Bytes::copy_from_slice(raw.get().as_bytes()));
    let (join_ref, reference, topic, event, body): Five<'_> = serde_json::from_str(text)?;
    let reply = (event == message::REPLY).then(|| serde_json::from_str::<Reply<'_>>(body.get()));
    let (status, payload) = match reply {
        Some(Ok(reply)) => (Some(reply.status), payload(reply.response)),
        // Anybody may broadcast an event of that name, with any payload.
        Some(Err(_)) | None => (None, payload(body)),
    };
    Ok(Message {
        join_ref: Ref::from_json(join_ref.get())?,
        reference: Ref::from_json(reference.get())?,
        topic: match field(topic.get())? {
            Field::Text(text) => text.into_owned(),
            Field::Other(json) => json.to_owned(),
        },
        event,
        status,
        payload,
    })
}

fn decode_binary(bytes: &[u8]) -> Result<Message, DecodeError> {
    let mut rest = bytes;
    let kind = take(&mut rest, 1, "kind")?;
    let names: &[&'static str] = match kind {
        [PUSH] => &["join_ref", "topic", "event"],
        [REPLY] => &["join_ref", "ref", "topic", "status"],
        [BROADCAST] => &["topic", "event"],
        [other, ..] => return Err(DecodeError::Kind(*other)),
        [] => return Err(DecodeError::Truncated("kind")),
    };
    let sizes = take(&mut rest, names.len(), "sizes")?;
    let mut message = Message {
        join_ref: None,
        reference: None,
        topic: String::new(),
        event: message::REPLY.to_owned(),
        status: None,
        payload: Payload::empty(),
    };
    for (name, size) in names.iter().zip(sizes) {
        let bytes = take(&mut rest, usize::from(*size), name)?;
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::Utf8(name))?;
        match *name {
            // Towards a client, a field of size 0 is "none".
            "join_ref" if !text.is_empty() => message.join_ref = Some(Ref::text(text)?),
            "ref" if !text.is_empty() => message.reference = Some(Ref::text(text)?),
            "join_ref" | "ref" => {}
            "topic" => message.topic = text.to_owned(),
            "event" => message.event = text.to_owned(),
            _ => message.status = Some(text.to_owned()),
        }
    }
    message.payload = Payload::binary(Bytes::copy_from_slice(rest));
    Ok(message)
}
