//! [`Throttle`]: how many connections there may be, and how often a new one may begin, in all and for
//! each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Reference;
use governor::nanos::Nanos;
use governor::state::{RateLimiter, StateStore};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limits::{KeyedLimiter, Limiter, Limits, Moment, Rate, RuntimeClock};

/// What an endpoint knows of who connects how often. Without limits, nothing.
#[derive(Debug)]
pub(crate) struct Throttle {
    peers: Option<KeyedLimiter<PeerKey, PeerTable>>,
    total: Option<Limiter>,
    seats: Option<Arc<Seats>>,
}

/// A handshake comes too early; the next one may come then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooOften {
    Peer(Duration),
    Total(Duration),
}

impl Throttle {
    pub(crate) fn new(limits: &Limits) -> Self {
        let peers = limits.handshakes_per_second.map(|rate| {
            let table = PeerTable::new(limits.peers_max, rate);
            RateLimiter::new(rate.quota(), table, RuntimeClock)
        });
        let seats = limits.connections_per_peer_max.map(|max| {
            Arc::new(Seats {
                max,
                taken: Mutex::default(),
            })
        });
        Self {
            peers,
            total: limits.handshakes_per_second_total.map(Rate::limiter),
            seats,
        }
    }

    /// Counts a handshake. One that its own address may not have yet counts for nobody else.
    pub(crate) fn handshake(&self, peer: Option<PeerKey>) -> Result<(), TooOften> {
        let now = Moment(Instant::now());
        if let (Some(peers), Some(peer)) = (&self.peers, peer)
            && let Err(not_until) = peers.check_key(&peer)
        {
            return Err(TooOften::Peer(not_until.wait_time_from(now)));
        }
        match self.total.as_ref().map(|total| total.check()) {
            Some(Err(not_until)) => Err(TooOften::Total(not_until.wait_time_from(now))),
            _ => Ok(()),
        }
    }

    /// A place among the connections of an address, if there is one left.
    pub(crate) fn seat(&self, peer: Option<PeerKey>) -> Result<Option<Seat>, NoSeat> {
        match (&self.seats, peer) {
            (Some(seats), Some(peer)) => seats.take(peer).map(Some),
            _ => Ok(None),
        }
    }
}

/// When each address that has connected lately may do so again. It holds a bounded number; when it is
/// full of those that have not had their silence yet, all others share one place.
#[derive(Debug)]
struct PeerTable {
    start: Moment,
    peers_max: usize,
    /// After so much silence, an address need not be remembered.
    memory: Nanos,
    state: Mutex<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    next: HashMap<PeerKey, Nanos>,
    others: Option<Nanos>,
    /// Cleaning looks at the whole table, so it is done only as often as something can have come of it.
    clean_after: Nanos,
}

impl PeerTable {
    fn new(peers_max: usize, rate: Rate) -> Self {
        Self {
            start: Moment(Instant::now()),
            peers_max,
            memory: rate.refill_time().into(),
            state: Mutex::default(),
        }
    }

    /// Makes room, if there is none.
    fn clean(&self, state: &mut Peers) {
        let now = Moment(Instant::now()).duration_since(self.start);
        if state.next.len() >= self.peers_max && now >= state.clean_after {
            state.next.retain(|_, next| *next > now);
            state.clean_after = now + self.memory;
        }
    }
}

impl StateStore for PeerTable {
    type Key = PeerKey;

    fn measure_and_replace<T, F, E>(&self, peer: &PeerKey, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut state = self.state.lock();
        if let Some(next) = state.next.get_mut(peer) {
            let (outcome, new) = measure(Some(*next))?;
            *next = new;
            return Ok(outcome);
        }
        self.clean(&mut state);
        if state.next.len() < self.peers_max {
            let (outcome, new) = measure(None)?;
            state.next.insert(*peer, new);
            return Ok(outcome);
        }
        let (outcome, new) = measure(state.others)?;
        state.others = Some(new);
        Ok(outcome)
    }
}

/// An address has all the connections that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSeat;

