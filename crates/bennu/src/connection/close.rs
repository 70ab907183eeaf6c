//! [`CloseReason`]: why a connection ends, and what that means for its client and its channels.

use crate::channel::StopReason;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client sent a close frame, with this code if it gave one.
    Client(Option<u16>),
    /// The transport ended without a close frame.
    Lost,
    /// The socket's id was disconnected.
    Disconnected,
    /// The client was silent for too long.
    Idle,
    /// The socket's time is up.
    Expired,
    /// The server is draining.
    Draining,
    /// The client does not read what it is sent.
    Overflow,
    /// The process is over its budget, and this client had the fullest queue.
    Budget,
    /// A message of the client cannot be read.
    Undecodable,
    /// The client sends more than its rates allow.
    TooFast,
    /// The client broke RFC 6455; the code says how.
    Protocol(u16),
}

impl CloseReason {
    /// The code of the close frame, or `None` for one without a code. Never 1000 of our own accord:
    /// the official client does not come back after that.
    pub(crate) fn code(self) -> Option<u16> {
        match self {
            Self::Client(code) => code,
            Self::Lost | Self::Budget => None,
            Self::Disconnected | Self::Idle | Self::Expired => Some(1001),
            Self::Draining => Some(1012),
            Self::Overflow => Some(1013),
            Self::Undecodable => Some(1011),
            Self::TooFast => Some(1008),
            Self::Protocol(code) => Some(code),
        }
    }

    /// What `terminate` of the channels is told.
    pub(crate) fn stop_reason(self) -> StopReason {
        match self {
            Self::Disconnected => StopReason::Disconnected,
            Self::Idle => StopReason::Idle,
            Self::Expired => StopReason::Expired,
            Self::Draining => StopReason::Draining,
            Self::Overflow | Self::Budget => StopReason::Overflow,
            Self::Client(_)
            | Self::Lost
            | Self::Undecodable
            | Self::TooFast
            | Self::Protocol(_) => StopReason::Closed,
        }
    }

    /// The name in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Lost => "lost",
            Self::Disconnected => "disconnected",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Draining => "draining",
            Self::Overflow => "overflow",
            Self::Budget => "budget",
            Self::Undecodable => "undecodable",
            Self::TooFast => "too_fast",
            Self::Protocol(_) => "protocol",
        }
    }

    /// Whether the transport is dropped as it is, without a close frame: it is gone, or what waits
    /// for it must be given back now.
    pub(crate) fn is_abrupt(self) -> bool {
        matches!(self, Self::Lost | Self::Budget)
    }

    /// Whether a session of a client that polls is gone at once, so that its next poll begins a new one.
    /// Otherwise it may first fetch what waits for it.
    pub(crate) fn is_abrupt_for_polls(self) -> bool {
        matches!(self, Self::Idle | Self::Overflow | Self::Budget)
    }

    /// Every name, for metrics that are registered in advance.
    pub(crate) const NAMES: [&'static str; 11] = [
        "client",
        "lost",
        "disconnected",
        "idle",
        "expired",
        "draining",
        "overflow",
        "budget",
        "undecodable",
        "too_fast",
        "protocol",
    ];
}
