//! Events as enums: the variant of an enum is the event, what it holds is the payload.
//!
//! [`from_message`] makes a value of an enum from an event name and a payload; [`to_message`] takes
//! it apart again. Both work through serde's derive, so that `#[serde(rename_all = "snake_case")]`,
//! `rename`, `alias` and `other` mean what they always mean:
//!
//! | variant | takes | writes |
//! | --- | --- | --- |
//! | `Typing` | any payload | `{}` |
//! | `NewMsg { body: String }` | an object with these fields | the object |
//! | `NewMsg(T)` | whatever `T` decodes from | what `T` encodes to |
//! | `Blob(Payload)`, `Blob(Bytes-like)` | anything losslessly; bytes | the same; a binary frame |
//! | `Pair(A, B)` | an array of that length | an array (replies only: events are objects) |
//!
//! Where event names are data, [`RawEvent`] takes any event. Untagged, internally tagged and
//! flattened enums have no variant names and are errors that say so.

mod from_message;
mod raw;
mod to_message;

pub use from_message::from_message;
pub use raw::RawEvent;
pub use to_message::to_message;

use crate::payload::{Payload, PayloadError};

/// Why an event could not become a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FromMessageError {
    /// The enum has no such variant.
    #[error("unknown event")]
    UnknownEvent,
    /// The payload does not fit the variant; the text says where.
    #[error("invalid payload: {0}")]
    InvalidPayload(String),
    /// The type is not an enum with named variants, which no client can help.
    #[error("{0}")]
    UnsupportedType(&'static str),
}

/// Why a value could not become an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToMessageError {
    /// The payload has no JSON form.
    #[error("event cannot be encoded: {0}")]
    Payload(String),
    /// The type is not an enum with named variants.
    #[error(
        "an event must be an enum variant (untagged and internally tagged enums have no event name)"
    )]
    NotAnEvent,
}

/// Serializes a reply: bytes and [`Payload`] losslessly, anything else as JSON.
///
/// # Errors
/// [`PayloadError::Json`] when the value cannot be written as JSON.
pub fn to_payload<T: serde::Serialize + ?Sized>(value: &T) -> Result<Payload, PayloadError> {
    to_message::payload(value).map_err(|error| match error {
        ToMessageError::Payload(text) => PayloadError::Json(text),
        ToMessageError::NotAnEvent => PayloadError::Json(error.to_string()),
    })
}

/// Decodes join parameters and the like: bytes and [`Payload`] losslessly, anything else from JSON.
///
/// # Errors
/// [`PayloadError`] when the payload does not have the shape of `T`.
pub fn from_payload<T: serde::de::DeserializeOwned>(payload: &Payload) -> Result<T, PayloadError> {
    from_message::from_payload(payload).map_err(|error| PayloadError::Json(error.to_string()))
}

#[cfg(test)]
mod tests;
