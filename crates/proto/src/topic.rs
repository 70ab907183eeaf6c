//! [`Topic`], [`TopicPattern`] and [`Router`]: which channel answers for which topic.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a conversation, such as `room:lobby`. Any text; compared byte by byte. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Deref for Topic {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Topic {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Topic {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Topic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// Which topics a channel answers for: an exact topic, or a prefix followed by `*`.
///
/// `room:*` matches every topic that begins with `room:`, also `room:` itself; the prefix need not
/// end in a colon; `*` alone matches everything. A `*` anywhere but at the end is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern {
    text: Box<str>,
    prefix: bool,
}

/// The pattern has a `*` that is not its last character.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "topic pattern {pattern:?} is not valid: `*` may stand once, as the last character \
     (like \"room:*\"), or not at all (like \"room:lobby\")"
)]
pub struct PatternError {
    /// The pattern that was refused.
    pub pattern: String,
}

impl TopicPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when a `*` stands anywhere but at the end.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let (text, prefix) = match pattern.strip_suffix('*') {
            Some(text) => (text, true),
            None => (pattern, false),
        };
        if text.contains('*') {
            return Err(PatternError {
                pattern: pattern.to_owned(),
            });
        }
        Ok(Self {
            text: text.into(),
            prefix,
        })
    }

    /// If the topic matches, the part that the `*` stands for (empty for an exact pattern).
    #[must_use]
    pub fn matches<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let rest = topic.strip_prefix(&*self.text)?;
        (self.prefix || rest.is_empty()).then_some(rest)
    }

    /// How many bytes of a matching topic come before the part that the `*` stands for.
    #[must_use]
    pub fn prefix_len(&self) -> usize {
        self.text.len()
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.prefix { "*" } else { "" };
        write!(f, "{}{star}", self.text)
    }
}

/// Patterns in the order in which they were declared; the first that matches wins.
#[derive(Clone, Debug, Default)]
pub struct Router {
    patterns: Vec<TopicPattern>,
}

impl Router {
    /// Adds a pattern behind those that are there and returns its number.
    pub fn push(&mut self, pattern: TopicPattern) -> usize {
        self.patterns.push(pattern);
        self.patterns.len() - 1
    }

    /// The number of the first pattern that matches.
    #[must_use]
    pub fn route(&self, topic: &str) -> Option<usize> {
        self.patterns
            .iter()
            .position(|pattern| pattern.matches(topic).is_some())
    }

    /// The pattern with this number.
    #[must_use]
    pub fn pattern(&self, route: usize) -> Option<&TopicPattern> {
        self.patterns.get(route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_declared_prefix_wins() {
        let mut router = Router::default();
        for pattern in ["food*", "foo*", "room:lobby", "room:*"] {
            router.push(TopicPattern::parse(pattern).unwrap());
        }
        assert_eq!(router.route("food:1"), Some(0));
        assert_eq!(router.route("foo:1"), Some(1));
        assert_eq!(router.route("room:lobby"), Some(2));
        assert_eq!(router.route("room:"), Some(3));
        assert_eq!(router.route("Room:1"), None);
        assert_eq!(router.route(""), None);
    }

    #[test]
    fn the_wildcard_is_what_follows_the_prefix() {
        let pattern = TopicPattern::parse("room:*").unwrap();
        assert_eq!(pattern.matches("room:a:b"), Some("a:b"));
        assert_eq!(pattern.matches("room"), None);
        let exact = TopicPattern::parse("phone").unwrap();
        assert_eq!(exact.matches("phone"), Some(""));
        assert_eq!(exact.matches("phones"), None);
        assert_eq!(TopicPattern::parse("*").unwrap().matches(""), Some(""));
    }

    #[test]
    fn a_star_anywhere_else_is_an_error() {
        for bad in ["ro*om", "*:room", "room:**", "**"] {
            let error = TopicPattern::parse(bad).unwrap_err();
            assert_eq!(error.pattern, bad);
            assert!(error.to_string().contains(bad));
        }
    }
}
