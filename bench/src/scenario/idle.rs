//! Many joined connections that do nothing but send a heartbeat now and then: what does each cost the server in memory?

use super::{GRACE, Run, Silence, Stall};
use crate::failure::Failure;
use crate::fleet::{Fleet, Incoming, Listener};
use crate::message::{Judge, Pen};
use crate::process::{Memory, Meter};
use crate::report::Report;
use std::time::{Duration, Instant};

/// Connections that are opened and closed before the first look at the memory, so that what a server sets up once is not counted.
const WARM_UP_CONNECTIONS: usize = 100;
/// How long the server may settle before each look.
const SETTLE: Duration = Duration::from_secs(1);

/// The settings of this scenario.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// How many connections.
    pub connections: usize,
    /// How long to hold them at least; never less than one round of heartbeats.
    pub hold: Duration,
    /// Whether all join the same topic.
    pub shared_topic: bool,
    /// The time between two heartbeats of one connection; a round is spread over it.
    pub heartbeat: Duration,
}

/// Plays it.
pub fn play(run: &mut Run, idle: &Idle) -> Result<Report, Failure> {
    let topic = |index: usize| {
        if idle.shared_topic {
            "room:idle".to_owned()
        } else {
            format!("room:{index}")
        }
    };
    run.join_all(WARM_UP_CONNECTIONS, &topic)?;
    run.close_all(WARM_UP_CONNECTIONS)?;
    run.listen(SETTLE, &mut Silence)?;
    let before = memory(run)?;

    let meter = Meter::start(run.pid)?;
    run.join_all(idle.connections, &topic)?;
    let join_seconds = meter.elapsed().as_secs_f64();
    run.listen(SETTLE, &mut Silence)?;
    let join_usage = meter.server()?;
    let joined = memory(run)?;

    let meter = Meter::start(run.pid)?;
    let mut hearts = Hearts::new(idle.connections);
    hearts.play_round(run, idle.heartbeat)?;
    run.listen(SETTLE, &mut Silence)?;
    let after_round = memory(run)?;
    while meter.elapsed() < idle.hold {
        hearts.play_round(run, idle.heartbeat)?;
    }
    let reading = meter.read()?;
    run.listen(GRACE, &mut Silence)?;
    let at_end = memory(run)?;

    let mut report = Report::new("idle");
    report.figure("connections", idle.connections as f64);
    if let (Some(before), Some(joined), Some(after_round), Some(at_end)) =
        (before, joined, after_round, at_end)
    {
        let per = |bytes: u64, from: u64| (bytes as f64 - from as f64) / idle.connections as f64;
        report.figure("rss_before_bytes", before.rss as f64);
        report.figure("anon_before_bytes", before.rss_anon as f64);
        report.figure("anon_joined_bytes", joined.rss_anon as f64);
        report.figure(
            "anon_per_connection_bytes",
            per(joined.rss_anon, before.rss_anon),
        );
        report.figure("rss_per_connection_bytes", per(joined.rss, before.rss));
        report.figure("pss_per_connection_bytes", per(joined.pss, before.pss));
        report.figure(
            "anon_after_heartbeat_bytes",
            per(after_round.rss_anon, before.rss_anon),
        );
        report.figure(
            "rss_after_heartbeat_bytes",
            per(after_round.rss, before.rss),
        );
        report.figure(
            "pss_after_heartbeat_bytes",
            per(after_round.pss, before.pss),
        );
        report.figure("anon_at_end_bytes", per(at_end.rss_anon, before.rss_anon));
    }
    report.figure("join_s", join_seconds);
    report.figure(
        "cpu_us_per_open_and_join",
        join_usage.total() * 1e6 / idle.connections as f64,
    );
    report.figure("heartbeats", hearts.answered as f64);
    let names = [
        "cpu_us_per_heartbeat",
        "user_us_per_heartbeat",
        "system_us_per_heartbeat",
    ];
    report.cpu(&reading, hearts.answered, names);
    Ok(report)
}

fn memory(run: &Run) -> Result<Option<Memory>, Failure> {
    run.pid.map(Memory::of).transpose()
}

/// Sends heartbeats and takes the answers.
struct Hearts {
    rounds: u64,
    awaiting: Vec<bool>,
    answered: u64,
    pen: Pen,
    judge: Judge,
}

impl Hearts {
    fn new(connections: usize) -> Self {
        Self {
            rounds: 0,
            awaiting: vec![false; connections],
            answered: 0,
            pen: Pen::default(),
            judge: Judge::default(),
        }
    }

    /// One heartbeat of every connection, evenly spread over the period, and all the answers.
    fn play_round(&mut self, run: &mut Run, period: Duration) -> Result<(), Failure> {
        self.rounds += 1;
        // The join had ref 1.
        self.pen.clear();
        self.pen.heartbeat(self.rounds + 1);
        let count = self.awaiting.len();
        let started = Instant::now();
        let mut sent = 0;
        let mut stall = Stall::new(run.patience);
        while sent < count
            || self.answered < self.rounds * count as u64
            || started.elapsed() < period
        {
            let passed = started.elapsed().as_secs_f64() / period.as_secs_f64();
            let due = ((passed * count as f64) as usize).min(count);
            for index in sent..due {
                self.awaiting[index] = true;
                run.fleet.send(index, self.pen.frames())?;
            }
            sent = due;
            run.fleet
                .turn(&mut run.scratch, Duration::from_millis(5), self)?;
            // Between two sends there may be nothing to do for long.
            if started.elapsed() < period {
                stall = Stall::new(run.patience);
            }
            stall.check(self.answered, || {
                format!("{} heartbeats answered", self.answered)
            })?;
        }
        Ok(())
    }
}

impl Listener for Hearts {
    fn incoming(
        &mut self,
        _: &mut Fleet,
        index: usize,
        incoming: Incoming<'_>,
    ) -> Result<(), Failure> {
        match incoming {
            Incoming::Text(text) if self.awaiting[index] => {
                self.judge.heartbeat(index, text, self.rounds + 1)?;
                self.awaiting[index] = false;
                self.answered += 1;
                Ok(())
            }
            other => Err(other.refuse(index, "the answer to a heartbeat")),
        }
    }
}
