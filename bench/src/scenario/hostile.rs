//! Clients that mean harm, each kind in its own way: what a server has to bear without its other clients noticing. What the others
//! notice is measured from outside, see `siege.rs`; here each attack only checks that the server answered it as it must.
//!
//! An attack is bounded in time and in connections, and its threads are straight-line programs on blocking sockets. It says
//! `attacking` on standard output once it is in place.

mod client;
mod crowd;
mod floods;
mod garbage;
mod joins;
mod silence;
mod slow;

use crate::failure::Failure;
use crate::report::Report;
use crate::target::Target;
use client::Client;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Connections from one source address: few, since the ports of an attack that reconnects rest a while after use.
const CONNECTIONS_PER_SOURCE: usize = 5_000;
/// Faults that are told; the rest are counted.
const FAULTS_MAX: usize = 10;

/// What the attackers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// Asks for a lot and never reads.
    SilentReader,
    /// Pings and never reads the pongs: what waits is many tiny frames.
    UnreadPings,
    /// Random bytes before, in place of and after the handshake, on reconnect after reconnect.
    Garbage,
    /// A message of endless tiny fragments, with pings between.
    TinyFragments,
    /// Joins topic after topic on one connection, and one topic again and again.
    EndlessJoins,
    /// Crashes its channel, joins again, crashes it, …
    PanicLoop,
    /// Handshakes and frames of one byte per 100 ms, on many connections.
    SlowWriter,
    /// One client that shouts as fast as it can to many that read.
    Shouter,
    /// Heartbeats as fast as possible.
    HeartbeatFlood,
    /// Pings as fast as possible; the pongs are read.
    PingFlood,
}

impl Kind {
    /// Every kind, in the order in which they are played.
    pub const ALL: [Self; 10] = [
        Self::SilentReader,
        Self::UnreadPings,
        Self::Garbage,
        Self::TinyFragments,
        Self::EndlessJoins,
        Self::PanicLoop,
        Self::SlowWriter,
        Self::Shouter,
        Self::HeartbeatFlood,
        Self::PingFlood,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::SilentReader => "silent-reader",
            Self::UnreadPings => "unread-pings",
            Self::Garbage => "garbage",
            Self::TinyFragments => "tiny-fragments",
            Self::EndlessJoins => "endless-joins",
            Self::PanicLoop => "panic-loop",
            Self::SlowWriter => "slow-writer",
            Self::Shouter => "shouter",
            Self::HeartbeatFlood => "heartbeat-flood",
            Self::PingFlood => "ping-flood",
        }
    }

    /// How many connections attack where nothing else is said; of the shouter, how many listen to it.
    pub fn connections(self) -> usize {
        match self {
            Self::SilentReader => 8,
            Self::Garbage | Self::UnreadPings | Self::EndlessJoins | Self::PanicLoop => 4,
            Self::TinyFragments | Self::HeartbeatFlood | Self::PingFlood => 2,
            Self::SlowWriter => 200,
            Self::Shouter => 1_000,
        }
    }
}

/// The settings of an attack.
#[derive(Debug, Clone, Copy)]
pub struct Hostile {
    /// What the attackers do.
    pub kind: Kind,
    /// How many connections; the kind's own number if it is not given.
    pub connections: Option<usize>,
    /// For how long, once everything is in place.
    pub time: Duration,
    /// How far the attackers stand back for everybody else on this machine, from 0 to 19.
    pub nice: i32,
}

