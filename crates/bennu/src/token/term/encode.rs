//! Terms to bytes, in the form that OTP 25 gives them.

use super::{ATOM_CHARS_MAX, Atom, BigInteger, DEPTH_MAX, INTEGER_BYTES_MAX, Term};

/// A term has no form in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermEncodeError {
    /// More levels than [`DEPTH_MAX`].
    #[error("the term has more than {DEPTH_MAX} levels")]
    Depth,
    /// A float that is infinite or not a number.
    #[error("a float must be finite")]
    Float,
    /// An integer of more bytes than [`INTEGER_BYTES_MAX`].
    #[error("an integer has at most {INTEGER_BYTES_MAX} bytes")]
    Integer,
    /// A binary, list, tuple or map of more than 4,294,967,295 elements.
    #[error("a part of the term has more than 4294967295 elements")]
    Length,
}

/// Writes the version byte and the term.
pub(super) fn encode(term: &Term) -> Result<Vec<u8>, TermEncodeError> {
    let mut out = vec![131];
    write(&mut out, term, DEPTH_MAX)?;
    Ok(out)
}

fn write(out: &mut Vec<u8>, term: &Term, levels: usize) -> Result<(), TermEncodeError> {
    match term {
        Term::Atom(atom) => write_atom(out, atom),
        Term::Integer(integer) => write_integer(out, *integer),
        Term::BigInteger(integer) => return write_big(out, integer),
        Term::Float(float) if float.is_finite() => {
            out.push(70);
            out.extend(float.to_be_bytes());
        }
        Term::Float(_) => return Err(TermEncodeError::Float),
        Term::Binary(bytes) => {
            out.push(109);
            write_length(out, bytes.len())?;
            out.extend(bytes);
        }
        Term::Tuple(elements) => {
            let levels = deeper(levels)?;
            match u8::try_from(elements.len()) {
                Ok(arity) => out.extend([104, arity]),
                Err(_) => {
                    out.push(105);
                    write_length(out, elements.len())?;
                }
            }
            for element in elements {
                write(out, element, levels)?;
            }
        }
        Term::List(elements) => return write_list(out, elements, levels),
        Term::Map(pairs) => {
            let levels = deeper(levels)?;
            out.push(116);
            write_length(out, pairs.len())?;
            for (key, value) in pairs {
                write(out, key, levels)?;
                write(out, value, levels)?;
            }
        }
    }
    Ok(())
}

fn deeper(levels: usize) -> Result<usize, TermEncodeError> {
    levels.checked_sub(1).ok_or(TermEncodeError::Depth)
}

fn write_length(out: &mut Vec<u8>, length: usize) -> Result<(), TermEncodeError> {
    let length = u32::try_from(length).map_err(|_| TermEncodeError::Length)?;
    out.extend(length.to_be_bytes());
    Ok(())
}

/// Latin-1 with tag 100 where the name allows it, else UTF-8.
fn write_atom(out: &mut Vec<u8>, atom: &Atom) {
    let name = atom.as_str();
    let latin1: Option<Vec<u8>> = name.chars().map(|c| u8::try_from(c).ok()).collect();
    let (tag, bytes) = match &latin1 {
        Some(bytes) => (100, bytes.as_slice()),
        None if name.len() <= usize::from(u8::MAX) => (119, name.as_bytes()),
        None => (118, name.as_bytes()),
    };
    debug_assert!(bytes.len() <= 4 * ATOM_CHARS_MAX);
    let [high, low] = (bytes.len() as u16).to_be_bytes();
    out.push(tag);
    if tag != 119 {
        out.push(high);
    }
    out.push(low);
    out.extend(bytes);
}

/// The smallest form: one byte, four bytes, or as many as it takes.
fn write_integer(out: &mut Vec<u8>, integer: i128) {
    if let Ok(byte) = u8::try_from(integer) {
        out.extend([97, byte]);
    } else if let Ok(word) = i32::try_from(integer) {
        out.push(98);
        out.extend(word.to_be_bytes());
    } else {
        let magnitude = integer.unsigned_abs();
        let used = 16 - magnitude.leading_zeros() as u8 / 8;
        out.extend([110, used, u8::from(integer < 0)]);
        out.extend(&magnitude.to_le_bytes()[..usize::from(used)]);
    }
}

fn write_big(out: &mut Vec<u8>, integer: &BigInteger) -> Result<(), TermEncodeError> {
    let length = integer.magnitude.len();
    if length > INTEGER_BYTES_MAX {
        return Err(TermEncodeError::Integer);
    }
    match u8::try_from(length) {
        Ok(length) => out.extend([110, length]),
        Err(_) => {
            out.push(111);
            write_length(out, length)?;
        }
    }
    out.push(u8::from(integer.negative));
    out.extend(&integer.magnitude);
    Ok(())
}

/// Short lists of bytes have a form of their own.
fn write_list(out: &mut Vec<u8>, elements: &[Term], levels: usize) -> Result<(), TermEncodeError> {
    if elements.is_empty() {
        out.push(106);
        return Ok(());
    }
    let levels = deeper(levels)?;
    if let Ok(length) = u16::try_from(elements.len())
        && let Some(bytes) = bytes_of(elements)
    {
        out.push(107);
        out.extend(length.to_be_bytes());
        out.extend(bytes);
        return Ok(());
    }
    out.push(108);
    write_length(out, elements.len())?;
    for element in elements {
        write(out, element, levels)?;
    }
    out.push(106);
    Ok(())
}

fn bytes_of(elements: &[Term]) -> Option<Vec<u8>> {
    let byte = |element: &Term| match element {
        Term::Integer(integer) => u8::try_from(*integer).ok(),
        _ => None,
    };
    elements.iter().map(byte).collect()
}
