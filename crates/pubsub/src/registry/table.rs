//! [`TopicTable`]: the nodes of one shard by topic.
//!
//! A node holds its own topic, so the table keeps nothing but its pointer and the topic's hash,
//! which spares a growing table the look into every node. Not here: locks.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use super::node::TopicNode;

/// A table smaller than this is not worth shrinking.
const SHRINK_MIN: usize = 256;

#[derive(Default)]
pub(crate) struct TopicTable {
    keys: HashSet<Key, BuildHasherDefault<HashedAlready>>,
}

impl TopicTable {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn find(&self, hash: u64, topic: &str) -> Option<&Arc<TopicNode>> {
        let wanted: &dyn Hashed = &Wanted { hash, topic };
        self.keys.get(wanted).map(|key| &key.node)
    }

    /// Puts a node in; returns the one that it takes the place of.
    pub(crate) fn put(&mut self, hash: u64, node: Arc<TopicNode>) -> Option<Arc<TopicNode>> {
        self.keys.replace(Key { hash, node }).map(|key| key.node)
    }

    /// Takes a node out, if it is still this one that the topic leads to.
    pub(crate) fn remove(&mut self, hash: u64, node: &Arc<TopicNode>) -> bool {
        let topic = &**node.topic();
        if !self
            .find(hash, topic)
            .is_some_and(|found| Arc::ptr_eq(found, node))
        {
            return false;
        }
        let wanted: &dyn Hashed = &Wanted { hash, topic };
        self.keys.remove(wanted);
        let len = self.keys.len();
        if self.keys.capacity() > SHRINK_MIN && self.keys.capacity() / 8 >= len {
            self.keys.shrink_to(len * 2);
        }
        true
    }
}

/// What is in the table and what is looked for in it, seen alike.
trait Hashed {
    fn hash(&self) -> u64;
    fn topic(&self) -> &str;
}

struct Key {
    hash: u64,
    node: Arc<TopicNode>,
}

struct Wanted<'a> {
    hash: u64,
    topic: &'a str,
}

impl Hashed for Key {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn topic(&self) -> &str {
        self.node.topic()
    }
}

impl Hashed for Wanted<'_> {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn topic(&self) -> &str {
        self.topic
    }
}

impl Hash for dyn Hashed + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Hashed::hash(self));
    }
}

impl PartialEq for dyn Hashed + '_ {
    fn eq(&self, other: &Self) -> bool {
        Hashed::hash(self) == Hashed::hash(other) && self.topic() == other.topic()
    }
}

impl Eq for dyn Hashed + '_ {}

impl<'a> Borrow<dyn Hashed + 'a> for Key {
    fn borrow(&self) -> &(dyn Hashed + 'a) {
        self
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.node.topic() == other.node.topic()
    }
}

impl Eq for Key {}

/// Passes a finished hash through.
#[derive(Default)]
struct HashedAlready(u64);

impl Hasher for HashedAlready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(false, "only finished hashes are kept here");
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}
