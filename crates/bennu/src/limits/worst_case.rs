//! [`WorstCase`]: what the limits amount to in memory.

use super::Limits;
use crate::connection::OUTBOUND_BURST;
use crate::driver::READ_BYTES;

/// An idle connection over TCP: its task, the shared half, the record of the socket, the timer.
/// Measured at 1,200 bytes; see "What a connection costs" in `ARCHITECTURE.md`.
const CONNECTION_BYTES: usize = 2048;
/// A channel without its texts and its state: measured at 240 bytes.
const CHANNEL_BYTES: usize = 512;
/// A reference of the client's, at its longest.
const REFERENCE_BYTES: usize = 1536;
/// A message, a timer or a cancellation in the mailbox, without what it holds.
const MAIL_BYTES: usize = 192;
/// A subscription to a further topic: its registration and its entry in the registry.
const SUBSCRIPTION_BYTES: usize = 256;
/// A parameter in its map beside its text.
const PARAM_BYTES: usize = 256;
/// The most parameters that a query may hold.
const PARAMS_MAX: usize = 1024;
/// A message in pieces may have a control frame between them.
const CONTROL_FRAME_BYTES: usize = 125;
/// What compresses, and what inflates one message, with the feature `deflate`: as many as processors.
const COMPRESSORS_MAX: usize = if cfg!(feature = "deflate") { 64 } else { 0 };
const COMPRESSOR_BYTES: usize = 448 << 10;
/// An address whose rate is remembered, with the free places of its table.
const PEER_BYTES: usize = 96;

/// The most memory that clients can make an endpoint hold, by its [`Limits`], in bytes, where they all
/// do everything that is expensive at once. Made by [`Limits::worst_case`].
///
/// It counts what Bennu holds for clients: not what the kernel, an HTTP server or TLS hold for a
/// connection, not your channels' state nor what your handlers hold, and not the content of messages
/// that your program sends to channels. A single broadcast or reply that is larger than a limit which
/// "one may exceed" comes on top. Fixed sizes are rounded up from measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorstCase {
    /// A connection that does nothing.
    pub idle_bytes: usize,
    /// While it is being admitted: headers, query string, and the parameters in it.
    pub connect_bytes: usize,
    /// A message of the client that arrives in pieces.
    pub message_bytes: usize,
    /// What was read and may not be handled yet.
    pub leftover_bytes: usize,
    /// Messages of the client that wait for its channels.
    pub inbound_bytes: usize,
    /// Messages of the program, timers and broadcasts that wait for its channels.
    pub mailbox_bytes: usize,
    /// Frames that wait for the client to read them, before the process's budget is looked at.
    pub outbound_bytes: usize,
    /// Channels, with their topics and references; twice, because a channel that is leaving may still be
    /// busy when another one has its place.
    pub channels_bytes: usize,
    /// What the channels have subscribed to.
    pub subscriptions_bytes: usize,
    /// Frames that wait in all connections together.
    pub outbound_total_bytes: usize,
    /// What there is once: tables of addresses, the bodies of posts, compressors.
    pub shared_bytes: usize,
}

impl Limits {
    /// What these limits amount to.
    ///
    /// ```
    /// let worst_case = bennu::Limits::default().worst_case();
    /// assert!(worst_case.connection_bytes() < 64 << 20);
    /// ```
    #[must_use]
    pub fn worst_case(&self) -> WorstCase {
        let joins = self.joins_max;
        let texts = self.topic_bytes_max.saturating_add(2 * REFERENCE_BYTES);
        let mails = self.mailbox_messages_max.saturating_mul(2 * MAIL_BYTES);
        let peers = self.handshakes_per_second.map_or(0, |_| self.peers_max);
        let seats = self
            .connections_per_peer_max
            .map_or(0, |_| self.connections_max);
        WorstCase {
            idle_bytes: CONNECTION_BYTES,
            connect_bytes: sum(&[
                self.header_bytes_max.saturating_mul(2),
                self.query_bytes_max.saturating_mul(4),
                PARAMS_MAX * PARAM_BYTES,
            ]),
            message_bytes: sum(&[self.message_bytes_max, CONTROL_FRAME_BYTES]),
            leftover_bytes: READ_BYTES,
            inbound_bytes: sum(&[self.inbound_bytes_max, self.message_bytes_max]),
            mailbox_bytes: sum(&[self.mailbox_bytes_max, mails]),
            outbound_bytes: self.outbound_bytes_max.saturating_mul(OUTBOUND_BURST),
            channels_bytes: joins
                .saturating_mul(2)
                .saturating_mul(sum(&[CHANNEL_BYTES, texts])),
            subscriptions_bytes: joins
                .saturating_mul(self.subscriptions_max)
                .saturating_mul(SUBSCRIPTION_BYTES),
            outbound_total_bytes: self.outbound_total_bytes_max,
            shared_bytes: sum(&[
                peers.saturating_mul(PEER_BYTES),
                seats.saturating_mul(PEER_BYTES),
                self.posts_total_bytes_max.max(self.post_bytes_max),
                COMPRESSORS_MAX.saturating_mul(sum(&[COMPRESSOR_BYTES, self.message_bytes_max])),
            ]),
        }
    }
}

