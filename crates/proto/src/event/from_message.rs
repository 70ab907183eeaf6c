//! From an event name and a payload to a variant of an enum.

use std::fmt;

use bytes::Bytes;
use serde::de::value::{BytesDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::FromMessageError;
use crate::payload::{self, PAYLOAD_TOKEN, Payload};

/// Makes a value of `T`, an enum, from an event and its payload.
///
/// # Errors
/// [`FromMessageError::UnknownEvent`] when no variant has this name,
/// [`FromMessageError::InvalidPayload`] when the payload does not fit the variant.
pub fn from_message<T: DeserializeOwned>(
    event: &str,
    payload: &Payload,
) -> Result<T, FromMessageError> {
    T::deserialize(EventDeserializer { event, payload }).map_err(|error| error.0)
}

pub(super) fn from_payload<T: DeserializeOwned>(payload: &Payload) -> Result<T, FromMessageError> {
    T::deserialize(PayloadDeserializer(payload)).map_err(|error| error.inside_payload().0)
}

/// The error that serde sees.
#[derive(Debug)]
pub(super) struct Error(FromMessageError);

impl Error {
    /// Only the event itself can be unknown: a name inside its payload is a payload that does not fit.
    fn inside_payload(self) -> Self {
        match self.0 {
            FromMessageError::UnknownEvent => serde::de::Error::custom("unknown variant"),
            _ => self,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(FromMessageError::InvalidPayload(text.to_string()))
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self(FromMessageError::UnknownEvent)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self(FromMessageError::InvalidPayload(error.to_string()))
    }
}

const NOT_AN_ENUM: Error = Error(FromMessageError::UnsupportedType(
    "incoming events must be an enum with one variant for each event \
     (untagged and internally tagged enums have no event names)",
));

struct EventDeserializer<'a> {
    event: &'a str,
    payload: &'a Payload,
}

impl<'de> Deserializer<'de> for EventDeserializer<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(NOT_AN_ENUM)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for EventDeserializer<'de> {
    type Error = Error;
    type Variant = PayloadDeserializer<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Error> {
        let name: StrDeserializer<'_, Error> = self.event.into_deserializer();
        Ok((seed.deserialize(name)?, PayloadDeserializer(self.payload)))
    }
}

/// Deserializes from the payload alone: everything as JSON does it, and bytes from bytes.
pub(super) struct PayloadDeserializer<'a>(&'a Payload);

impl<'a> PayloadDeserializer<'a> {
    fn json(&self) -> Result<serde_json::Deserializer<serde_json::de::SliceRead<'a>>, Error> {
        match self.0.as_json() {
            Some(text) => Ok(serde_json::Deserializer::from_slice(text)),
            None => Err(serde::de::Error::custom(
                "a JSON payload was expected, not a binary one",
            )),
        }
    }
}

impl<'de> VariantAccess<'de> for PayloadDeserializer<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self).map_err(Error::inside_payload)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        Ok(self.json()?.deserialize_tuple(len, visitor)?)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        Ok(self.json()?.deserialize_struct("", fields, visitor)?)
    }
}

/// One method for each shape that JSON and bytes treat alike: JSON goes to serde_json.
macro_rules! json_or_bytes {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Error> {
            match self.0.as_binary() {
                None => Ok(self.json()?.$method($($argument,)* visitor)?),
                Some(bytes) => binary(bytes, visitor),
            }
        }
    )*};
}

/// Offers bytes to a type that did not ask for a sequence.
fn binary<'de, V: Visitor<'de>>(bytes: &Bytes, visitor: V) -> Result<V::Value, Error> {
    BytesDeserializer::<Error>::new(bytes).deserialize_any(visitor)
}

impl<'de> Deserializer<'de> for PayloadDeserializer<'de> {
    type Error = Error;

    json_or_bytes! {
        deserialize_any()
        deserialize_bool()
        deserialize_i8()
        deserialize_i16()
        deserialize_i32()
        deserialize_i64()
        deserialize_i128()
        deserialize_u8()
        deserialize_u16()
        deserialize_u32()
        deserialize_u64()
        deserialize_u128()
        deserialize_f32()
        deserialize_f64()
        deserialize_char()
        deserialize_str()
        deserialize_string()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_unit()
        deserialize_unit_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier()
        deserialize_ignored_any()
    }

    /// A `Vec<u8>` asks for a sequence, and bytes are one.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_binary() {
            None => Ok(self.json()?.deserialize_seq(visitor)?),
            Some(bytes) => {
                visitor.visit_seq(SeqDeserializer::<_, Error>::new(bytes.iter().copied()))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_binary() {
            None => Ok(self.json()?.deserialize_option(visitor)?),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == PAYLOAD_TOKEN {
            payload::hand_over(self.0.clone());
            return visitor.visit_unit();
        }
        match self.0.as_binary() {
            None => Ok(self.json()?.deserialize_newtype_struct(name, visitor)?),
            Some(_) => visitor.visit_newtype_struct(self),
        }
    }
}
