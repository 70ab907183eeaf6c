//! The connection of a client that polls: requests come and go, the session stays. Messages for the
//! client wait in the outbound queue until a later poll acknowledges them; messages of the client wait
//! here for the driver.
//!
//! Not here: HTTP, tokens and time limits, which are the transport's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bennu_proto::codec::DecodeError;
use bennu_proto::long_poll::{self, Batches, Body, BodyError};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::outbound::Writer;
use super::{CloseReason, Connection, State};

/// How many polls of one session may wait at once. An official client has one; one more may linger
/// where a proxy has not yet noticed that a client gave up.
const POLLS_MAX: usize = 4;
/// How many posts of one session may wait at once. Clients before 1.7 do not wait for the answer to one
/// before they send the next.
const POSTS_MAX: usize = 256;
/// The size of an answer, beyond which what waits is left to the next. One message may exceed it.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What only the connection of a client that polls has.
pub(crate) struct Polled {
    batches: Batches,
    /// The polls that wait, the newest last.
    waiting: Vec<Waiting>,
    /// The ticket of the poll that came last: no other is given messages, even when this one is gone, as
    /// its client may have them.
    last_ticket: u64,
    last_poll: Instant,
    posts: VecDeque<Post>,
    /// A post came in since the driver last looked.
    unseen: bool,
}

struct Waiting {
    ticket: u64,
    waker: Waker,
}

/// What a client sent in one request, as far as it is not handled.
pub(crate) struct Post {
    pub(crate) body: Body,
    pub(crate) progress: Arc<Progress>,
    pub(crate) done: oneshot::Sender<Result<(), PostError>>,
    /// Its share of the memory for all bodies.
    pub(crate) _memory: OwnedSemaphorePermit,
}

/// How far a post has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Messages that were handled.
    pub(crate) handled: AtomicUsize,
    /// Nobody waits for the rest any more.
    pub(crate) withdrawn: AtomicBool,
}

/// What a client posted is not a message. Those before it were handled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What a poll is answered with.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Messages, each a JSON string, under the number that acknowledges them.
    Messages { number: u32, messages: Vec<Bytes> },
    /// The session ended while the poll was waiting.
    Ended,
}

/// A poll that was let in.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It waits for messages.
    Waiting(Ticket),
    /// The last answer was lost; here it is again.
    Again { number: u32, messages: Vec<Bytes> },
    /// It was overtaken by a later one and gets nothing.
    Stale,
    /// Too many wait already.
    TooMany,
    /// The session has ended, and with it what waited.
    Ended,
}

/// The place of a poll among those that wait, given up when dropped.
pub(crate) struct Ticket {
    connection: Arc<Connection>,
    number: u64,
}

impl Polled {
    pub(crate) fn new() -> Self {
        Self {
            batches: Batches::default(),
            waiting: Vec::new(),
            last_ticket: 0,
            last_poll: Instant::now(),
            posts: VecDeque::new(),
            unseen: false,
        }
    }

    pub(super) fn has_unseen(&self) -> bool {
        self.unseen
    }

    /// What waits for the client was dropped.
    pub(super) fn forget(&mut self) {
        self.batches.forget();
    }

    /// There is something for the poll that waits.
    pub(super) fn wake(&self) {
        if let Some(waiting) = self.waiting.last() {
            waiting.waker.wake_by_ref();
        }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        for waiting in self.waiting.drain(..) {
            waiting.waker.wake();
        }
    }
}

impl State {
    fn polled(&mut self) -> Option<&mut Polled> {
        match &mut self.outbound.writer {
            Writer::Poll(polled) => Some(polled),
            Writer::None | Writer::Socket(_) => None,
        }
    }
}

impl Connection {
    /// Begins a poll of a client that has received batch `received`, which lets go of what that
    /// acknowledges.
    pub(crate) fn begin_poll(self: &Arc<Self>, received: u32) -> Begun {
        let mut state = self.state.lock();
        if state.closing.is_some_and(CloseReason::is_abrupt_for_polls) {
            return Begun::Ended;
        }
        let Some(polled) = state.polled() else {
            return Begun::Ended;
        };
        polled.last_poll = Instant::now();
        match polled.batches.handle_poll(received) {
            long_poll::Poll::Stale => return Begun::Stale,
            long_poll::Poll::Again { messages, number } => {
                let messages = state.outbound.front(messages);
                return Begun::Again { number, messages };
            }
            long_poll::Poll::Next { acknowledged } => {
                let released = state.outbound.acknowledge(acknowledged);
                self.hub.budget().release(released);
                if acknowledged > 0 && state.closing.is_some() {
                    // The driver may be waiting for just that.
                    state.outbound.unseen = true;
                    state.wake();
                }
            }
        }
        if state.closing.is_some() && state.outbound.is_empty() {
            return Begun::Ended;
        }
        let Some(polled) = state.polled() else {
            return Begun::Ended;
        };
        if polled.waiting.len() >= POLLS_MAX {
            return Begun::TooMany;
        }
        polled.last_ticket += 1;
        let number = polled.last_ticket;
        polled.waiting.push(Waiting {
            ticket: number,
            waker: Waker::noop().clone(),
        });
        Begun::Waiting(Ticket {
            connection: Arc::clone(self),
            number,
        })
    }

