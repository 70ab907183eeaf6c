//! [`Registry`]: topics → subscribers, in shards, so that many cores can look up, join and leave.
//!
//! Lock order, outermost first: shard, layout of a node, partition. A leave takes the shard's lock
//! only after it let go of the node's, and no lock is held while a subscriber, an adapter or an
//! encoder runs. Not here: delivery (dispatch).

mod interest;
mod node;
mod partition;
mod table;

use std::hash::BuildHasher;
use std::sync::Arc;

use bennu_proto::topic::Topic;
use parking_lot::RwLock;

use self::interest::Interest;
use self::node::Left;
use self::table::TopicTable;
use crate::adapter::Adapter;

pub(crate) use self::node::{Place, TopicNode};
pub(crate) use self::partition::{Audience, Entry};

const SHARDS_MIN: usize = 64;
const SHARDS_MAX: usize = 1024;
const SHARDS_PER_CORE: usize = 32;

pub(crate) struct Registry {
    /// As many as a power of two.
    shards: Box<[Shard]>,
    hasher: foldhash::quality::RandomState,
    /// Whether the adapter wants to know which topics are open.
    follows_interest: bool,
}

/// A line of its own in the cache, so that shards do not slow each other down.
#[repr(align(128))]
#[derive(Default)]
struct Shard {
    /// Read by broadcasts and most joins, for one look-up; written when a topic opens or closes.
    topics: RwLock<TopicTable>,
    interest: Interest,
}

impl Registry {
    pub(crate) fn new(cores: usize, follows_interest: bool) -> Self {
        let shards = (cores * SHARDS_PER_CORE)
            .next_power_of_two()
            .clamp(SHARDS_MIN, SHARDS_MAX);
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            hasher: foldhash::quality::RandomState::default(),
            follows_interest,
        }
    }

    /// The topic's node, if anybody is subscribed.
    pub(crate) fn find(&self, topic: &str) -> Option<Arc<TopicNode>> {
        let (hash, shard) = self.shard(topic);
        shard.topics.read().find(hash, topic).cloned()
    }

    /// Adds a registration. The adapter is told of a new topic before this returns, unless another
    /// thread is telling it about the same topic; then that thread goes on to tell it.
    pub(crate) fn join(
        &self,
        topic: &Topic,
        mut entry: Entry,
        adapter: &dyn Adapter,
    ) -> (Arc<TopicNode>, Place) {
        let (hash, shard) = self.shard(topic);
        let found = shard.topics.read().find(hash, topic).cloned();
        if let Some(node) = found {
            match node.join(entry) {
                Ok(place) => return (node, place),
                Err(back) => entry = back,
            }
        }
        let mut topics = shard.topics.write();
        if let Some(node) = topics.find(hash, topic) {
            match node.join(entry) {
                Ok(place) => return (Arc::clone(node), place),
                Err(back) => entry = back,
            }
        }
        let (node, place) = TopicNode::new(topic.clone(), entry);
        let node = Arc::new(node);
        // In the place of a closed node that its last subscriber has not taken out yet, the topic
        // has never been closed as far as anybody could see.
        let closed = topics.put(hash, Arc::clone(&node));
        let tell = closed.is_none() && self.follows_interest && shard.interest.note(topic, true);
        drop(topics);
        if tell {
            shard.interest.tell(topic, true, adapter);
        }
        (node, place)
    }

    /// Takes a registration out, and its topic if it was the last. The adapter is told as for
    /// [`Registry::join`].
    pub(crate) fn leave(&self, node: &Arc<TopicNode>, place: Place, adapter: &dyn Adapter) {
        // The entry goes at the very end: its drop may run anybody's code, also code that panics.
        let Left {
            entry: _entry,
            last,
        } = node.leave(place);
        if !last {
            return;
        }
        let topic = node.topic();
        let (hash, shard) = self.shard(topic);
        let mut topics = shard.topics.write();
        let tell =
            topics.remove(hash, node) && self.follows_interest && shard.interest.note(topic, false);
        drop(topics);
        if tell {
            shard.interest.tell(topic, false, adapter);
        }
    }

    /// How many topics have a subscriber.
    pub(crate) fn topics(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.topics.read().len())
            .sum()
    }

    fn shard(&self, topic: &str) -> (u64, &Shard) {
        let hash = self.hasher.hash_one(topic);
        // The table inside a shard uses the lowest and the highest bits.
        let index = (hash >> 32) as usize & (self.shards.len() - 1);
        (hash, &self.shards[index])
    }
}