/// Plays it. `target` is where the server listens, `timeout` when the run is over whatever happens.
pub fn play(target: Target, hostile: &Hostile, timeout: Duration) -> Result<Report, Failure> {
    if target.tls.is_some() {
        return Err(Failure::Setting("attackers do not speak TLS".to_owned()));
    }
    rustix::process::nice(hostile.nice).map_err(Failure::io("standing back"))?;
    let connections = hostile
        .connections
        .unwrap_or_else(|| hostile.kind.connections());
    let tally = match hostile.kind {
        Kind::Shouter => crowd::play(target, connections, hostile.time, timeout)?,
        Kind::SlowWriter => slow::play(&target, connections, hostile.time)?,
        kind => storm(&target, kind, connections, hostile.time)?,
    };
    let mut report = Report::new("hostile");
    report.figure("connections", connections as f64);
    for (name, count) in &tally.counts {
        report.figure(name, *count as f64);
    }
    if tally.counts.values().all(|count| *count == 0) {
        report.fault("the attack did not come about".to_owned());
    }
    for fault in tally.faults {
        report.fault(fault);
    }
    Ok(report)
}

/// One thread per connection.
fn storm(
    target: &Target,
    kind: Kind,
    connections: usize,
    time: Duration,
) -> Result<Tally, Failure> {
    let attack = Attack {
        target,
        time,
        opened: AtomicUsize::new(0),
        ready: Barrier::new(connections + 1),
    };
    std::thread::scope(|scope| {
        let raiders: Vec<_> = (0..connections)
            .map(|number| {
                let attack = &attack;
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    let outcome = match kind {
                        Kind::SilentReader => silence::asks(attack, number, &mut tally),
                        Kind::UnreadPings => silence::pings(attack, &mut tally),
                        Kind::Garbage => garbage::bytes(attack, number, &mut tally),
                        Kind::TinyFragments => garbage::fragments(attack, &mut tally),
                        Kind::EndlessJoins => joins::joins(attack, number, &mut tally),
                        Kind::PanicLoop => joins::panics(attack, number, &mut tally),
                        Kind::HeartbeatFlood => floods::heartbeats(attack, &mut tally),
                        Kind::PingFlood => floods::pings(attack, &mut tally),
                        Kind::SlowWriter | Kind::Shouter => Ok(()),
                    };
                    if let Err(failure) = outcome {
                        tally.fault(failure.to_string());
                    }
                    tally
                })
            })
            .collect();
        attack.ready.wait();
        let said = say_ready();
        let mut tally = Tally::default();
        for raider in raiders {
            match raider.join() {
                Ok(counted) => tally.add(counted),
                Err(_) => tally.fault("an attacker panicked".to_owned()),
            }
        }
        said.map(|()| tally)
    })
}

/// Tells whoever started us that the attack begins.
fn say_ready() -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "attacking")
        .and_then(|()| output.flush())
        .map_err(Failure::io("writing to standard output"))
}

/// What the threads of an attack share.
struct Attack<'a> {
    target: &'a Target,
    time: Duration,
    opened: AtomicUsize,
    ready: Barrier,
}

impl Attack<'_> {
    /// Waits for all attackers, which therefore begin with this; returns when the attack is over.
    fn begin(&self) -> Instant {
        self.ready.wait();
        Instant::now() + self.time
    }

    /// A TCP connection, from a source address whose ports are free.
    fn connect(&self, receive_bytes: Option<usize>) -> Result<Client, Failure> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed) / CONNECTIONS_PER_SOURCE;
        Client::connect(self.target, number, receive_bytes)
    }

    /// The same, upgraded.
    fn open(&self, receive_bytes: Option<usize>) -> Result<Client, Failure> {
        let mut client = self.connect(receive_bytes)?;
        client.upgrade(self.target)?;
        Ok(client)
    }
}

/// What an attack did, and what the server did wrong.
#[derive(Debug, Default)]
struct Tally {
    counts: BTreeMap<&'static str, u64>,
    faults: Vec<String>,
}

impl Tally {
    fn count(&mut self, name: &'static str, more: u64) {
        *self.counts.entry(name).or_default() += more;
    }

    fn fault(&mut self, text: String) {
        self.count("faults", 1);
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(text);
        }
    }

    fn add(&mut self, other: Self) {
        for (name, count) in other.counts {
            self.count(name, count);
        }
        self.faults.extend(other.faults);
        self.faults.truncate(FAULTS_MAX);
    }
}
