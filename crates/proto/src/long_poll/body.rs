//! [`Body`]: the messages in the body of a POST, one after the other. Nothing is made in advance, so that
//! a body of many tiny lines costs no more memory than its bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};

/// The content type of a body with one message on each line.
const NDJSON: &str = "application/x-ndjson";

/// The body of a POST, as far as it has not been handled.
#[derive(Clone, Debug)]
pub struct Body {
    rest: Bytes,
    /// One message on each line; otherwise one message in all.
    is_ndjson: bool,
    /// Parts so far.
    parts: usize,
}

/// One message in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Vec<u8>),
}

/// A line of a body is no message. The lines before it are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// A line that is neither JSON nor base64.
    #[error("line {line} is neither a JSON array nor base64 of a binary message")]
    Base64 {
        /// Which, counted from 1.
        line: usize,
    },
    /// A line that is too long.
    #[error("line {line} is {len} bytes long, a message may have {max}")]
    TooLong {
        /// Which, counted from 1.
        line: usize,
        /// How long it is.
        len: usize,
        /// What is accepted.
        max: usize,
    },
}

impl Body {
    /// A body with its content type. `application/x-ndjson`, with or without parameters, is one message on
    /// each line; anything else is one message in all, as clients before 1.7 send it.
    #[must_use]
    pub fn new(content_type: Option<&str>, bytes: Bytes) -> Self {
        let kind = content_type.and_then(|kind| kind.split(';').next());
        Self {
            rest: bytes,
            is_ndjson: kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(NDJSON)),
            parts: 0,
        }
    }

    /// The next message; empty lines are passed over. On a line, what begins like JSON is text and
    /// anything else the padded base64 of a binary message. `message_bytes_max` is the longest message
    /// that is accepted.
    ///
    /// # Errors
    /// [`BodyError`], after which the rest of the body is gone.
    pub fn next_part(&mut self, message_bytes_max: usize) -> Result<Option<Part>, BodyError> {
        let part = self.read_part(message_bytes_max);
        if part.is_err() {
            self.rest = Bytes::new();
        }
        part
    }

    /// Bytes that are not yet handled.
    #[must_use]
    pub fn remaining_bytes(&self) -> usize {
        self.rest.len()
    }

    fn read_part(&mut self, message_bytes_max: usize) -> Result<Option<Part>, BodyError> {
        let Some(bytes) = self.cut_part() else {
            return Ok(None);
        };
        let too_long = |len| BodyError::TooLong {
            line: self.parts,
            len,
            max: message_bytes_max,
        };
        let is_text = if self.is_ndjson {
            matches!(bytes.first(), Some(b'[' | b'{' | b' ' | b'\t'))
        } else {
            // The first byte of a binary message is its kind, which is no character of a text.
            bytes.first() != Some(&0)
        };
        if is_text || !self.is_ndjson {
            if bytes.len() > message_bytes_max {
                return Err(too_long(bytes.len()));
            }
            let part = if is_text {
                Part::Text(bytes)
            } else {
                Part::Binary(bytes.to_vec())
            };
            return Ok(Some(part));
        }
        // Before it is decoded: base64 of so many bytes is four thirds of them.
        if bytes.len() / 4 * 3 > message_bytes_max.saturating_add(2) {
            return Err(too_long(bytes.len() / 4 * 3));
        }
        match STANDARD.decode(&bytes) {
            Ok(binary) => Ok(Some(Part::Binary(binary))),
            Err(_) => Err(BodyError::Base64 { line: self.parts }),
        }
    }

    /// The next line that is not empty, or all there is.
    fn cut_part(&mut self) -> Option<Bytes> {
        if self.is_ndjson {
            self.skip_empty_lines();
        }
        if self.rest.is_empty() {
            return None;
        }
        self.parts += 1;
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let Some(end) = end.filter(|_| self.is_ndjson) else {
            let mut all = std::mem::take(&mut self.rest);
            if self.is_ndjson && all.ends_with(b"\r") {
                all.truncate(all.len() - 1);
            }
            return Some(all).filter(|all| !all.is_empty());
        };
        let mut line = self.rest.split_to(end);
        // The line's own end, which is there.
        self.rest.advance(1);
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        Some(line)
    }

    /// Millions of them are one look at each byte: making a slice for each would take the time of many
    /// messages, and the work of a turn is counted in messages.
    fn skip_empty_lines(&mut self) {
        let mut skipped = 0;
        loop {
            match self.rest.get(skipped..) {
                Some([b'\n', ..]) => skipped += 1,
                Some([b'\r', b'\n', ..]) => skipped += 2,
                _ => break,
            }
            self.parts += 1;
        }
        self.rest.advance(skipped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    fn parts(kind: Option<&str>, body: &str) -> Vec<Result<Part, BodyError>> {
        let mut body = Body::new(kind, Bytes::copy_from_slice(body.as_bytes()));
        std::iter::from_fn(|| body.next_part(MAX).transpose()).collect()
    }

    fn text(text: &str) -> Result<Part, BodyError> {
        Ok(Part::Text(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn lines_of_text_and_base64() {
        let body = "[\"1\"]\r\nAAEC\n\n[2]\n";
        let expected = vec![
            text("[\"1\"]"),
            Ok(Part::Binary(vec![0, 1, 2])),
            text("[2]"),
        ];
        for kind in [
            "application/x-ndjson",
            "application/x-ndjson; charset=utf-8",
            "Application/X-NDJSON",
        ] {
            assert_eq!(parts(Some(kind), body), expected, "{kind}");
        }
    }

    #[test]
    fn objects_of_version_1_are_text_too() {
        let kind = Some("application/x-ndjson");
        assert_eq!(parts(kind, "{\"topic\":1}"), [text("{\"topic\":1}")]);
    }

    #[test]
    fn any_other_type_is_one_message() {
        for kind in [
            None,
            Some("application/json"),
            Some("application/x-ndjsonp"),
        ] {
            assert_eq!(parts(kind, "[1]\n[2]"), [text("[1]\n[2]")]);
            let binary = Ok(Part::Binary(vec![0, b'a']));
            assert_eq!(parts(kind, "\0a"), [binary]);
        }
    }

    #[test]
    fn nothing_is_no_message() {
        for kind in [None, Some("application/x-ndjson")] {
            assert_eq!(parts(kind, ""), []);
        }
        assert_eq!(parts(Some("application/x-ndjson"), "\n\r\n\n"), []);
    }

    #[test]
    fn a_bad_line_is_named_and_ends_the_body() {
        let kind = Some("application/x-ndjson");
        let error = Err(BodyError::Base64 { line: 3 });
        assert_eq!(parts(kind, "[1]\n\n!!\n[2]"), [text("[1]"), error]);
        // Unpadded.
        assert_eq!(parts(kind, "AAE"), [Err(BodyError::Base64 { line: 1 })]);
    }

    #[test]
    fn long_lines_are_refused_by_their_decoded_size() {
        let kind = Some("application/x-ndjson");
        let max = MAX;
        let fits = format!("[{}]", "1".repeat(max - 2));
        assert_eq!(parts(kind, &fits), [text(&fits)]);
        let (line, len) = (1, max + 1);
        let error = || Err(BodyError::TooLong { line, len, max });
        assert_eq!(parts(kind, &format!("{fits} ")), [error()]);
        assert_eq!(parts(None, &format!("{fits} ")), [error()]);
        let binary = STANDARD.encode(vec![7; max]);
        assert_eq!(parts(kind, &binary), [Ok(Part::Binary(vec![7; max]))]);
        let binary = STANDARD.encode(vec![7; max + 6]);
        assert!(matches!(
            parts(kind, &binary)[..],
            [Err(BodyError::TooLong { .. })]
        ));
    }
}
