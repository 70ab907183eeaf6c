//! [`Connections`]: all live connections of an endpoint, for draining, for counting, and to find the
//! fullest queues when the process runs over its budget.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;

use super::Connection;
use crate::transport::throttle::Seat;

/// Connections come and go on all cores at once.
const SHARDS: usize = 16;

#[derive(Debug)]
pub(crate) struct Connections {
    shards: [Mutex<Slab<Weak<Connection>>>; SHARDS],
    next: AtomicUsize,
    /// Those that are listed, and those that are about to be.
    count: AtomicUsize,
    emptied: Notify,
}

/// A client that has been admitted and whose transport is not there yet. Counts as a connection.
#[derive(Debug)]
pub(crate) struct Arriving {
    connections: Arc<Connections>,
    /// Its place among those of its address, where there is a limit for them.
    seat: Option<Box<Seat>>,
}

/// A place in the list, given up when dropped.
#[derive(Debug)]
pub(crate) struct Listed {
    arriving: Arriving,
    shard: u32,
    index: u32,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Slab::new())),
            next: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            emptied: Notify::new(),
        }
    }

    /// Counts a client that is being admitted.
    pub(crate) fn arriving(self: &Arc<Self>) -> Arriving {
        self.count.fetch_add(1, Ordering::AcqRel);
        Arriving {
            connections: Arc::clone(self),
            seat: None,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until there is none. Cancel safe.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// All of them, as of now.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Connection>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            all.extend(shard.iter().filter_map(|(_, weak)| weak.upgrade()));
        }
        all
    }
}

impl Arriving {
    /// Gives it a place among those of its address, for as long as it is there.
    pub(crate) fn sit(&mut self, seat: Seat) {
        self.seat = Some(Box::new(seat));
    }

    /// Lists the connection that has come of it.
    pub(crate) fn list(self, connection: &Arc<Connection>) -> Listed {
        let connections = &self.connections;
        let shard = connections.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let index = connections
            .shards
            .get(shard)
            .map_or(0, |shard| shard.lock().insert(Arc::downgrade(connection)));
        Listed {
            shard: u32::try_from(shard).unwrap_or(u32::MAX),
            index: u32::try_from(index).unwrap_or(u32::MAX),
            arriving: self,
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        drop(self.seat.take());
        if self.connections.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connections.emptied.notify_waiters();
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(shard) = self.arriving.connections.shards.get(self.shard as usize) {
            shard.lock().try_remove(self.index as usize);
        }
    }
}
