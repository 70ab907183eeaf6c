//! [`Driver`]: the task of one connection. It reads and writes the transport, runs the protocol
//! machine, and holds the channels as slots, so that an idle channel costs its state and nothing
//! more.
//!
//! A turn of the driver does what there is to do, bounded, and then sleeps:
//!
//! 1. messages from the program go to their channels (`mail.rs`),
//! 2. handlers that wait are polled (`tasks.rs`), timers fire (`timers.rs`),
//! 3. input is read, decoded and acted upon (`input.rs`, `posts.rs`, `channels.rs`),
//! 4. what was queued for the client is written in one go (`output.rs`).
//!
//! The parts touch disjoint state where they can; what they share is in this file.

mod channels;
mod expiry;
mod input;
mod io;
mod mail;
mod output;
mod posts;
mod rates;
mod slot;
mod tasks;
mod timers;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bennu_proto::payload::Payload;
use bennu_proto::server::{self, ChannelKey, Machine};
use bennu_proto::topic::Router;
use bennu_proto::websocket::{Decoder, Role};
use bennu_pubsub::{Registration, Subscriber};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::channel::Rejection;
use crate::channel::context::Core;
use crate::channel::runner::{BoxFuture, JoinOutcome};
use crate::connection::{Address, CloseReason, Connection, Listed};
use crate::transport::Held;

pub(crate) use io::{Io, READ_BYTES};

use expiry::Expiry;
use output::Closing;
use rates::Rates;
use slot::Slots;
use tasks::Tasks;
use timers::Timers;

/// How much one turn may do before others get theirs, in deliveries: about 2 ms.
const WORK_PER_TURN: u32 = 256;
/// What handling one message counts, in deliveries.
const WORK_PER_MESSAGE: u32 = 2;

/// The routes of a socket with what its `connect` established, without their types.
pub(crate) trait Session: Send + Sync {
    fn router(&self) -> &Router;
    fn join(&self, route: usize, core: Core, params: Payload) -> Option<BoxFuture<JoinOutcome>>;
    fn sink(&self, route: usize, address: Address) -> Option<Arc<dyn Subscriber>>;
    /// When the socket ends, as its assigns have it.
    fn expires_at(&self) -> Option<SystemTime>;
    fn can_refresh(&self) -> bool;
    /// Decides about what the client presents to stay; `None` where that is not done.
    fn refresh(&self, payload: Payload)
    -> Option<BoxFuture<Result<Option<SystemTime>, Rejection>>>;
}

/// The task of one connection.
pub(crate) struct Driver {
    connection: Arc<Connection>,
    session: Box<dyn Session>,
    io: Io,
    decoder: Decoder,
    /// Input that was read but may not be handled yet.
    leftover: Box<[u8]>,
    machine: Machine,
    slots: Slots,
    tasks: Tasks,
    timers: Timers,
    /// Fires at the earliest of all deadlines, or before it; what is due is looked up then.
    sleep: Pin<Box<Sleep>>,
    last_inbound: Instant,
    /// How fast the client may send, if there are limits for that.
    rates: Option<Box<Rates>>,
    /// The client has been silent for too long, unless there is something to read.
    is_silent: bool,
    /// Work of this turn so far.
    work: u32,
    /// Which of the phases comes first in this turn.
    first_phase: u8,
    /// The channel that was last given something that had waited.
    last_run: ChannelKey,
    closing: Option<Box<Closing>>,
    expiry: Option<Box<Expiry>>,
    /// Tells the server that the connection is in use.
    held: Held,
    /// Ends the subscription to the topic of the socket's id.
    _id: Option<Registration>,
    _listed: Listed,
}

impl Driver {
    pub(crate) fn new(
        connection: Arc<Connection>,
        session: Box<dyn Session>,
        io: Io,
        early_bytes: Vec<u8>,
        id: Option<Registration>,
        listed: Listed,
    ) -> Self {
        let hub = connection.hub();
        let limits = hub.limits();
        let machine_limits = server::Limits {
            joins_max: limits.joins_max,
            topic_bytes_max: limits.topic_bytes_max,
        };
        let now = Instant::now();
        let sleep = Box::pin(sleep_until(deadline_after(now, limits.idle_timeout)));
        let machine = Machine::new(connection.form(), machine_limits);
        let mut decoder = Decoder::new(Role::Server);
        if connection.deflates() {
            decoder = decoder.with_deflate();
        }
        let rates = Rates::new(limits, early_bytes.len());
        hub.telemetry().connections.increment(1);
        let mut driver = Self {
            connection,
            session,
            io,
            decoder,
            leftover: early_bytes.into(),
            machine,
            slots: Slots::default(),
            tasks: Tasks::default(),
            timers: Timers::default(),
            sleep,
            last_inbound: now,
            rates,
            is_silent: false,
            work: 0,
            first_phase: 0,
            last_run: ChannelKey(0),
            closing: None,
            expiry: None,
            held: Held::default(),
            _id: id,
            _listed: listed,
        };
        driver.set_expiry(driver.session.expires_at());
        driver
    }

