//! [`Subscription`]: a topic's broadcasts in a bounded queue, for any task of the program.
//!
//! Not here: connections, which take broadcasts on the spot ([`crate::Subscriber`]).

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use bennu_proto::topic::Topic;
use futures_util::future::select;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::broadcast::Broadcast;
use crate::hub::Hub;
use crate::options::SubscriptionOptions;
use crate::registration::{Registration, RegistrationId};
use crate::subscriber::Subscriber;

/// The broadcasts of one topic, one after the other. Dropping it unsubscribes.
///
/// Who reads too slowly loses the oldest and is told how many
/// ([`SubscriptionOptions`] has the limits); the sender is never held up.
pub struct Subscription {
    hub: Arc<Hub>,
    registration: Registration,
    queue: Arc<Queue>,
}

/// Why there is no broadcast to be had by waiting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// This many broadcasts were dropped because the queue was full. The next call goes on with those
    /// that came after.
    #[error("the subscription lagged behind, {0} broadcasts are lost")]
    Lagged(u64),
    /// The PubSub was shut down, and everything that had come before has been received.
    #[error("the PubSub has been shut down")]
    Closed,
}

/// Why there is no broadcast to be had at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// Nothing has come.
    #[error("no broadcast is waiting")]
    Empty,
    /// As [`RecvError::Lagged`].
    #[error("the subscription lagged behind, {0} broadcasts are lost")]
    Lagged(u64),
    /// As [`RecvError::Closed`].
    #[error("the PubSub has been shut down")]
    Closed,
}

struct Queue {
    options: SubscriptionOptions,
    /// Taken by deliveries and by the receiver, for one broadcast each.
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    broadcasts: VecDeque<Arc<Broadcast>>,
    bytes: usize,
    lost: u64,
}

impl Subscription {
    pub(crate) fn new(hub: &Arc<Hub>, topic: &Topic, options: &SubscriptionOptions) -> Self {
        let queue = Arc::new(Queue {
            options: options.clone(),
            waiting: Mutex::default(),
            arrived: Notify::new(),
        });
        let subscriber: Arc<dyn Subscriber> = Arc::<Queue>::clone(&queue);
        Self {
            hub: Arc::clone(hub),
            registration: hub.register(topic, subscriber, 0),
            queue,
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        self.registration.topic()
    }

    /// The id, to leave this subscription out of a broadcast.
    #[must_use]
    pub fn id(&self) -> RegistrationId {
        self.registration.id()
    }

    /// The registration, to broadcast in its name.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Waits for the next broadcast. Cancel safe: nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`RecvError::Lagged`] once after broadcasts were dropped; [`RecvError::Closed`] when the PubSub
    /// was shut down.
    pub async fn recv(&mut self) -> Result<Arc<Broadcast>, RecvError> {
        loop {
            // Asked for before the queue is looked at, so that neither can be missed.
            let arrived = pin!(self.queue.arrived.notified());
            let closing = pin!(self.hub.closing());
            match self.next() {
                Ok(broadcast) => return Ok(broadcast),
                Err(TryRecvError::Lagged(lost)) => return Err(RecvError::Lagged(lost)),
                Err(TryRecvError::Closed) => return Err(RecvError::Closed),
                Err(TryRecvError::Empty) => select(arrived, closing).await,
            };
        }
    }

    /// The next broadcast, if there is one already.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], and as for [`Subscription::recv`].
    pub fn try_recv(&mut self) -> Result<Arc<Broadcast>, TryRecvError> {
        self.next()
    }

    fn next(&self) -> Result<Arc<Broadcast>, TryRecvError> {
        // Asked before the queue, which nothing enters any more once this is true.
        let closed = self.hub.is_drained();
        let mut waiting = self.queue.waiting.lock();
        if waiting.lost > 0 {
            return Err(TryRecvError::Lagged(std::mem::take(&mut waiting.lost)));
        }
        match waiting.pop() {
            Some(broadcast) => Ok(broadcast),
            None if closed => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl Subscriber for Queue {
    fn deliver(&self, _token: u64, broadcast: &Arc<Broadcast>) {
        // Dropped when the lock is released: the last holder of a payload may run anybody's code.
        let mut dropped = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            let bytes = broadcast.queued_bytes();
            while waiting.broadcasts.len() >= self.options.queue_max.max(1)
                || waiting.bytes.saturating_add(bytes) > self.options.queue_bytes_max
            {
                let Some(oldest) = waiting.pop() else { break };
                waiting.lost += 1;
                dropped.push(oldest);
            }
            waiting.bytes += bytes;
            waiting.broadcasts.push_back(Arc::clone(broadcast));
        }
        drop(dropped);
        self.arrived.notify_one();
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Arc<Broadcast>> {
        let broadcast = self.broadcasts.pop_front()?;
        self.bytes -= broadcast.queued_bytes();
        if self.broadcasts.is_empty() {
            // An idle subscription holds no memory for what once waited.
            self.broadcasts.shrink_to(QUEUE_KEPT);
        }
        Some(broadcast)
    }
}

/// Room that an empty queue keeps.
const QUEUE_KEPT: usize = 16;

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", self.topic())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
