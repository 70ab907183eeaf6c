//! The channels of one socket as the machine sees them. What runs inside them is the driver's.

use crate::reference::Ref;
use crate::server::ChannelKey;
use crate::topic::Topic;

/// One channel.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) topic: Topic,
    /// As it came in the join, so that comparison is with what the client said.
    pub(super) join_ref: Option<Ref>,
    pub(super) key: ChannelKey,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Boxed: only this short phase needs more than a word.
    Joining(Box<Joining>),
    Joined,
    Leaving,
}

#[derive(Debug)]
pub(super) struct Joining {
    /// What the join's reply has to name.
    pub(super) reference: Option<Ref>,
    /// The join reference of the channel that this one replaces, to be closed after the reply.
    pub(super) replaced: Option<Option<Ref>>,
}

/// Sorted by topic. A socket has one or two channels as a rule and some hundreds at most: a vector
/// is smaller than any map and fast enough.
#[derive(Debug, Default)]
pub(super) struct Entries(Vec<Entry>);

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    pub(super) fn get(&self, topic: &str) -> Option<&Entry> {
        self.0.get(self.find(topic).ok()?)
    }

    pub(super) fn get_mut(&mut self, topic: &str) -> Option<&mut Entry> {
        let index = self.find(topic).ok()?;
        self.0.get_mut(index)
    }

    pub(super) fn get_key_mut(&mut self, key: ChannelKey) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.key == key)
    }

    /// Inserts a channel whose topic is not there.
    pub(super) fn insert(&mut self, entry: Entry) {
        match self.find(&entry.topic) {
            Ok(_) => debug_assert!(false, "a topic has one channel at a time"),
            Err(index) => {
                // One channel is the common case: no room for three more beside it.
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(index, entry);
            }
        }
    }

    pub(super) fn remove(&mut self, key: ChannelKey) -> Option<Entry> {
        let index = self.0.iter().position(|entry| entry.key == key)?;
        let entry = self.0.remove(index);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(entry)
    }

    fn find(&self, topic: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| (*entry.topic).cmp(topic))
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut sorted: Vec<Entry> = entries.into_iter().collect();
        sorted.sort_by(|a, b| a.topic.cmp(&b.topic));
        sorted.dedup_by(|a, b| a.topic == b.topic);
        Self(sorted)
    }
}
