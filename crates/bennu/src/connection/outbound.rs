//! Frames on their way to one client: the queue, its bound, and the ways out of it.
//!
//! As long as nothing waits, whoever sends writes to the socket at once and saves the wake-up. When
//! the socket takes no more, or the driver has frames of its own that are not yet written, frames
//! queue, and from then on the driver writes them, many in one system call. A client that polls fetches
//! them from the queue (`polled.rs`).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bennu_proto::codec::Framing;
use bennu_proto::websocket;
use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

use super::polled::Polled;
use super::{CloseReason, Connection, State};
use crate::limits::OverflowPolicy;

/// How many frames one system call writes at most.
const FRAMES_PER_WRITE: usize = 64;

/// What a frame costs in memory beside its bytes: its place in the queue and its allocation. Without
/// it, a queue of tiny frames would hold many times what its limit says.
const FRAME_BYTES: usize = 96;

/// How many bytes of its own that a driver queues count as much as a delivery to somebody else.
const BYTES_PER_DELIVERY: usize = 1024;

/// How far a burst may go over the limit before the transport was even tried, on transports that only
/// the driver can write to.
pub(crate) const OUTBOUND_BURST: usize = 4;

/// How many frames that may not be dropped are passed over in search of one that may.
const CONTROL_FRAMES_MAX: usize = 1024;

/// What a frame is, which decides what may happen to it when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// To everybody on a topic.
    Broadcast,
    /// From a channel to its client alone.
    Push,
    /// Replies and channel ends: what a client waits for. Never dropped.
    Control,
    /// The answer to a ping. Only the last of several is of interest.
    Pong,
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
    /// What the queue costs.
    queued_bytes: usize,
    /// How many frames at the front are being written, or are partly written: they cannot go.
    pinned: usize,
    /// Something was queued by others since the driver last flushed.
    pub(super) unseen: bool,
    /// The transport took nothing more when the driver last tried; it will wake the driver.
    blocked: bool,
    /// How else than by its driver the client can be reached.
    pub(super) writer: Writer,
}

/// The way to a client that does not lead through its driver.
pub(crate) enum Writer {
    /// There is none.
    None,
    /// A socket, which can be written from anywhere.
    Socket(OwnedWriteHalf),
    /// The client fetches what waits for it.
    Poll(Box<Polled>),
}

impl Writer {
    fn socket(&self) -> Option<&OwnedWriteHalf> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::None | Self::Poll(_) => None,
        }
    }
}

struct Queued {
    bytes: Bytes,
    class: Class,
}

impl Queued {
    fn cost(&self) -> usize {
        self.bytes.len() + FRAME_BYTES
    }
}

