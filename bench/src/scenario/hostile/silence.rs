//! Those who do not read: the server has to keep what they asked for, and must stop keeping it at its limit.

use super::client::Sent;
use super::{Attack, Tally};
use crate::failure::Failure;
use crate::frame;
use crate::message::Pen;
use std::time::{Duration, Instant};

/// How much each asks for before it gives up: much more than a server may keep, the kernel's buffers included.
const ASKED_BYTES_MAX: usize = 32 << 20;
const BIG_BYTES: usize = 1_000_000;
const SHOUT_BYTES: usize = 100_000;
/// So that the kernel keeps little of it on our side.
const RECEIVE_BYTES: usize = 4 << 10;
/// How long nothing may be taken until we believe that the server does not read either.
const BLOCKED: Duration = Duration::from_millis(300);
/// How long the server may take to produce what was asked for.
const DIGESTION: Duration = Duration::from_millis(500);
/// How long it may take to say goodbye once we read again.
const GOODBYE_MAX: Duration = Duration::from_secs(3);
const PINGS_AT_ONCE: usize = 4_096;
/// Pings in one session: their pongs have 2 bytes each, and this is more of them than 4 MiB and the kernel's buffers.
const PINGS_MAX: usize = 8 << 20;

/// Asks for big answers, or shouts to itself, by turns of connections.
pub(super) fn asks(attack: &Attack<'_>, number: usize, tally: &mut Tally) -> Result<(), Failure> {
    let topic = format!("room:silent-{}-{number}", std::process::id());
    let mut request = Pen::default();
    let answer = if number.is_multiple_of(2) {
        request.push(2, &topic, "big", format_args!(r#"{{"bytes":{BIG_BYTES}}}"#));
        BIG_BYTES
    } else {
        let body = "x".repeat(SHOUT_BYTES);
        request.push(2, &topic, "shout", format_args!(r#"{{"body":"{body}"}}"#));
        SHOUT_BYTES
    };
    let until = attack.begin();
    while Instant::now() < until {
        let mut client = attack.open(Some(RECEIVE_BYTES))?;
        client.join(&topic)?;
        let mut asked = 0;
        while asked < ASKED_BYTES_MAX && client.send(request.frames(), BLOCKED)? == Sent::All {
            asked += answer;
        }
        std::thread::sleep(DIGESTION);
        tally.count("sessions", 1);
        match client.end(GOODBYE_MAX)? {
            Some(1013) => tally.count("cut_1013", 1),
            Some(0) => tally.count("cut_without_code", 1),
            Some(code) => tally.fault(format!("a silent reader was closed with {code}")),
            None => tally.fault(format!(
                "a silent reader was owed {asked} bytes and not cut"
            )),
        }
    }
    Ok(())
}

/// Pings without reading the pongs, until the server cuts us; if it just reads no further, that is as good.
pub(super) fn pings(attack: &Attack<'_>, tally: &mut Tally) -> Result<(), Failure> {
    let mut pings = Vec::new();
    for _ in 0..PINGS_AT_ONCE {
        frame::write_ping(&mut pings, b"");
    }
    let until = attack.begin();
    while Instant::now() < until {
        let mut client = attack.open(Some(RECEIVE_BYTES))?;
        let mut sent = 0;
        let mut outcome = Sent::All;
        while outcome == Sent::All && sent < PINGS_MAX && Instant::now() < until {
            outcome = client.send(&pings, BLOCKED)?;
            sent += PINGS_AT_ONCE;
        }
        tally.count("pings", sent as u64);
        if outcome == Sent::All {
            let ending = if sent < PINGS_MAX {
                "unfinished"
            } else {
                "all_taken"
            };
            tally.count(ending, 1);
            continue;
        }
        match client.end(GOODBYE_MAX)? {
            Some(1013) => tally.count("cut_1013", 1),
            Some(0) => tally.count("cut_without_code", 1),
            Some(code) => tally.fault(format!("unread pings were closed with {code}")),
            None => tally.count("held_back", 1),
        }
    }
    Ok(())
}
