//! The server's resident memory during an attack: watched all the time, and held against a bound that follows from its limits.

use crate::failure::Failure;
use crate::process::resident;
use crate::scenario::hostile::Kind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(20);
const MIB: u64 = 1 << 20;

/// What a connection may make the server hold: a message in the making, messages that wait for a channel (with one beyond), and
/// frames that wait for the client (with one beyond).
const MESSAGE_BYTES: u64 = MIB;
const INBOUND_BYTES: u64 = 2 * MIB;
const OUTBOUND_BYTES: u64 = 5 * MIB;
/// A handshake in the making, and everything small.
const CONNECTION_BYTES: u64 = MIB / 16;
/// Broadcasts on their way to the subscribers of a big topic.
const LANES_BYTES: u64 = 64 * MIB;
/// Whatever the attack: code that is used for the first time, and the allocator's own.
const SLACK_BYTES: u64 = 16 * MIB;
/// How near to the start the end must be, and how much a second attack may add to what the first one took.
const NEAR_BYTES: u64 = 8 * MIB;

/// The most that a server with the default limits may hold under this attack, `start` included. Twice what is held at one time,
/// since the allocator gives pages back only after a while.
pub fn bound(kind: Kind, start: u64) -> u64 {
    let held = match kind {
        Kind::SilentReader | Kind::UnreadPings | Kind::HeartbeatFlood | Kind::PingFlood => {
            MESSAGE_BYTES + INBOUND_BYTES + OUTBOUND_BYTES
        }
        Kind::Garbage | Kind::TinyFragments => MESSAGE_BYTES,
        Kind::EndlessJoins | Kind::PanicLoop => INBOUND_BYTES,
        Kind::SlowWriter | Kind::Shouter => CONNECTION_BYTES,
    };
    let shared = match kind {
        // The frames in the queues are shared; they are of 1 KiB, so what the queues take by themselves is small beside them.
        Kind::Shouter => LANES_BYTES + OUTBOUND_BYTES + INBOUND_BYTES,
        _ => 0,
    };
    start + SLACK_BYTES + 2 * (kind.connections() as u64 * held + shared)
}

/// What the memory did, in bytes.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// With the neighbours in place, before the first attack.
    pub start: u64,
    /// The most that was ever seen.
    pub peak: u64,
    /// The same as it stood after each attack.
    pub peaks: Vec<u64>,
    /// At the end, when it was near the start or the time was up.
    pub end: u64,
    /// How long after the last attack that was.
    pub settled_in: Duration,
    /// What it must not exceed.
    pub bound: u64,
}

impl Memory {
    /// Whether it has come back to near the start.
    pub fn is_back(&self) -> bool {
        self.end <= self.start + NEAR_BYTES
    }

    /// What is wrong with it.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.peak > self.bound {
            faults.push(format!(
                "memory: peak {} beyond the bound {}",
                mib(self.peak),
                mib(self.bound)
            ));
        }
        if !self.is_back() {
            faults.push(format!(
                "memory: {} after the attack, {} before",
                mib(self.end),
                mib(self.start)
            ));
        }
        if self.grows() {
            faults.push("memory: twice the attack took about twice as much".to_owned());
        }
        faults
    }

    /// Whether attacks that lasted twice as long took about twice as much.
    fn grows(&self) -> bool {
        let taken = |attacks: usize| {
            let peak = attacks.checked_sub(1).and_then(|last| self.peaks.get(last));
            peak.map(|peak| peak.saturating_sub(self.start))
        };
        let half = self.peaks.len() / 2;
        match (taken(half), taken(half * 2)) {
            (Some(once), Some(twice)) => twice > once + once / 2 + NEAR_BYTES,
            _ => false,
        }
    }
}

/// Bytes as people read them.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

/// Looks at a process until it is dropped.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    peak: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watch {
    /// Starts to look.
    pub fn start(pid: u32) -> Result<Self, Failure> {
        let peak = Arc::new(AtomicU64::new(resident(pid)?));
        let over = Arc::new(AtomicBool::new(false));
        let (its_peak, its_over) = (Arc::clone(&peak), Arc::clone(&over));
        std::thread::spawn(move || {
            while !its_over.load(Ordering::Relaxed) {
                // It fails once the process has ended.
                let Ok(now) = resident(pid) else { return };
                its_peak.fetch_max(now, Ordering::Relaxed);
                std::thread::sleep(EVERY);
            }
        });
        Ok(Self { pid, peak, over })
    }

    /// The most that was seen so far.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// What it is now.
    pub fn now(&self) -> Result<u64, Failure> {
        resident(self.pid)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(peaks: &[u64], end: u64) -> Memory {
        let peaks: Vec<u64> = peaks.iter().map(|mib| mib * MIB).collect();
        Memory {
            start: 20 * MIB,
            peak: peaks.iter().copied().max().unwrap_or(0),
            peaks,
            end: end * MIB,
            settled_in: Duration::ZERO,
            bound: 150 * MIB,
        }
    }

    #[test]
    fn a_peak_that_stays_is_no_leak() {
        assert!(memory(&[80, 85, 88], 27).faults().is_empty());
    }

    #[test]
    fn growth_with_every_attack_is_told() {
        assert_eq!(memory(&[60, 100, 140], 25).faults().len(), 1);
        assert_eq!(memory(&[60, 61, 99, 100, 101], 25).faults().len(), 1);
    }

    #[test]
    fn a_peak_beyond_the_bound_and_an_end_far_from_the_start_are_told() {
        assert_eq!(memory(&[151, 151, 151], 29).faults().len(), 2);
    }
}
