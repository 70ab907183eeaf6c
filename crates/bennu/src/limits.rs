//! [`Limits`]: every bound of a socket and of the process, with its default. What they amount to in
//! memory is in `limits/worst_case.rs`.

mod rate;
mod worst_case;

use std::time::Duration;

use bennu_proto::websocket;

pub use rate::{Rate, RatePolicy};
pub use worst_case::WorstCase;

pub(crate) use rate::{KeyedLimiter, Limiter, Moment, RuntimeClock};

/// What one socket, and all sockets together, may cost. Every queue, table and buffer is in it.
///
/// | limit | default | when it is reached |
/// | --- | --- | --- |
/// | `connections_max` | 1,000,000 | HTTP 503 with `retry-after` |
/// | `connections_per_peer_max` | none | HTTP 429 with `retry-after` |
/// | `handshakes_per_second` | none | the same |
/// | `handshakes_per_second_total` | none | HTTP 503 with `retry-after` |
/// | `peers_max` | 65,536 | further addresses share one rate |
/// | `headers_max` | 100 | HTTP 431 |
/// | `header_bytes_max` | 32 KiB | HTTP 431 |
/// | `messages_per_second` | none | the socket's [`RatePolicy`] |
/// | `bytes_per_second` | none | the same |
/// | `message_bytes_max` | 1 MiB | the connection closes with 1009 |
/// | `inflate_ratio_max` | 100 times | the connection closes with 1009 |
/// | `joins_max` | 100 | error reply `too many channels joined` |
/// | `topic_bytes_max` | 1,024 | error reply `topic too long` |
/// | `query_bytes_max` | 65,536 | HTTP 414 |
/// | `inbound_messages_max` | 128 a channel | the connection is not read until it has caught up |
/// | `inbound_bytes_max` | 1 MiB a socket | the same |
/// | `mailbox_messages_max` | 1,024 | sending fails; a broadcast counts as an outbound overflow |
/// | `mailbox_bytes_max` | 4 MiB | a broadcast counts as an outbound overflow |
/// | `subscriptions_max` | 128 | subscribing fails |
/// | `outbound_bytes_max` | 4 MiB | the socket's [`OverflowPolicy`] |
/// | `outbound_total_bytes_max` | 512 MiB | the connections with the fullest queues are dropped |
/// | `post_bytes_max` | 8,000,000 | HTTP 413 |
/// | `posts_total_bytes_max` | 64 MiB | HTTP 503 with `retry-after` |
/// | `idle_timeout` | 60 s | the connection closes with 1001 |
/// | `terminate_timeout` | 5 s | waiting handlers and `terminate` are dropped |
/// | `close_timeout` | 5 s | the connection is dropped without the client's answer to our close |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sockets of the endpoint on this node, those that are being admitted included.
    pub connections_max: usize,
    /// Sockets of one address; of an IPv6 address, those of its network of 64 bits. Mind that whole
    /// companies and mobile networks share one IPv4 address.
    ///
    /// This limit and the next are held where the server tells addresses
    /// ([`PeerAddr`](crate::socket::PeerAddr)).
    pub connections_per_peer_max: Option<usize>,
    /// How often one address, in the same sense, may ask to connect.
    pub handshakes_per_second: Option<Rate>,
    /// How often all of them together may. A request that is refused for its own address does not count.
    pub handshakes_per_second_total: Option<Rate>,
    /// Addresses whose rate is remembered. Once there are so many that have connected lately, others
    /// share one rate among them, until some have been silent for a while.
    pub peers_max: usize,
    /// Headers of a connect request. A header that comes twice counts twice.
    pub headers_max: usize,
    /// Names and values of the headers of a connect request together. The HTTP server has limits of its
    /// own, which it holds while it reads.
    pub header_bytes_max: usize,
    /// Messages of one client, pings and pongs included. One more than the burst may be handled at
    /// once.
    pub messages_per_second: Option<Rate>,
    /// Bytes of one client, as they come over the wire. One read, 16 KiB, may go beyond the burst; it is
    /// not looked at before its time.
    pub bytes_per_second: Option<Rate>,
    /// The largest message from a client, in bytes, after reassembly. Fragments count at least 16
    /// bytes each, so that endless tiny ones end as well. For a compressed one this holds twice: for what
    /// was sent, and for what it is inflated.
    pub message_bytes_max: usize,
    /// How many times its compressed length a message from a client may be, inflated, once it is longer than
    /// 64 KiB. Inflating stops there. Only with `Sockets::with_deflate`.
    pub inflate_ratio_max: usize,
    /// Channels of one socket, those that are joining or leaving included.
    pub joins_max: usize,
    /// The longest topic that can be joined, in bytes.
    pub topic_bytes_max: usize,
    /// The longest query string of a connect request, in bytes.
    pub query_bytes_max: usize,
    /// Messages of the client that wait for one channel.
    pub inbound_messages_max: usize,
    /// Bytes of the client's messages that wait or are being handled in all channels of one socket,
    /// with 128 for each message that waits. One message may exceed it.
    pub inbound_bytes_max: usize,
    /// Messages from the program (sends, intercepted broadcasts) and timers that wait in one socket.
    pub mailbox_messages_max: usize,
    /// Bytes of broadcasts that wait in one socket for channels which intercept or have subscribed to
    /// them. One broadcast may exceed it.
    pub mailbox_bytes_max: usize,
    /// Topics that one channel is subscribed to beside its own.
    pub subscriptions_max: usize,
    /// Bytes of frames that wait for one client to read them, with 96 for each frame. One frame may
    /// exceed it.
    pub outbound_bytes_max: usize,
    /// Bytes of frames that wait in all sockets together. A frame that is shared by many queues
    /// counts in each.
    pub outbound_total_bytes_max: usize,
    /// The longest body of a post of a client that polls, in bytes. Each message in it has
    /// `message_bytes_max` besides.
    pub post_bytes_max: usize,
    /// Bytes of all bodies together that have arrived and are not handled.
    pub posts_total_bytes_max: usize,
    /// How long a client may be silent. The official client sends a heartbeat every 30 s.
    pub idle_timeout: Duration,
    /// How long a handler may go on once its connection has ended, and how long `terminate` may run.
    /// A handler that is dropped for that has no `terminate` after it.
    pub terminate_timeout: Duration,
    /// How long the server waits for the client's answer to its close frame.
    pub close_timeout: Duration,
}

