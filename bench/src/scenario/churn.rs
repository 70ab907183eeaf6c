//! Connections that come, join, leave and go, over and over: what does a whole life cost the server?

use super::{Run, Stall};
use crate::failure::Failure;
use crate::fleet::{Fleet, Incoming, Listener};
use crate::latency::Latency;
use crate::message::{Judge, Pen};
use crate::process::Meter;
use crate::report::Report;
use std::time::{Duration, Instant};

/// Source addresses that the cycles go round, since a port rests a while after use.
const SOURCES: u64 = 200;

/// The settings of this scenario.
#[derive(Debug, Clone, Copy)]
pub struct Churn {
    /// How many lives to measure.
    pub cycles: u64,
    /// How many at the same time.
    pub concurrency: usize,
}

/// Plays it.
pub fn play(run: &mut Run, churn: &Churn) -> Result<Report, Failure> {
    if churn.concurrency == 0 {
        return Err(Failure::Setting(
            "--concurrency must be more than zero".to_owned(),
        ));
    }
    let warm_up = 4 * churn.concurrency as u64;
    let mut player = Player::new(churn.concurrency, warm_up + churn.cycles);
    for index in 0..churn.concurrency {
        player.begin(&mut run.fleet, index)?;
    }
    player.wait_for(run, warm_up)?;
    player.latency.clear();
    let before = player.finished;
    let meter = Meter::start(run.pid)?;
    player.wait_for(run, warm_up + churn.cycles)?;
    let reading = meter.read()?;
    let cycles = player.finished - before;

    let mut report = Report::new("churn");
    report.figure("concurrency", churn.concurrency as f64);
    report.figure("cycles", cycles as f64);
    report.figure("cycles_per_s", cycles as f64 / reading.seconds);
    report.cpu(
        &reading,
        cycles,
        [
            "cpu_us_per_cycle",
            "user_us_per_cycle",
            "system_us_per_cycle",
        ],
    );
    report.latency(&player.latency);
    Ok(report)
}

/// What a life waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Upgrade,
    JoinReply,
    LeaveReply,
    ChannelClose,
    CloseFrame,
    End,
    Over,
}

struct Life {
    step: Step,
    began: Instant,
}

struct Player {
    lives: Vec<Life>,
    cycles: u64,
    begun: u64,
    finished: u64,
    latency: Latency,
    pen: Pen,
    judge: Judge,
}

impl Player {
    fn new(concurrency: usize, cycles: u64) -> Self {
        let now = Instant::now();
        Self {
            lives: (0..concurrency)
                .map(|_| Life {
                    step: Step::Upgrade,
                    began: now,
                })
                .collect(),
            cycles,
            begun: 0,
            finished: 0,
            latency: Latency::default(),
            pen: Pen::default(),
            judge: Judge::default(),
        }
    }

    fn begin(&mut self, fleet: &mut Fleet, index: usize) -> Result<(), Failure> {
        if self.begun < self.cycles {
            self.lives[index] = Life {
                step: Step::Upgrade,
                began: Instant::now(),
            };
            fleet.open_numbered(index, (self.begun % SOURCES) as usize)?;
            self.begun += 1;
        }
        Ok(())
    }

    fn wait_for(&mut self, run: &mut Run, finished: u64) -> Result<(), Failure> {
        let mut stall = Stall::new(run.patience);
        while self.finished < finished {
            run.fleet
                .turn(&mut run.scratch, Duration::from_millis(100), self)?;
            stall.check(self.finished, || {
                let unfinished = self
                    .lives
                    .iter()
                    .enumerate()
                    .filter(|(_, life)| life.step != Step::Over);
                let oldest = unfinished
                    .min_by_key(|(_, life)| life.began)
                    .map(|(index, life)| (index, life.step));
                let (index, step) = oldest.unwrap_or((0, Step::Over));
                format!(
                    "{} lives over, connection {index} waits for {step:?}",
                    self.finished
                )
            })?;
        }
        Ok(())
    }

    /// The answer to what was sent last, or a failure.
    fn check(&mut self, index: usize, incoming: &Incoming<'_>, topic: &str) -> Result<(), Failure> {
        let nothing = format_args!("{{}}");
        match (self.lives[index].step, incoming) {
            (Step::Upgrade, Incoming::Open)
            | (Step::CloseFrame, Incoming::Closed(1000))
            | (Step::End, Incoming::Ended) => Ok(()),
            (Step::JoinReply, Incoming::Text(text)) => {
                self.judge.reply(index, text, 1, topic, nothing)
            }
            (Step::LeaveReply, Incoming::Text(text)) => {
                self.judge.reply(index, text, 2, topic, nothing)
            }
            (Step::ChannelClose, Incoming::Text(text)) => {
                self.judge.channel_close(index, text, topic)
            }
            (step, _) => Err(incoming.refuse(index, &format!("{step:?}"))),
        }
    }
}

impl Listener for Player {
    fn incoming(
        &mut self,
        fleet: &mut Fleet,
        index: usize,
        incoming: Incoming<'_>,
    ) -> Result<(), Failure> {
        let topic = format!("room:{index}");
        self.check(index, &incoming, &topic)?;
        self.pen.clear();
        let next = match self.lives[index].step {
            Step::Upgrade => {
                self.pen.join(&topic);
                Step::JoinReply
            }
            Step::JoinReply => {
                self.pen.leave(2, &topic);
                Step::LeaveReply
            }
            Step::LeaveReply => Step::ChannelClose,
            Step::ChannelClose => {
                self.pen.close();
                Step::CloseFrame
            }
            Step::CloseFrame => Step::End,
            // Nothing passes the check any more.
            Step::Over => return Ok(()),
            Step::End => {
                fleet.drop_connection(index);
                self.latency.record(self.lives[index].began.elapsed());
                self.finished += 1;
                self.lives[index].step = Step::Over;
                return self.begin(fleet, index);
            }
        };
        self.lives[index].step = next;
        if self.pen.frames().is_empty() {
            Ok(())
        } else {
            fleet.send(index, self.pen.frames())
        }
    }
}
