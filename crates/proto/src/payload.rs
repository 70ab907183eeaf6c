//! [`Payload`]: the body of a message, JSON text or bytes, kept as it came and decoded only when
//! somebody asks. The mapping between payloads and event enums is in [`crate::event`].

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The name under which a [`Payload`] announces itself to serde. Our own event (de)serializer knows
/// it and carries bytes through; any other format sees the transparent newtype behind it.
pub(crate) const PAYLOAD_TOKEN: &str = "$bennu::Payload";

/// The body of a message: JSON text, or bytes. Cheap to clone (the bytes are shared).
///
/// JSON is held as text that is known to be valid, so that a server can pass it on without taking
/// it apart. It may be any JSON value; pushes and broadcasts must be objects or bytes (a rule of the
/// wire, checked where they are made).
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Repr);

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    Json(Bytes),
    Binary(Bytes),
}

/// Why a value could not become a payload, or a payload not become a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The text is not one valid JSON value, or does not have the shape that was asked for.
    #[error("payload does not fit: {0}")]
    Json(String),
    /// A JSON value was asked for, and the payload is bytes.
    #[error("payload is binary, a JSON payload was expected")]
    Binary,
}

impl From<serde_json::Error> for PayloadError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

impl Payload {
    /// The empty object `{}`.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Repr::Json(Bytes::from_static(b"{}")))
    }

    /// Serializes a value to JSON.
    ///
    /// # Errors
    /// [`PayloadError::Json`] when the value cannot be written as JSON (for example a map whose
    /// keys are not strings).
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        Ok(Self(Repr::Json(serde_json::to_vec(value)?.into())))
    }

    /// Takes JSON text as it is, after checking that it is one valid value.
    ///
    /// # Errors
    /// [`PayloadError::Json`] when it is not.
    pub fn from_json_text(text: impl Into<Bytes>) -> Result<Self, PayloadError> {
        let text = text.into();
        serde_json::from_slice::<IgnoredAny>(&text)?;
        // serde_json skips strings without looking at their encoding; the wire promises UTF-8.
        simdutf8::basic::from_utf8(&text).map_err(|e| PayloadError::Json(e.to_string()))?;
        Ok(Self(Repr::Json(text)))
    }

    /// Bytes, sent as a binary frame.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self(Repr::Binary(bytes.into()))
    }

    /// JSON text that a JSON parser has already accepted.
    pub(crate) fn from_valid_json(text: Bytes) -> Self {
        debug_assert!(serde_json::from_slice::<IgnoredAny>(&text).is_ok());
        Self(Repr::Json(text))
    }

    /// Whether this is a binary payload.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self.0, Repr::Binary(_))
    }

    /// Whether this is a JSON object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.as_json()
            .is_some_and(|text| text.trim_ascii_start().first() == Some(&b'{'))
    }

    /// The JSON text (UTF-8), or `None` for a binary payload.
    #[must_use]
    pub fn as_json(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Json(text) => Some(text),
            Repr::Binary(_) => None,
        }
    }

    /// The bytes of a binary payload, or `None` for JSON.
    #[must_use]
    pub fn as_binary(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Json(_) => None,
            Repr::Binary(bytes) => Some(bytes),
        }
    }

    /// The size on the wire, in bytes, without the envelope.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Json(bytes) | Repr::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is not a single byte in it (only a binary payload can be empty).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes a JSON payload into a type of yours.
    ///
    /// # Errors
    /// [`PayloadError::Binary`] for a binary payload, [`PayloadError::Json`] when the JSON does not
    /// have the shape of `T`; the text says what was found and what was expected.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        let text = self.as_json().ok_or(PayloadError::Binary)?;
        Ok(serde_json::from_slice(text)?)
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Payload {
    /// Shows size and kind only: payloads carry what users type, and logs should not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_binary() { "binary" } else { "json" };
        write!(f, "Payload({kind}, {} bytes)", self.len())
    }
}

thread_local! {
    /// A payload on its way through serde, between our own types on both ends: handed over as it
    /// is, instead of being written to text and read again.
    static HANDED_OVER: Cell<Option<Payload>> = const { Cell::new(None) };
}

/// Takes the payload that [`Payload`]'s own `Serialize` has just put down, or that
/// [`hand_over`] has.
pub(crate) fn take_handed_over() -> Option<Payload> {
    HANDED_OVER.take()
}

/// Puts a payload down for [`Payload`]'s own `Deserialize`.
pub(crate) fn hand_over(payload: Payload) {
    HANDED_OVER.set(Some(payload));
}

impl Serialize for Payload {
    /// Lossless where the payload is the whole content of an event or a reply of ours. In any other
    /// document, JSON is written as it is and bytes as bytes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hand_over(self.clone());
        let result = serializer.serialize_newtype_struct(PAYLOAD_TOKEN, &Verbatim(self));
        take_handed_over();
        result
    }
}

/// A payload for formats that are not ours.
struct Verbatim<'a>(&'a Payload);

impl Serialize for Verbatim<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = match &self.0.0 {
            Repr::Json(text) => std::str::from_utf8(text).map_err(serde::ser::Error::custom)?,
            Repr::Binary(bytes) => return serializer.serialize_bytes(bytes),
        };
        let raw: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value or bytes")
            }

            /// Our own deserializer, which has handed the payload over.
            fn visit_unit<E: serde::de::Error>(self) -> Result<Payload, E> {
                take_handed_over().ok_or_else(|| E::invalid_type(Unexpected::Unit, &self))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Payload, D::Error> {
                let raw = Box::<RawValue>::deserialize(deserializer)?;
                let text: Box<str> = raw.into();
                Ok(Payload::from_valid_json(text.into_boxed_bytes().into()))
            }
        }

        deserializer.deserialize_newtype_struct(PAYLOAD_TOKEN, Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_text_is_checked_once_and_kept_as_it_came() {
        let text = br#"{ "a" : 1.50 }"#;
        let payload = Payload::from_json_text(&text[..]).unwrap();
        assert_eq!(payload.as_json(), Some(&text[..]));
        assert!(payload.is_object());
        for bad in [&b""[..], b"{", b"{} {}", b"\"\xff\"", b"nul"] {
            assert!(Payload::from_json_text(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn any_json_value_is_a_payload_but_only_an_object_is_an_object() {
        for text in ["1", "\"x\"", "null", "[{}]", "true"] {
            let payload = Payload::from_json_text(text).unwrap();
            assert!(!payload.is_object(), "{text}");
        }
    }

    #[test]
    fn decoding_a_binary_payload_says_so() {
        let error = Payload::binary(&b"x"[..]).decode::<u8>().unwrap_err();
        assert_eq!(error, PayloadError::Binary);
    }

    #[test]
    fn a_payload_inside_a_larger_json_document_stays_verbatim() {
        #[derive(Serialize, Deserialize)]
        struct Envelope {
            id: u8,
            body: Payload,
        }
        let text = r#"{"id":1,"body":{"n":1.0,"deep":[null]}}"#;
        let envelope: Envelope = serde_json::from_str(text).unwrap();
        assert_eq!(
            envelope.body.as_json(),
            Some(&br#"{"n":1.0,"deep":[null]}"#[..])
        );
        assert_eq!(serde_json::to_string(&envelope).unwrap(), text);
    }

    #[test]
    fn debug_output_hides_the_content() {
        let payload = Payload::json(&"secret").unwrap();
        assert_eq!(format!("{payload:?}"), "Payload(json, 8 bytes)");
    }
}
