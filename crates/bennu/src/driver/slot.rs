//! [`Slot`]: a channel in its driver, and what waits for it.

use std::collections::VecDeque;

use bennu_proto::reference::Ref;
use bennu_proto::server::ChannelKey;
use bennu_proto::topic::Topic;

use crate::channel::runner::{Running, Work};

/// A channel in its driver.
pub(super) struct Slot {
    pub(super) key: ChannelKey,
    pub(super) run: Run,
    /// What waits; boxed, because most of the time nothing does.
    backlog: Option<Box<Backlog>>,
}

/// What a waiting message costs beside its texts.
const MESSAGE_BYTES: usize = 128;

/// What a channel is doing.
pub(super) enum Run {
    /// Nothing.
    Idle(Box<dyn Running>),
    /// Its join waits for something.
    Joining(Box<JoiningSlot>),
    /// A handler waits for something, with this much of the client's in its hands.
    Busy { inbound_bytes: usize },
    /// Taken out for a moment.
    Taken,
}

/// What the answer to a join will need.
pub(super) struct JoiningSlot {
    pub(super) topic: Topic,
    pub(super) join_ref: Option<Ref>,
    pub(super) inbound_bytes: usize,
}

/// Something that waits for a channel.
pub(super) enum Waiting {
    Work(Work),
    Leave { reference: Option<Ref> },
}

#[derive(Default)]
struct Backlog {
    queue: VecDeque<Waiting>,
    /// Messages of the client among them, and their payloads.
    inbound_messages: usize,
    inbound_bytes: usize,
}

impl Waiting {
    fn inbound_bytes(&self) -> Option<usize> {
        match self {
            Self::Work(Work::Event { event, payload, .. }) => {
                let name = event.as_text().map_or(0, str::len);
                Some(MESSAGE_BYTES + name + payload.len())
            }
            Self::Leave { .. } => Some(MESSAGE_BYTES),
            Self::Work(Work::Message(_) | Work::Joined) => None,
        }
    }
}

impl Slot {
    pub(super) fn new(key: ChannelKey, run: Run) -> Self {
        Self {
            key,
            run,
            backlog: None,
        }
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        let backlog = self.backlog.get_or_insert_default();
        if let Some(bytes) = waiting.inbound_bytes() {
            backlog.inbound_messages += 1;
            backlog.inbound_bytes += bytes;
        }
        backlog.queue.push_back(waiting);
    }

    /// Takes the oldest. An empty backlog gives its memory back.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let backlog = self.backlog.as_mut()?;
        let waiting = backlog.queue.pop_front();
        if let Some(bytes) = waiting.as_ref().and_then(Waiting::inbound_bytes) {
            backlog.inbound_messages -= 1;
            backlog.inbound_bytes -= bytes;
        }
        if backlog.queue.is_empty() {
            self.backlog = None;
        }
        waiting
    }

    /// Whether it could handle something now.
    fn is_runnable(&self) -> bool {
        self.backlog.is_some() && matches!(self.run, Run::Idle(_))
    }

    /// Messages of the client that wait.
    pub(super) fn inbound_messages(&self) -> usize {
        self.backlog
            .as_ref()
            .map_or(0, |backlog| backlog.inbound_messages)
    }

    /// Bytes of the client's that wait or are being handled.
    pub(super) fn inbound_bytes(&self) -> usize {
        let in_hand = match &self.run {
            Run::Joining(joining) => joining.inbound_bytes,
            Run::Busy { inbound_bytes } => *inbound_bytes,
            Run::Idle(_) | Run::Taken => 0,
        };
        let waiting = self
            .backlog
            .as_ref()
            .map_or(0, |backlog| backlog.inbound_bytes);
        in_hand + waiting
    }
}

/// The channels of one connection, in the order in which they were joined.
#[derive(Default)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    pub(super) fn insert(&mut self, slot: Slot) {
        if self.0.is_empty() {
            // One channel is the common case.
            self.0.reserve_exact(1);
        }
        debug_assert!(self.0.last().is_none_or(|last| last.key < slot.key));
        self.0.push(slot);
    }

    pub(super) fn get_mut(&mut self, key: ChannelKey) -> Option<&mut Slot> {
        let index = self.find(key)?;
        self.0.get_mut(index)
    }

    pub(super) fn remove(&mut self, key: ChannelKey) -> Option<Slot> {
        let index = self.find(key)?;
        let slot = self.0.remove(index);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(slot)
    }

    /// The first channel after this one, in a circle, that could handle something now.
    pub(super) fn next_runnable(&self, after: ChannelKey) -> Option<ChannelKey> {
        let start = self.0.partition_point(|slot| slot.key <= after);
        let (before, behind) = self.0.split_at(start);
        let mut circle = behind.iter().chain(before);
        circle.find(|slot| slot.is_runnable()).map(|slot| slot.key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    pub(super) fn keys(&self) -> Vec<ChannelKey> {
        self.0.iter().map(|slot| slot.key).collect()
    }

    /// Keys count up, so that the vector is sorted by them.
    fn find(&self, key: ChannelKey) -> Option<usize> {
        self.0.binary_search_by_key(&key, |slot| slot.key).ok()
    }
}
