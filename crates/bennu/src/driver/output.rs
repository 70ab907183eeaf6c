//! Output: writing what is queued, and the end of the connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::Driver;
use super::io::Io;
use crate::connection::{CloseReason, Flush};

/// How much a client may still send after our close frame before we stop listening for its own.
const FAREWELL_BYTES_MAX: usize = 1 << 20;

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
    /// When to stop waiting for handlers.
    deadline: Instant,
}

impl Closing {
    fn new(reason: CloseReason, close_timeout: Duration, terminate_timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            reason,
            flushed: false,
            farewell: matches!(reason, CloseReason::Client(_) | CloseReason::Lost),
            discarded_bytes: 0,
            io_deadline: now + close_timeout,
            deadline: now + close_timeout.max(terminate_timeout),
        }
    }

    pub(super) fn reason(&self) -> CloseReason {
        self.reason
    }

    pub(super) fn next_deadline(&self) -> Instant {
        if self.io_is_done() {
            self.deadline
        } else {
            self.io_deadline
        }
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
        use CloseReason::{Overflow, Protocol, Undecodable};
        matches!(self.reason, Protocol(_) | Undecodable | Overflow)
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
        let limits = self.connection.hub().limits();
        let closing = Closing::new(reason, limits.close_timeout, limits.terminate_timeout);
        self.closing = Some(Box::new(closing));
        self.leftover = Vec::new();
        if reason == CloseReason::Lost {
            self.close_io();
        } else {
            self.connection.queue_close(reason.code());
        }
        self.end_channels(cx);
    }

    /// Writes what is queued.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> bool {
        let flush = match &mut self.io {
            Io::Socket(_) => self.connection.flush(cx),
            Io::Stream(stream) => self.connection.flush_into(stream, cx),
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
                    Io::Closed => Poll::Ready(()),
                };
                if shutdown.is_pending() {
                    return false;
                }
            }
            closing.flushed = true;
            progress = true;
        }
        if closing.io_is_done() {
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
        }
    }

    /// The transport is gone and no handler is left, or none that we would wait for.
    pub(super) fn is_finished(&self) -> bool {
        let Some(closing) = &self.closing else {
            return false;
        };
        let is_due = || Instant::now() >= closing.deadline;
        matches!(self.io, Io::Closed) && (self.tasks.is_empty() || is_due())
    }
}
