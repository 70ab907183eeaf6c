//! Pushes that are answered: what does a question and answer cost the server, and how long does it take?
//!
//! Closed loop: every connection has a fixed number of pushes on the way and sends the next when one is answered; for CPU per echo.
//! Open loop: pushes leave by the clock at a fixed rate, whether answers come or not, and latency counts from when a push was due, so
//! that a server that stops for a second is charged for every push that waited (no coordinated omission).

use super::{GRACE, Run, Silence, Span, Stall};
use crate::failure::Failure;
use crate::fleet::{Fleet, Incoming, Listener};
use crate::latency::Latency;
use crate::message::{Judge, Pen};
use crate::process::{Meter, Reading};
use crate::report::Report;
use std::time::{Duration, Instant};

/// Pushes that are sent before answers are read again when the schedule has fallen behind.
const BURST_MAX: usize = 128;
/// How often to look whether it is time to stop.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// The settings of this scenario.
#[derive(Debug, Clone, Copy)]
pub struct Echo {
    /// How many connections, each on a topic of its own.
    pub connections: usize,
    /// How long to measure.
    pub span: Span,
    /// How long to play before measuring.
    pub warm_up: Duration,
    /// Pushes per second over all connections, by the clock; without it the loop is closed.
    pub rate: Option<f64>,
    /// Pushes on the way per connection in a closed loop.
    pub in_flight: usize,
}

/// Plays it.
pub fn play(run: &mut Run, echo: &Echo) -> Result<Report, Failure> {
    if echo.in_flight == 0 || echo.connections == 0 || echo.rate.is_some_and(|rate| rate <= 0.0) {
        return Err(Failure::Setting(
            "connections, --in-flight and --rate must be more than zero".to_owned(),
        ));
    }
    run.join_all(echo.connections, &topic)?;
    let mut player = Player::new(echo);
    if player.schedule.is_none() {
        for index in 0..echo.connections {
            for _ in 0..echo.in_flight {
                player.push(&mut run.fleet, index, Instant::now())?;
            }
        }
    }
    player.play_for(
        run,
        Span {
            seconds: echo.warm_up.as_secs_f64(),
            cpu_seconds: 0.0,
        },
    )?;
    player.latency.clear();
    player.lag.clear();
    let answered_before = player.answered_in_all;
    let reading = player.play_for(run, echo.span)?;
    let echoes = player.answered_in_all - answered_before;
    player.drain(run)?;
    run.listen(GRACE, &mut Silence)?;

    let mut report = Report::new("echo");
    report.figure("connections", echo.connections as f64);
    report.figure("rate_wanted_per_s", echo.rate.unwrap_or(0.0));
    report.figure(
        "in_flight",
        if echo.rate.is_some() {
            0.0
        } else {
            echo.in_flight as f64
        },
    );
    report.figure("echoes", echoes as f64);
    report.figure("echoes_per_s", echoes as f64 / reading.seconds);
    report.cpu(
        &reading,
        echoes,
        ["cpu_us_per_echo", "user_us_per_echo", "system_us_per_echo"],
    );
    report.latency(&player.latency);
    if echo.rate.is_some() {
        report.figure("send_lag_p50_us", player.lag.quantile_us(0.5));
        report.figure("send_lag_p99_us", player.lag.quantile_us(0.99));
        report.figure("send_lag_max_us", player.lag.max_us());
    }
    Ok(report)
}

fn topic(index: usize) -> String {
    format!("room:{index}")
}

/// When pushes are due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    started: Instant,
    rate: f64,
    next: u64,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        self.started + Duration::from_secs_f64(number as f64 / self.rate)
    }
}

struct Player {
    schedule: Option<Schedule>,
    in_flight: usize,
    sent: Vec<u64>,
    answered: Vec<u64>,
    /// When the pushes on the way were sent, or were due; a ring per connection in a closed loop, nothing in an open one.
    starts: Vec<Instant>,
    sent_in_all: u64,
    answered_in_all: u64,
    stopping: bool,
    latency: Latency,
    /// How late pushes left: the generator's own honesty.
    lag: Latency,
    pen: Pen,
    judge: Judge,
}

