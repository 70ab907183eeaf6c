//! [`Term`]: the values of Erlang that a token may hold, exactly as they were written.
//!
//! The bytes are read and written in the files below; what a token says about its age is not known here.

mod data_error;
mod decode;
mod deserialize;
mod encode;
mod order;
mod serialize;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use data_error::DataError;
pub use decode::TermDecodeError;
pub use encode::TermEncodeError;

/// The most levels of tuples, lists and maps in a term.
pub const DEPTH_MAX: usize = 64;
/// The most bytes that a compressed term may come to.
pub const INFLATED_BYTES_MAX: usize = 65_536;
/// The most bytes of an integer: 2,048 bits.
pub const INTEGER_BYTES_MAX: usize = 256;
/// The most characters of an atom; the runtime of Erlang has the same limit.
pub const ATOM_CHARS_MAX: usize = 255;

/// A value of Erlang, for those who want to say or to see exactly what is in a token. Everything
/// else goes through serde:
///
/// | Rust | written as | also read from |
/// | --- | --- | --- |
/// | `bool` | the atoms `true` and `false` | |
/// | `()`, `Option::None` | the atom `nil` | |
/// | integers, up to 128 bits | integer | |
/// | `f32`, `f64` | float | integer of up to 64 bits |
/// | `char`, `str` | binary | any atom but `nil`, `true` and `false` |
/// | bytes (`serde_bytes` and the like) | binary | |
/// | `Vec` and other sequences | list | |
/// | tuples, arrays, tuple structs | tuple | list of that length |
/// | structs | map with binary keys | map with atom keys |
/// | maps | map | |
/// | a variant without fields | its name, as a binary | atom |
/// | a variant with fields | map with its name as the only key | tuple that begins with its name |
/// | [`Atom`] | atom | |
///
/// Names are case-sensitive and never changed; `#[serde(rename_all = "snake_case")]` makes those of
/// Rust look like those of Elixir.
///
/// Pids, references, ports, functions, bitstrings and improper lists are refused. Terms are ordered
/// as Erlang orders the keys of maps.
#[derive(Clone, Debug)]
pub enum Term {
    /// An atom. `nil`, `true`, `false` and the names of Elixir's modules are atoms as well.
    Atom(Atom),
    /// An integer of up to 128 bits.
    Integer(i128),
    /// An integer that needs more.
    BigInteger(BigInteger),
    /// A float. It must be finite to be written.
    Float(f64),
    /// A binary: what Elixir calls a string, or any bytes.
    Binary(Vec<u8>),
    /// A tuple.
    Tuple(Vec<Term>),
    /// A proper list. A charlist is a list of integers.
    List(Vec<Term>),
    /// A map.
    Map(BTreeMap<Term, Term>),
}

impl Term {
    /// The atom `nil`.
    #[must_use]
    pub fn nil() -> Self {
        Self::Atom(Atom("nil".into()))
    }

    /// The integer of this sign and these bytes, the least significant first.
    #[must_use]
    pub fn integer(negative: bool, magnitude: &[u8]) -> Self {
        let used = magnitude
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let magnitude = &magnitude[..used];
        let small = || {
            let mut bytes = [0; 16];
            bytes.get_mut(..used)?.copy_from_slice(magnitude);
            let value = u128::from_le_bytes(bytes);
            if negative {
                0_i128.checked_sub_unsigned(value)
            } else {
                i128::try_from(value).ok()
            }
        };
        small().map_or_else(
            || {
                Self::BigInteger(BigInteger {
                    negative,
                    magnitude: magnitude.to_vec(),
                })
            },
            Self::Integer,
        )
    }

    /// Writes any data as a term, as the table above says.
    ///
    /// # Errors
    /// [`DataError`] when the data's own `Serialize` fails, or an [`Atom`] in it is too long.
    pub fn from_data<T: Serialize + ?Sized>(data: &T) -> Result<Self, DataError> {
        data.serialize(serialize::TermSerializer)
    }

    /// Reads the term as data of your type, as the table above says.
    ///
    /// # Errors
    /// [`DataError`] when it does not fit. Its text quotes nothing of the term.
    pub fn into_data<T: DeserializeOwned>(self) -> Result<T, DataError> {
        T::deserialize(deserialize::TermDeserializer(self))
    }

    /// Writes the term in the external term format, as OTP 25 writes it: all newer ones read that.
    /// The order of maps with more than 32 keys depends on the runtime there; here all are in
    /// Erlang's order.
    ///
    /// # Errors
    /// [`TermEncodeError`] for what has no form, or is beyond the limits of this module.
    pub fn encode(&self) -> Result<Vec<u8>, TermEncodeError> {
        encode::encode(self)
    }

    /// Reads the external term format, as any OTP writes it.
    ///
    /// The work and the memory are in proportion to the bytes that are there; lengths that are only
    /// announced reserve nothing. No atom outlives its term.
    ///
    /// # Errors
    /// [`TermDecodeError`] for bytes that are no term, for kinds of terms that are refused, and for
    /// what is beyond the limits of this module.
    pub fn decode(bytes: &[u8]) -> Result<Self, TermDecodeError> {
        decode::decode(bytes)
    }

    /// The text of a binary that is UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Binary(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Term {
            fn from(value: $integer) -> Self {
                Self::Integer(value.into())
            }
        }
    )*};
}

from_integers!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

impl From<u128> for Term {
    fn from(value: u128) -> Self {
        Self::integer(false, &value.to_le_bytes())
    }
}

impl From<f64> for Term {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Term {
    fn from(value: bool) -> Self {
        Self::Atom(Atom(if value { "true" } else { "false" }.into()))
    }
}

impl From<&str> for Term {
    fn from(text: &str) -> Self {
        Self::Binary(text.as_bytes().to_vec())
    }
}

impl From<String> for Term {
    fn from(text: String) -> Self {
        Self::Binary(text.into_bytes())
    }
}

impl From<Atom> for Term {
    fn from(atom: Atom) -> Self {
        Self::Atom(atom)
    }
}

/// An atom: a name of at most 255 characters. It is text here and nothing else; there is no table of
/// atoms that could fill up.
///
/// In data, it is an atom in tokens, and text in other formats.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Atom(Box<str>);

impl Atom {
    /// The atom of this name.
    ///
    /// # Errors
    /// [`AtomError`] for more than 255 characters.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, AtomError> {
        let name = name.into();
        if name.chars().nth(ATOM_CHARS_MAX).is_some() {
            return Err(AtomError);
        }
        Ok(Self(name))
    }

    /// Its name, without the colon that Elixir writes before it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name is too long for an atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an atom has at most {ATOM_CHARS_MAX} characters")]
pub struct AtomError;

/// An integer of more than 128 bits, of the range that [`Term::Integer`] does not hold. It is made by
/// [`Term::integer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigInteger {
    negative: bool,
    magnitude: Vec<u8>,
}

impl BigInteger {
    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Its distance from zero, the least significant byte first, without zeros at the end.
    #[must_use]
    pub fn magnitude(&self) -> &[u8] {
        &self.magnitude
    }

    /// The value, where it is positive and has no more than 128 bits.
    #[must_use]
    pub fn to_u128(&self) -> Option<u128> {
        let bytes = self.magnitude.as_slice().try_into().ok()?;
        (!self.negative).then(|| u128::from_le_bytes(bytes))
    }
}
