//! [`ParamFilter`]: what logs may show of the parameters that clients send.

use std::fmt;

use bennu_proto::payload::Payload;
use serde_json::Value;

/// What stands where something was taken out.
const FILTERED: &str = "[FILTERED]";

/// Which parameters logs may show. By default, everything but values whose key contains `password`
/// or `token`, and text that contains `password=` or `token=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamFilter(Mode);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Discard(Vec<String>),
    Keep(Vec<String>),
}

impl ParamFilter {
    /// Hides values whose key contains one of these terms, at any depth, and text that contains a
    /// term followed by `=`. The case matters. Without terms, nothing is hidden.
    pub fn discard<T: Into<String>>(terms: impl IntoIterator<Item = T>) -> Self {
        Self(Mode::Discard(terms.into_iter().map(Into::into).collect()))
    }

    /// Hides every value but those under exactly these keys, which are shown with all that is in
    /// them.
    pub fn keep<T: Into<String>>(keys: impl IntoIterator<Item = T>) -> Self {
        Self(Mode::Keep(keys.into_iter().map(Into::into).collect()))
    }

    /// The value as logs may show it.
    #[must_use]
    pub fn apply(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (key.clone(), self.apply_under(key, value)))
                .collect(),
            Value::Array(list) => list.iter().map(|value| self.apply(value)).collect(),
            leaf if self.shows(leaf) => leaf.clone(),
            _ => FILTERED.into(),
        }
    }

    fn apply_under(&self, key: &str, value: &Value) -> Value {
        match &self.0 {
            Mode::Discard(terms) if terms.iter().any(|term| key.contains(term)) => FILTERED.into(),
            Mode::Keep(keys) if keys.iter().any(|kept| kept == key) => value.clone(),
            _ => self.apply(value),
        }
    }

    fn shows(&self, leaf: &Value) -> bool {
        match (&self.0, leaf) {
            (Mode::Discard(terms), Value::String(text)) => {
                !terms.iter().any(|term| text.contains(&format!("{term}=")))
            }
            (Mode::Discard(_), _) => true,
            (Mode::Keep(_), _) => false,
        }
    }

    /// A payload, to be written into a log line; the work is done only if it is written.
    pub(crate) fn payload<'a>(&'a self, payload: &'a Payload) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| match payload.decode::<Value>() {
            Ok(value) => write!(f, "{}", self.apply(&value)),
            Err(_) => write!(f, "({} bytes)", payload.len()),
        })
    }
}

impl Default for ParamFilter {
    fn default() -> Self {
        Self::discard(["password", "token"])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn discard_filter_hides_values_at_every_depth() {
        let filter = ParamFilter::default();
        let value = json!({
            "foo": "bar",
            "password": "should_not_show",
            "nested": [{"user_token": {"a": 1}}, {"Password": "case matters"}],
            "form": "user=ada&password=secret",
        });
        let shown = json!({
            "foo": "bar",
            "password": "[FILTERED]",
            "nested": [{"user_token": "[FILTERED]"}, {"Password": "case matters"}],
            "form": "[FILTERED]",
        });
        assert_eq!(filter.apply(&value), shown);
        assert_eq!(ParamFilter::discard::<String>([]).apply(&value), value);
    }

    #[test]
    fn keep_filter_hides_everything_else_but_the_structure() {
        let value = json!({"id": {"deep": [1]}, "list": [1, {"id": 2}], "x": null});
        let shown = json!({
            "id": {"deep": [1]}, "list": ["[FILTERED]", {"id": 2}], "x": "[FILTERED]",
        });
        assert_eq!(ParamFilter::keep(["id"]).apply(&value), shown);
    }

    #[test]
    fn payloads_that_are_no_json_show_their_size() {
        let filter = ParamFilter::default();
        let binary = Payload::binary(&b"secret"[..]);
        assert_eq!(filter.payload(&binary).to_string(), "(6 bytes)");
    }
}
