//! Output: writing what is queued, and the end of the connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::io::Io;
use super::{Driver, deadline_after};
use crate::connection::{CloseReason, Flush};

/// How much a client may still send after our close frame before we stop listening for its own.
/// A message that is too large is mostly on its way when its header is refused: if the transport ended
/// with unread bytes in it, the close frame would be lost with them.
const FAREWELL_BYTES_MAX: usize = 16 << 20;

/// A connection on its way out.
pub(super) struct Closing {
    reason: CloseReason,
    /// The frames that were queued, the close frame last, are written.
    flushed: bool,
    /// Nothing more is expected from the client.
    farewell: bool,
    discarded_bytes: usize,
    /// When to stop waiting for the client.
    io_deadline: Instant,
}

impl Closing {
    fn new(reason: CloseReason, close_timeout: Duration, is_polled: bool) -> Self {
        Self {
            reason,
            flushed: false,
            farewell: is_polled || matches!(reason, CloseReason::Client(_)) || reason.is_abrupt(),
            discarded_bytes: 0,
            io_deadline: deadline_after(Instant::now(), close_timeout),
        }
    }

    pub(super) fn reason(&self) -> CloseReason {
        self.reason
    }

    /// When the transport must be gone; handlers that are still there have their own deadlines.
    pub(super) fn io_deadline(&self) -> Instant {
        self.io_deadline
    }

    pub(super) fn awaits_farewell(&self) -> bool {
        !self.farewell
    }

    pub(super) fn farewell(&mut self) {
        self.farewell = true;
    }

    /// Counts input that nobody looks at; true if it is too much.
    pub(super) fn take_discarded(&mut self, bytes: usize) -> bool {
        self.discarded_bytes += bytes;
        self.discarded_bytes > FAREWELL_BYTES_MAX
    }

    fn io_is_done(&self) -> bool {
        self.flushed && self.farewell
    }

    /// Whether the client is at fault: then our side of the transport ends with the close frame.
    fn is_hard(&self) -> bool {
        use CloseReason::{Overflow, Protocol, TooFast, Undecodable};
        matches!(self.reason, Protocol(_) | Undecodable | Overflow | TooFast)
    }
}

impl Driver {
    /// Ends the connection: tells the client, then the channels.
    pub(super) fn begin_close(&mut self, reason: CloseReason, cx: &mut Context<'_>) {
        if self.closing.is_some() {
            return;
        }
        self.connection.close(reason);
        // Somebody else may have been first.
        let reason = self.connection.closing().unwrap_or(reason);
        let close_timeout = self.connection.hub().limits().close_timeout;
        let is_polled = matches!(self.io, Io::Polled { .. });
        self.closing = Some(Box::new(Closing::new(reason, close_timeout, is_polled)));
        if reason.is_abrupt() || is_polled && reason.is_abrupt_for_polls() {
            self.close_io();
        } else {
            self.connection.queue_close(reason.code());
            self.connection.drop_posts();
        }
        let mut leftover = std::mem::take(&mut self.leftover);
        self.feed(&mut leftover, cx);
        self.end_channels(cx);
    }

    /// Ends a connection that was already closing: nobody waits for its client any more.
    pub(super) fn close_at_once(&mut self, reason: CloseReason) {
        if let Some(closing) = &mut self.closing {
            closing.reason = reason;
        }
        self.close_io();
    }

    /// Writes what is queued.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> bool {
        let flush = match &mut self.io {
            Io::Socket(_) => self.connection.flush(cx),
            Io::Stream(stream) => self.connection.flush_into(stream, cx),
            // What a client has not yet fetched may be fetched until the deadline.
            Io::Polled { .. } if self.connection.flush_to_poll() => Flush::Empty,
            Io::Polled { .. } => Flush::Blocked,
            Io::Closed => return false,
        };
        match flush {
            Flush::Blocked => false,
            Flush::Failed(error) => {
                tracing::debug!(%error, "the connection cannot be written");
                self.begin_close(CloseReason::Lost, cx);
                self.close_io();
                true
            }
            Flush::Empty => self.poll_close_io(cx),
        }
    }

    /// Everything is written: if the connection is closing, it goes on with that.
    fn poll_close_io(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(closing) = &mut self.closing else {
            return false;
        };
        let mut progress = false;
        if !closing.flushed {
            if closing.is_hard() {
                let shutdown = match &mut self.io {
                    Io::Socket(_) => self.connection.poll_shutdown(cx),
                    Io::Stream(stream) => Pin::new(stream).poll_shutdown(cx).map(|_| ()),
                    Io::Polled { .. } | Io::Closed => Poll::Ready(()),
                };
                if shutdown.is_pending() {
                    return false;
                }
            }
            closing.flushed = true;
            progress = true;
        }
        if closing.io_is_done() {
            // With TLS the client is told that this is the end, and not somebody on the way who cut
            // it off (RFC 8446, 6.1); dropping the stream would not.
            if let Io::Stream(stream) = &mut self.io
                && !closing.is_hard()
                && Pin::new(stream).poll_shutdown(cx).is_pending()
            {
                return progress;
            }
            self.close_io();
            progress = true;
        }
        progress
    }

    /// The client had its time to read our close frame and to send its own.
    pub(super) fn close_times_out(&mut self, now: Instant) {
        let io_is_due = self
            .closing
            .as_ref()
            .is_some_and(|closing| now >= closing.io_deadline && !matches!(self.io, Io::Closed));
        if io_is_due {
            self.close_io();
        }
    }

    fn close_io(&mut self) {
        self.io = Io::Closed;
        self.connection.close_writer();
        if let Some(closing) = &mut self.closing {
            (closing.flushed, closing.farewell) = (true, true);
            closing.io_deadline = deadline_after(Instant::now(), Duration::MAX);
        }
    }

    /// The transport is gone and no handler is left. Both have their deadlines.
    pub(super) fn is_finished(&self) -> bool {
        self.closing.is_some() && matches!(self.io, Io::Closed) && self.tasks.is_empty()
    }
}
