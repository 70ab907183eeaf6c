//! [`Budget`]: how much may wait in all outbound queues of the process together.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::connection::Connections;

#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
    /// Held by the one that makes room; others go on.
    relieving: Mutex<()>,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            max,
            relieving: Mutex::new(()),
        }
    }

    /// Counts bytes that begin to wait. True if there are too many now.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes > self.max
    }

    /// Counts bytes that wait no more.
    pub(crate) fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Drops the connections with the fullest queues until a tenth of the budget is free, so that the next frame does not
    /// have to look at every connection again.
    pub(crate) fn relieve(&self, connections: &Connections) {
        let Some(_relieving) = self.relieving.try_lock() else {
            return;
        };
        if self.used() <= self.max {
            return;
        }
        let mut by_fill: Vec<_> = connections
            .snapshot()
            .into_iter()
            .map(|connection| (connection.queued_bytes(), connection))
            .filter(|(bytes, _)| *bytes > 0)
            .collect();
        by_fill.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut to_free = self.used().saturating_sub(self.max - self.max / 10);
        for (_, connection) in by_fill {
            if to_free == 0 {
                return;
            }
            to_free = to_free.saturating_sub(connection.drop_for_budget());
        }
    }
}
