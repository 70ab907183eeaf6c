//! Version 1: JSON objects with named keys; no join references towards the client, no binary.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{DecodeError, EncodeError, v2, write_json_string, write_ref};
use crate::message::{self, Field, Incoming, Outgoing, PayloadRef};
use crate::reference::Ref;
use crate::websocket::FrameBuilder;

pub(super) fn decode(text: &str) -> Result<Incoming<'_>, DecodeError> {
    let keys: Keys<'_> = serde_json::from_str(text)?;
    Ok(Incoming {
        join_ref: keys.join_ref.map_or(Ok(None), Ref::from_json)?,
        reference: Ref::from_json(keys.reference)?,
        topic: v2::field(keys.topic)?,
        event: v2::field(keys.event)?,
        payload: PayloadRef::Json(keys.payload),
    })
}

/// The values of the keys that matter, as JSON text. The last of equal keys wins.
struct Keys<'a> {
    join_ref: Option<&'a str>,
    reference: &'a str,
    topic: &'a str,
    event: &'a str,
    payload: &'a str,
}

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;

        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the keys topic, event, payload and ref")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let [
                    mut join_ref,
                    mut reference,
                    mut topic,
                    mut event,
                    mut payload,
                ] = [None; 5];
                while let Some(Key(key)) = map.next_key()? {
                    let slot = match &*key {
                        "join_ref" => &mut join_ref,
                        "ref" => &mut reference,
                        "topic" => &mut topic,
                        "event" => &mut event,
                        "payload" => &mut payload,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *slot = Some(map.next_value::<&RawValue>()?.get());
                }
                let missing = serde::de::Error::missing_field;
                Ok(Keys {
                    join_ref,
                    reference: reference.ok_or_else(|| missing("ref"))?,
                    topic: topic.ok_or_else(|| missing("topic"))?,
                    event: event.ok_or_else(|| missing("event"))?,
                    payload: payload.ok_or_else(|| missing("payload"))?,
                })
            }
        }

        deserializer.deserialize_map(KeysVisitor)
    }
}

/// A key, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Writes the message; always text.
pub(super) fn encode(message: &Outgoing<'_>, out: &mut FrameBuilder) -> Result<bool, EncodeError> {
    match *message {
        Outgoing::Push {
            topic,
            event,
            payload,
            ..
        }
        | Outgoing::Broadcast {
            topic,
            event,
            payload,
        } => {
            let json = payload.as_json().ok_or(EncodeError::BinaryOnV1)?;
            head(out, &Field::Text(Cow::Borrowed(topic)), event);
            out.extend_from_slice(json);
            tail(out, None);
        }
        Outgoing::Reply {
            reference,
            topic,
            status,
            response,
            ..
        } => {
            let json = response.as_json().ok_or(EncodeError::BinaryOnV1)?;
            head(out, topic, message::REPLY);
            out.extend_from_slice(b"{\"status\":");
            write_json_string(out, status);
            out.extend_from_slice(b",\"response\":");
            out.extend_from_slice(json);
            out.extend_from_slice(b"}");
            tail(out, reference);
        }
        Outgoing::Close { join_ref, topic } => {
            head(out, &Field::Text(Cow::Borrowed(topic)), message::CLOSE);
            out.extend_from_slice(b"{}");
            tail(out, join_ref);
        }
        Outgoing::Error { join_ref, topic } => {
            head(out, &Field::Text(Cow::Borrowed(topic)), message::ERROR);
            out.extend_from_slice(br#"{"reason":"channel_crash"}"#);
            tail(out, join_ref);
        }
    }
    Ok(false)
}

fn head(out: &mut FrameBuilder, topic: &Field<'_>, event: &str) {
    out.extend_from_slice(b"{\"topic\":");
    match topic {
        Field::Text(text) => write_json_string(out, text),
        Field::Other(json) => out.extend_from_slice(json.as_bytes()),
    }
    out.extend_from_slice(b",\"event\":");
    write_json_string(out, event);
    out.extend_from_slice(b",\"payload\":");
}

fn tail(out: &mut FrameBuilder, reference: Option<&Ref>) {
    out.extend_from_slice(b",\"ref\":");
    write_ref(out, reference);
    out.extend_from_slice(b"}");
}
