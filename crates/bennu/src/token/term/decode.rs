//! Bytes to terms: a strict part of the external term format, within limits.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{ATOM_CHARS_MAX, Atom, DEPTH_MAX, INFLATED_BYTES_MAX, INTEGER_BYTES_MAX, Term};

/// Bytes are not a term that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermDecodeError {
    /// The first byte is not 131.
    #[error("a term begins with the version byte 131")]
    Version,
    /// The bytes end inside the term.
    #[error("the bytes end inside the term")]
    Truncated,
    /// There are bytes after the term.
    #[error("there are bytes after the term")]
    Trailing,
    /// A kind of term that means something only inside the runtime that wrote it, or that is not
    /// accepted.
    #[error(
        "{0} are not accepted: only atoms, numbers, binaries, tuples, proper lists and maps are"
    )]
    Refused(&'static str),
    /// No kind of term has this tag.
    #[error("{0} is not the tag of a term")]
    Tag(u8),
    /// More levels than [`DEPTH_MAX`].
    #[error("the term has more than {DEPTH_MAX} levels")]
    Depth,
    /// An integer of more bytes than [`INTEGER_BYTES_MAX`], or with a sign that is neither 0 nor 1.
    #[error("an integer has a sign of 0 or 1 and at most {INTEGER_BYTES_MAX} bytes")]
    Integer,
    /// A float that is infinite, not a number, or not a number's text.
    #[error("a float must be finite")]
    Float,
    /// An atom that is not UTF-8 or has more characters than [`ATOM_CHARS_MAX`].
    #[error("an atom is UTF-8 of at most {ATOM_CHARS_MAX} characters")]
    Atom,
    /// A map holds a key twice.
    #[error("a map holds each key once")]
    DuplicateKey,
    /// A compressed term that comes to more than [`INFLATED_BYTES_MAX`], or not to what it says.
    #[error(
        "a compressed term is zlib of exactly the size it names, at most {INFLATED_BYTES_MAX} bytes"
    )]
    Compressed,
}