impl Limits {
    /// The bounds of WebSocket framing among them.
    pub(crate) fn websocket(&self) -> websocket::Limits {
        websocket::Limits {
            message_bytes_max: self.message_bytes_max,
            inflate_ratio_max: self.inflate_ratio_max,
            ..websocket::Limits::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1_000_000,
            connections_per_peer_max: None,
            handshakes_per_second: None,
            handshakes_per_second_total: None,
            peers_max: 65_536,
            headers_max: 100,
            header_bytes_max: 32 << 10,
            messages_per_second: None,
            bytes_per_second: None,
            message_bytes_max: 1 << 20,
            inflate_ratio_max: 100,
            joins_max: 100,
            topic_bytes_max: 1024,
            query_bytes_max: 65_536,
            inbound_messages_max: 128,
            inbound_bytes_max: 1 << 20,
            mailbox_messages_max: 1024,
            mailbox_bytes_max: 4 << 20,
            subscriptions_max: 128,
            outbound_bytes_max: 4 << 20,
            outbound_total_bytes_max: 512 << 20,
            post_bytes_max: 8_000_000,
            posts_total_bytes_max: 64 << 20,
            idle_timeout: Duration::from_secs(60),
            terminate_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// What happens to a client that does not read what it is sent, once its queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverflowPolicy {
    /// The connection closes with 1013; the client comes back and joins afresh. Nothing is lost in
    /// silence.
    #[default]
    Disconnect,
    /// The oldest waiting pushes and broadcasts are dropped and counted; replies and channel ends
    /// are kept. For streams in which only the newest matters.
    DropOldest,
}
