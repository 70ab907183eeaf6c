//! [`Stop`], by which a handler ends its channel, and [`StopReason`], which its `terminate` is told.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::channel::Reply;

/// Why a handler ends its channel.
///
/// Any error converts into one by `?`: the channel crashes, and the client rejoins.
#[derive(Debug)]
pub struct Stop {
    pub(crate) reason: StopReason,
    pub(crate) reply: Reply,
}

impl Stop {
    /// An intended end: the client is sent `phx_close` and does not rejoin.
    #[must_use]
    pub fn normal() -> Self {
        Self::because(StopReason::Normal)
    }

    /// An intended end from outside the conversation, such as a shutdown. For the client the same
    /// as [`Stop::normal`].
    #[must_use]
    pub fn shutdown() -> Self {
        Self::because(StopReason::Shutdown)
    }

    /// A crash: the client is sent `phx_error` and rejoins. The text is for the log; the client
    /// never sees it.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self::because(StopReason::Error(Arc::from(
            Box::<dyn Error + Send + Sync>::from(text.into()),
        )))
    }

    /// Answers the event that is being handled before the channel ends.
    #[must_use]
    pub fn with_reply(self, reply: Reply) -> Self {
        Self { reply, ..self }
    }

    fn because(reason: StopReason) -> Self {
        Self {
            reason,
            reply: Reply::none(),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::because(StopReason::Error(Arc::new(error)))
    }
}

/// Why a channel ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StopReason {
    /// A handler returned [`Stop::normal`].
    Normal,
    /// A handler returned [`Stop::shutdown`].
    Shutdown,
    /// The client left the topic.
    Left,
    /// The connection is gone: closed by the client, or lost.
    Closed,
    /// The socket was disconnected by its id.
    Disconnected,
    /// The client was silent for too long.
    Idle,
    /// The socket's time was up, and its client did not put that off.
    Expired,
    /// The server is draining.
    Draining,
    /// The connection was cut because the client reads too slowly.
    Overflow,
    /// A handler returned an error.
    Error(Arc<dyn Error + Send + Sync>),
    /// A handler panicked.
    Panic,
}

impl StopReason {
    /// Whether the client is told that the channel crashed.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        matches!(self, Self::Error(_) | Self::Panic)
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Left => f.write_str("left"),
            Self::Closed => f.write_str("connection closed"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::Idle => f.write_str("idle"),
            Self::Expired => f.write_str("expired"),
            Self::Draining => f.write_str("draining"),
            Self::Overflow => f.write_str("outbound queue overflow"),
            Self::Error(error) => write!(f, "error: {error}"),
            Self::Panic => f.write_str("panic"),
        }
    }
}
