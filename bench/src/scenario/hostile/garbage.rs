//! What is no protocol at all, and what is one only in form.

use super::client::{ANSWER_MAX, Sent};
use super::{Attack, Tally};
use crate::failure::Failure;
use crate::frame;
use std::time::{Duration, Instant};

const RANDOM_BYTES: usize = 512;
/// Random bytes can be the beginning of something that the server has to wait for.
const GIVE_UP: Duration = Duration::from_millis(100);
/// A message of 1 MiB in which each fragment counts at least 16 bytes ends here, and a bit more.
const FRAGMENTS: usize = (1 << 20) / 16 + 1_000;
const FRAGMENTS_AT_ONCE: usize = 1_024;

/// Comes again and again, each time with something else that is wrong.
pub(super) fn bytes(attack: &Attack<'_>, number: usize, tally: &mut Tally) -> Result<(), Failure> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1));
    let until = attack.begin();
    let mut turn = number;
    while Instant::now() < until {
        turn += 1;
        let mut noise = random.bytes(RANDOM_BYTES);
        if turn.is_multiple_of(4) {
            let mut client = attack.connect(None)?;
            client.send(&noise, ANSWER_MAX)?;
            tally.count("instead_of_a_handshake", 1);
            if client.receive(GIVE_UP)?.is_none() {
                tally.count("left_waiting", 1);
            }
            continue;
        }
        let mut client = attack.open(None)?;
        let mut wrong = Vec::new();
        let wanted: &[u16] = match turn % 4 {
            1 => {
                wrong = noise;
                tally.count("random_frames", 1);
                &[]
            }
            2 => {
                noise[0] = 0xff;
                frame::write_text(&mut wrong, &noise);
                tally.count("texts_not_utf8", 1);
                &[1007]
            }
            _ => {
                frame::write_text(&mut wrong, br#"["1","1","room:a""#);
                tally.count("texts_not_messages", 1);
                &[1011]
            }
        };
        client.send(&wrong, ANSWER_MAX)?;
        let patience = if wanted.is_empty() {
            GIVE_UP
        } else {
            ANSWER_MAX
        };
        match client.end(patience)? {
            Some(code) if wanted.is_empty() || wanted.contains(&code) => {}
            None if wanted.is_empty() => tally.count("left_waiting", 1),
            code => tally.fault(format!("expected a close with {wanted:?}, got {code:?}")),
        }
    }
    Ok(())
}

/// One message in fragments of 0 and 1 bytes.
pub(super) fn fragments(attack: &Attack<'_>, tally: &mut Tally) -> Result<(), Failure> {
    let mut first = Vec::new();
    frame::write_fragment(&mut first, true, b"");
    let mut rest = Vec::new();
    for number in 0..FRAGMENTS_AT_ONCE {
        frame::write_fragment(&mut rest, false, &b"x"[..number % 2]);
    }
    frame::write_ping(&mut rest, b"still here");
    let until = attack.begin();
    while Instant::now() < until {
        let mut client = attack.open(None)?;
        client.send(&first, ANSWER_MAX)?;
        for _ in 0..FRAGMENTS.div_ceil(FRAGMENTS_AT_ONCE) {
            if client.send(&rest, ANSWER_MAX)? != Sent::All {
                break;
            }
            tally.count("fragments", FRAGMENTS_AT_ONCE as u64);
        }
        match client.end(ANSWER_MAX)? {
            Some(1009) => tally.count("ended_1009", 1),
            code => tally.fault(format!("tiny fragments ended with {code:?}, not 1009")),
        }
    }
    Ok(())
}

/// Xorshift: the same bytes in every run.
struct Random(u64);

impl Random {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                (self.0 >> 32) as u8
            })
            .collect()
    }
}