    /// Keeps the permit of the connection until the driver is dropped.
    pub(crate) fn hold(&mut self, permit: Held) {
        self.held = permit;
    }

    pub(crate) fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    /// Counts what was done and says whether this turn may go on.
    fn turn_goes_on(&mut self) -> bool {
        self.work = self.work.saturating_add(self.connection.take_work());
        self.work < WORK_PER_TURN
    }

    fn count_message(&mut self) {
        self.work = self.work.saturating_add(WORK_PER_MESSAGE);
    }

    /// Does everything once; true if there was something.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = self.poll_mail();
        progress |= self.poll_time(cx);
        // Each of these can use up a turn, so that each is the first in one of three.
        for phase in 0..3 {
            progress |= match (phase + self.first_phase) % 3 {
                0 => self.poll_input(cx),
                1 => self.poll_tasks(cx),
                _ => self.poll_runnable(cx),
            };
        }
        progress |= self.poll_close_request(cx);
        progress |= self.poll_output(cx);
        progress
    }

    /// Somebody else, or a part of the driver that could not do it itself, wants the connection to
    /// end.
    fn poll_close_request(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(reason) = self.connection.closing() else {
            return false;
        };
        match &self.closing {
            None => self.begin_close(reason, cx),
            Some(closing) if closing.reason() != reason => self.close_at_once(reason),
            Some(_) => return false,
        }
        true
    }

    /// Lets timers fire, ends what took too long, and sets the sleep anew.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        let earliest = self.next_deadline();
        if earliest < self.sleep.deadline() {
            self.sleep.as_mut().reset(earliest);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = Instant::now();
        self.fire_timers(now);
        self.tasks_time_out(now, cx);
        self.close_times_out(now);
        self.note_silence(now);
        self.expire(now, cx);
        // After that, because silence while the rates are closed is ours.
        self.refill_rates(now);
        // A deadline that was only put off is cheaper to look at again than to move each time. What
        // is still due now is looked at in the next step, after the others had theirs.
        let next = self.next_deadline();
        self.sleep.as_mut().reset(next);
        true
    }

    fn next_deadline(&self) -> Instant {
        let idle_or_close = match &self.closing {
            Some(closing) => closing.io_deadline(),
            None => self.idle_deadline(),
        };
        let others = [
            self.timers.next(),
            self.tasks.next_deadline(),
            self.next_expiry(),
            self.rates_closed_until(),
        ];
        others
            .into_iter()
            .flatten()
            .fold(idle_or_close, Instant::min)
    }

    fn idle_deadline(&self) -> Instant {
        let hub = self.connection.hub();
        let timeout = match &self.io {
            Io::Polled { .. } => hub.poll_timeout(),
            _ => hub.limits().idle_timeout,
        };
        deadline_after(self.last_inbound, timeout)
    }

    /// Notes that the client has been silent for too long. It is so only if nothing is waiting to be
    /// read either: the server itself may have been stopped for a while.
    fn note_silence(&mut self, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        if let Some(last_poll) = self.connection.last_poll(now) {
            self.last_inbound = last_poll;
        } else if !self.input_is_open() || !self.leftover.is_empty() {
            // The silence is ours: we do not read.
            self.last_inbound = now;
        }
        self.is_silent = now >= self.idle_deadline();
    }
}

/// Asks to be polled again once the runtime has looked at its sockets and timers. A plain wake-up
/// would come before that, and some clients that always have something to say could keep the others'
/// readiness from being noticed.
fn yield_turn(cx: &mut Context<'_>) {
    let yielding = std::pin::pin!(tokio::task::yield_now());
    let pending = yielding.poll(cx);
    debug_assert!(pending.is_pending(), "a yield waits once");
}

/// The end of a time that begins at `start`; a time beyond the range of the clock ends in thirty
/// years.
pub(crate) fn deadline_after(start: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    start.checked_add(time).unwrap_or_else(|| start + FAR)
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.connection.begin_turn();
        this.work = 0;
        this.first_phase = (this.first_phase + 1) % 3;
        loop {
            let progress = this.step(cx);
            if this.is_finished() {
                return Poll::Ready(());
            }
            if !this.turn_goes_on() {
                yield_turn(cx);
                return Poll::Pending;
            }
            let closing = this.closing.as_ref().map(|closing| closing.reason());
            if !progress && !this.tasks.are_woken() && this.connection.end_turn(closing, cx) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let reason = self
            .closing
            .as_ref()
            .map_or(CloseReason::Lost, |closing| closing.reason());
        self.connection.end();
        let telemetry = self.connection.hub().telemetry();
        telemetry.connections.decrement(1);
        telemetry.disconnected(reason);
        tracing::debug!(reason = reason.name(), "disconnected");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_small() {
        // With the runtime's part around it, 512 bytes; the allocator's next size is 640.
        assert!(size_of::<Driver>() <= 408, "{}", size_of::<Driver>());
        assert!(
            size_of::<Connection>() <= 192,
            "{}",
            size_of::<Connection>()
        );
    }
}
