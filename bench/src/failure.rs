//! What the load generator finds wrong: with the server, the network, or its own settings. Not the verdict on deliveries, which is
//! the ledger's.

use crate::frame::FrameError;
use std::io;

/// Why a scenario ended early. Every failure ends the process with exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What came back.
        source: io::Error,
    },
    /// The server broke TLS, or could not be trusted.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The answer to the upgrade request was not the switch to WebSocket that was asked for.
    #[error("connection {connection}: the upgrade failed: {reason}")]
    Upgrade {
        /// Index of the connection.
        connection: usize,
        /// What was wrong with the answer.
        reason: String,
    },
    /// The server broke RFC 6455, or used a part of it that a Phoenix server does not use.
    #[error("connection {connection}: {source}")]
    Frame {
        /// Index of the connection.
        connection: usize,
        /// What was wrong with the frame.
        source: FrameError,
    },
    /// The server said something else than the protocol asks for at this point.
    #[error("connection {connection}: expected {expected}, got {got}")]
    Unexpected {
        /// Index of the connection.
        connection: usize,
        /// What should have come.
        expected: String,
        /// What came.
        got: String,
    },
    /// Something did not happen in time.
    #[error("timed out: {0}")]
    Timeout(String),
    /// The settings make no sense together.
    #[error("{0}")]
    Setting(String),
}

impl Failure {
    /// Names what was being done when the system said no; for `map_err`.
    pub fn io<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            doing,
            source: source.into(),
        }
    }

    /// A message that should not have come, or not in this form.
    pub fn unexpected(connection: usize, expected: impl Into<String>, got: &[u8]) -> Self {
        Self::Unexpected {
            connection,
            expected: expected.into(),
            got: String::from_utf8_lossy(got).chars().take(300).collect(),
        }
    }
}
