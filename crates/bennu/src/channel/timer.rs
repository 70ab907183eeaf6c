//! Timers of a channel: their references and errors. The driver keeps and fires them.

/// A timer that a channel has set. It ends with the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerRef(pub(crate) u64);

/// A timer was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimerError {
    /// Too many messages wait in this socket, or the connection is gone.
    #[error("the timer was not set: {0}")]
    Mailbox(#[from] super::SendError),
    /// An interval must be longer than zero.
    #[error("the period of an interval must be longer than zero")]
    ZeroPeriod,
}