impl Outbound {
    pub(super) fn new(writer: Writer) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            pinned: 0,
            unseen: false,
            blocked: false,
            writer,
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn has_unseen(&self) -> bool {
        self.unseen || matches!(&self.writer, Writer::Poll(polled) if polled.has_unseen())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The oldest frames, so many of them.
    pub(super) fn front(&self, count: usize) -> Vec<Bytes> {
        let front = self.queue.iter().take(count);
        front.map(|queued| queued.bytes.clone()).collect()
    }

    /// How many of the oldest frames are within so many bytes; one at least, if there is one.
    pub(super) fn count_within(&self, bytes_max: usize) -> usize {
        let mut bytes = 0_usize;
        let within = self.queue.iter().take_while(|queued| {
            bytes = bytes.saturating_add(queued.bytes.len());
            bytes <= bytes_max
        });
        within.count().max(1).min(self.queue.len())
    }

    /// Keeps the oldest frames, so many of them, from being dropped.
    pub(super) fn pin(&mut self, count: usize) {
        self.pinned = count;
    }

    /// The oldest frames, so many of them, have arrived. Returns what they cost.
    pub(super) fn acknowledge(&mut self, count: usize) -> usize {
        let before = self.queued_bytes;
        for _ in 0..count.min(self.queue.len()) {
            self.queued_bytes -= self.queue.pop_front().map_or(0, |queued| queued.cost());
        }
        self.pinned = 0;
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        before - self.queued_bytes
    }

    /// Whether a frame may be queued. An empty queue takes one of any size.
    fn fits(&self, frame: &Queued, bytes_max: usize) -> bool {
        // Where only the driver writes, a burst within one of its turns says nothing about the
        // client.
        let untried = matches!(self.writer, Writer::None) && !self.blocked;
        let bytes_max = if untried {
            bytes_max.saturating_mul(OUTBOUND_BURST)
        } else {
            bytes_max
        };
        self.queue.is_empty() || self.queued_bytes + frame.cost() <= bytes_max
    }

    fn push(&mut self, frame: Queued) {
        let replaces = frame.class == Class::Pong && self.queue.len() > self.pinned;
        if replaces
            && self
                .queue
                .back()
                .is_some_and(|back| back.class == Class::Pong)
        {
            self.queued_bytes -= self.queue.pop_back().map_or(0, |pong| pong.cost());
        }
        self.queued_bytes += frame.cost();
        self.queue.push_back(frame);
    }

    /// Takes `written` bytes off the front; whole frames go, the first of the rest may be begun.
    fn advance(&mut self, mut written: usize) {
        self.pinned = 0;
        while let Some(front) = self.queue.front_mut() {
            if written < front.bytes.len() {
                if written > 0 {
                    front.bytes.advance(written);
                    self.queued_bytes -= written;
                    self.pinned = 1;
                }
                return;
            }
            written -= front.bytes.len();
            self.queued_bytes -= front.cost();
            self.queue.pop_front();
        }
        // An idle connection holds no queue.
        self.queue = VecDeque::new();
    }

    /// Drops the oldest frames that may go, until the new one fits. Returns how many went.
    fn drop_oldest(&mut self, frame: &Queued, bytes_max: usize) -> u64 {
        let mut dropped = 0;
        let mut index = self.pinned;
        while !self.fits(frame, bytes_max) {
            let Some(queued) = self.queue.get(index) else {
                break;
            };
            if matches!(queued.class, Class::Control | Class::Pong) {
                index += 1;
                // A queue that begins with this many replies is one that nobody reads.
                if index > CONTROL_FRAMES_MAX {
                    break;
                }
                continue;
            }
            self.queued_bytes -= queued.cost();
            self.queue.remove(index);
            dropped += 1;
        }
        dropped
    }

    /// Forgets everything but frames that are partly on the wire.
    fn cut(&mut self) {
        self.queue.truncate(self.pinned);
        self.queued_bytes = self.queue.iter().map(Queued::cost).sum();
    }

    /// Tries to write one frame to a socket for which nothing waits. What is left of it comes back.
    fn write_through(&mut self, mut bytes: Bytes) -> Result<Option<Bytes>, ()> {
        let Some(writer) = self.writer.socket().filter(|_| self.queue.is_empty()) else {
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

    /// Writes what the socket takes at once.
    fn write_now(&mut self) {
        while let Some(writer) = self.writer.socket().filter(|_| !self.queue.is_empty()) {
            let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
            let count = gather(&self.queue, &mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            match writer.try_write_vectored(slices) {
                Ok(written) if written > 0 => self.advance(written),
                // The driver will see the same where it can act on it.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Writes some of what is queued to the socket that it owns.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Flush {
        let Writer::Socket(writer) = &mut self.writer else {
            return Flush::Blocked;
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
                Ok(Some(bytes)) => {
                    let over = self.enqueue(&mut state, Queued { bytes, class });
                    if let Writer::Poll(polled) = &state.outbound.writer {
                        polled.wake();
                    } else if !state.outbound.blocked {
                        // A blocked transport wakes the driver by itself.
                        state.outbound.unseen = true;
                        state.wake();
                    }
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
        self.add_work(bytes.len() / BYTES_PER_DELIVERY);
        let bytes = self.finish(bytes);
        let over = {
            let mut state = self.state.lock();
            if state.ended || state.closing.is_some() {
                return;
            }
            self.enqueue(&mut state, Queued { bytes, class })
        };
        if over {
            self.hub.relieve();
        }
    }

    /// True if the budget of the process is exceeded, to be dealt with outside the lock.
    fn enqueue(&self, state: &mut State, frame: Queued) -> bool {
        let bytes_max = self.hub.limits().outbound_bytes_max;
        let before = state.outbound.queued_bytes;
        if !state.outbound.fits(&frame, bytes_max) {
            // The client may be reading all the time, and only the driver did not come to writing.
            state.outbound.write_now();
        }
        if !state.outbound.fits(&frame, bytes_max)
            && self.hub.overflow_policy() == OverflowPolicy::DropOldest
        {
            let dropped = state.outbound.drop_oldest(&frame, bytes_max);
            self.hub.telemetry().dropped_oldest.increment(dropped);
        }
        if state.outbound.fits(&frame, bytes_max) {
            state.outbound.push(frame);
        } else {
            self.hub.telemetry().cut(state.outbound.queue.len());
            state.outbound.cut();
            state.closing = Some(CloseReason::Overflow);
            state.wake();
        }
        let after = state.outbound.queued_bytes;
        self.hub.telemetry().queue_high_water(after);
        self.hub.budget().release(before.saturating_sub(after));
        self.hub.budget().take(after.saturating_sub(before))
    }

    /// Drops the connection at once, with all that waits, because the process is over its budget.
    /// Returns how many bytes that gave back.
    pub(crate) fn drop_for_budget(&self) -> usize {
        let outbound = {
            let mut state = self.state.lock();
            if state.ended
                || state
                    .closing
                    .is_some_and(|reason| reason == CloseReason::Budget)
            {
                return 0;
            }
            // A close that is under way already is cut short.
            state.closing = Some(CloseReason::Budget);
            let mut writer = std::mem::replace(&mut state.outbound.writer, Writer::None);
            if let Writer::Poll(polled) = &mut writer {
                polled.forget();
            }
            let outbound = std::mem::replace(&mut state.outbound, Outbound::new(writer));
            state.outbound.unseen = true;
            state.wake();
            outbound
        };
        self.hub.telemetry().cut(outbound.queue.len());
        self.hub.budget().release(outbound.queued_bytes);
        outbound.queued_bytes
    }

    /// What waits for the client costs this much.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.state.lock().outbound.queued_bytes
    }

    /// Queues the close frame, behind everything that was queued before. The driver calls this once. A
    /// client that polls is told by the answer to a poll.
    pub(crate) fn queue_close(&self, code: Option<u16>) {
        if self.form.framing == Framing::LongPoll {
            return;
        }
        let frame = Queued {
            bytes: websocket::close_frame(code, ""),
            class: Class::Control,
        };
        self.hub.budget().take(frame.cost());
        self.state.lock().outbound.push(frame);
    }

    /// Writes what is queued, for a driver whose socket is in here. Others get the lock between two
    /// system calls.
    pub(crate) fn flush(&self, cx: &mut Context<'_>) -> Flush {
        loop {
            let mut state = self.state.lock();
            let outbound = &mut state.outbound;
            outbound.unseen = false;
            outbound.blocked = false;
            if outbound.queue.is_empty() {
                return Flush::Empty;
            }
            let before = outbound.queued_bytes;
            let flush = outbound.poll_write(cx);
            outbound.blocked = matches!(flush, Flush::Blocked);
            let written = before - outbound.queued_bytes;
            drop(state);
            self.hub.budget().release(written);
            if !matches!(flush, Flush::Empty) {
                return flush;
            }
        }
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
                Poll::Ready(Ok(written)) => self.written(written),
                Poll::Ready(Err(error)) => return Flush::Failed(error),
                Poll::Pending => {
                    let outbound = &mut self.state.lock().outbound;
                    // A transport may have begun the first frame and ask for the same bytes again;
                    // those behind it may go.
                    (outbound.blocked, outbound.pinned) = (true, 1);
                    return Flush::Blocked;
                }
            }
        }
    }

    fn written(&self, written: usize) {
        let mut state = self.state.lock();
        let before = state.outbound.queued_bytes;
        state.outbound.advance(written);
        self.hub
            .budget()
            .release(before - state.outbound.queued_bytes);
    }

    /// Ends our side of a socket that is in here, once everything is written.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state.lock().outbound.writer {
            Writer::Socket(writer) => Pin::new(writer).poll_shutdown(cx).map(|_| ()),
            Writer::None | Writer::Poll(_) => Poll::Ready(()),
        }
    }

    /// The transport is gone: what waits for it is, too.
    pub(crate) fn close_writer(&self) {
        let outbound =
            std::mem::replace(&mut self.state.lock().outbound, Outbound::new(Writer::None));
        self.hub.budget().release(outbound.queued_bytes);
    }

    /// Copies the handles of the frames at the front, which nobody may drop until they are written.
    fn pin_front(&self, frames: &mut Vec<Bytes>) {
        frames.clear();
        let mut state = self.state.lock();
        state.outbound.unseen = false;
        state.outbound.blocked = false;
        let front = state.outbound.queue.iter().take(FRAMES_PER_WRITE);
        frames.extend(front.map(|queued| queued.bytes.clone()));
        state.outbound.pinned = frames.len();
    }
}
