//! Those who send a byte now and then: handshakes that are never done, and frames that are never whole.

use super::client::{Client, Sent};
use super::{CONNECTIONS_PER_SOURCE, Tally, say_ready};
use crate::failure::Failure;
use crate::frame;
use crate::handshake;
use crate::target::Target;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(100);
const FRAME_BYTES: usize = 100_000;

struct Slow {
    client: Client,
    bytes: Vec<u8>,
    at: usize,
}

/// A third say nothing at all, a third dribble a handshake, a third a frame.
pub(super) fn play(target: &Target, connections: usize, time: Duration) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut frame = Vec::new();
    frame::write_text(&mut frame, &[b'x'; FRAME_BYTES]);
    let mut crowd = Vec::new();
    for number in 0..connections {
        let mut client = Client::connect(target, number / CONNECTIONS_PER_SOURCE, None)?;
        let bytes = match number % 3 {
            0 => Vec::new(),
            1 => handshake::request(target),
            _ => {
                client.upgrade(target)?;
                frame.clone()
            }
        };
        crowd.push(Slow {
            client,
            bytes,
            at: 0,
        });
    }
    tally.count("slow_connections", crowd.len() as u64);
    say_ready()?;
    let started = Instant::now();
    for round in 1u32.. {
        if started.elapsed() >= time {
            break;
        }
        for slow in &mut crowd {
            // The last byte of a handshake is kept back for ever.
            let last = slow.bytes.len().saturating_sub(1);
            if let Some(byte) = slow.bytes[..last].get(slow.at..=slow.at) {
                slow.at += 1;
                match slow.client.send(byte, EVERY)? {
                    Sent::All => tally.count("bytes", 1),
                    Sent::Blocked => {}
                    Sent::Ended => {
                        slow.bytes.clear();
                        tally.count("ended_by_the_server", 1);
                    }
                }
            }
        }
        std::thread::sleep((started + EVERY * round).saturating_duration_since(Instant::now()));
    }
    Ok(tally)
}
