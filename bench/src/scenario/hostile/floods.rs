//! Those who send what must be answered as fast as they can, and read the answers. They keep a fixed number on the way, so that
//! nobody has to cut them for reading too slowly and every answer can be asked for.

use super::client::{ANSWER_MAX, Heard, Sent};
use super::{Attack, Tally};
use crate::failure::Failure;
use crate::frame::{self, Opcode};
use crate::message::{Judge, Pen};
use std::time::Instant;

const AT_ONCE: u64 = 256;
/// Unanswered, at most: with their answers far below what a server may keep for one client.
const ON_THE_WAY_MAX: u64 = 8_192;

/// Heartbeats; each has its answer.
pub(super) fn heartbeats(attack: &Attack<'_>, tally: &mut Tally) -> Result<(), Failure> {
    let mut pen = Pen::default();
    let mut judge = Judge::default();
    flood(
        attack,
        tally,
        |numbers| {
            pen.clear();
            numbers.for_each(|number| pen.heartbeat(number));
            pen.frames().to_vec()
        },
        |heard, answered| match heard {
            Heard::Frame(Opcode::Text, text) => {
                judge.heartbeat(0, &text, answered)?;
                Ok(answered + 1)
            }
            other => Err(other.refuse("the answer to a heartbeat")),
        },
    )
}

/// Pings; a pong may answer several, and says with its payload which was the last.
pub(super) fn pings(attack: &Attack<'_>, tally: &mut Tally) -> Result<(), Failure> {
    flood(
        attack,
        tally,
        |numbers| {
            let mut pings = Vec::new();
            numbers.for_each(|number| frame::write_ping(&mut pings, &number.to_be_bytes()));
            pings
        },
        |heard, answered| match heard {
            Heard::Frame(Opcode::Pong, payload) => {
                let number = <[u8; 8]>::try_from(payload.as_slice()).map(u64::from_be_bytes);
                match number {
                    Ok(number) if number >= answered => Ok(number + 1),
                    _ => Err(Failure::unexpected(0, "a pong of a later ping", &payload)),
                }
            }
            other => Err(other.refuse("a pong")),
        },
    )
}

fn flood(
    attack: &Attack<'_>,
    tally: &mut Tally,
    mut write: impl FnMut(std::ops::Range<u64>) -> Vec<u8>,
    mut answer: impl FnMut(Heard, u64) -> Result<u64, Failure>,
) -> Result<(), Failure> {
    let until = attack.begin();
    let mut client = attack.open(None)?;
    let (mut sent, mut answered) = (0, 0);
    while Instant::now() < until || answered < sent {
        while Instant::now() < until && sent - answered <= ON_THE_WAY_MAX - AT_ONCE {
            let frames = write(sent..sent + AT_ONCE);
            if client.send(&frames, ANSWER_MAX)? != Sent::All {
                return Err(Failure::Timeout("a server that reads".to_owned()));
            }
            sent += AT_ONCE;
        }
        if answered < sent {
            let heard = client.hear(ANSWER_MAX)?;
            tally.count("answers", 1);
            answered = answer(heard, answered)?;
        }
    }
    tally.count("sent", sent);
    Ok(())
}
