//! [`TopicNode`]: one topic that has subscribers, as a row of partitions.
//!
//! The first partition lies in the node itself, so that a topic with one subscriber stays small;
//! what only a big topic needs hangs off it. Not here: finding a node by its topic (the registry),
//! and what is done with the subscribers (dispatch).

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use bennu_proto::topic::Topic;
use parking_lot::Mutex;

use super::partition::{Audience, Entry, PARTITION_MAX, Partition};
use crate::dispatch::lanes::Lanes;
use crate::subscriber::Target;

/// How many empty partitions at the end one leave cuts off. A partition takes many joins to come
/// about, so this keeps up, and no single leave pays for all of them.
const TRIM_MAX: usize = 2;

/// Where a registration lies in its node.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    partition: u32,
    slot: u16,
}

pub(crate) struct TopicNode {
    topic: Topic,
    subscribers: AtomicUsize,
    /// Taken by every join and leave, for constant work; never by broadcasts. Taken before a
    /// partition's lock, and under a shard's lock only by the join that may have to make the node.
    layout: Mutex<Layout>,
    first: Partition,
    growth: OnceLock<Box<Growth>>,
    lanes: OnceLock<Box<Lanes>>,
}

struct Layout {
    /// The last subscriber went: nobody joins this node any more, a new one takes its place.
    closed: bool,
}

/// The partitions behind the first. They are never moved, so that a broadcast walks them without a
/// lock on the row.
struct Growth {
    /// How many partitions are in use, the first included.
    len: AtomicU32,
    /// Segment `s` holds the partitions `2^s .. 2^(s+1)`.
    segments: [OnceLock<Box<[Partition]>>; 32],
    /// Partitions in use that have room; the lowest is filled first, so that high ones drain. Only
    /// touched under the layout lock, and never contended.
    open: Mutex<BTreeSet<u32>>,
}

/// What a leave leaves behind.
pub(crate) struct Left {
    /// To be dropped when no lock is held: dropping a subscriber may run anybody's code.
    pub(crate) entry: Entry,
    /// Whether that was the last one. The node is closed and must be taken out of the registry.
    pub(crate) last: bool,
}

impl TopicNode {
    /// A node with its first subscriber.
    pub(crate) fn new(topic: Topic, entry: Entry) -> (Self, Place) {
        let first = Partition::default();
        let (slot, _) = first.insert(entry);
        let node = Self {
            topic,
            subscribers: AtomicUsize::new(1),
            layout: Mutex::new(Layout { closed: false }),
            first,
            growth: OnceLock::new(),
            lanes: OnceLock::new(),
        };
        (node, Place { partition: 0, slot })
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Acquire)
    }

    /// How many partitions there are. Whoever subscribed before the call lies in one of them.
    pub(crate) fn partitions(&self) -> u32 {
        self.growth
            .get()
            .map_or(1, |growth| growth.len.load(Ordering::Acquire))
    }

    /// The queues of a big topic, if it ever was big.
    pub(crate) fn lanes(&self) -> Option<&Lanes> {
        self.lanes.get().map(Box::as_ref)
    }

    pub(crate) fn lanes_or_make(&self, lanes: usize) -> &Lanes {
        self.lanes.get_or_init(|| Box::new(Lanes::new(lanes)))
    }

    /// Adds a registration; gives the entry back if the node is closed.
    pub(crate) fn join(&self, entry: Entry) -> Result<Place, Entry> {
        let layout = self.layout.lock();
        if layout.closed {
            return Err(entry);
        }
        let subscribers = self.subscribers.load(Ordering::Relaxed);
        let place = if self.growth.get().is_none() && subscribers < PARTITION_MAX {
            let (slot, _) = self.first.insert(entry);
            Place { partition: 0, slot }
        } else {
            self.growth
                .get_or_init(Box::default)
                .join(&self.first, entry)
        };
        self.subscribers.store(subscribers + 1, Ordering::Release);
        Ok(place)
    }

    /// Takes a registration out.
    pub(crate) fn leave(&self, place: Place) -> Left {
        let mut layout = self.layout.lock();
        let (entry, left) = self.partition(place.partition).remove(place.slot);
        if let Some(growth) = self.growth.get() {
            growth.left(place.partition, left);
        }
        let subscribers = self.subscribers.load(Ordering::Relaxed) - 1;
        self.subscribers.store(subscribers, Ordering::Release);
        layout.closed = subscribers == 0;
        Left {
            entry,
            last: layout.closed,
        }
    }

    /// Copies those in a partition who are meant.
    pub(crate) fn copy(&self, partition: u32, audience: &Audience, targets: &mut Vec<Target>) {
        self.partition(partition).copy(audience, targets);
    }

    /// Copies one registration.
    pub(crate) fn copy_one(&self, place: Place) -> Option<Target> {
        self.partition(place.partition).copy_one(place.slot)
    }

    fn partition(&self, index: u32) -> &Partition {
        match self.growth.get() {
            Some(growth) if index > 0 => growth.partition(index),
            _ => &self.first,
        }
    }
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            len: AtomicU32::new(1),
            segments: [const { OnceLock::new() }; 32],
            open: Mutex::default(),
        }
    }
}

