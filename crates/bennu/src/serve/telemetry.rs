//! [`ServeTelemetry`]: the metrics of a server. Their names stand in the documentation of
//! [`serve`](super).

use metrics::{Counter, Gauge, counter, gauge};

/// The registered metrics of one server.
#[derive(Debug)]
pub(super) struct ServeTelemetry {
    pub(super) connections: Gauge,
    pub(super) accepted: Counter,
    pub(super) accept_errors: Counter,
    rejected: [Counter; Rejected::ALL.len()],
}

/// Why a connection ended before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// The server has as many connections as it may have.
    Full,
    /// The peer has.
    Peer,
    /// The TLS handshake took too long.
    TlsTimeout,
    /// The TLS handshake took too long because too many others were under way.
    TlsBusy,
    /// The TLS handshake failed.
    TlsFailed,
    /// The header of the first request took too long.
    SlowHeader,
}

impl Rejected {
    const ALL: [Self; 6] = [
        Self::Full,
        Self::Peer,
        Self::TlsTimeout,
        Self::TlsBusy,
        Self::TlsFailed,
        Self::SlowHeader,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Peer => "peer",
            Self::TlsTimeout => "tls_timeout",
            Self::TlsBusy => "tls_busy",
            Self::TlsFailed => "tls_failed",
            Self::SlowHeader => "slow_header",
        }
    }
}

impl ServeTelemetry {
    pub(super) fn new() -> Self {
        Self {
            connections: gauge!("bennu_http_connections"),
            accepted: counter!("bennu_connections_accepted_total"),
            accept_errors: counter!("bennu_accept_errors_total"),
            rejected: Rejected::ALL.map(
                |reason| counter!("bennu_connections_rejected_total", "reason" => reason.name()),
            ),
        }
    }

    pub(super) fn reject(&self, reason: Rejected) {
        tracing::debug!(reason = reason.name(), "connection rejected");
        let index = Rejected::ALL.iter().position(|other| *other == reason);
        if let Some(counter) = index.and_then(|index| self.rejected.get(index)) {
            counter.increment(1);
        }
    }
}
