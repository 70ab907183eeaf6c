//! Many rooms of a few members each, whose members shout in turn at a fixed rate: the everyday load of a chat. Latency counts from
//! when a shout was due.

use super::{GRACE, Run, Stall};
use crate::failure::Failure;
use crate::fleet::{Fleet, Incoming, Listener};
use crate::latency::Latency;
use crate::ledger::{Delivery, Ledger};
use crate::message::{Filler, Numbered, Pen, Reader};
use crate::process::Meter;
use crate::report::Report;
use std::time::{Duration, Instant};

/// Shouts that are sent before deliveries are read again when the schedule has fallen behind.
const BURST_MAX: usize = 64;

/// The settings of this scenario.
#[derive(Debug, Clone, Copy)]
pub struct Rooms {
    /// How many rooms.
    pub rooms: usize,
    /// Members of each.
    pub size: usize,
    /// Shouts per second over all rooms.
    pub rate: f64,
    /// For how long.
    pub seconds: f64,
    /// Size of the payload, about.
    pub payload_bytes: usize,
}

impl Rooms {
    /// The shout with this number of all: in which room, by whom, and which of theirs. Rooms take turns first, then members.
    fn shout(&self, number: u64) -> (usize, Numbered) {
        let (rooms, size) = (self.rooms as u64, self.size as u64);
        let sender = number / rooms % size;
        (
            (number % rooms) as usize,
            Numbered {
                sender,
                sequence: number / (rooms * size),
            },
        )
    }

    /// The reverse.
    fn number(&self, room: usize, shout: Numbered) -> u64 {
        let (rooms, size) = (self.rooms as u64, self.size as u64);
        (shout.sequence * size + shout.sender) * rooms + room as u64
    }

    /// How many of the first `published` shouts this member made in this room.
    fn shouts_by(&self, room: usize, sender: u64, published: u64) -> u64 {
        let first = self.number(
            room,
            Numbered {
                sender,
                sequence: 0,
            },
        );
        published
            .saturating_sub(first)
            .div_ceil((self.rooms * self.size) as u64)
    }

    fn topic(room: usize) -> String {
        format!("room:r{room}")
    }
}

/// Plays it.
pub fn play(run: &mut Run, rooms: &Rooms) -> Result<Report, Failure> {
    if rooms.rooms == 0 || rooms.size == 0 || rooms.rate <= 0.0 {
        return Err(Failure::Setting(
            "--rooms, --size and --rate must be more than zero".to_owned(),
        ));
    }
    run.join_all(rooms.rooms * rooms.size, &|index| {
        Rooms::topic(index / rooms.size)
    })?;
    let mut player = Player::new(*rooms);
    let meter = Meter::start(run.pid)?;
    player.started = Instant::now();
    let shouts = (rooms.rate * rooms.seconds) as u64;
    let mut stall = Stall::new(run.patience);
    let mut outcome = Ok(());
    while outcome.is_ok() && player.ledger.delivered() < shouts * rooms.size as u64 {
        run.keep_alive(rooms.rooms * rooms.size)?;
        let wait = player.keep_schedule(run, shouts)?;
        outcome = run
            .fleet
            .turn(&mut run.scratch, wait, &mut player)
            .and_then(|()| {
                stall.check(player.ledger.delivered(), || {
                    format!("{} deliveries", player.ledger.delivered())
                })
            });
    }
    let reading = meter.read()?;
    let deliveries = player.ledger.delivered();

    let mut report = Report::new("rooms");
    // A stall is the ledger's to explain; anything else ends the run here.
    match outcome {
        Ok(()) => run.listen(GRACE, &mut player)?,
        Err(Failure::Timeout(what)) => report.fault(what),
        Err(other) => return Err(other),
    }
    report.figure("rooms", rooms.rooms as f64);
    report.figure("size", rooms.size as f64);
    report.figure("rate_wanted_per_s", rooms.rate);
    report.figure("shouts", player.published as f64);
    report.figure("shouts_per_s", player.published as f64 / reading.seconds);
    report.figure("deliveries", deliveries as f64);
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
    report.figure("send_lag_p50_us", player.lag.quantile_us(0.5));
    report.figure("send_lag_p99_us", player.lag.quantile_us(0.99));
    report.figure("send_lag_max_us", player.lag.max_us());
    let published = player.published;
    let verdict = player.ledger.verdict(|stream| {
        let (reader, sender) = (stream / rooms.size, stream % rooms.size);
        rooms.shouts_by(reader / rooms.size, sender as u64, published)
    });
    report.verdict(verdict);
    Ok(report)
}

struct Player {
    rooms: Rooms,
    started: Instant,
    published: u64,
    ledger: Ledger,
    latency: Latency,
    lag: Latency,
    reader: Reader,
    pen: Pen,
}

impl Player {
    fn new(rooms: Rooms) -> Self {
        Self {
            rooms,
            started: Instant::now(),
            published: 0,
            ledger: Ledger::new(rooms.rooms * rooms.size * rooms.size),
            latency: Latency::default(),
            lag: Latency::default(),
            reader: Reader::new(Filler::new(rooms.payload_bytes)),
            pen: Pen::default(),
        }
    }

    fn due(&self, number: u64) -> Instant {
        self.started + Duration::from_secs_f64(number as f64 / self.rooms.rate)
    }

    /// Sends the shouts that are due; returns how long no other is.
    fn keep_schedule(&mut self, run: &mut Run, shouts: u64) -> Result<Duration, Failure> {
        for _ in 0..BURST_MAX {
            if self.published == shouts {
                return Ok(Duration::from_millis(100));
            }
            let (due, now) = (self.due(self.published), Instant::now());
            if due > now {
                return Ok(due - now);
            }
            self.lag.record(now - due);
            let (room, shout) = self.rooms.shout(self.published);
            self.pen.clear();
            self.reader.shout(
                &mut self.pen,
                shout.sequence + 2,
                &Rooms::topic(room),
                shout,
            );
            run.fleet.send(
                room * self.rooms.size + shout.sender as usize,
                self.pen.frames(),
            )?;
            self.published += 1;
        }
        Ok(Duration::ZERO)
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
        let room = index / self.rooms.size;
        let shout = self.reader.read(index, text, &Rooms::topic(room), room)?;
        if shout.sender >= self.rooms.size as u64 {
            return Err(incoming.refuse(index, "a broadcast of a member"));
        }
        let stream = index * self.rooms.size + shout.sender as usize;
        if self.ledger.note(stream, shout.sequence) != Delivery::Duplicate {
            let due = self.due(self.rooms.number(room, shout));
            self.latency
                .record(Instant::now().saturating_duration_since(due));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shouts_are_numbered_both_ways_and_counted() {
        let rooms = Rooms {
            rooms: 3,
            size: 4,
            rate: 1.0,
            seconds: 1.0,
            payload_bytes: 0,
        };
        let mut counted = [[0u64; 4]; 3];
        for number in 0..100 {
            for (room, members) in counted.iter().enumerate() {
                for (sender, count) in members.iter().enumerate() {
                    assert_eq!(rooms.shouts_by(room, sender as u64, number), *count);
                }
            }
            let (room, shout) = rooms.shout(number);
            assert_eq!(rooms.number(room, shout), number);
            assert_eq!(shout.sequence, counted[room][shout.sender as usize]);
            counted[room][shout.sender as usize] += 1;
        }
    }
}
