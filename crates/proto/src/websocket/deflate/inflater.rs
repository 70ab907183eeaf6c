//! [`Inflater`]: what a compressed message was before, within limits. Collecting its frames is not here
//! (`decoder`).

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::KEPT_BYTES_MAX;
use crate::websocket::event::{Deflated, Event, read_event};
use crate::websocket::header::Opcode;
use crate::websocket::limits::{INFLATED_BYTES_FREE, Limits};
use crate::websocket::protocol_error::ProtocolError;

/// What is read behind every message: the tail that was not sent (RFC 7692, section 7.2.2), and an empty block
/// that says it is the last. A message that ends in the middle of a block never gets to the end of this one.
const END: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// The first buffer of a message.
const OUTPUT_BYTES_MIN: usize = 1024;

/// Inflates one message after the other, each as if it were the first. About 48 KB once it has been used, and
/// the message: keep a few and lend them out to the connections that have one to inflate.
pub struct Inflater {
    decompress: Decompress,
    output: Vec<u8>,
}

/// How much may come out of one message.
struct Bound {
    bytes_max: usize,
    error: ProtocolError,
}

impl Inflater {
    /// Reads messages of any window (RFC 7692, section 7.1.2).
    #[must_use]
    pub fn new() -> Self {
        Self {
            decompress: Decompress::new(false),
            output: Vec::new(),
        }
    }

    /// What the message is: [`Event::Text`] or [`Event::Binary`]. It stays in memory until the next call, or
    /// [`release`](Self::release).
    ///
    /// Whole blocks of DEFLATE are accepted, any number of them; a block that says it is the last one may be
    /// followed by others, which begin at the next byte (section 7.2.3.4), or by nothing. A payload of no
    /// bytes is a message of none.
    ///
    /// # Errors
    /// [`ProtocolError::InflatedTooBig`] and [`ProtocolError::InflateRatio`] as soon as that much has come
    /// out, [`ProtocolError::NotDeflate`], and [`ProtocolError::TextNotUtf8`]. The connection must end with
    /// the close code of the error; the inflater can go on with other messages.
    pub fn inflate(
        &mut self,
        limits: &Limits,
        deflated: Deflated<'_>,
    ) -> Result<Event<'_>, ProtocolError> {
        self.release();
        if let Err(error) = self.run(limits, deflated.payload) {
            self.release();
            return Err(error);
        }
        let opcode = if deflated.text {
            Opcode::Text
        } else {
            Opcode::Binary
        };
        read_event(opcode, &self.output)
    }

    /// Lets go of the last message, and of the memory that a large one took. Every call begins with this;
    /// call it if the next may be long in coming.
    pub fn release(&mut self) {
        self.output.clear();
        if self.output.capacity() > KEPT_BYTES_MAX {
            self.output = Vec::new();
        }
    }

    /// How much memory is held for messages, in bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.output.capacity()
    }

    fn run(&mut self, limits: &Limits, payload: &[u8]) -> Result<(), ProtocolError> {
        if payload.is_empty() {
            return Ok(());
        }
        let bound = Bound::new(limits, payload.len());
        let estimate = payload.len().saturating_mul(4).max(OUTPUT_BYTES_MIN);
        self.output
            .reserve(estimate.min(bound.bytes_max.saturating_add(1)));
        self.decompress.reset(false);

        let mut rest = payload;
        loop {
            let (taken, ended) = self.step(&bound, rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            if !ended {
                break;
            }
            if rest.is_empty() {
                // That was a last block and there is nothing behind it.
                return Ok(());
            }
            // Each takes at least two bytes of what was sent, so there is no end of these only for those who
            // send no end of bytes.
            self.decompress.reset(false);
        }
        let message_bytes = self.output.len();
        let whole = (END.len(), true);
        // If any of it comes out again, a block was not over.
        if self.step(&bound, &END)? == whole && self.output.len() == message_bytes {
            Ok(())
        } else {
            Err(ProtocolError::NotDeflate)
        }
    }

    /// Inflates from the front of `input` until it is used up, the room is, or a last block ends. Returns how
    /// much it took, all of it if there is nothing more to come of it, and whether a last block ended.
    fn step(&mut self, bound: &Bound, input: &[u8]) -> Result<(usize, bool), ProtocolError> {
        let mut taken = 0;
        loop {
            self.make_room(bound);
            let before = self.decompress.total_in();
            let rest = input.get(taken..).unwrap_or_default();
            let status =
                self.decompress
                    .decompress_vec(rest, &mut self.output, FlushDecompress::Sync);
            let status = status.map_err(|_| ProtocolError::NotDeflate)?;
            // No more than was given.
            taken += usize::try_from(self.decompress.total_in() - before).unwrap_or(0);
            if self.output.len() > bound.bytes_max {
                return Err(bound.error.clone());
            }
            if status == Status::StreamEnd {
                return Ok((taken, true));
            }
            let is_full = self.output.len() == self.output.capacity();
            if !is_full && taken == input.len() {
                return Ok((taken, false));
            }
            if !is_full {
                // Room was left, and input too: it cannot go on.
                return Err(ProtocolError::NotDeflate);
            }
        }
    }

    /// Makes sure of room for one byte at least. The buffer grows with what has really come out, and one byte
    /// beyond the bound, where it shows that there is more.
    fn make_room(&mut self, bound: &Bound) {
        let held = self.output.len();
        if held < self.output.capacity() {
            return;
        }
        let doubled = held.saturating_mul(2).max(OUTPUT_BYTES_MIN);
        let capacity = doubled.min(bound.bytes_max.saturating_add(1));
        self.output
            .reserve_exact(capacity.saturating_sub(held).max(1));
    }
}

impl Bound {
    fn new(limits: &Limits, payload_bytes: usize) -> Self {
        let bytes_max = limits.message_bytes_max;
        let ratio_max = limits.inflate_ratio_max;
        let by_ratio = payload_bytes
            .saturating_mul(ratio_max)
            .max(INFLATED_BYTES_FREE);
        if by_ratio < bytes_max {
            Self {
                bytes_max: by_ratio,
                error: ProtocolError::InflateRatio { ratio_max },
            }
        } else {
            Self {
                bytes_max,
                error: ProtocolError::InflatedTooBig { bytes_max },
            }
        }
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Inflater {
    /// Leaves out what it holds: it is somebody's message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("buffered_bytes", &self.buffered_bytes())
            .finish_non_exhaustive()
    }
}