impl Growth {
    /// A partition behind the first. Its segment is made with the first partition in it.
    fn partition(&self, index: u32) -> &Partition {
        let segment = index.ilog2();
        let start = 1 << segment;
        let partitions = self.segments[segment as usize]
            .get_or_init(|| (0..start).map(|_| Partition::default()).collect());
        &partitions[(index - start) as usize]
    }

    fn join(&self, first: &Partition, entry: Entry) -> Place {
        let mut open = self.open.lock();
        let index = match open.first() {
            Some(&index) => index,
            None => {
                let index = self.len.load(Ordering::Relaxed);
                self.len.store(index + 1, Ordering::Release);
                open.insert(index);
                index
            }
        };
        let partition = if index == 0 {
            first
        } else {
            self.partition(index)
        };
        let (slot, len) = partition.insert(entry);
        if len == PARTITION_MAX {
            open.remove(&index);
        }
        Place {
            partition: index,
            slot,
        }
    }

    /// A partition has one entry less.
    fn left(&self, index: u32, left: usize) {
        let mut open = self.open.lock();
        if left == PARTITION_MAX - 1 {
            open.insert(index);
        }
        for _ in 0..TRIM_MAX {
            let last = self.len.load(Ordering::Relaxed) - 1;
            if last == 0 || !self.partition(last).is_empty() {
                break;
            }
            open.remove(&last);
            self.len.store(last, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broadcast::Broadcast;
    use crate::registration::RegistrationId;
    use crate::subscriber::Subscriber;

    struct Nobody;

    impl Subscriber for Nobody {
        fn deliver(&self, _token: u64, _broadcast: &Arc<Broadcast>) {}
    }

    fn entry() -> Entry {
        Entry {
            subscriber: Arc::new(Nobody),
            token: 0,
            id: RegistrationId::take_next(),
        }
    }

    fn node_with(subscribers: usize) -> (TopicNode, Vec<Place>) {
        let (node, first) = TopicNode::new("a".into(), entry());
        let mut places = vec![first];
        places.extend((1..subscribers).filter_map(|_| node.join(entry()).ok()));
        assert_eq!(places.len(), subscribers);
        (node, places)
    }

    #[test]
    fn a_partition_is_added_only_when_all_are_full() {
        for (subscribers, partitions) in
            [(1, 1), (256, 1), (257, 2), (512, 2), (513, 3), (5_000, 20)]
        {
            assert_eq!(node_with(subscribers).0.partitions(), partitions);
        }
    }

    #[test]
    fn who_comes_takes_the_room_of_who_left() {
        let (node, mut places) = node_with(3 * PARTITION_MAX);
        for round in 0..5_000 {
            let left = node.leave(places.swap_remove(round * 7 % places.len()));
            assert!(!left.last);
            places.extend(node.join(entry()).ok());
            assert_eq!((node.partitions(), node.subscribers()), (3, places.len()));
        }
    }

    #[test]
    fn partitions_that_drained_are_cut_off() {
        let (node, mut places) = node_with(20 * PARTITION_MAX);
        // The first partition goes last, whatever the order elsewhere.
        let mut others = places.split_off(PARTITION_MAX);
        others.reverse();
        let middle = others.len() / 2;
        others.rotate_left(middle);
        for place in others {
            node.leave(place);
        }
        for place in places.drain(1..) {
            node.leave(place);
        }
        assert_eq!((node.partitions(), node.subscribers()), (1, 1));
        assert!(node.leave(places[0]).last);
        assert!(
            node.join(entry()).is_err(),
            "a closed node took somebody in"
        );
    }
}
