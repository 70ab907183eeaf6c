//! Phoenix messages in the V2 text form: writing what a client sends, and judging what the server answers. Frames around them are
//! `frame.rs`.
//!
//! Judging compares bytes first, since that is all it takes with a server that writes keys in the usual order; if they differ, both
//! sides are compared as JSON, where the order of keys does not count and everything else does.

use crate::failure::Failure;
use crate::frame;
use serde_json::Value;
use std::fmt::Write;

/// The join ref, and ref, of every join that we send.
pub const JOIN_REF: &str = "1";

/// Writes messages as finished frames, over and over into the same buffers.
#[derive(Debug, Default)]
pub struct Pen {
    text: String,
    framed: Vec<u8>,
}

impl Pen {
    /// Starts over with no frame.
    pub fn clear(&mut self) {
        self.framed.clear();
    }

    /// The frames written since [`clear`](Self::clear).
    pub fn frames(&self) -> &[u8] {
        &self.framed
    }

    /// Adds a push on a joined topic. `payload` is JSON.
    pub fn push(
        &mut self,
        reference: u64,
        topic: &str,
        event: &str,
        payload: std::fmt::Arguments<'_>,
    ) {
        self.text.clear();
        let _ = write!(
            self.text,
            r#"["{JOIN_REF}","{reference}","{topic}","{event}",{payload}]"#
        );
        frame::write_text(&mut self.framed, self.text.as_bytes());
    }

    /// Adds a join with empty params; its ref is [`JOIN_REF`].
    pub fn join(&mut self, topic: &str) {
        self.push(1, topic, "phx_join", format_args!("{{}}"));
    }

    /// Adds a leave.
    pub fn leave(&mut self, reference: u64, topic: &str) {
        self.push(reference, topic, "phx_leave", format_args!("{{}}"));
    }

    /// Adds a heartbeat.
    pub fn heartbeat(&mut self, reference: u64) {
        self.text.clear();
        let _ = write!(
            self.text,
            r#"[null,"{reference}","phoenix","heartbeat",{{}}]"#
        );
        frame::write_text(&mut self.framed, self.text.as_bytes());
    }

    /// Adds a close frame with code 1000.
    pub fn close(&mut self) {
        frame::write_close(&mut self.framed, 1000);
    }
}

/// Compares what came with what should have come.
#[derive(Debug, Default)]
pub struct Judge {
    expected: String,
}

impl Judge {
    /// `got` must be the reply with status ok and this response to a push with this ref.
    pub fn reply(
        &mut self,
        connection: usize,
        got: &[u8],
        reference: u64,
        topic: &str,
        response: std::fmt::Arguments<'_>,
    ) -> Result<(), Failure> {
        self.expect(format_args!(
            r#"["{JOIN_REF}","{reference}","{topic}","phx_reply",{{"status":"ok","response":{response}}}]"#
        ));
        self.compare(connection, got)
    }

    /// `got` must be the answer to a heartbeat.
    pub fn heartbeat(
        &mut self,
        connection: usize,
        got: &[u8],
        reference: u64,
    ) -> Result<(), Failure> {
        self.expect(format_args!(
            r#"[null,"{reference}","phoenix","phx_reply",{{"status":"ok","response":{{}}}}]"#
        ));
        self.compare(connection, got)
    }

    /// `got` must be the close of a channel that was left.
    pub fn channel_close(
        &mut self,
        connection: usize,
        got: &[u8],
        topic: &str,
    ) -> Result<(), Failure> {
        self.expect(format_args!(
            r#"["{JOIN_REF}","{JOIN_REF}","{topic}","phx_close",{{}}]"#
        ));
        self.compare(connection, got)
    }

    fn expect(&mut self, text: std::fmt::Arguments<'_>) {
        self.expected.clear();
        let _ = self.expected.write_fmt(text);
    }

    fn compare(&self, connection: usize, got: &[u8]) -> Result<(), Failure> {
        if got == self.expected.as_bytes() || same_json(got, self.expected.as_bytes()) {
            return Ok(());
        }
        Err(Failure::unexpected(connection, self.expected.clone(), got))
    }
}

fn same_json(a: &[u8], b: &[u8]) -> bool {
    match (
        serde_json::from_slice::<Value>(a),
        serde_json::from_slice::<Value>(b),
    ) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Where a broadcast comes from and which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// The sender's number within its topic.
    pub sender: u64,
    /// The message's number among those of the sender.
    pub sequence: u64,
}

