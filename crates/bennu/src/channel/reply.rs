//! [`Reply`]: what a handler answers.

use bennu_proto::event;
use bennu_proto::payload::{Payload, PayloadError};
use serde::Serialize;

/// The answer to an event: none, or a status with a response.
///
/// The response may be any value that serializes to JSON, or bytes ([`Payload`] carries both).
/// A value that cannot be serialized crashes the channel.
#[derive(Debug)]
#[must_use]
pub struct Reply(Option<Answer>);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) response: Result<Payload, PayloadError>,
}

impl Reply {
    /// No answer. A client that waits for one will time out.
    pub const fn none() -> Self {
        Self(None)
    }

    /// `ok` with this response.
    pub fn ok<T: Serialize + ?Sized>(response: &T) -> Self {
        Self::status("ok", response)
    }

    /// `ok` with `{}`.
    pub const fn empty() -> Self {
        Self(Some(Answer {
            status: "ok",
            response: Ok(Payload::empty()),
        }))
    }

    /// `error` with this response: an expected refusal, which the channel survives.
    pub fn error<T: Serialize + ?Sized>(response: &T) -> Self {
        Self::status("error", response)
    }

    /// Any status; clients can listen for it by name.
    pub fn status<T: Serialize + ?Sized>(status: &'static str, response: &T) -> Self {
        Self(Some(Answer {
            status,
            response: event::to_payload(response),
        }))
    }

    pub(crate) fn into_answer(self) -> Option<Answer> {
        self.0
    }
}
