//! What the load generator can play. Here stands what the scenarios share: the frame of a run, and opening and joining many
//! connections. Each scenario has a file of its own.

pub mod churn;
pub mod echo;
pub mod fanout;
pub mod hostile;
pub mod idle;
pub mod rooms;

use crate::failure::Failure;
use crate::fleet::{Fleet, Incoming, Listener, Scratch};
use crate::frame;
use crate::message::{Judge, Pen};
use crate::process::Meter;
use crate::target::Target;
use std::time::{Duration, Instant};

/// Connections that are being opened at the same time: less than any listen backlog.
const OPENING_MAX: usize = 64;
/// How long nothing may happen while something is due, unless said otherwise.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to listen for what should not come, once everything due has come.
const GRACE: Duration = Duration::from_millis(300);
/// A server may close a connection that has said nothing for 60 s.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(25);

/// What every scenario needs.
#[derive(Debug)]
pub struct Run {
    /// The connections.
    pub fleet: Fleet,
    /// The buffers of a turn.
    pub scratch: Scratch,
    /// The server's process id, if it is known.
    pub pid: Option<u32>,
    /// How long nothing may happen while something is due.
    pub patience: Duration,
    kept_alive: Instant,
}

impl Run {
    /// A run against `target`, over after `timeout` whatever happens.
    pub fn new(target: Target, pid: Option<u32>, timeout: Duration) -> Result<Self, Failure> {
        Ok(Self {
            fleet: Fleet::new(target, Instant::now() + timeout)?,
            scratch: Scratch::default(),
            pid,
            patience: PATIENCE,
            kept_alive: Instant::now(),
        })
    }

    /// Opens so many connections and joins one topic on each, a bounded number at a time.
    pub fn join_all(
        &mut self,
        count: usize,
        topic: &dyn Fn(usize) -> String,
    ) -> Result<(), Failure> {
        let mut joining = Joining {
            topic,
            pen: Pen::default(),
            judge: Judge::default(),
            is_joined: vec![false; count],
            joined: 0,
        };
        let mut opened = 0;
        let mut watch = Stall::new(self.patience);
        while joining.joined < count {
            while opened < count && opened - joining.joined < OPENING_MAX {
                self.fleet.open(opened)?;
                opened += 1;
            }
            self.fleet
                .turn(&mut self.scratch, Duration::from_millis(100), &mut joining)?;
            watch.check(joining.joined as u64, || {
                format!("{opened} connections opened, {} joined", joining.joined)
            })?;
        }
        Ok(())
    }

    /// Closes connections 0 to `count` as a browser does: close frame, answer, end.
    pub fn close_all(&mut self, count: usize) -> Result<(), Failure> {
        let mut pen = Pen::default();
        pen.close();
        for index in 0..count {
            self.fleet.send(index, pen.frames())?;
        }
        let mut closing = Closing { ended: 0 };
        let mut watch = Stall::new(self.patience);
        while closing.ended < count {
            self.fleet
                .turn(&mut self.scratch, Duration::from_millis(100), &mut closing)?;
            watch.check(closing.ended as u64, || {
                format!("{} of {count} connections closed", closing.ended)
            })?;
        }
        Ok(())
    }

    /// Lets connections 0 to `count` be heard every now and then, for scenarios in which most of them only listen. It takes a pong
    /// that answers nothing: any bytes count as a sign of life, and no answer disturbs the measurement.
    pub fn keep_alive(&mut self, count: usize) -> Result<(), Failure> {
        if self.kept_alive.elapsed() < KEEP_ALIVE_EVERY {
            return Ok(());
        }
        self.kept_alive = Instant::now();
        let mut pong = Vec::new();
        frame::write_pong(&mut pong, b"");
        (0..count).try_for_each(|index| self.fleet.send(index, &pong))
    }

    /// Listens for `time`.
    pub fn listen(&mut self, time: Duration, listener: &mut dyn Listener) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while let Some(left) = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            self.fleet.turn(&mut self.scratch, left, listener)?;
        }
        Ok(())
    }
}

/// When a scenario has measured enough: whichever of the limits comes last.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// At least so long.
    pub seconds: f64,
    /// At least so much CPU of the server; not asked for if the process is not known.
    pub cpu_seconds: f64,
}

impl Span {
    /// Whether the meter has run for this span.
    pub fn is_over(&self, meter: &Meter, pid: Option<u32>) -> Result<bool, Failure> {
        if meter.elapsed().as_secs_f64() < self.seconds {
            return Ok(false);
        }
        Ok(self.cpu_seconds == 0.0 || pid.is_none() || meter.server()?.total() >= self.cpu_seconds)
    }
}

/// Notices that nothing happens any more.
#[derive(Debug)]
pub struct Stall {
    patience: Duration,
    seen: u64,
    since: Instant,
}

impl Stall {
    /// Starts to watch.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            seen: 0,
            since: Instant::now(),
        }
    }

    /// Fails if `progress` has been the same for too long.
    pub fn check(&mut self, progress: u64, state: impl FnOnce() -> String) -> Result<(), Failure> {
        if progress != self.seen {
            self.seen = progress;
            self.since = Instant::now();
        } else if self.since.elapsed() > self.patience {
            return Err(Failure::Timeout(format!(
                "nothing for {:?}: {}",
                self.patience,
                state()
            )));
        }
        Ok(())
    }
}

struct Joining<'a> {
    topic: &'a dyn Fn(usize) -> String,
    pen: Pen,
    judge: Judge,
    is_joined: Vec<bool>,
    joined: usize,
}

impl Listener for Joining<'_> {
    fn incoming(
        &mut self,
        fleet: &mut Fleet,
        index: usize,
        incoming: Incoming<'_>,
    ) -> Result<(), Failure> {
        let topic = (self.topic)(index);
        match incoming {
            Incoming::Open => {
                self.pen.clear();
                self.pen.join(&topic);
                fleet.send(index, self.pen.frames())
            }
            Incoming::Text(text) if !self.is_joined[index] => {
                self.judge
                    .reply(index, text, 1, &topic, format_args!("{{}}"))?;
                self.is_joined[index] = true;
                self.joined += 1;
                Ok(())
            }
            other => Err(other.refuse(index, "the reply to a join")),
        }
    }
}

struct Closing {
    ended: usize,
}

impl Listener for Closing {
    fn incoming(
        &mut self,
        fleet: &mut Fleet,
        index: usize,
        incoming: Incoming<'_>,
    ) -> Result<(), Failure> {
        match incoming {
            Incoming::Closed(1000) => Ok(()),
            Incoming::Ended if fleet.is_closed(index) => {
                fleet.drop_connection(index);
                self.ended += 1;
                Ok(())
            }
            other => Err(other.refuse(index, "a close frame with code 1000, then the end")),
        }
    }
}

/// A listener for times when nothing at all should come.
#[derive(Debug)]
pub struct Silence;

impl Listener for Silence {
    fn incoming(
        &mut self,
        _: &mut Fleet,
        index: usize,
        incoming: Incoming<'_>,
    ) -> Result<(), Failure> {
        Err(incoming.refuse(index, "silence"))
    }
}
