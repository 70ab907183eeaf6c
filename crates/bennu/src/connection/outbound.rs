//! Frames on their way to one client: the queue, its bound, and the ways out of it.
//!
//! As long as nothing waits, whoever sends writes to the socket at once and saves the wake-up. When
//! the socket takes no more, or the driver has frames of its own that are not yet written, frames
//! queue, and from then on the driver writes them, many in one system call.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bennu_proto::websocket;
use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

use super::{CloseReason, Connection, State};
use crate::limits::OverflowPolicy;

/// How many frames one system call writes at most.
const FRAMES_PER_WRITE: usize = 64;

/// What a frame is, which decides what may happen to it when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// To everybody on a topic.
    Broadcast,
    /// From a channel to its client alone.
    Push,
    /// Replies, channel ends, pongs: what a client waits for. Never dropped.
    Control,
}

/// How a flush went.
#[derive(Debug)]
pub(crate) enum Flush {
    /// Nothing is left.
    Empty,
    /// The transport takes no more; the driver will be woken.
    Blocked,
    /// The transport failed.
    Failed(io::Error),
}

pub(super) struct Outbound {
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    /// How many frames at the front are being written, or are partly written: they cannot go.
    pinned: usize,
    /// Something was queued by others since the driver last flushed.
    unseen: bool,
    /// The socket, where it can be written from anywhere.
    writer: Option<OwnedWriteHalf>,
}

struct Queued {
    bytes: Bytes,
    class: Class,
}

impl Outbound {
    pub(super) fn new(writer: Option<OwnedWriteHalf>) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            pinned: 0,
            unseen: false,
            writer,
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn has_unseen(&self) -> bool {
        self.unseen
    }

    fn push(&mut self, bytes: Bytes, class: Class) {
        self.queued_bytes += bytes.len();
        self.queue.push_back(Queued { bytes, class });
    }

    /// Takes `written` bytes off the front; whole frames go, the first of the rest may be begun.
    fn advance(&mut self, mut written: usize) {
        self.queued_bytes = self.queued_bytes.saturating_sub(written);
        self.pinned = 0;
        while let Some(front) = self.queue.front_mut() {
            if written < front.bytes.len() {
                if written > 0 {
                    front.bytes.advance(written);
                    self.pinned = 1;
                }
                return;
            }
            written -= front.bytes.len();
            self.queue.pop_front();
        }
        // An idle connection holds no queue.
        self.queue = VecDeque::new();
    }

    /// Drops the oldest frames that may go, until `room` bytes are free. Returns how many and how
    /// many bytes.
    fn drop_oldest(&mut self, bytes_max: usize, room: usize) -> (u64, usize) {
        let (mut dropped, mut dropped_bytes) = (0, 0);
        let mut index = self.pinned;
        while self.queued_bytes + room > bytes_max {
            let Some(queued) = self.queue.get(index) else {
                break;
            };
            if queued.class == Class::Control {
                index += 1;
                continue;
            }
            let len = queued.bytes.len();
            self.queue.remove(index);
            self.queued_bytes -= len;
            dropped += 1;
            dropped_bytes += len;
        }
        (dropped, dropped_bytes)
    }

    /// Forgets everything but a frame that is partly on the wire. Returns how many bytes went.
    fn cut(&mut self) -> usize {
        let before = self.queued_bytes;
        self.queue.truncate(self.pinned);
        self.queued_bytes = self.queue.iter().map(|queued| queued.bytes.len()).sum();
        before - self.queued_bytes
    }

    /// Tries to write one frame to a socket for which nothing waits. What is left of it comes back.
    fn write_through(&mut self, mut bytes: Bytes) -> Result<Option<Bytes>, ()> {
        let Some(writer) = self.writer.as_ref().filter(|_| self.queue.is_empty()) else {
            return Ok(Some(bytes));
        };
        match writer.try_write(&bytes) {
            Ok(written) if written == bytes.len() => Ok(None),
            Ok(written) => {
                bytes.advance(written);
                self.pinned = usize::from(written > 0);
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(bytes)),
            Err(_) => Err(()),
        }
    }

    /// Writes what is queued to the socket that it owns.
    fn write_queued(&mut self, cx: &mut Context<'_>) -> Flush {
        let Some(writer) = &mut self.writer else {
            return Flush::Empty;
        };
        let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
        let count = gather(&self.queue, &mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        match Pin::new(writer).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(0)) => Flush::Failed(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => {
                self.advance(written);
                Flush::Empty
            }
            Poll::Ready(Err(error)) => Flush::Failed(error),
            Poll::Pending => Flush::Blocked,
        }
    }
}

fn gather<'a>(queue: &'a VecDeque<Queued>, slices: &mut [IoSlice<'a>]) -> usize {
    let mut count = 0;
    for (slice, queued) in slices.iter_mut().zip(queue) {
        *slice = IoSlice::new(&queued.bytes);
        count += 1;
    }
    count
}

