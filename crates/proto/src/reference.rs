//! [`Ref`]: the opaque references of messages and joins, kept small and compared strictly.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest reference that is accepted, in bytes of JSON text: what is stored for each join must
/// have a bound. The 255 bytes that a binary frame can carry fit, even if each needs an escape.
pub const REF_BYTES_MAX: usize = 1536;

const INLINE_BYTES: usize = 22;

/// A message reference or a join reference: any JSON value but `null`, echoed as it came.
///
/// The official client sends decimal strings (`"12"`). Comparison is strict: the number `1` is not
/// the string `"1"` (protocol of Phoenix sockets, section "refs"). References of up to 22 bytes of
/// JSON text live inline, without an allocation.
#[derive(Clone)]
pub struct Ref(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Heap(Box<[u8]>),
}

/// A reference was longer than [`REF_BYTES_MAX`], or not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reference must be a JSON value of at most {REF_BYTES_MAX} bytes")]
pub struct RefError;

impl Ref {
    /// A reference that is a JSON string with this content.
    ///
    /// # Errors
    /// [`RefError`] when its JSON text is longer than [`REF_BYTES_MAX`].
    pub fn text(content: &str) -> Result<Self, RefError> {
        let json = serde_json::to_vec(content).map_err(|_| RefError)?;
        Self::from_canonical(&json)
    }

    /// Reads a reference from its JSON text; `null` is no reference.
    ///
    /// # Errors
    /// [`RefError`] when the text is not JSON or longer than [`REF_BYTES_MAX`].
    pub fn from_json(text: &str) -> Result<Option<Self>, RefError> {
        let text = text.trim_ascii();
        if text == "null" {
            return Ok(None);
        }
        // Checked before anything is taken apart: what is too long on the wire is refused as such.
        if text.len() > REF_BYTES_MAX {
            return Err(RefError);
        }
        if is_plain_string(text) || is_integer(text) {
            return Self::from_canonical(text.as_bytes()).map(Some);
        }
        // Escapes and nested values have many spellings; equality needs one.
        let mut value: serde_json::Value = serde_json::from_str(text).map_err(|_| RefError)?;
        value.sort_all_objects();
        let canonical = serde_json::to_vec(&value).map_err(|_| RefError)?;
        Self::from_canonical(&canonical).map(Some)
    }

    fn from_canonical(json: &[u8]) -> Result<Self, RefError> {
        if json.len() > REF_BYTES_MAX {
            return Err(RefError);
        }
        let mut bytes = [0; INLINE_BYTES];
        let repr = match (bytes.get_mut(..json.len()), u8::try_from(json.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(json);
                Repr::Inline { len, bytes }
            }
            _ => Repr::Heap(json.into()),
        };
        Ok(Self(repr))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Heap(bytes) => bytes,
        }
    }

    /// What a binary frame carries: the content of a string, or the text of any other value.
    #[must_use]
    pub fn binary_text(&self) -> Cow<'_, [u8]> {
        let json = self.as_json();
        match json {
            [b'"', content @ .., b'"'] if !content.contains(&b'\\') => Cow::Borrowed(content),
            [b'"', ..] => match serde_json::from_slice::<String>(json) {
                Ok(content) => Cow::Owned(content.into_bytes()),
                Err(_) => Cow::Borrowed(json),
            },
            other => Cow::Borrowed(other),
        }
    }
}

/// Whether this is a JSON string without escapes, which is its own only spelling.
fn is_plain_string(text: &str) -> bool {
    let content = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    content.is_some_and(|content| {
        content
            .bytes()
            .all(|b| b >= 0x20 && b != b'"' && b != b'\\')
    })
}

/// Whether this is an integer in its only spelling. Of any length: a number that is rounded would
/// not be echoed as it came.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

impl PartialEq for Ref {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for Ref {}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", String::from_utf8_lossy(self.as_json()))
    }
}

impl Serialize for Ref {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(self.as_json()))
    }
}

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_json(&text)
            .map_err(serde::de::Error::custom)?
            .ok_or_else(|| serde::de::Error::custom("null is not a reference"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Ref {
        Ref::from_json(text).unwrap().unwrap()
    }

    #[test]
    fn numbers_stay_numbers_and_differ_from_strings() {
        assert_ne!(parse("1"), parse("\"1\""));
        assert_eq!(parse("1").as_json(), b"1");
        assert_eq!(parse("\"1\"").as_json(), b"\"1\"");
        assert_eq!(parse("1").binary_text().as_ref(), b"1");
        assert_eq!(parse("\"1\"").binary_text().as_ref(), b"1");
    }

    #[test]
    fn one_value_has_one_spelling() {
        assert_eq!(parse(r#""\u0061""#), parse(r#""a""#));
        assert_eq!(parse(r#"{"b":1, "a":2}"#), parse(r#"{"a":2,"b":1}"#));
        assert_eq!(parse(r#""a\"b""#).binary_text().as_ref(), b"a\"b");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "007",
            "-",
            "\"",
            "\"a\"b\"",
            "\"\n\"",
            "nul",
            "\"\\ud800\"",
            "1 2",
            "1e999",
        ] {
            assert_eq!(Ref::from_json(text), Err(RefError), "{text:?}");
        }
    }

    #[test]
    fn a_long_integer_is_not_rounded() {
        for text in [
            "123456789012345678901234567890",
            "-123456789012345678901234567890",
        ] {
            assert_eq!(parse(text).as_json(), text.as_bytes());
        }
    }

    #[test]
    fn null_is_no_reference_and_length_is_bounded() {
        assert_eq!(Ref::from_json("null"), Ok(None));
        assert_eq!(
            Ref::from_json(&"9".repeat(REF_BYTES_MAX + 1)),
            Err(RefError)
        );
        assert!(Ref::text(&"x".repeat(REF_BYTES_MAX)).is_err());
        let long = Ref::text(&"x".repeat(100)).unwrap();
        assert_eq!(long.binary_text().len(), 100);
    }

    #[test]
    fn a_reference_is_three_words() {
        assert_eq!(size_of::<Option<Ref>>(), 24);
    }

    #[test]
    fn survives_export_and_import() {
        for text in [
            "1",
            "\"1\"",
            r#""a\\b""#,
            "true",
            "9007199254740993.1e-5",
            "-0",
            "[1.1]",
        ] {
            let json = serde_json::to_string(&parse(text)).unwrap();
            assert_eq!(serde_json::from_str::<Ref>(&json).unwrap(), parse(text));
        }
    }
}
