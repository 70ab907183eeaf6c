//! One topic, many subscribers, one message after the other: what does a delivery cost the server?
//!
//! The first subscriber publishes with `shout`, which reaches everybody, itself included. A message, or a burst of `window` messages, is
//! published once everybody has the one before; so this is the cost of a lone broadcast (or burst), not of a saturated server.

use super::{GRACE, Run, Span, Stall};
use crate::failure::Failure;
use crate::fleet::{Fleet, Incoming, Listener};
use crate::latency::Latency;
use crate::ledger::{Delivery, Ledger};
use crate::message::{Filler, Numbered, Pen, Reader};
use crate::process::Meter;
use crate::report::Report;
use std::time::{Duration, Instant};

const TOPIC: &str = "room:fan";
/// Rounds before measuring.
const WARM_UP_ROUNDS: u64 = 3;
/// How often to look whether it is time to stop.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// The settings of this scenario.
#[derive(Debug, Clone, Copy)]
pub struct Fanout {
    /// How many connections join the topic; one of them publishes.
    pub subscribers: usize,
    /// How many messages to publish; without it, as many as the span takes.
    pub messages: Option<u64>,
    /// How long to measure, unless messages are counted.
    pub span: Span,
    /// Messages that are published at once.
    pub window: usize,
    /// Size of the payload, about.
    pub payload_bytes: usize,
}

/// Plays it.
pub fn play(run: &mut Run, fanout: &Fanout) -> Result<Report, Failure> {
    if fanout.window == 0 || fanout.subscribers == 0 {
        return Err(Failure::Setting(
            "--subscribers and --window must be more than zero".to_owned(),
        ));
    }
    run.join_all(fanout.subscribers, &|_| TOPIC.to_owned())?;
    let mut player = Player::new(fanout);
    let mut outcome = Ok(());
    for _ in 0..WARM_UP_ROUNDS {
        outcome = outcome.and_then(|()| player.play_round(run));
    }
    player.latency.clear();
    let (delivered_before, published_before) = (player.ledger.delivered(), player.published);
    let meter = Meter::start(run.pid)?;
    let mut next_check = Instant::now();
    while outcome.is_ok() {
        let over = match fanout.messages {
            Some(messages) => player.published - published_before >= messages,
            None if Instant::now() < next_check => false,
            None => {
                next_check = Instant::now() + CHECK_EVERY;
                fanout.span.is_over(&meter, run.pid)?
            }
        };
        if over {
            break;
        }
        outcome = player.play_round(run);
    }
    let reading = meter.read()?;
    let deliveries = player.ledger.delivered() - delivered_before;
    let messages = player.published - published_before;

    let mut report = Report::new("fanout");
    // A stall is the ledger's to explain; anything else ends the run here.
    match outcome {
        Ok(()) => run.listen(GRACE, &mut player)?,
        Err(Failure::Timeout(what)) => report.fault(what),
        Err(other) => return Err(other),
    }
    report.figure("subscribers", fanout.subscribers as f64);
    report.figure("window", fanout.window as f64);
    report.figure("messages", messages as f64);
    report.figure("deliveries", deliveries as f64);
    report.figure("deliveries_per_s", deliveries as f64 / reading.seconds);
    report.cpu(
        &reading,
        deliveries,
        [
            "cpu_us_per_delivery",
            "user_us_per_delivery",
            "system_us_per_delivery",
        ],
    );
    report.latency(&player.latency);
    let published = player.published;
    report.verdict(player.ledger.verdict(|_| published));
    Ok(report)
}

struct Player {
    window: u64,
    subscribers: u64,
    published: u64,
    published_at: Instant,
    ledger: Ledger,
    latency: Latency,
    reader: Reader,
    pen: Pen,
}

impl Player {
    fn new(fanout: &Fanout) -> Self {
        Self {
            window: fanout.window as u64,
            subscribers: fanout.subscribers as u64,
            published: 0,
            published_at: Instant::now(),
            ledger: Ledger::new(fanout.subscribers),
            latency: Latency::default(),
            reader: Reader::new(Filler::new(fanout.payload_bytes)),
            pen: Pen::default(),
        }
    }

    /// Publishes a window of messages and waits until everybody has them.
    fn play_round(&mut self, run: &mut Run) -> Result<(), Failure> {
        run.keep_alive(self.subscribers as usize)?;
        self.pen.clear();
        for sequence in self.published..self.published + self.window {
            self.reader.shout(
                &mut self.pen,
                sequence + 2,
                TOPIC,
                Numbered {
                    sender: 0,
                    sequence,
                },
            );
        }
        self.published += self.window;
        self.published_at = Instant::now();
        run.fleet.send(0, self.pen.frames())?;
        let due = self.published * self.subscribers;
        let mut stall = Stall::new(run.patience);
        while self.ledger.delivered() < due {
            run.fleet
                .turn(&mut run.scratch, Duration::from_secs(1), self)?;
            stall.check(self.ledger.delivered(), || {
                format!("{} of {due} deliveries", self.ledger.delivered())
            })?;
        }
        Ok(())
    }
}

impl Listener for Player {
    fn incoming(
        &mut self,
        _: &mut Fleet,
        index: usize,
        incoming: Incoming<'_>,
    ) -> Result<(), Failure> {
        let Incoming::Text(text) = incoming else {
            return Err(incoming.refuse(index, "a broadcast"));
        };
        let Numbered { sender, sequence } = self.reader.read(index, text, TOPIC, 0)?;
        if sender != 0 {
            return Err(incoming.refuse(index, "a broadcast of the one sender"));
        }
        if self.ledger.note(index, sequence) != Delivery::Duplicate {
            self.latency.record(self.published_at.elapsed());
        }
        Ok(())
    }
}
