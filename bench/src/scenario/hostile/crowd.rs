//! One client that shouts as fast as it can, to many that read all of it. The crowd is healthy: nobody in it may be cut, and nothing
//! may be lost, doubled or out of order on its way to any of them.

use super::{Tally, say_ready};
use crate::failure::Failure;
use crate::fleet::{Fleet, Incoming, Listener};
use crate::ledger::Ledger;
use crate::message::{Filler, Numbered, Pen, Reader};
use crate::scenario::{GRACE, Run, Stall};
use crate::target::Target;
use std::time::{Duration, Instant};

const TOPIC: &str = "room:crowd";
const PAYLOAD_BYTES: usize = 1_024;
const AT_ONCE: usize = 16;
/// So that what waits for the server waits where we see it, and little is left to deliver when the attack is over.
const SEND_BYTES: usize = 16 << 10;

/// Connection 0 shouts, and hears itself as all the others do.
pub(super) fn play(
    target: Target,
    listeners: usize,
    time: Duration,
    timeout: Duration,
) -> Result<Tally, Failure> {
    let run = &mut Run::new(target, None, timeout)?;
    let members = listeners + 1;
    run.join_all(members, &|_| TOPIC.to_owned())?;
    run.fleet.limit_send_buffer(0, SEND_BYTES)?;
    let mut crowd = Crowd {
        ledger: Ledger::new(members),
        reader: Reader::new(Filler::new(PAYLOAD_BYTES)),
    };
    let mut tally = Tally::default();
    let mut pen = Pen::default();
    let mut published = 0;
    say_ready()?;
    let until = Instant::now() + time;
    let mut held_back = Duration::ZERO;
    let mut last = Instant::now();
    while Instant::now() < until {
        let is_held_back = run.fleet.is_sending(0);
        if !is_held_back {
            pen.clear();
            for _ in 0..AT_ONCE {
                let number = Numbered {
                    sender: 0,
                    sequence: published,
                };
                crowd.reader.shout(&mut pen, published + 2, TOPIC, number);
                published += 1;
            }
            run.fleet.send(0, pen.frames())?;
        }
        let wait = Duration::from_millis(u64::from(is_held_back));
        run.fleet.turn(&mut run.scratch, wait, &mut crowd)?;
        if is_held_back {
            held_back += last.elapsed();
        }
        last = Instant::now();
    }
    let at_the_end = crowd.ledger.delivered();
    let mut stall = Stall::new(run.patience);
    let due = published * members as u64;
    while crowd.ledger.delivered() < due {
        run.fleet
            .turn(&mut run.scratch, Duration::from_millis(100), &mut crowd)?;
        let delivered = crowd.ledger.delivered();
        if let Err(stalled) = stall.check(delivered, || format!("{delivered} of {due} deliveries"))
        {
            tally.fault(stalled.to_string());
            break;
        }
    }
    run.listen(GRACE, &mut crowd)?;
    tally.count("shouts", published);
    tally.count("deliveries_during_the_attack", at_the_end);
    tally.count("deliveries", crowd.ledger.delivered());
    tally.count("held_back_ms", held_back.as_millis() as u64);
    let verdict = crowd.ledger.verdict(|_| published);
    if !verdict.is_clean() {
        tally.fault(format!("the ledger is not clean: {verdict:?}"));
    }
    Ok(tally)
}

struct Crowd {
    ledger: Ledger,
    reader: Reader,
}

impl Listener for Crowd {
    fn incoming(
        &mut self,
        _: &mut Fleet,
        index: usize,
        incoming: Incoming<'_>,
    ) -> Result<(), Failure> {
        let Incoming::Text(text) = incoming else {
            return Err(incoming.refuse(index, "a broadcast"));
        };
        let shout = self.reader.read(index, text, TOPIC, 0)?;
        if shout.sender != 0 {
            return Err(incoming.refuse(index, "a broadcast of the shouter"));
        }
        self.ledger.note(index, shout.sequence);
        Ok(())
    }
}
