//! Draining: closing all sockets of an endpoint gently before the process ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Endpoint;
use crate::connection::CloseReason;

/// How an endpoint is drained. The defaults are Phoenix's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainOptions {
    /// How many sockets are closed at once. Default 10,000.
    pub batch_size: usize,
    /// The pause between two batches. Default 2 s.
    pub batch_interval: Duration,
    /// When to give up waiting for sockets that do not end. Default 30 s.
    pub timeout: Duration,
}

impl Default for DrainOptions {
    fn default() -> Self {
        Self {
            batch_size: 10_000,
            batch_interval: Duration::from_secs(2),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Endpoint {
    /// Takes no new sockets (HTTP 503) and closes those that are there with 1012, in batches, so
    /// that their clients come back to another node. What is still there at the timeout is dropped;
    /// returns how many that were: 0 if all went well.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the endpoint draining: no new sockets, and those not yet closed stay.
    pub async fn drain(&self, options: &DrainOptions) -> usize {
        let deadline = Instant::now() + options.timeout;
        self.hub.draining.store(true, Ordering::Release);
        let connections = self.hub.connections.snapshot();
        let mut batches = connections.chunks(options.batch_size.max(1)).peekable();
        while let Some(batch) = batches.next() {
            for connection in batch {
                connection.close(CloseReason::Draining);
            }
            if batches.peek().is_some() {
                let next = Instant::now() + options.batch_interval;
                sleep_until(next.min(deadline)).await;
            }
        }
        drop(connections);
        let connections = &self.hub.connections;
        let emptied = timeout_at(deadline, connections.emptied()).await;
        let left = if emptied.is_ok() {
            0
        } else {
            connections.count()
        };
        for connection in connections.snapshot() {
            connection.abort();
        }
        left
    }
}
