//! [`Connections`]: all live connections of an endpoint, for draining, for counting, and to find the
//! fullest queues when the process runs over its budget.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use slab::Slab;

use super::Connection;

/// Connections come and go on all cores at once.
const SHARDS: usize = 16;

#[derive(Debug)]
pub(crate) struct Connections {
    shards: [Mutex<Slab<Weak<Connection>>>; SHARDS],
    next: std::sync::atomic::AtomicUsize,
}

/// A place in the list, given up when dropped.
#[derive(Debug)]
pub(crate) struct Listed {
    connections: Arc<Connections>,
    shard: u32,
    index: u32,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Slab::new())),
            next: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    pub(crate) fn insert(self: &Arc<Self>, connection: &Arc<Connection>) -> Listed {
        let shard = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % SHARDS;
        let index = self
            .shards
            .get(shard)
            .map_or(0, |shard| shard.lock().insert(Arc::downgrade(connection)));
        Listed {
            connections: Arc::clone(self),
            shard: u32::try_from(shard).unwrap_or(u32::MAX),
            index: u32::try_from(index).unwrap_or(u32::MAX),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// All of them, as of now.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Connection>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.lock().iter().filter_map(|(_, weak)| weak.upgrade()));
        }
        all
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(shard) = self.connections.shards.get(self.shard as usize) {
            shard.lock().try_remove(self.index as usize);
        }
    }
}