impl Player {
    fn new(echo: &Echo) -> Self {
        let now = Instant::now();
        let ring = if echo.rate.is_some() {
            0
        } else {
            echo.connections * echo.in_flight
        };
        Self {
            schedule: echo.rate.map(|rate| Schedule {
                started: now,
                rate,
                next: 0,
            }),
            in_flight: echo.in_flight,
            sent: vec![0; echo.connections],
            answered: vec![0; echo.connections],
            starts: vec![now; ring],
            sent_in_all: 0,
            answered_in_all: 0,
            stopping: false,
            latency: Latency::default(),
            lag: Latency::default(),
            pen: Pen::default(),
            judge: Judge::default(),
        }
    }

    /// Plays until the span is over.
    fn play_for(&mut self, run: &mut Run, span: Span) -> Result<Reading, Failure> {
        let meter = Meter::start(run.pid)?;
        let mut next_check = Instant::now();
        let mut stall = Stall::new(run.patience);
        loop {
            self.turn(run)?;
            if self.answered_in_all == self.sent_in_all {
                stall = Stall::new(run.patience);
            }
            stall.check(self.answered_in_all, || self.state())?;
            if Instant::now() >= next_check {
                if span.is_over(&meter, run.pid)? {
                    return meter.read();
                }
                next_check = Instant::now() + CHECK_EVERY;
            }
        }
    }

    /// Sends nothing more and waits for the answers that are due.
    fn drain(&mut self, run: &mut Run) -> Result<(), Failure> {
        self.stopping = true;
        let mut stall = Stall::new(run.patience);
        while self.answered_in_all < self.sent_in_all {
            run.fleet
                .turn(&mut run.scratch, Duration::from_millis(100), self)?;
            stall.check(self.answered_in_all, || self.state())?;
        }
        Ok(())
    }

    fn state(&self) -> String {
        format!(
            "{} of {} echoes answered",
            self.answered_in_all, self.sent_in_all
        )
    }

    /// Sends what is due, then hears what comes.
    fn turn(&mut self, run: &mut Run) -> Result<(), Failure> {
        run.keep_alive(self.sent.len())?;
        let wait = match self.schedule {
            None => Duration::from_millis(100),
            Some(schedule) => self.keep_schedule(run, schedule)?,
        };
        run.fleet.turn(&mut run.scratch, wait, self)
    }

    /// Sends what is due; returns how long nothing more is.
    fn keep_schedule(
        &mut self,
        run: &mut Run,
        mut schedule: Schedule,
    ) -> Result<Duration, Failure> {
        let mut wait = Duration::ZERO;
        for _ in 0..BURST_MAX {
            let due = schedule.due(schedule.next);
            let now = Instant::now();
            if due > now {
                wait = due - now;
                break;
            }
            self.lag.record(now - due);
            let index = (schedule.next % self.sent.len() as u64) as usize;
            self.push(&mut run.fleet, index, due)?;
            schedule.next += 1;
        }
        self.schedule = Some(schedule);
        Ok(wait)
    }

    fn push(&mut self, fleet: &mut Fleet, index: usize, at: Instant) -> Result<(), Failure> {
        let number = self.sent[index];
        if let Some(start) = self
            .starts
            .get_mut(index * self.in_flight + number as usize % self.in_flight)
        {
            *start = at;
        }
        self.pen.clear();
        self.pen.push(
            number + 2,
            &topic(index),
            "echo",
            format_args!(r#"{{"id":{number},"body":"0123456789ab"}}"#),
        );
        fleet.send(index, self.pen.frames())?;
        self.sent[index] += 1;
        self.sent_in_all += 1;
        Ok(())
    }

    /// When the push with this number on this connection was due.
    fn start(&self, index: usize, number: u64) -> Instant {
        match &self.schedule {
            Some(schedule) => schedule.due(number * self.sent.len() as u64 + index as u64),
            None => self.starts[index * self.in_flight + number as usize % self.in_flight],
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
        let number = self.answered[index];
        let Incoming::Text(text) = incoming else {
            return Err(incoming.refuse(index, "the answer to an echo"));
        };
        if number == self.sent[index] {
            return Err(incoming.refuse(index, "nothing: every echo is answered"));
        }
        let payload = format_args!(r#"{{"id":{number},"body":"0123456789ab"}}"#);
        self.judge
            .reply(index, text, number + 2, &topic(index), payload)?;
        let now = Instant::now();
        self.latency
            .record(now.saturating_duration_since(self.start(index, number)));
        self.answered[index] += 1;
        self.answered_in_all += 1;
        if self.schedule.is_none() && !self.stopping {
            self.push(fleet, index, now)?;
        }
        Ok(())
    }
}
