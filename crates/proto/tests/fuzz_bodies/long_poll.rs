//! Any bytes as the body of a POST, and any polls of a session: a body is cut as a naive reader cuts it, never
//! into more than it is, and a client that keeps to the protocol sees every message once and in order, whatever
//! is lost and whoever else polls. Shared by the fuzz target and by tests.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_proto::long_poll::{Batches, Body, BodyError, Part, Poll};
use bytes::Bytes;

const MESSAGE_BYTES_MAX: usize = 64;

/// The first byte chooses between a body, of one kind or another, and a session.
pub(crate) fn run(data: &[u8]) {
    let [choice, rest @ ..] = data else {
        return;
    };
    match choice % 4 {
        0 => body_of_lines(rest),
        1 => body_of_one_message(rest),
        _ => session(rest),
    }
}

fn body_of_lines(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let mut body = Body::new(Some("application/x-ndjson; charset=utf-8"), bytes);
    let mut lines = data.split(|byte| *byte == b'\n').enumerate();
    loop {
        let before = body.remaining_bytes();
        let part = body.next_part(MESSAGE_BYTES_MAX);
        // The next line with something in it, by a reader that has all of them.
        let line = lines.find_map(|(index, line)| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            (!line.is_empty()).then_some((index + 1, line))
        });
        let Some((number, line)) = line else {
            assert_eq!(part, Ok(None));
            assert_eq!(body.remaining_bytes(), 0);
            return;
        };
        match part {
            Ok(Some(part)) => {
                assert!(
                    body.remaining_bytes() < before,
                    "every part takes something"
                );
                assert_part(&part, line);
            }
            Ok(None) => panic!("line {number} was left out"),
            Err(error) => {
                assert_error(&error, number, line);
                assert_eq!(body.remaining_bytes(), 0);
                assert_eq!(body.next_part(MESSAGE_BYTES_MAX), Ok(None));
                return;
            }
        }
    }
}

fn is_text(line: &[u8]) -> bool {
    line.first().is_some_and(|byte| b"[{ \t".contains(byte))
}

fn assert_part(part: &Part, line: &[u8]) {
    match part {
        Part::Text(text) => {
            assert!(is_text(line));
            assert_eq!(text, line);
            assert!(text.len() <= MESSAGE_BYTES_MAX);
        }
        Part::Binary(bytes) => {
            assert!(!is_text(line));
            assert_eq!(STANDARD.encode(bytes).as_bytes(), line);
            // Of up to two bytes less it is not known before.
            assert!(bytes.len() <= MESSAGE_BYTES_MAX + 2);
        }
    }
}

fn assert_error(error: &BodyError, number: usize, line: &[u8]) {
    match *error {
        BodyError::Base64 { line: named } => {
            assert_eq!(named, number);
            assert!(!is_text(line));
            assert!(STANDARD.decode(line).is_err());
        }
        BodyError::TooLong {
            line: named,
            len,
            max,
        } => {
            assert_eq!((named, max), (number, MESSAGE_BYTES_MAX));
            assert!(len > max && len <= line.len());
        }
        _ => panic!("{error}"),
    }
}

fn body_of_one_message(data: &[u8]) {
    let mut body = Body::new(None, Bytes::copy_from_slice(data));
    let part = body.next_part(MESSAGE_BYTES_MAX);
    match &part {
        Ok(None) => assert!(data.is_empty()),
        Ok(Some(Part::Text(text))) => assert!(&text[..] == data && data[0] != 0),
        Ok(Some(Part::Binary(bytes))) => assert!(bytes[..] == *data && data[0] == 0),
        Err(BodyError::TooLong { line: 1, len, .. }) => assert_eq!(*len, data.len()),
        Err(error) => panic!("{error}"),
    }
    assert_eq!(part.is_err(), data.len() > MESSAGE_BYTES_MAX);
    assert_eq!(body.next_part(MESSAGE_BYTES_MAX), Ok(None));
}

/// What the steps of a session act on: the transport's queue, and what the client knows.
#[derive(Default)]
struct Session {
    batches: Batches,
    queue: VecDeque<u64>,
    produced: u64,
    /// Of the last batch that the client received.
    received: u32,
    seen: Vec<u64>,
}

impl Session {
    /// A poll of whoever, answered. Returns the number and the messages.
    fn poll(&mut self, received: u32) -> Option<(u32, Vec<u64>)> {
        let outstanding = self.batches.outstanding();
        let (messages, number) = match self.batches.handle_poll(received) {
            Poll::Next { acknowledged } => {
                assert_eq!(acknowledged, outstanding);
                self.queue.drain(..acknowledged);
                let count = self.queue.len().min(3);
                (count, self.batches.hand_out(count))
            }
            Poll::Again { messages, number } => {
                assert_eq!(messages, outstanding);
                (messages, number)
            }
            Poll::Stale => {
                assert_eq!(self.batches.outstanding(), outstanding);
                return None;
            }
        };
        assert!(messages <= self.queue.len());
        Some((number, self.queue.iter().take(messages).copied().collect()))
    }
}

/// Each byte is a step: messages are produced, the client polls and gets the answer or not, or somebody polls
/// with a number of theirs.
fn session(steps: &[u8]) {
    let mut session = Session::default();
    for step in steps {
        let argument = u32::from(step >> 2);
        match step % 4 {
            0 => {
                for _ in 0..argument % 5 {
                    session.queue.push_back(session.produced);
                    session.produced += 1;
                }
            }
            1 | 2 => {
                let answer = session.poll(session.received);
                let Some((number, messages)) = answer else {
                    panic!("a client that keeps to the protocol is never overtaken");
                };
                if step % 4 == 1 {
                    session.received = number;
                    session.seen.extend(messages);
                }
            }
            _ => {
                // A number that is neither the client's nor the one before what is on its way.
                let stray = session.received.wrapping_add(2).wrapping_add(argument);
                assert_eq!(session.poll(stray), None);
            }
        }
    }
    let expected: Vec<u64> = (0..).take(session.seen.len()).collect();
    assert_eq!(session.seen, expected);
}
