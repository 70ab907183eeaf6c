//! The well-behaved clients: connections that push an echo by the clock, whether answers come or not, and time each answer from
//! when its push was due.

use crate::failure::Failure;
use crate::fleet::{Fleet, Incoming, Listener};
use crate::latency::Latency;
use crate::message::{Judge, Pen};
use crate::scenario::{Run, Stall};
use crate::target::Target;
use rustix::process::setpriority_process;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pushes that are sent before answers are read again when the schedule has fallen behind.
const BURST_MAX: usize = 128;
/// The longest that one run of this program may take.
const RUN_MAX: Duration = Duration::from_secs(3_600);

/// All of them, on topics of their own.
#[derive(Debug)]
pub struct Neighbours {
    run: Run,
    players: Players,
    rate: f64,
}

/// What a window showed.
#[derive(Debug, Default)]
pub struct Window {
    latency: Latency,
    lag: Latency,
}

impl Window {
    /// The 99th percentile of the latencies, in milliseconds.
    pub fn p99(&self) -> f64 {
        self.latency.quantile_us(0.99) / 1e3
    }

    /// The same of how late the pushes left: this program's own part in the latency.
    pub fn lag_p99(&self) -> f64 {
        self.lag.quantile_us(0.99) / 1e3
    }
}

impl Neighbours {
    /// Opens `count` connections, each of which will push `rate` times a second.
    pub fn join(target: Target, count: usize, rate: f64) -> Result<Self, Failure> {
        if count == 0 || rate <= 0.0 {
            return Err(Failure::Setting(
                "neighbours and their rate must be more than zero".to_owned(),
            ));
        }
        let mut run = Run::new(target, None, RUN_MAX)?;
        run.join_all(count, &topic)?;
        Ok(Self {
            run,
            players: Players {
                sent: vec![0; count],
                due: vec![VecDeque::new(); count],
                open: 0,
                answered: 0,
                window: Window::default(),
                pen: Pen::default(),
                judge: Judge::default(),
            },
            rate: rate * count as f64,
        })
    }

    /// Plays for `time` and waits for the answers that are due then. A connection that ends, or an answer that is wrong or missing,
    /// is a failure.
    pub fn play(&mut self, time: Duration) -> Result<Window, Failure> {
        let _ahead = Ahead::of_others();
        let (run, players) = (&mut self.run, &mut self.players);
        let pushes = (time.as_secs_f64() * self.rate).ceil() as u64;
        let started = Instant::now();
        let mut next = 0;
        let mut stall = Stall::new(run.patience);
        while next < pushes || players.open > 0 {
            let mut wait = Duration::from_millis(100);
            for _ in 0..BURST_MAX {
                if next == pushes {
                    break;
                }
                let due = started + Duration::from_secs_f64(next as f64 / self.rate);
                let now = Instant::now();
                if due > now {
                    wait = due - now;
                    break;
                }
                wait = Duration::ZERO;
                players.push(&mut run.fleet, next as usize % players.sent.len(), due)?;
                next += 1;
            }
            run.fleet.turn(&mut run.scratch, wait, players)?;
            stall.check(players.answered, || {
                format!("{} pushes of the neighbours unanswered", players.open)
            })?;
        }
        Ok(std::mem::take(&mut players.window))
    }
}

/// Puts this thread ahead of everything else on the machine, if it may, and back when dropped. The neighbours stand for clients
/// elsewhere: they should wait for the server and not for a processor. Children that are started meanwhile would inherit it.
struct Ahead;

impl Ahead {
    fn of_others() -> Self {
        // Only a privileged process may; the lateness of the pushes, which is in the results, shows what it makes.
        let _ = setpriority_process(None, -10);
        Self
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let _ = setpriority_process(None, 0);
    }
}

fn topic(index: usize) -> String {
    format!("room:neighbour-{index}")
}

#[derive(Debug)]
struct Players {
    sent: Vec<u64>,
    /// When the pushes that are not yet answered were due.
    due: Vec<VecDeque<Instant>>,
    open: usize,
    answered: u64,
    window: Window,
    pen: Pen,
    judge: Judge,
}

impl Players {
    fn push(&mut self, fleet: &mut Fleet, index: usize, due: Instant) -> Result<(), Failure> {
        let number = self.sent[index];
        self.window
            .lag
            .record(Instant::now().saturating_duration_since(due));
        self.pen.clear();
        self.pen.push(
            number + 2,
            &topic(index),
            "echo",
            format_args!(r#"{{"id":{number},"body":"0123456789ab"}}"#),
        );
        fleet.send(index, self.pen.frames())?;
        self.sent[index] += 1;
        self.due[index].push_back(due);
        self.open += 1;
        Ok(())
    }
}

impl Listener for Players {
    fn incoming(
        &mut self,
        _: &mut Fleet,
        index: usize,
        incoming: Incoming<'_>,
    ) -> Result<(), Failure> {
        let Incoming::Text(text) = incoming else {
            return Err(incoming.refuse(index, "the answer to a neighbour's echo"));
        };
        let number = self.sent[index] - self.due[index].len() as u64;
        let Some(due) = self.due[index].pop_front() else {
            return Err(incoming.refuse(index, "nothing: every echo is answered"));
        };
        let payload = format_args!(r#"{{"id":{number},"body":"0123456789ab"}}"#);
        self.judge
            .reply(index, text, number + 2, &topic(index), payload)?;
        self.window
            .latency
            .record(Instant::now().saturating_duration_since(due));
        self.open -= 1;
        self.answered += 1;
        Ok(())
    }
}