impl Connection {
    /// Sends a frame from anywhere: to the socket at once if nothing waits, to the queue otherwise.
    pub(crate) fn send(&self, bytes: Bytes, class: Class) {
        let over = {
            let mut state = self.state.lock();
            if state.ended || state.closing.is_some() {
                return;
            }
            match state.outbound.write_through(bytes) {
                Ok(None) => return,
                Ok(Some(rest)) => {
                    let over = self.enqueue(&mut state, rest, class);
                    state.outbound.unseen = true;
                    state.wake();
                    over
                }
                Err(()) => {
                    // The driver will see the same error where it can act on it.
                    state.closing = Some(CloseReason::Lost);
                    state.wake();
                    false
                }
            }
        };
        if over {
            self.hub.relieve();
        }
    }

    /// Queues a frame; the driver, which calls this, flushes at the end of its turn.
    pub(crate) fn queue(&self, bytes: Bytes, class: Class) {
        let over = {
            let mut state = self.state.lock();
            if state.ended || state.closing.is_some() {
                return;
            }
            self.enqueue(&mut state, bytes, class)
        };
        if over {
            self.hub.relieve();
        }
    }

    /// True if the budget of the process is exceeded, to be dealt with outside the lock.
    fn enqueue(&self, state: &mut State, bytes: Bytes, class: Class) -> bool {
        let (len, bytes_max) = (bytes.len(), self.hub.limits().outbound_bytes_max);
        let full = |state: &State| {
            !state.outbound.queue.is_empty() && state.outbound.queued_bytes + len > bytes_max
        };
        if full(state) {
            if self.hub.overflow_policy() == OverflowPolicy::DropOldest {
                let (dropped, bytes) = state.outbound.drop_oldest(bytes_max, len);
                self.hub.budget().release(bytes);
                self.hub.telemetry().dropped_oldest.increment(dropped);
            }
            if full(state) {
                self.cut_locked(state);
                return false;
            }
        }
        state.outbound.push(bytes, class);
        self.hub
            .telemetry()
            .queue_high_water(state.outbound.queued_bytes);
        self.hub.budget().take(len)
    }

    /// Cuts the connection because its client does not read.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock();
        if !state.ended && state.closing.is_none() {
            self.cut_locked(&mut state);
        }
    }

    fn cut_locked(&self, state: &mut State) {
        let bytes = state.outbound.cut();
        self.hub.budget().release(bytes);
        state.closing = Some(CloseReason::Overflow);
        state.wake();
    }

    /// How many bytes wait for the client.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.state.lock().outbound.queued_bytes
    }

    /// Queues the close frame, behind everything that was queued before. The driver calls this once.
    pub(crate) fn queue_close(&self, code: Option<u16>) {
        let frame = websocket::close_frame(code, "");
        self.hub.budget().take(frame.len());
        self.state.lock().outbound.push(frame, Class::Control);
    }

    /// Writes what is queued, for a driver whose socket is in here.
    pub(crate) fn flush(&self, cx: &mut Context<'_>) -> Flush {
        let mut state = self.state.lock();
        state.outbound.unseen = false;
        while !state.outbound.queue.is_empty() {
            let before = state.outbound.queued_bytes;
            let flush = state.outbound.write_queued(cx);
            self.hub
                .budget()
                .release(before - state.outbound.queued_bytes);
            if !matches!(flush, Flush::Empty) {
                return flush;
            }
        }
        Flush::Empty
    }

    /// Writes what is queued through a transport that the driver owns, outside the lock.
    pub(crate) fn flush_into<W: AsyncWrite + Unpin + ?Sized>(
        &self,
        writer: &mut W,
        cx: &mut Context<'_>,
    ) -> Flush {
        let mut frames = Vec::new();
        loop {
            self.pin_front(&mut frames);
            if frames.is_empty() {
                return match Pin::new(&mut *writer).poll_flush(cx) {
                    Poll::Ready(Err(error)) => Flush::Failed(error),
                    Poll::Ready(Ok(())) => Flush::Empty,
                    Poll::Pending => Flush::Blocked,
                };
            }
            let slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
            match Pin::new(&mut *writer).poll_write_vectored(cx, &slices) {
                Poll::Ready(Ok(0)) => return Flush::Failed(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.hub.budget().release(written);
                    self.state.lock().outbound.advance(written);
                }
                Poll::Ready(Err(error)) => return Flush::Failed(error),
                Poll::Pending => return Flush::Blocked,
            }
        }
    }

    /// Ends our side of a socket that is in here, once everything is written.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state.lock().outbound.writer {
            Some(writer) => Pin::new(writer).poll_shutdown(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// The transport is gone: what waits for it is, too.
    pub(crate) fn close_writer(&self) {
        let outbound = std::mem::replace(&mut self.state.lock().outbound, Outbound::new(None));
        self.hub.budget().release(outbound.queued_bytes);
    }

    /// Copies the handles of the frames at the front, which nobody may drop until they are written.
    fn pin_front(&self, frames: &mut Vec<Bytes>) {
        frames.clear();
        let mut state = self.state.lock();
        state.outbound.unseen = false;
        let front = state.outbound.queue.iter().take(FRAMES_PER_WRITE);
        frames.extend(front.map(|queued| queued.bytes.clone()));
        // After a blocked write only the first can be partly out, but which one the transport has
        // begun is its own affair: they all stay.
        state.outbound.pinned = frames.len();
    }
}