    /// When the client last polled: now, if a poll waits. `None` for one that does not poll.
    pub(crate) fn last_poll(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        let polled = state.polled()?;
        Some(if polled.waiting.is_empty() {
            polled.last_poll
        } else {
            now
        })
    }

    /// Tells a poll that waits of what was queued since. False if something waits still.
    pub(crate) fn flush_to_poll(&self) -> bool {
        let mut state = self.state.lock();
        state.outbound.unseen = false;
        let is_empty = state.outbound.is_empty();
        if !is_empty && let Some(polled) = state.polled() {
            polled.wake();
        }
        is_empty
    }

    /// Hands in what a client posted. It comes back if too much waits, or if the session has ended.
    pub(crate) fn hand_in(&self, post: Post) -> Result<(), HandInError> {
        let mut state = self.state.lock();
        if state.closing.is_some() {
            // A client that is told so begins anew, and fetches nothing more.
            self.abandon(&mut state);
            return Err(HandInError::Ended);
        }
        let polled = state.polled().ok_or(HandInError::Ended)?;
        if polled.posts.len() >= POSTS_MAX {
            return Err(HandInError::Full);
        }
        polled.posts.push_back(post);
        polled.unseen = true;
        state.wake();
        Ok(())
    }

    /// The connection is ending: nothing more is handled, and whoever has posted it is told so.
    pub(crate) fn drop_posts(&self) {
        let mut state = self.state.lock();
        let Some(polled) = state.polled() else { return };
        let posts = std::mem::take(&mut polled.posts);
        if !posts.is_empty() {
            self.abandon(&mut state);
        }
        drop(state);
        drop(posts);
    }

    /// The client will not fetch what waits for it.
    fn abandon(&self, state: &mut State) {
        if let Some(polled) = state.polled() {
            polled.forget();
        }
        let released = state.outbound.acknowledge(usize::MAX);
        self.hub.budget().release(released);
        state.outbound.unseen = true;
        state.wake();
    }

    /// The driver has noticed what was posted, whether or not it may handle it now: it is not woken again
    /// for that.
    pub(crate) fn see_posts(&self) {
        if let Some(polled) = self.state.lock().polled() {
            polled.unseen = false;
        }
    }

    /// The oldest post that is not handled.
    pub(crate) fn take_post(&self) -> Option<Post> {
        let mut state = self.state.lock();
        let polled = state.polled()?;
        let post = polled.posts.pop_front();
        if polled.posts.is_empty() {
            polled.posts = VecDeque::new();
        }
        post
    }

    /// A post that was taken is not wholly handled yet.
    pub(crate) fn put_back_post(&self, post: Post) {
        if let Some(polled) = self.state.lock().polled() {
            polled.posts.push_front(post);
        }
    }
}

/// A post was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandInError {
    /// Too many wait already.
    Full,
    /// The session has ended.
    Ended,
}

impl Ticket {
    /// Waits for messages, or for the end of the session. A poll that was overtaken waits for the end
    /// alone.
    pub(crate) fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.connection.state.lock();
        let is_closing = state.closing.is_some();
        let is_empty = state.outbound.is_empty();
        let Some(polled) = state.polled() else {
            return Poll::Ready(Answer::Ended);
        };
        if polled.last_ticket == self.number && !is_empty {
            polled.waiting.pop();
            let count = state.outbound.count_within(BATCH_BYTES_MAX);
            let messages = state.outbound.front(count);
            state.outbound.pin(count);
            let number = state
                .polled()
                .map_or(0, |polled| polled.batches.hand_out(count));
            return Poll::Ready(Answer::Messages { number, messages });
        }
        if is_closing {
            return Poll::Ready(Answer::Ended);
        }
        let own = |waiting: &&mut Waiting| waiting.ticket == self.number;
        if let Some(waiting) = polled.waiting.iter_mut().find(own) {
            waiting.waker.clone_from(cx.waker());
        }
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.connection.state.lock();
        if let Some(polled) = state.polled() {
            polled
                .waiting
                .retain(|waiting| waiting.ticket != self.number);
            polled.last_poll = Instant::now();
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Progress {
    /// Nobody waits for the rest any more: it is dropped unhandled.
    pub(crate) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }
}
