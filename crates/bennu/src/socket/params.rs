//! [`ConnectParams`]: the parameters of a connect request, from its query string.

use std::fmt;

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Refused;
use crate::telemetry::ParamFilter;

/// The most parameters that a query string may hold.
const PAIRS_MAX: usize = 1024;
/// How deep `a[b][c]…` may nest.
const DEPTH_MAX: usize = 16;

/// The parameters with which a client connects: what the official client's `params` option holds,
/// with `vsn`.
///
/// `a=1&a=2` keeps the last, `a[b]=1` makes a map, `a[]=1&a[]=2` a list, a key without `=` is the
/// empty string, and empty pairs (`&&`), which the official client really sends, are skipped. All
/// values are text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectParams(Map<String, Value>);

/// The query string cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// Percent-decoded, it is not UTF-8.
    #[error("the query string is not valid UTF-8 after percent-decoding")]
    Utf8,
    /// Too many parameters, or too deeply nested.
    #[error(
        "the query string has more than {PAIRS_MAX} parameters or more than {DEPTH_MAX} levels"
    )]
    TooMany,
}

impl ConnectParams {
    /// Reads a query string, without its `?`.
    ///
    /// # Errors
    /// [`ParamsError`] for text that is not UTF-8, and for more than 1,024 parameters or 16 levels.
    pub fn from_query(query: &str) -> Result<Self, ParamsError> {
        let mut params = Map::new();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        for (count, pair) in pairs.enumerate() {
            if count >= PAIRS_MAX {
                return Err(ParamsError::TooMany);
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode_component(key)?, decode_component(value)?);
            insert(&mut params, &key, value)?;
        }
        Ok(Self(params))
    }

    /// A parameter that is text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A parameter of any shape.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// As logs may show them; the work is done only if they are logged.
    pub(crate) fn filtered<'a>(&'a self, filter: &'a ParamFilter) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| write!(f, "{}", filter.apply(&Value::Object(self.0.clone()))))
    }

    /// All of them, as a type of yours. Values are text, so numbers must be read from strings.
    ///
    /// # Errors
    /// What serde says when they do not fit.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object(self.0))
    }
}

impl From<ParamsError> for Refused {
    fn from(_: ParamsError) -> Self {
        Self::status(StatusCode::BAD_REQUEST)
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for ConnectParams {
    type Rejection = StatusCode;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _: &S,
    ) -> Result<Self, StatusCode> {
        // A mount has read them already.
        if let Some(params) = parts.extensions.get::<Self>() {
            return Ok(params.clone());
        }
        let query = parts.uri.query().unwrap_or_default();
        Self::from_query(query).map_err(|_| StatusCode::BAD_REQUEST)
    }
}

/// Puts `value` where `key`, such as `a[b][]`, says.
fn insert(params: &mut Map<String, Value>, key: &str, value: String) -> Result<(), ParamsError> {
    let (name, path) = match key.find('[') {
        Some(at) if at > 0 && key.ends_with(']') => key.split_at(at),
        _ => (key, ""),
    };
    let path: Vec<&str> = path
        .strip_prefix('[')
        .and_then(|path| path.strip_suffix(']'))
        .map(|path| path.split("][").collect())
        .unwrap_or_default();
    if path.len() > DEPTH_MAX {
        return Err(ParamsError::TooMany);
    }
    let mut place = params.entry(name).or_insert(Value::Null);
    for step in path {
        place = if step.is_empty() {
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            let Value::Array(list) = place else {
                return Ok(());
            };
            list.push(Value::Null);
            let Some(last) = list.last_mut() else {
                return Ok(());
            };
            last
        } else {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(map) = place else {
                return Ok(());
            };
            map.entry(step).or_insert(Value::Null)
        };
    }
    *place = Value::String(value);
    Ok(())
}

/// Decodes `%XX` and `+`. A `%` that begins no escape stands for itself.
pub(crate) fn decode_component(text: &str) -> Result<String, ParamsError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match escape(tail) {
                Some(byte) => {
                    bytes.push(byte);
                    rest = tail.get(2..).unwrap_or_default();
                }
                None => bytes.push(b'%'),
            },
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| ParamsError::Utf8)
}

fn escape(tail: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let value = digit(tail.first()?)? * 16 + digit(tail.get(1)?)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(query: &str) -> Value {
        Value::Object(ConnectParams::from_query(query).unwrap().0)
    }

    #[test]
    fn what_the_official_client_sends() {
        let query = "a=1&n%5Bx%5D=true&&l%5B0%5D=1&l%5B1%5D=2&u=undefined&vsn=2.0.0";
        let expected = json!({
            "a": "1", "n": {"x": "true"}, "l": {"0": "1", "1": "2"}, "u": "undefined", "vsn": "2.0.0",
        });
        assert_eq!(read(query), expected);
        assert_eq!(read("&&"), json!({}));
    }

    #[test]
    fn lists_repeats_and_odd_pairs() {
        assert_eq!(read("a=1&a=2"), json!({"a": "2"}));
        assert_eq!(read("a[]=1&a[]=2"), json!({"a": ["1", "2"]}));
        assert_eq!(read("flag&b="), json!({"flag": "", "b": ""}));
        assert_eq!(read("q=a+b%20c%"), json!({"q": "a b c%"}));
        assert_eq!(read("[x]=1&y]=2"), json!({"[x]": "1", "y]": "2"}));
        assert_eq!(read("a=1&a[b]=2"), json!({"a": {"b": "2"}}));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(ConnectParams::from_query("a=%ff"), Err(ParamsError::Utf8));
        let many = "a=1&".repeat(PAIRS_MAX + 1);
        assert_eq!(ConnectParams::from_query(&many), Err(ParamsError::TooMany));
        let deep = format!("a{}=1", "[x]".repeat(DEPTH_MAX + 1));
        assert_eq!(ConnectParams::from_query(&deep), Err(ParamsError::TooMany));
    }

    #[test]
    fn the_longest_queries_are_read_in_one_pass() {
        // As many steps, each as deep, as are allowed: what is quadratic in either would take minutes.
        let deep = format!("a{}=1&", "[x]".repeat(DEPTH_MAX));
        for pair in [&deep, "a[]=1&", "a[][x]=1&", "a[b=1&", "%", "+"] {
            let query = pair.repeat(PAIRS_MAX);
            assert!(ConnectParams::from_query(&query).is_ok(), "{pair}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(query in "[a-b\\[\\]=&%0-9+]{0,80}|.{0,80}") {
            let _ = ConnectParams::from_query(&query);
        }

        #[test]
        fn what_was_encoded_comes_back(name in ".{1,20}", value in ".{0,20}") {
            let encode = |text: &str| -> String {
                text.bytes().map(|byte| format!("%{byte:02X}")).collect()
            };
            let query = format!("{}={}", encode(&name), encode(&value));
            let params = ConnectParams::from_query(&query).unwrap();
            // A name with brackets at its end is a path, escaped or not.
            if !name.ends_with(']') {
                prop_assert_eq!(params.get(&name), Some(&*value));
            }
        }
    }
}
