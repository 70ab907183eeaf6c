//! [`Partition`]: up to [`PARTITION_MAX`] registrations of one topic under one lock.
//!
//! Entries lie densely, so that a broadcast copies them in one pass, and slots say where an entry
//! lies now, so that leaving costs the same whoever leaves. Which partition an entry goes to is
//! decided by the topic's node.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::registration::RegistrationId;
use crate::subscriber::{Subscriber, Target};

/// How many registrations one partition holds. It bounds the time for which a lock is held: to copy
/// a full partition takes a few microseconds.
pub(crate) const PARTITION_MAX: usize = 256;

/// The end of the list of free slots.
const NO_SLOT: u16 = u16::MAX;

/// One registration.
pub(crate) struct Entry {
    pub(crate) subscriber: Arc<dyn Subscriber>,
    pub(crate) token: u64,
    pub(crate) id: RegistrationId,
}

/// Who of a topic a broadcast is for.
#[derive(Clone, Copy)]
pub(crate) struct Audience {
    /// Registrations made from this id on came after the broadcast.
    pub(crate) before: RegistrationId,
    /// Whom the sender leaves out.
    pub(crate) except: Option<RegistrationId>,
    /// Who has it already: the sender.
    pub(crate) served: Option<RegistrationId>,
}

impl Audience {
    fn includes(&self, id: RegistrationId) -> bool {
        id < self.before && self.except != Some(id) && self.served != Some(id)
    }
}

#[derive(Default)]
pub(crate) struct Partition {
    /// Written by joins and leaves, which hold the node's layout lock; read by broadcasts, which hold
    /// nothing else. Held for at most [`PARTITION_MAX`] entries' worth of copying.
    entries: RwLock<Entries>,
}

struct Entries {
    dense: Vec<Placed>,
    /// Slot → position in `dense`; for a free slot, the next free slot.
    slots: Vec<u16>,
    free: u16,
}

struct Placed {
    entry: Entry,
    slot: u16,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            dense: Vec::new(),
            slots: Vec::new(),
            free: NO_SLOT,
        }
    }
}

impl Partition {
    /// Adds an entry to a partition that has room; returns its slot and how many entries there are now.
    pub(crate) fn insert(&self, entry: Entry) -> (u16, usize) {
        let mut entries = self.entries.write();
        assert!(entries.dense.len() < PARTITION_MAX, "the partition is full");
        let slot = entries.take_slot();
        grow_gently(&mut entries.dense);
        entries.dense.push(Placed { entry, slot });
        (slot, entries.dense.len())
    }

    /// Takes an entry out; returns it, to be dropped when no lock is held, and how many are left.
    pub(crate) fn remove(&self, slot: u16) -> (Entry, usize) {
        let mut entries = self.entries.write();
        let position = usize::from(entries.slots[usize::from(slot)]);
        let removed = entries.dense.swap_remove(position);
        assert!(
            removed.slot == slot,
            "the slot belongs to another registration"
        );
        if let Some(moved) = entries.dense.get(position) {
            let moved = usize::from(moved.slot);
            entries.slots[moved] = entries.slots[usize::from(slot)];
        }
        entries.give_slot_back(slot);
        (removed.entry, entries.dense.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.read().dense.is_empty()
    }

    /// Copies everybody who is meant, in one go.
    pub(crate) fn copy(&self, audience: &Audience, targets: &mut Vec<Target>) {
        let entries = self.entries.read();
        targets.reserve(entries.dense.len());
        for Placed { entry, .. } in &entries.dense {
            if audience.includes(entry.id) {
                targets.push(entry.target());
            }
        }
    }

    /// Copies the registration in this slot.
    pub(crate) fn copy_one(&self, slot: u16) -> Option<Target> {
        let entries = self.entries.read();
        let position = *entries.slots.get(usize::from(slot))?;
        let placed = entries.dense.get(usize::from(position))?;
        Some(placed.entry.target())
    }
}

impl Entry {
    fn target(&self) -> Target {
        Target {
            subscriber: Arc::clone(&self.subscriber),
            token: self.token,
        }
    }
}

impl Entries {
    /// A slot for the entry that is about to be pushed.
    fn take_slot(&mut self) -> u16 {
        // A partition is small enough that positions fit.
        let position = self.dense.len() as u16;
        let slot = self.free;
        if slot == NO_SLOT {
            grow_gently(&mut self.slots);
            self.slots.push(position);
            return (self.slots.len() - 1) as u16;
        }
        self.free = self.slots[usize::from(slot)];
        self.slots[usize::from(slot)] = position;
        slot
    }

    fn give_slot_back(&mut self, slot: u16) {
        if self.dense.is_empty() {
            *self = Self::default();
            return;
        }
        self.slots[usize::from(slot)] = self.free;
        self.free = slot;
        let len = self.dense.len();
        if self.dense.capacity() / 4 >= len {
            self.dense.shrink_to(len * 2);
        }
    }
}

/// Makes room for one more: 1, 2, 4 and so on. A vector left to itself begins at 4, and most topics
/// have a single subscriber.
fn grow_gently<T>(vec: &mut Vec<T>) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact(vec.len().max(1));
    }
}
