//! Terms to data: a serde deserializer, and how an [`Atom`] comes out of any of them.

use std::collections::btree_map;
use std::{fmt, vec};

use serde::de::value::StringDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::serialize::ATOM;
use super::{Atom, DataError, Term};

impl<'de> Deserialize<'de> for Atom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtomVisitor;

        impl<'de> Visitor<'de> for AtomVisitor {
            type Value = Atom;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an atom")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Atom, D::Error> {
                Atom::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Atom, E> {
                Atom::new(name).map_err(E::custom)
            }
        }

        deserializer.deserialize_newtype_struct(ATOM, AtomVisitor)
    }
}

/// Gives a term to whatever asks for data.
pub(super) struct TermDeserializer(pub(super) Term);

impl<'de> Deserializer<'de> for TermDeserializer {
    type Error = DataError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.0 {
            Term::Atom(atom) => match atom.as_str() {
                "nil" => visitor.visit_unit(),
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                name => visitor.visit_str(name),
            },
            Term::Integer(integer) => visit_integer(integer, visitor),
            Term::BigInteger(integer) => match integer.to_u128() {
                Some(integer) => visitor.visit_u128(integer),
                None => Err(DataError::new("the integer has more than 128 bits")),
            },
            Term::Float(float) => visitor.visit_f64(float),
            Term::Binary(bytes) => match String::from_utf8(bytes) {
                Ok(text) => visitor.visit_string(text),
                Err(error) => visitor.visit_byte_buf(error.into_bytes()),
            },
            Term::Tuple(elements) | Term::List(elements) => visit_elements(elements, visitor),
            Term::Map(pairs) => {
                let mut access = Pairs {
                    pairs: pairs.into_iter(),
                    value: None,
                };
                let value = visitor.visit_map(&mut access)?;
                match access.pairs.len() {
                    0 => Ok(value),
                    _ => Err(DataError::new("the map has more keys than expected")),
                }
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match &self.0 {
            Term::Atom(atom) if atom.as_str() == "nil" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DataError> {
        match self.0 {
            Term::Atom(atom) if name == ATOM => visitor.visit_str(atom.as_str()),
            _ if name == ATOM => Err(DataError::new("found another value, expected an atom")),
            term => visitor.visit_newtype_struct(Self(term)),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.0 {
            Term::Binary(bytes) => visitor.visit_byte_buf(bytes),
            term => Self(term).deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        match self.0 {
            Term::Tuple(_) => Err(DataError::new("found a tuple, expected a list")),
            term => Self(term).deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DataError> {
        match &self.0 {
            Term::Tuple(elements) | Term::List(elements) if elements.len() != length => {
                Err(DataError::invalid_length(elements.len(), &visitor))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DataError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DataError> {
        let (name, content) = match self.0 {
            Term::Map(pairs) if pairs.len() == 1 => {
                let pair = pairs.into_iter().next();
                pair.map(|(name, content)| (name, Some(content)))
            }
            Term::Tuple(elements) if elements.len() > 1 => {
                let mut elements = elements.into_iter();
                elements.next().map(|name| {
                    let mut rest: Vec<Term> = elements.collect();
                    let content = match rest.len() {
                        1 => rest.remove(0),
                        _ => Term::Tuple(rest),
                    };
                    (name, Some(content))
                })
            }
            name => Some((name, None)),
        }
        .ok_or_else(|| DataError::new("found nothing, expected a variant"))?;
        visitor.visit_enum(Variant {
            name: name_of(name)?,
            content,
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DataError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        unit unit_struct map struct identifier
    }
}

fn visit_integer<'de, V: Visitor<'de>>(integer: i128, visitor: V) -> Result<V::Value, DataError> {
    if let Ok(integer) = i64::try_from(integer) {
        visitor.visit_i64(integer)
    } else if let Ok(integer) = u64::try_from(integer) {
        visitor.visit_u64(integer)
    } else {
        visitor.visit_i128(integer)
    }
}

/// Nothing may be left over: what reads a tuple of two would take the front of one of three.
fn visit_elements<'de, V: Visitor<'de>>(
    elements: Vec<Term>,
    visitor: V,
) -> Result<V::Value, DataError> {
    let mut access = Elements(elements.into_iter());
    let value = visitor.visit_seq(&mut access)?;
    match access.0.len() {
        0 => Ok(value),
        _ => Err(DataError::new("there are more elements than expected")),
    }
}

fn name_of(name: Term) -> Result<String, DataError> {
    match name {
        Term::Atom(atom) => Ok(atom.0.into()),
        Term::Binary(bytes) => String::from_utf8(bytes)
            .map_err(|_| DataError::new("found bytes, expected the name of a variant")),
        _ => Err(DataError::new(
            "found another value, expected the name of a variant",
        )),
    }
}

struct Elements(vec::IntoIter<Term>);

impl<'de> SeqAccess<'de> for &mut Elements {
    type Error = DataError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DataError> {
        let element = self.0.next();
        element
            .map(|element| seed.deserialize(TermDeserializer(element)))
            .transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Pairs {
    pairs: btree_map::IntoIter<Term, Term>,
    value: Option<Term>,
}

impl<'de> MapAccess<'de> for &mut Pairs {
    type Error = DataError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DataError> {
        let Some((key, value)) = self.pairs.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(TermDeserializer(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DataError> {
        match self.value.take() {
            Some(value) => seed.deserialize(TermDeserializer(value)),
            None => Err(DataError::new("a map's value comes after its key")),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.pairs.len())
    }
}

struct Variant {
    name: String,
    content: Option<Term>,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = DataError;
    type Variant = Content;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content), DataError> {
        let name: StringDeserializer<DataError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Content(self.content)))
    }
}

/// What belongs to a variant.
struct Content(Option<Term>);

impl Content {
    fn some(self) -> Result<TermDeserializer, DataError> {
        self.0
            .map(TermDeserializer)
            .ok_or_else(|| DataError::invalid_type(Unexpected::UnitVariant, &"a variant with data"))
    }
}

impl<'de> VariantAccess<'de> for Content {
    type Error = DataError;

    fn unit_variant(self) -> Result<(), DataError> {
        match self.0 {
            None => Ok(()),
            Some(_) => Err(DataError::new("found data, expected a variant without")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DataError> {
        seed.deserialize(self.some()?)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DataError> {
        self.some()?.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DataError> {
        self.some()?.deserialize_any(visitor)
    }
}
