//! Those who wear out channels: joins without end, joins of the same topic again and again, crash after crash.

use super::client::{ANSWER_MAX, Client, Heard, holds, is_ok};
use super::{Attack, Tally};
use crate::failure::Failure;
use crate::frame;
use std::time::Instant;

/// Joins that are on the way at once.
const JOINS_AT_ONCE: u64 = 32;
/// Channels of one socket.
const JOINS_MAX: u64 = 100;

/// Even connections join new topics, odd ones the same.
pub(super) fn joins(attack: &Attack<'_>, number: usize, tally: &mut Tally) -> Result<(), Failure> {
    let is_endless = number.is_multiple_of(2);
    let until = attack.begin();
    let mut client = attack.open(None)?;
    let mut joined = 0;
    let mut next = 1;
    while Instant::now() < until {
        let mut frames = Vec::new();
        for reference in next..next + JOINS_AT_ONCE {
            let topic = if is_endless { reference } else { 0 };
            let join = format!(
                r#"["{reference}","{reference}","room:j{number}-{topic}","phx_join",{{}}]"#
            );
            frame::write_text(&mut frames, join.as_bytes());
        }
        next += JOINS_AT_ONCE;
        client.send(&frames, ANSWER_MAX)?;
        let mut replies = 0;
        while replies < JOINS_AT_ONCE {
            let text = hear_text(&mut client)?;
            if is_ok(&text) {
                joined += 1;
            } else if !is_endless && holds(&text, b"phx_close") {
                tally.count("replaced", 1);
                continue;
            } else if !is_endless || !holds(&text, b"too many channels joined") {
                tally.fault(format!("a join: {}", String::from_utf8_lossy(&text)));
            } else {
                tally.count("refused", 1);
            }
            replies += 1;
        }
    }
    if is_endless && joined > JOINS_MAX {
        tally.fault(format!("{joined} channels on one socket"));
    }
    tally.count("joined", joined);
    Ok(())
}

/// The first connection joins a room that crashes in join; the others crash in a handler.
pub(super) fn panics(attack: &Attack<'_>, number: usize, tally: &mut Tally) -> Result<(), Failure> {
    let until = attack.begin();
    let mut client = attack.open(None)?;
    let topic = if number == 0 {
        "room:crash".to_owned()
    } else {
        format!("room:p{number}")
    };
    let mut reference = 0u64;
    while Instant::now() < until {
        reference += 1;
        let join = format!(r#"["{reference}","{reference}","{topic}","phx_join",{{}}]"#);
        send_text(&mut client, &join)?;
        let text = hear_text(&mut client)?;
        if number == 0 {
            tally.count("joins_crashed", 1);
            if !holds(&text, br#""reason":"join crashed""#) {
                tally.fault(format!(
                    "a crash in join: {}",
                    String::from_utf8_lossy(&text)
                ));
            }
            continue;
        }
        if !is_ok(&text) {
            tally.fault(format!("a rejoin: {}", String::from_utf8_lossy(&text)));
        }
        send_text(
            &mut client,
            &format!(r#"["{reference}","0","{topic}","crash",{{}}]"#),
        )?;
        let text = hear_text(&mut client)?;
        tally.count("crashes", 1);
        if !holds(&text, b"phx_error") {
            tally.fault(format!("a crash: {}", String::from_utf8_lossy(&text)));
        }
    }
    Ok(())
}

fn send_text(client: &mut Client, text: &str) -> Result<(), Failure> {
    let mut frames = Vec::new();
    frame::write_text(&mut frames, text.as_bytes());
    client.send(&frames, ANSWER_MAX).map(|_| ())
}

fn hear_text(client: &mut Client) -> Result<Vec<u8>, Failure> {
    match client.hear(ANSWER_MAX)? {
        Heard::Frame(frame::Opcode::Text, text) => Ok(text),
        other => Err(other.refuse("an answer")),
    }
}
