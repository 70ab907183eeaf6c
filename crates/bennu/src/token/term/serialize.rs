//! Data to terms: a serde serializer, and how an [`Atom`] passes through any of them.

use std::collections::BTreeMap;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{Atom, DataError, Term};

/// The name by which our own serializer and deserializer know an atom; to all others it is a newtype
/// around text.
pub(super) const ATOM: &str = "$bennu::token::Atom";

impl Serialize for Atom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(ATOM, self.as_str())
    }
}

/// Makes a [`Term`] of whatever is given to it.
pub(super) struct TermSerializer;

macro_rules! serialize_from {
    ($($method:ident: $value:ty),* $(,)?) => {$(
        fn $method(self, value: $value) -> Result<Term, DataError> {
            Ok(Term::from(value))
        }
    )*};
}

impl Serializer for TermSerializer {
    type Ok = Term;
    type Error = DataError;
    type SerializeSeq = Elements;
    type SerializeTuple = Elements;
    type SerializeTupleStruct = Elements;
    type SerializeTupleVariant = Elements;
    type SerializeMap = Pairs;
    type SerializeStruct = Pairs;
    type SerializeStructVariant = Pairs;

    serialize_from! {
        serialize_bool: bool,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128,
        serialize_f64: f64,
        serialize_str: &str,
    }

    fn serialize_f32(self, value: f32) -> Result<Term, DataError> {
        Ok(Term::Float(value.into()))
    }

    fn serialize_char(self, value: char) -> Result<Term, DataError> {
        Ok(Term::from(value.to_string()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Term, DataError> {
        Ok(Term::Binary(value.to_vec()))
    }

    fn serialize_none(self) -> Result<Term, DataError> {
        Ok(Term::nil())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Term, DataError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Term, DataError> {
        Ok(Term::nil())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Term, DataError> {
        Ok(Term::nil())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Term, DataError> {
        Ok(Term::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Term, DataError> {
        let term = value.serialize(self)?;
        match term.as_text() {
            Some(text) if name == ATOM => Atom::new(text)
                .map(Term::Atom)
                .map_err(|error| DataError::new(error.to_string())),
            _ => Ok(term),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Term, DataError> {
        Ok(in_variant(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements, DataError> {
        Ok(Elements::new(None))
    }

    fn serialize_tuple(self, _: usize) -> Result<Elements, DataError> {
        Ok(Elements::new(None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements, DataError> {
        Ok(Elements::new(None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements, DataError> {
        Ok(Elements::new(Some(variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Pairs, DataError> {
        Ok(Pairs::new(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Pairs, DataError> {
        Ok(Pairs::new(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Pairs, DataError> {
        Ok(Pairs::new(Some(variant)))
    }
}

fn in_variant(variant: Option<&'static str>, term: Term) -> Term {
    match variant {
        Some(variant) => Term::Map(BTreeMap::from([(Term::from(variant), term)])),
        None => term,
    }
}

/// The elements of a list or a tuple, and the variant that they belong to.
pub(super) struct Elements {
    variant: Option<&'static str>,
    elements: Vec<Term>,
}

impl Elements {
    fn new(variant: Option<&'static str>) -> Self {
        Self {
            variant,
            elements: Vec::new(),
        }
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        self.elements.push(value.serialize(TermSerializer)?);
        Ok(())
    }

    fn into_tuple(self) -> Term {
        in_variant(self.variant, Term::Tuple(self.elements))
    }
}

impl SerializeSeq for Elements {
    type Ok = Term;
    type Error = DataError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        self.push(value)
    }

    fn end(self) -> Result<Term, DataError> {
        Ok(Term::List(self.elements))
    }
}

impl SerializeTuple for Elements {
    type Ok = Term;
    type Error = DataError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        self.push(value)
    }

    fn end(self) -> Result<Term, DataError> {
        Ok(self.into_tuple())
    }
}

impl SerializeTupleStruct for Elements {
    type Ok = Term;
    type Error = DataError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        self.push(value)
    }

    fn end(self) -> Result<Term, DataError> {
        Ok(self.into_tuple())
    }
}

impl SerializeTupleVariant for Elements {
    type Ok = Term;
    type Error = DataError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        self.push(value)
    }

    fn end(self) -> Result<Term, DataError> {
        Ok(self.into_tuple())
    }
}

/// The pairs of a map, and the variant that they belong to.
pub(super) struct Pairs {
    variant: Option<&'static str>,
    pairs: BTreeMap<Term, Term>,
    key: Option<Term>,
}

impl Pairs {
    fn new(variant: Option<&'static str>) -> Self {
        Self {
            variant,
            pairs: BTreeMap::new(),
            key: None,
        }
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: Term, value: &T) -> Result<(), DataError> {
        let value = value.serialize(TermSerializer)?;
        if self.pairs.insert(key, value).is_some() {
            return Err(DataError::new("a map holds each key once"));
        }
        Ok(())
    }

    fn into_map(self) -> Term {
        in_variant(self.variant, Term::Map(self.pairs))
    }
}

impl SerializeMap for Pairs {
    type Ok = Term;
    type Error = DataError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), DataError> {
        self.key = Some(key.serialize(TermSerializer)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        match self.key.take() {
            Some(key) => self.field(key, value),
            None => Err(DataError::new("a map's value comes after its key")),
        }
    }

    fn end(self) -> Result<Term, DataError> {
        Ok(self.into_map())
    }
}

impl SerializeStruct for Pairs {
    type Ok = Term;
    type Error = DataError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), DataError> {
        self.field(Term::from(key), value)
    }

    fn end(self) -> Result<Term, DataError> {
        Ok(self.into_map())
    }
}

impl SerializeStructVariant for Pairs {
    type Ok = Term;
    type Error = DataError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), DataError> {
        self.field(Term::from(key), value)
    }

    fn end(self) -> Result<Term, DataError> {
        Ok(self.into_map())
    }
}
