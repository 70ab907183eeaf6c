//! [`Limit`]: the limits whose being reached is counted by `bennu_limited_total`.

/// A limit that a client has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Connections,
    ConnectionsPerPeer,
    Handshakes,
    HandshakesTotal,
    Headers,
    HeaderBytes,
    QueryBytes,
    Messages,
    Bytes,
}

impl Limit {
    /// Each at the place of its number.
    pub(crate) const ALL: [Self; 9] = [
        Self::Connections,
        Self::ConnectionsPerPeer,
        Self::Handshakes,
        Self::HandshakesTotal,
        Self::Headers,
        Self::HeaderBytes,
        Self::QueryBytes,
        Self::Messages,
        Self::Bytes,
    ];

    /// The name of the field of [`Limits`](crate::Limits).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections_max",
            Self::ConnectionsPerPeer => "connections_per_peer_max",
            Self::Handshakes => "handshakes_per_second",
            Self::HandshakesTotal => "handshakes_per_second_total",
            Self::Headers => "headers_max",
            Self::HeaderBytes => "header_bytes_max",
            Self::QueryBytes => "query_bytes_max",
            Self::Messages => "messages_per_second",
            Self::Bytes => "bytes_per_second",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_stands_at_the_place_of_its_number() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
        }
    }
}