/// How many connections each address has; only those that have one are in it.
#[derive(Debug)]
struct Seats {
    max: usize,
    taken: Mutex<HashMap<PeerKey, usize>>,
}

/// A place among the connections of an address, given up when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    peer: PeerKey,
}

impl Seats {
    fn take(self: &Arc<Self>, peer: PeerKey) -> Result<Seat, NoSeat> {
        let mut taken = self.taken.lock();
        let count = taken.get(&peer).copied().unwrap_or(0);
        if count >= self.max {
            return Err(NoSeat);
        }
        taken.insert(peer, count + 1);
        Ok(Seat {
            seats: Arc::clone(self),
            peer,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

/// An address as limits see it: an IPv6 client has a whole network of 64 bits to choose from
/// (RFC 4291, section 2.5.4), so that is one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PeerKey {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl From<IpAddr> for PeerKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PeerKey {
        PeerKey::from(text.parse::<IpAddr>().unwrap())
    }

    fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn each_address_has_its_burst_and_then_its_rate() {
        let throttle = Throttle::new(&limits(|limits| {
            limits.handshakes_per_second = Some(Rate::per_second(2).with_burst(3));
        }));
        let (a, b) = (Some(key("192.0.2.1")), Some(key("192.0.2.2")));
        for _ in 0..3 {
            assert_eq!(throttle.handshake(a), Ok(()));
        }
        let half = Duration::from_millis(500);
        assert_eq!(throttle.handshake(a), Err(TooOften::Peer(half)));
        assert_eq!(throttle.handshake(b), Ok(()));
        tokio::time::advance(half).await;
        assert_eq!(throttle.handshake(a), Ok(()));
        assert!(throttle.handshake(a).is_err());
        // Where nobody's address is known, this cannot be held.
        assert_eq!(throttle.handshake(None), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_too_fast_uses_up_nothing_of_the_others() {
        let throttle = Throttle::new(&limits(|limits| {
            limits.handshakes_per_second = Some(Rate::per_second(1));
            limits.handshakes_per_second_total = Some(Rate::per_second(1).with_burst(2));
        }));
        let flood = Some(key("192.0.2.1"));
        assert_eq!(throttle.handshake(flood), Ok(()));
        for _ in 0..100 {
            assert!(matches!(throttle.handshake(flood), Err(TooOften::Peer(_))));
        }
        assert_eq!(throttle.handshake(Some(key("192.0.2.2"))), Ok(()));
        let third = throttle.handshake(Some(key("192.0.2.3")));
        assert_eq!(third, Err(TooOften::Total(Duration::from_secs(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_whoever_comes() {
        let throttle = Throttle::new(&limits(|limits| {
            limits.handshakes_per_second = Some(Rate::per_second(1));
            limits.peers_max = 100;
        }));
        // A network with a network of 64 bits for each connection.
        let network = |n: u16| Some(PeerKey::V6([0x2001, 0xdb8, 7, n]));
        let admitted = (0..10_000).filter(|n| throttle.handshake(network(*n)).is_ok());
        // The hundred that fit, and one for all the others together.
        assert_eq!(admitted.count(), 101);
        // Those that are known keep their own places; what is stale makes room.
        assert!(throttle.handshake(network(0)).is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        let late = (20_000..30_000).filter(|n| throttle.handshake(network(*n)).is_ok());
        assert_eq!(late.count(), 101);
    }

    #[tokio::test(start_paused = true)]
    async fn seats_are_given_back() {
        let throttle = Throttle::new(&limits(|limits| {
            limits.connections_per_peer_max = Some(2);
        }));
        let peer = Some(key("192.0.2.1"));
        let (first, second) = (throttle.seat(peer).unwrap(), throttle.seat(peer).unwrap());
        assert!(throttle.seat(peer).is_err());
        assert!(throttle.seat(Some(key("192.0.2.2"))).is_ok());
        drop(first);
        drop(throttle.seat(peer).unwrap());
        drop(second);
        assert!(throttle.seats.unwrap().taken.lock().is_empty());
    }
}
