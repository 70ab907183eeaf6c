//! [`ServeLimits`]: every bound of a server, with its default. Those of sockets are in
//! [`Limits`](crate::Limits).

use std::time::Duration;

/// What the connections of a server may cost before a request reaches the application. The server
/// itself never reads the body of a request.
///
/// | limit | default | when it is reached |
/// | --- | --- | --- |
/// | `connections_max` | 262,144 | HTTP 503 with `Retry-After`, then closed; with TLS closed without an answer |
/// | `connections_per_peer_max` | none | HTTP 429, likewise |
/// | `header_read_timeout` | 10 s | closed |
/// | `keep_alive_timeout` | 75 s | closed; HTTP/2 with GOAWAY |
/// | `tls_handshake_timeout` | 10 s | closed |
/// | `tls_handshakes_max` | 1,024 | the handshake waits, within its time |
/// | `header_bytes_max` | 32 KiB | HTTP 431; HTTP/1.1 closes after it |
/// | `headers_max` | 100 | HTTP 431; HTTP/1.1 closes after it |
/// | `http2_streams_max` | 100 a connection | the stream is refused (REFUSED_STREAM) |
/// | `http2_pending_resets_max` | 20 | the connection ends (ENHANCE_YOUR_CALM) |
/// | `http2_error_resets_max` | 1,024 | the same |
/// | `http2_ping_interval`, `http2_ping_timeout` | 30 s, 20 s | the connection ends |
/// | `http2_send_buffer_bytes_max` | 64 KiB a stream | the response, or the socket, waits |
///
/// At `connections_max` connections are answered and not left in the kernel's queue: a client that is
/// told no backs off, and one that waits in a queue gives up when it is its turn. At most 64
/// such answers are on their way at once; who comes beyond is closed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeLimits {
    /// Connections that are open at once, those that have become sockets included. Each takes a file
    /// descriptor: leave some for the rest of the program.
    pub connections_max: usize,
    /// Connections of one peer: an IPv4 address, or the first 64 bits of an IPv6 address. `None` by
    /// default, since behind a proxy everybody has the same.
    pub connections_per_peer_max: Option<usize>,
    /// How long a client may take for the header of its first request, from when it connected or from
    /// the end of the TLS handshake.
    pub header_read_timeout: Duration,
    /// How long a connection may be without a request, between the end of an answer and the end of the
    /// next request's header. A proxy in front should give up sooner.
    pub keep_alive_timeout: Duration,
    /// How long a client may take for the TLS handshake, its wait for a place included.
    pub tls_handshake_timeout: Duration,
    /// TLS handshakes that are under way at once. A client that has not sent anything yet is not one.
    pub tls_handshakes_max: usize,
    /// The longest header of a request, in bytes, with the request line. Less than this is left for a
    /// query string, whatever [`Limits::query_bytes_max`](crate::Limits::query_bytes_max) says.
    pub header_bytes_max: usize,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Requests of one HTTP/2 connection that are under way at once; each WebSocket is one.
    pub http2_streams_max: u32,
    /// Streams that a client has opened and reset before they were looked at (rapid reset).
    pub http2_pending_resets_max: usize,
    /// Streams of a connection that were reset because the client broke the rules.
    pub http2_error_resets_max: usize,
    /// The time between two pings on an HTTP/2 connection.
    pub http2_ping_interval: Duration,
    /// How long the client may take to answer one.
    pub http2_ping_timeout: Duration,
    /// Bytes of one HTTP/2 stream that were written and wait for the client.
    pub http2_send_buffer_bytes_max: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 262_144,
            connections_per_peer_max: None,
            header_read_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            tls_handshake_timeout: Duration::from_secs(10),
            tls_handshakes_max: 1024,
            header_bytes_max: 32 * 1024,
            headers_max: 100,
            http2_streams_max: 100,
            http2_pending_resets_max: 20,
            http2_error_resets_max: 1024,
            http2_ping_interval: Duration::from_secs(30),
            http2_ping_timeout: Duration::from_secs(20),
            http2_send_buffer_bytes_max: 64 * 1024,
        }
    }
}
