//! [`ConnectionPermit`]: what a server tells about the connection of a request, and how it counts
//! connections. [`Permits`] is the count, [`Slot`] one connection in it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::ServeLimits;
use super::telemetry::{Rejected, ServeTelemetry};

/// Says that the connection of a request is in use. In the extensions of every request that
/// [`Server`](super::Server) hands to the application; the server counts the connection, and does not
/// take it for idle, until the answer has been sent and every clone of the permit is dropped. A
/// WebSocket of Bennu keeps it for its life. Who upgrades a connection in another way may do the same.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<Slot>);

/// The open connections of a server.
#[derive(Debug)]
pub(super) struct Permits {
    open: AtomicUsize,
    open_max: usize,
    emptied: Notify,
    per_peer_max: usize,
    /// Connections of each peer; empty if nobody wants to know. Keys are chosen by peers: the hasher
    /// is the keyed one of the standard library.
    peers: Mutex<HashMap<Network, usize>>,
    pub(super) telemetry: ServeTelemetry,
}

/// An open connection. It ends when the last holder drops it.
#[derive(Debug)]
pub(super) struct Slot {
    permits: Arc<Permits>,
    /// If its peer is counted.
    network: Option<Network>,
    opened: Instant,
    /// Permits that are held.
    in_use: AtomicUsize,
    /// When the last permit was given back, in milliseconds since `opened`.
    idle_since: AtomicU64,
    has_requested: AtomicBool,
}

/// Who counts as one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    /// A single IPv6 customer has at least 2^64 addresses.
    V6([u8; 8]),
}

impl Permits {
    pub(super) fn new(limits: &ServeLimits) -> Self {
        Self {
            open: AtomicUsize::new(0),
            open_max: limits.connections_max,
            emptied: Notify::new(),
            per_peer_max: limits.connections_per_peer_max.unwrap_or(usize::MAX),
            peers: Mutex::default(),
            telemetry: ServeTelemetry::new(),
        }
    }

    /// Counts a connection, unless there are too many.
    pub(super) fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Arc<Slot>, Rejected> {
        let one_more = |open| (open < self.open_max).then_some(open + 1);
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .map_err(|_| Rejected::Full)?;
        // From here on dropping the slot takes back what was counted.
        let mut slot = Slot {
            permits: Arc::clone(self),
            network: None,
            opened: Instant::now(),
            in_use: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            has_requested: AtomicBool::new(false),
        };
        self.telemetry.connections.increment(1);
        if let Some(peer) = peer.filter(|_| self.per_peer_max != usize::MAX) {
            let network = Network::of(peer);
            let mut peers = self.peers.lock();
            let open = peers.entry(network).or_default();
            if *open >= self.per_peer_max {
                if *open == 0 {
                    peers.remove(&network);
                }
                drop(peers);
                return Err(Rejected::Peer);
            }
            *open += 1;
            drop(peers);
            slot.network = Some(network);
        }
        Ok(Arc::new(slot))
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until no connection is open. Cancel safe.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn release(&self, network: Option<Network>) {
        if let Some(network) = network {
            let mut peers = self.peers.lock();
            if let Some(open) = peers.get_mut(&network) {
                *open -= 1;
                if *open == 0 {
                    peers.remove(&network);
                }
            }
        }
        self.telemetry.connections.decrement(1);
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }
}

impl Slot {
    /// A request has come.
    pub(super) fn begin_request(self: &Arc<Self>) -> ConnectionPermit {
        self.has_requested.store(true, Ordering::Relaxed);
        ConnectionPermit::new(Arc::clone(self))
    }

    pub(super) fn has_requested(&self) -> bool {
        self.has_requested.load(Ordering::Relaxed)
    }

    /// Since when no permit is held; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let since = Duration::from_millis(self.idle_since.load(Ordering::Acquire));
        (self.in_use.load(Ordering::Acquire) == 0).then(|| self.opened + since)
    }

    pub(super) fn reject(&self, reason: Rejected) {
        self.permits.telemetry.reject(reason);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.permits.release(self.network);
    }
}

impl ConnectionPermit {
    fn new(slot: Arc<Slot>) -> Self {
        slot.in_use.fetch_add(1, Ordering::AcqRel);
        Self(slot)
    }
}

impl Clone for ConnectionPermit {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let now = self.0.opened.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        // Before the count, so that who sees the connection idle sees since when.
        self.0.idle_since.fetch_max(now, Ordering::AcqRel);
        self.0.in_use.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Network {
    fn of(peer: IpAddr) -> Self {
        // On a listener for both, IPv4 peers have IPv6 addresses that share their first half.
        match peer.to_canonical() {
            IpAddr::V4(peer) => Self::V4(peer.octets()),
            IpAddr::V6(peer) => {
                let [a, b, c, d, e, f, g, h, ..] = peer.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(connections_max: usize, per_peer_max: Option<usize>) -> Arc<Permits> {
        let limits = ServeLimits {
            connections_max,
            connections_per_peer_max: per_peer_max,
            ..ServeLimits::default()
        };
        Arc::new(Permits::new(&limits))
    }

    fn peer(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn who_counts_as_one_peer() {
        let table = [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.2", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ];
        for (one, other, same) in table {
            let permits = permits(10, Some(1));
            let first = permits.admit(peer(one)).unwrap();
            let second = permits.admit(peer(other));
            assert_eq!(second.is_err(), same, "{one} and {other}");
            drop((first, second));
            assert!(permits.peers.lock().is_empty(), "nothing stays behind");
            assert_eq!(permits.open(), 0);
        }
    }

    #[test]
    fn a_refusal_takes_no_place() {
        let permits = permits(2, Some(1));
        let one = permits.admit(peer("10.0.0.1")).unwrap();
        assert_eq!(permits.admit(peer("10.0.0.1")).unwrap_err(), Rejected::Peer);
        assert_eq!(permits.open(), 1);
        let _two = permits.admit(None).unwrap();
        assert_eq!(permits.admit(None).unwrap_err(), Rejected::Full);
        drop(one);
        permits.admit(peer("10.0.0.1")).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_in_use_while_a_permit_is_held() {
        let slot = permits(1, None).admit(None).unwrap();
        assert!(!slot.has_requested() && slot.idle_since().is_some());
        let permit = slot.begin_request();
        let kept = permit.clone();
        drop(permit);
        assert_eq!(slot.idle_since(), None);
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(kept);
        assert_eq!(slot.idle_since(), Some(Instant::now()));
        assert!(slot.has_requested());
    }
}