impl WorstCase {
    /// One connection, if it is the only one to be so expensive.
    #[must_use]
    pub fn connection_bytes(&self) -> usize {
        let outbound = self.outbound_bytes.min(self.outbound_total_bytes);
        sum(&[self.connection_without_outbound(), outbound])
    }

    /// So many connections, each as expensive as can be. What waits for them to read it is bounded for
    /// all of them together.
    #[must_use]
    pub fn total_bytes(&self, connections: usize) -> usize {
        let outbound = self.outbound_bytes.saturating_mul(connections);
        sum(&[
            self.connection_without_outbound()
                .saturating_mul(connections),
            outbound.min(self.outbound_total_bytes),
            self.shared_bytes,
        ])
    }

    fn connection_without_outbound(&self) -> usize {
        // A client is being admitted before it can do anything else.
        let admitted = sum(&[
            self.message_bytes,
            self.leftover_bytes,
            self.inbound_bytes,
            self.mailbox_bytes,
            self.channels_bytes,
            self.subscriptions_bytes,
        ]);
        sum(&[self.idle_bytes, admitted.max(self.connect_bytes)])
    }
}

fn sum(parts: &[usize]) -> usize {
    parts
        .iter()
        .fold(0, |sum, part| usize::saturating_add(sum, *part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Rate;

    #[test]
    fn the_defaults_amount_to_this() {
        let worst_case = Limits::default().worst_case();
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        assert_eq!(mib(worst_case.message_bytes), 2);
        assert_eq!(mib(worst_case.inbound_bytes), 2);
        assert_eq!(mib(worst_case.mailbox_bytes), 5);
        assert_eq!(mib(worst_case.outbound_bytes), 16);
        assert_eq!(mib(worst_case.connection_bytes()), 28);
        // However many there are, what waits for them to read it is bounded.
        let (one, thousand) = (worst_case.total_bytes(1), worst_case.total_bytes(1000));
        assert!(thousand < one * 1000);
        assert_eq!(
            thousand - worst_case.total_bytes(999),
            worst_case.connection_bytes() - worst_case.outbound_bytes
        );
    }

    #[test]
    fn each_limit_shows_and_none_overflows() {
        let base = Limits::default().worst_case().total_bytes(1000);
        let changes: [fn(&mut Limits); 12] = [
            |limits| limits.message_bytes_max *= 2,
            |limits| limits.inbound_bytes_max *= 2,
            |limits| limits.mailbox_messages_max *= 2,
            |limits| limits.mailbox_bytes_max *= 2,
            |limits| limits.joins_max *= 2,
            |limits| limits.topic_bytes_max *= 2,
            |limits| limits.subscriptions_max *= 2,
            |limits| limits.outbound_total_bytes_max *= 2,
            |limits| limits.header_bytes_max = 1 << 30,
            |limits| limits.query_bytes_max = 1 << 30,
            |limits| limits.handshakes_per_second = Some(Rate::per_second(1)),
            |limits| limits.connections_per_peer_max = Some(1),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut limits = Limits::default();
            change(&mut limits);
            assert!(limits.worst_case().total_bytes(1000) > base, "{index}");
        }
        let limits = Limits {
            message_bytes_max: usize::MAX,
            joins_max: usize::MAX,
            outbound_bytes_max: usize::MAX,
            ..Limits::default()
        };
        assert_eq!(limits.worst_case().total_bytes(usize::MAX), usize::MAX);
    }

    #[test]
    fn a_place_in_the_mailbox_is_no_larger_than_what_it_counts() {
        assert!(size_of::<crate::connection::Mail>() <= MAIL_BYTES);
    }
}