/// The body that fills a numbered payload up to a certain size.
#[derive(Debug, Clone)]
pub struct Filler(String);

impl Filler {
    /// A payload with this body has about `bytes` bytes, and at least what the numbers need.
    pub fn new(bytes: usize) -> Self {
        Self("x".repeat(bytes.saturating_sub(r#"{"from":0,"seq":1000,"body":""}"#.len())))
    }
}

impl std::fmt::Display for Filler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads broadcasts of numbered payloads on one topic.
#[derive(Debug)]
pub struct Reader {
    filler: Filler,
    last: Vec<u8>,
    last_topic: usize,
    last_read: Option<Numbered>,
}

impl Reader {
    /// A reader of payloads with this body.
    pub fn new(filler: Filler) -> Self {
        Self {
            filler,
            last: Vec::new(),
            last_topic: 0,
            last_read: None,
        }
    }

    /// Adds the push that makes the server broadcast `number` to the pen.
    pub fn shout(&self, pen: &mut Pen, reference: u64, topic: &str, number: Numbered) {
        let (Numbered { sender, sequence }, body) = (number, &self.filler);
        pen.push(
            reference,
            topic,
            "shout",
            format_args!(r#"{{"from":{sender},"seq":{sequence},"body":"{body}"}}"#),
        );
    }

    /// Reads a broadcast of `shout` on the topic; anything else is a failure. The same bytes usually come once per subscriber, so
    /// the last message is remembered together with its topic, of which `topic_number` is any number of its own.
    pub fn read(
        &mut self,
        connection: usize,
        got: &[u8],
        topic: &str,
        topic_number: usize,
    ) -> Result<Numbered, Failure> {
        if let Some(read) = self.last_read
            && self.last_topic == topic_number
            && self.last == got
        {
            return Ok(read);
        }
        let read = self.parse(got, topic).ok_or_else(|| {
            let body = &self.filler;
            let expected =
                format!(r#"[null,null,"{topic}","shout",{{"from":N,"seq":N,"body":"{body}"}}]"#);
            Failure::unexpected(connection, expected, got)
        })?;
        self.last.clear();
        self.last.extend_from_slice(got);
        self.last_topic = topic_number;
        self.last_read = Some(read);
        Ok(read)
    }

    fn parse(&self, got: &[u8], topic: &str) -> Option<Numbered> {
        self.parse_usual(got, topic)
            .or_else(|| self.parse_any(got, topic))
    }

    fn parse_usual(&self, got: &[u8], topic: &str) -> Option<Numbered> {
        let rest = got
            .strip_prefix(br#"[null,null,""#)?
            .strip_prefix(topic.as_bytes())?;
        let rest = rest.strip_prefix(br#"","shout",{"from":"#)?;
        let (sender, rest) = digits(rest)?;
        let (sequence, rest) = digits(rest.strip_prefix(br#","seq":"#)?)?;
        let body = rest
            .strip_prefix(br#","body":""#)?
            .strip_suffix(br#""}]"#)?;
        (body == self.filler.0.as_bytes()).then_some(Numbered { sender, sequence })
    }

    fn parse_any(&self, got: &[u8], topic: &str) -> Option<Numbered> {
        let value: Value = serde_json::from_slice(got).ok()?;
        let [
            Value::Null,
            Value::Null,
            Value::String(in_topic),
            Value::String(event),
            Value::Object(payload),
        ] = value.as_array()?.as_slice()
        else {
            return None;
        };
        let body = payload.get("body")?.as_str()?;
        let whole =
            in_topic == topic && event == "shout" && payload.len() == 3 && body == self.filler.0;
        let (sender, sequence) = (
            payload.get("from")?.as_u64()?,
            payload.get("seq")?.as_u64()?,
        );
        whole.then_some(Numbered { sender, sequence })
    }
}

fn digits(input: &[u8]) -> Option<(u64, &[u8])> {
    let length = input
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, rest) = input.split_at(length);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(framed: &[u8]) -> String {
        let payload = &framed[6..];
        assert_eq!(usize::from(framed[1] & 0x7f), payload.len());
        payload
            .iter()
            .zip(frame::MASK.iter().cycle())
            .map(|(byte, mask)| char::from(byte ^ mask))
            .collect()
    }

    fn written(write: impl FnOnce(&mut Pen)) -> String {
        let mut pen = Pen::default();
        write(&mut pen);
        unmasked(pen.frames())
    }

    #[test]
    fn writes_what_the_official_client_writes() {
        assert_eq!(
            written(|pen| pen.join("room:a")),
            r#"["1","1","room:a","phx_join",{}]"#
        );
        assert_eq!(
            written(|pen| pen.leave(3, "room:a")),
            r#"["1","3","room:a","phx_leave",{}]"#
        );
        assert_eq!(
            written(|pen| pen.heartbeat(1)),
            r#"[null,"1","phoenix","heartbeat",{}]"#
        );
        let number = Numbered {
            sender: 2,
            sequence: 7,
        };
        let reader = Reader::new(Filler::new(34));
        assert_eq!(
            written(|pen| reader.shout(pen, 5, "room:a", number)),
            r#"["1","5","room:a","shout",{"from":2,"seq":7,"body":"xxx"}]"#
        );
    }

    #[test]
    fn takes_golden_replies() {
        let mut judge = Judge::default();
        let heartbeat = br#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
        assert!(judge.heartbeat(0, heartbeat, 1).is_ok());
        let join = br#"["1","1","room:a","phx_reply",{"status":"ok","response":{}}]"#;
        assert!(
            judge
                .reply(0, join, 1, "room:a", format_args!("{{}}"))
                .is_ok()
        );
        let other_order = br#"["1", "1", "room:a", "phx_reply", {"response":{}, "status":"ok"}]"#;
        assert!(
            judge
                .reply(0, other_order, 1, "room:a", format_args!("{{}}"))
                .is_ok()
        );
        let close = br#"["1","1","room:a","phx_close",{}]"#;
        assert!(judge.channel_close(0, close, "room:a").is_ok());
    }

    #[test]
    fn refuses_wrong_replies() {
        let mut judge = Judge::default();
        for wrong in [
            r#"["1","2","room:a","phx_reply",{"status":"ok","response":{}}]"#,
            r#"["1",1,"room:a","phx_reply",{"status":"ok","response":{}}]"#,
            r#"[null,"1","room:a","phx_reply",{"status":"ok","response":{}}]"#,
            r#"["1","1","room:b","phx_reply",{"status":"ok","response":{}}]"#,
            r#"["1","1","room:a","phx_reply",{"status":"error","response":{}}]"#,
            r#"["1","1","room:a","phx_reply",{"status":"ok","response":{"a":1}}]"#,
            r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#,
            r#"["1","1","room:a","phx_reply",{"status":"ok","response":{}},0]"#,
            "",
        ] {
            assert!(
                judge
                    .reply(0, wrong.as_bytes(), 1, "room:a", format_args!("{{}}"))
                    .is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn reads_broadcasts_in_any_key_order_and_refuses_everything_else() {
        let mut reader = Reader::new(Filler::new(34));
        let number = Numbered {
            sender: 2,
            sequence: 7,
        };
        for good in [
            r#"[null,null,"room:a","shout",{"from":2,"seq":7,"body":"xxx"}]"#,
            r#"[null,null,"room:a","shout",{"body":"xxx","from":2,"seq":7}]"#,
        ] {
            assert_eq!(
                reader.read(0, good.as_bytes(), "room:a", 0).unwrap(),
                number
            );
            assert_eq!(
                reader.read(0, good.as_bytes(), "room:a", 0).unwrap(),
                number,
                "from memory"
            );
            assert!(
                reader.read(0, good.as_bytes(), "room:b", 1).is_err(),
                "not on another topic"
            );
        }
        for wrong in [
            r#"["1",null,"room:a","shout",{"from":2,"seq":7,"body":"xxx"}]"#,
            r#"[null,"1","room:a","shout",{"from":2,"seq":7,"body":"xxx"}]"#,
            r#"[null,null,"room:a","other",{"from":2,"seq":7,"body":"xxx"}]"#,
            r#"[null,null,"room:a","shout",{"from":2,"seq":7,"body":"xx"}]"#,
            r#"[null,null,"room:a","shout",{"from":2,"seq":-7,"body":"xxx"}]"#,
            r#"[null,null,"room:a","shout",{"from":2,"seq":7,"body":"xxx","to":1}]"#,
            r#"[null,null,"room:a","shout",{"from":2,"seq":7,"body":"xxx"}"#,
        ] {
            assert!(
                reader.read(0, wrong.as_bytes(), "room:a", 0).is_err(),
                "{wrong}"
            );
        }
    }
}
