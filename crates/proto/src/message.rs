//! Messages between a client and its channels: [`Incoming`] as it is read from a frame, [`Outgoing`]
//! as it is written into one. How they look on the wire is the business of [`crate::codec`] alone.

use std::borrow::Cow;

use bytes::Bytes;

use crate::payload::Payload;
use crate::reference::Ref;

/// The event that asks to join a topic.
pub const JOIN: &str = "phx_join";
/// The event that asks to leave a topic.
pub const LEAVE: &str = "phx_leave";
/// The event under which replies travel.
pub const REPLY: &str = "phx_reply";
/// The event that tells a client that its channel ended as intended: it does not rejoin.
pub const CLOSE: &str = "phx_close";
/// The event that tells a client that its channel crashed: it rejoins.
pub const ERROR: &str = "phx_error";
/// The topic of the socket itself; [`HEARTBEAT`] is special on it, and where sockets expire [`REFRESH`].
pub const PHOENIX_TOPIC: &str = "phoenix";
/// The event by which a client shows that it is alive, on [`PHOENIX_TOPIC`].
pub const HEARTBEAT: &str = "heartbeat";
/// Asked on [`PHOENIX_TOPIC`] by a client that presents something to let its socket live longer. Not
/// part of Phoenix.
pub const REFRESH: &str = "refresh";
/// Told on [`PHOENIX_TOPIC`] to a client whose socket is about to end. Not part of Phoenix.
pub const EXPIRING: &str = "expiring";

/// A message from a client, borrowed from the frame that carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Which instance of the channel is meant; `None` for "whatever is joined".
    pub join_ref: Option<Ref>,
    /// What a reply has to name; `None` if the client did not say.
    pub reference: Option<Ref>,
    /// The topic.
    pub topic: Field<'a>,
    /// The event.
    pub event: Field<'a>,
    /// The payload.
    pub payload: PayloadRef<'a>,
}

/// An element that ought to be text. The wire does not check it, so that it may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// Text, as it should be.
    Text(Cow<'a, str>),
    /// The JSON text of some other value. It matches no topic and no event.
    Other(&'a str),
}

impl Field<'_> {
    /// The text, if it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(_) => None,
        }
    }
}

/// A payload borrowed from the frame that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadRef<'a> {
    /// Valid JSON text.
    Json(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl PayloadRef<'_> {
    /// Copies the payload out of the frame.
    #[must_use]
    pub fn to_payload(self) -> Payload {
        match self {
            Self::Json("{}") => Payload::empty(),
            Self::Json(text) => Payload::from_valid_json(Bytes::copy_from_slice(text.as_bytes())),
            Self::Binary(bytes) => Payload::binary(Bytes::copy_from_slice(bytes)),
        }
    }
}

/// A message to a client.
#[derive(Clone, Copy, Debug)]
pub enum Outgoing<'a> {
    /// From a channel to its client alone.
    Push {
        /// The instance of the channel.
        join_ref: Option<&'a Ref>,
        /// The channel's topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// An object or bytes.
        payload: &'a Payload,
    },
    /// The answer to a message.
    Reply {
        /// The instance of the channel; `None` where no channel answered.
        join_ref: Option<&'a Ref>,
        /// The reference of the message that is answered.
        reference: Option<&'a Ref>,
        /// The topic of the message that is answered, whatever it was.
        topic: &'a Field<'a>,
        /// `ok`, `error`, or any other word.
        status: &'a str,
        /// Any JSON value, or bytes.
        response: &'a Payload,
    },
    /// To everybody on a topic: the bytes are the same for all.
    Broadcast {
        /// The topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// An object or bytes.
        payload: &'a Payload,
    },
    /// The channel ended as intended.
    Close {
        /// The stored join reference.
        join_ref: Option<&'a Ref>,
        /// The topic.
        topic: &'a str,
    },
    /// The channel crashed. The reason is never revealed.
    Error {
        /// The stored join reference.
        join_ref: Option<&'a Ref>,
        /// The topic.
        topic: &'a str,
    },
}
