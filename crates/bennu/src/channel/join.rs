//! What a join can come to: [`Joined`] or [`Rejection`].

use std::error::Error;

use bennu_proto::event;
use bennu_proto::payload::{Payload, PayloadError};
use serde::Serialize;

/// The channel was admitted. Made from its state: `Ok(Room { user }.into())`.
#[derive(Debug)]
#[must_use]
pub struct Joined<C> {
    pub(crate) channel: C,
    pub(crate) response: Result<Payload, PayloadError>,
}

impl<C> Joined<C> {
    /// Answers the join with this response instead of `{}`.
    pub fn with_response<T: Serialize + ?Sized>(self, response: &T) -> Self {
        Self {
            response: event::to_payload(response),
            ..self
        }
    }
}

impl<C> From<C> for Joined<C> {
    fn from(channel: C) -> Self {
        Self {
            channel,
            response: Ok(Payload::empty()),
        }
    }
}

/// The application said no. Not an error: the client is told why.
///
/// Any error converts into one by `?` and means that the join crashed: the client is told
/// `{"reason":"join crashed"}`, and the error goes to the log.
#[derive(Debug)]
#[must_use]
pub struct Rejection(pub(crate) Refusal);

#[derive(Debug)]
pub(crate) enum Refusal {
    Response(Result<Payload, PayloadError>),
    Crash(Box<dyn Error + Send + Sync>),
}

impl Rejection {
    /// Refuses with this response. Clients expect an object such as `{"reason": "…"}`.
    pub fn new<T: Serialize + ?Sized>(response: &T) -> Self {
        Self(Refusal::Response(event::to_payload(response)))
    }

    /// Refuses with `{"reason": reason}`.
    pub fn because(reason: &str) -> Self {
        #[derive(Serialize)]
        struct Reason<'a> {
            reason: &'a str,
        }
        Self::new(&Reason { reason })
    }

    /// Refuses with `{"reason":"unauthorized"}`.
    pub fn unauthorized() -> Self {
        Self::because("unauthorized")
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Rejection {
    fn from(error: E) -> Self {
        Self(Refusal::Crash(Box::new(error)))
    }
}
