//! From a variant of an enum to an event name and a payload.

use std::fmt;

use bytes::Bytes;
use serde::ser::{
    Impossible, Serialize, SerializeStructVariant, SerializeTupleVariant, Serializer,
};

use super::ToMessageError;
use crate::payload::{PAYLOAD_TOKEN, Payload, take_handed_over};

/// Takes a value of an enum apart into its event and its payload.
///
/// # Errors
/// [`ToMessageError::NotAnEvent`] when the value is not a variant with a name,
/// [`ToMessageError::Payload`] when what it holds has no JSON form.
pub fn to_message<T: Serialize + ?Sized>(
    value: &T,
) -> Result<(&'static str, Payload), ToMessageError> {
    value.serialize(EventSerializer).map_err(|error| error.0)
}

pub(super) fn payload<T: Serialize + ?Sized>(value: &T) -> Result<Payload, ToMessageError> {
    // A payload or bytes are recognised by what the value calls first; the rest is serde_json's.
    match value.serialize(Whole) {
        Ok(payload) => Ok(payload),
        Err(NotWhole) => {
            Payload::json(value).map_err(|error| ToMessageError::Payload(error.to_string()))
        }
    }
}

/// The error that serde sees.
#[derive(Debug)]
struct Error(ToMessageError);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(ToMessageError::Payload(text.to_string()))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self(ToMessageError::Payload(error.to_string()))
    }
}

/// Methods that refuse everything but what was named.
macro_rules! refuse {
    ($error:expr; $($method:ident($($type:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<$ok, Self::Error> {
            Err($error)
        }
    )*};
}

/// Takes the variant as the event and serializes what it holds.
struct EventSerializer;

impl Serializer for EventSerializer {
    type Ok = (&'static str, Payload);
    type Error = Error;
    type SerializeSeq = Impossible<Self::Ok, Error>;
    type SerializeTuple = Impossible<Self::Ok, Error>;
    type SerializeTupleStruct = Impossible<Self::Ok, Error>;
    type SerializeTupleVariant = Fields;
    type SerializeMap = Impossible<Self::Ok, Error>;
    type SerializeStruct = Impossible<Self::Ok, Error>;
    type SerializeStructVariant = Fields;

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Self::Ok, Error> {
        Ok((variant, Payload::empty()))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Error> {
        Ok((variant, payload(value).map_err(Error)?))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields, Error> {
        Ok(Fields {
            variant,
            text: vec![b'{'],
        })
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields, Error> {
        Ok(Fields {
            variant,
            text: vec![b'['],
        })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Error> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Self::Ok, Error> {
        value.serialize(self)
    }

    refuse! { Error(ToMessageError::NotAnEvent);
        serialize_bool(bool) -> Self::Ok;
        serialize_i8(i8) -> Self::Ok;
        serialize_i16(i16) -> Self::Ok;
        serialize_i32(i32) -> Self::Ok;
        serialize_i64(i64) -> Self::Ok;
        serialize_u8(u8) -> Self::Ok;
        serialize_u16(u16) -> Self::Ok;
        serialize_u32(u32) -> Self::Ok;
        serialize_u64(u64) -> Self::Ok;
        serialize_f32(f32) -> Self::Ok;
        serialize_f64(f64) -> Self::Ok;
        serialize_char(char) -> Self::Ok;
        serialize_str(&str) -> Self::Ok;
        serialize_bytes(&[u8]) -> Self::Ok;
        serialize_none() -> Self::Ok;
        serialize_unit() -> Self::Ok;
        serialize_unit_struct(&'static str) -> Self::Ok;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
    }
}

/// The payload of a variant with several fields, written as they come.
struct Fields {
    variant: &'static str,
    text: Vec<u8>,
}

impl Fields {
    fn separate(&mut self) {
        if self.text.len() > 1 {
            self.text.push(b',');
        }
    }

    fn end(mut self, bracket: u8) -> (&'static str, Payload) {
        self.text.push(bracket);
        (self.variant, Payload::from_valid_json(self.text.into()))
    }
}

impl SerializeStructVariant for Fields {
    type Ok = (&'static str, Payload);
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.separate();
        serde_json::to_writer(&mut self.text, key)?;
        self.text.push(b':');
        Ok(serde_json::to_writer(&mut self.text, value)?)
    }

    fn end(self) -> Result<Self::Ok, Error> {
        Ok(self.end(b'}'))
    }
}

impl SerializeTupleVariant for Fields {
    type Ok = (&'static str, Payload);
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.separate();
        Ok(serde_json::to_writer(&mut self.text, value)?)
    }

    fn end(self) -> Result<Self::Ok, Error> {
        Ok(self.end(b']'))
    }
}

/// Accepts a value that is a [`Payload`] or bytes, and refuses every other at its first call,
/// before any work was done.
struct Whole;

/// The value is neither a payload nor bytes.
#[derive(Debug)]
struct NotWhole;

impl fmt::Display for NotWhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither a payload nor bytes")
    }
}

impl std::error::Error for NotWhole {}

impl serde::ser::Error for NotWhole {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Serializer for Whole {
    type Ok = Payload;
    type Error = NotWhole;
    type SerializeSeq = Impossible<Payload, NotWhole>;
    type SerializeTuple = Impossible<Payload, NotWhole>;
    type SerializeTupleStruct = Impossible<Payload, NotWhole>;
    type SerializeTupleVariant = Impossible<Payload, NotWhole>;
    type SerializeMap = Impossible<Payload, NotWhole>;
    type SerializeStruct = Impossible<Payload, NotWhole>;
    type SerializeStructVariant = Impossible<Payload, NotWhole>;

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Payload, NotWhole> {
        Ok(Payload::binary(Bytes::copy_from_slice(bytes)))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Payload, NotWhole> {
        if name == PAYLOAD_TOKEN {
            return take_handed_over().ok_or(NotWhole);
        }
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Payload, NotWhole> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Payload, NotWhole> {
        Err(NotWhole)
    }

    refuse! { NotWhole;
        serialize_bool(bool) -> Payload;
        serialize_i8(i8) -> Payload;
        serialize_i16(i16) -> Payload;
        serialize_i32(i32) -> Payload;
        serialize_i64(i64) -> Payload;
        serialize_u8(u8) -> Payload;
        serialize_u16(u16) -> Payload;
        serialize_u32(u32) -> Payload;
        serialize_u64(u64) -> Payload;
        serialize_f32(f32) -> Payload;
        serialize_f64(f64) -> Payload;
        serialize_char(char) -> Payload;
        serialize_str(&str) -> Payload;
        serialize_none() -> Payload;
        serialize_unit() -> Payload;
        serialize_unit_struct(&'static str) -> Payload;
        serialize_unit_variant(&'static str, u32, &'static str) -> Payload;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}