/// Reads the version byte and exactly one term.
pub(super) fn decode(bytes: &[u8]) -> Result<Term, TermDecodeError> {
    match bytes {
        [131, 80, compressed @ ..] => decode_all(&inflate(compressed)?),
        [131, plain @ ..] => decode_all(plain),
        [] => Err(TermDecodeError::Truncated),
        _ => Err(TermDecodeError::Version),
    }
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, TermDecodeError> {
    let (size, stream) = bytes
        .split_first_chunk()
        .ok_or(TermDecodeError::Truncated)?;
    let size = u32::from_be_bytes(*size) as usize;
    if size > INFLATED_BYTES_MAX {
        return Err(TermDecodeError::Compressed);
    }
    // The inflater starts with twice what it is given and grows no further than the limit.
    let inflated = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(stream, size)
        .map_err(|_| TermDecodeError::Compressed)?;
    if inflated.len() != size {
        return Err(TermDecodeError::Compressed);
    }
    Ok(inflated)
}

fn decode_all(bytes: &[u8]) -> Result<Term, TermDecodeError> {
    let mut reader = Reader(bytes);
    let term = reader.term(DEPTH_MAX)?;
    if reader.0.is_empty() {
        Ok(term)
    } else {
        Err(TermDecodeError::Trailing)
    }
}

/// What is left of the bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn term(&mut self, levels: usize) -> Result<Term, TermDecodeError> {
        match self.u8()? {
            97 => self.u8().map(Term::from),
            98 => Ok(Term::from(i32::from_be_bytes(self.array()?))),
            110 => {
                let length = usize::from(self.u8()?);
                self.big(length)
            }
            111 => {
                let length = self.u32()?;
                self.big(length)
            }
            70 => finite(f64::from_be_bytes(self.array()?)),
            99 => self.old_float(),
            100 => {
                let length = usize::from(self.u16()?);
                self.latin1_atom(length)
            }
            115 => {
                let length = usize::from(self.u8()?);
                self.latin1_atom(length)
            }
            118 => {
                let length = usize::from(self.u16()?);
                self.utf8_atom(length)
            }
            119 => {
                let length = usize::from(self.u8()?);
                self.utf8_atom(length)
            }
            104 => {
                let arity = usize::from(self.u8()?);
                self.elements(arity, levels).map(Term::Tuple)
            }
            105 => {
                let arity = self.u32()?;
                self.elements(arity, levels).map(Term::Tuple)
            }
            106 => Ok(Term::List(Vec::new())),
            107 => self.charlist(levels),
            108 => self.list(levels),
            109 => {
                let length = self.u32()?;
                Ok(Term::Binary(self.bytes(length)?.to_vec()))
            }
            116 => self.map(levels),
            tag => Err(refused(tag)),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], TermDecodeError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(TermDecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TermDecodeError> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(TermDecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, TermDecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, TermDecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<usize, TermDecodeError> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn big(&mut self, length: usize) -> Result<Term, TermDecodeError> {
        if length > INTEGER_BYTES_MAX {
            return Err(TermDecodeError::Integer);
        }
        let negative = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(TermDecodeError::Integer),
        };
        Ok(Term::integer(negative, self.bytes(length)?))
    }

    /// 31 bytes of text, filled up with zeros: the form before OTP R11.
    fn old_float(&mut self) -> Result<Term, TermDecodeError> {
        let text = self.bytes(31)?;
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| TermDecodeError::Float)?;
        finite(text.trim().parse().map_err(|_| TermDecodeError::Float)?)
    }

    fn latin1_atom(&mut self, length: usize) -> Result<Term, TermDecodeError> {
        if length > ATOM_CHARS_MAX {
            return Err(TermDecodeError::Atom);
        }
        let name: String = self
            .bytes(length)?
            .iter()
            .map(|&byte| char::from(byte))
            .collect();
        Ok(Term::Atom(Atom(name.into())))
    }

    fn utf8_atom(&mut self, length: usize) -> Result<Term, TermDecodeError> {
        let name = std::str::from_utf8(self.bytes(length)?).map_err(|_| TermDecodeError::Atom)?;
        Atom::new(name)
            .map(Term::Atom)
            .map_err(|_| TermDecodeError::Atom)
    }

    /// So many terms. Nothing is reserved for them: every term that there is takes a byte, those
    /// that are only announced take none.
    fn elements(&mut self, count: usize, levels: usize) -> Result<Vec<Term>, TermDecodeError> {
        let levels = deeper(levels)?;
        if count > self.0.len() {
            return Err(TermDecodeError::Truncated);
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.term(levels)?);
        }
        Ok(elements)
    }

    fn charlist(&mut self, levels: usize) -> Result<Term, TermDecodeError> {
        deeper(levels)?;
        let length = usize::from(self.u16()?);
        let elements = self.bytes(length)?.iter().map(|&byte| Term::from(byte));
        Ok(Term::List(elements.collect()))
    }

    fn list(&mut self, levels: usize) -> Result<Term, TermDecodeError> {
        let count = self.u32()?;
        let elements = self.elements(count, levels)?;
        match self.u8()? {
            106 => Ok(Term::List(elements)),
            _ => Err(TermDecodeError::Refused("improper lists")),
        }
    }

    fn map(&mut self, levels: usize) -> Result<Term, TermDecodeError> {
        let levels = deeper(levels)?;
        let count = self.u32()?;
        let mut pairs = BTreeMap::new();
        for _ in 0..count {
            let key = self.term(levels)?;
            let value = self.term(levels)?;
            match pairs.entry(key) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(_) => return Err(TermDecodeError::DuplicateKey),
            };
        }
        Ok(Term::Map(pairs))
    }
}

fn deeper(levels: usize) -> Result<usize, TermDecodeError> {
    levels.checked_sub(1).ok_or(TermDecodeError::Depth)
}

fn finite(float: f64) -> Result<Term, TermDecodeError> {
    if float.is_finite() {
        Ok(Term::Float(float))
    } else {
        Err(TermDecodeError::Float)
    }
}

fn refused(tag: u8) -> TermDecodeError {
    TermDecodeError::Refused(match tag {
        77 => "bitstrings",
        88 | 103 => "pids",
        90 | 101 | 114 => "references",
        89 | 102 | 120 => "ports",
        112 | 113 | 117 => "functions",
        121 => "terms of one runtime",
        80 => "compressed terms inside of others",
        _ => return TermDecodeError::Tag(tag),
    })
}
