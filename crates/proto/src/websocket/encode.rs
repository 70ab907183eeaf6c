//! Finished frames, RFC 6455, section 5.2: one message, one frame, FIN set. What we send is never fragmented.
//!
//! A server's frames carry no mask, so the bytes are the same for every connection, and one [`Bytes`] serves
//! all of them.

use std::io;

use bytes::Bytes;

use super::header::{CONTROL_BYTES_MAX, FIN, LENGTH_16, LENGTH_64, MASKED, Opcode};
use super::mask::apply_mask;

/// The longest header of an unmasked frame.
pub const HEADER_BYTES_MAX: usize = 10;

/// The code takes two of the 125 bytes of a close frame.
const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Writes the header of a finished unmasked frame to the start of `out`, and returns its length: 2, 4 or 10
/// bytes.
///
/// The payload of a close, ping or pong must not exceed 125 bytes; a peer would refuse the frame.
pub fn encode_header(
    opcode: Opcode,
    payload_len: usize,
    out: &mut [u8; HEADER_BYTES_MAX],
) -> usize {
    debug_assert!(
        !opcode.is_control() || payload_len <= CONTROL_BYTES_MAX,
        "a control frame carries at most 125 bytes, not {payload_len}"
    );
    let first = FIN | opcode as u8;
    if let Ok(short) = u8::try_from(payload_len)
        && short < LENGTH_16
    {
        [out[0], out[1]] = [first, short];
        2
    } else if let Ok(length) = u16::try_from(payload_len) {
        let [high, low] = length.to_be_bytes();
        [out[0], out[1], out[2], out[3]] = [first, LENGTH_16, high, low];
        4
    } else {
        let [a, b, c, d, e, f, g, h] = (payload_len as u64).to_be_bytes();
        *out = [first, LENGTH_64, a, b, c, d, e, f, g, h];
        10
    }
}

/// One finished unmasked frame around a copy of `payload`, in a single allocation. See [`FrameBuilder`] for
/// one without the copy.
///
/// The payload of a close, ping or pong must not exceed 125 bytes, as for [`encode_header`].
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut header = [0; HEADER_BYTES_MAX];
    let header_len = encode_header(opcode, payload.len(), &mut header);
    let mut bytes = Vec::with_capacity(header_len + payload.len());
    bytes.extend(header.iter().take(header_len));
    bytes.extend_from_slice(payload);
    Bytes::from(bytes)
}

/// The payload of a finished unmasked frame of a data message that is not compressed: what [`frame`] and
/// [`FrameBuilder::finish`] make. `None` for everything else.
#[must_use]
pub fn plain_message(frame: &[u8]) -> Option<(Opcode, &[u8])> {
    let (&first, rest) = frame.split_first()?;
    let opcode = [Opcode::Text, Opcode::Binary]
        .into_iter()
        .find(|opcode| first == FIN | *opcode as u8)?;
    let (&marker, rest) = rest.split_first()?;
    let (length, payload) = match marker {
        LENGTH_16 => {
            let (length, payload) = rest.split_first_chunk::<2>()?;
            (u64::from(u16::from_be_bytes(*length)), payload)
        }
        LENGTH_64 => {
            let (length, payload) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*length), payload)
        }
        short => (u64::from(short), rest),
    };
    (payload.len() as u64 == length).then_some((opcode, payload))
}

/// A close frame (section 5.5.1). Without a code the body is empty, whatever the reason.
///
/// `code` is sent as it is: ask [`close_code_is_valid`](super::close_code_is_valid) about one that comes from
/// outside. `reason` is cut at a character boundary to at most 123 bytes.
#[must_use]
pub fn close_frame(code: Option<u16>, reason: &str) -> Bytes {
    let Some(code) = code else {
        return frame(Opcode::Close, &[]);
    };
    let end = reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX);
    let reason = reason.get(..end).unwrap_or_default();
    let mut builder = FrameBuilder::with_capacity(2 + reason.len());
    builder.extend_from_slice(&code.to_be_bytes());
    builder.extend_from_slice(reason.as_bytes());
    builder.finish(Opcode::Close)
}

/// A masked frame, as a client sends it (section 5.3): for tests, load tools and clients. `fin` is false for
/// all fragments but the last.
///
/// Nothing is checked, so that a test can also write what a peer must refuse.
#[must_use]
pub fn masked_frame(fin: bool, opcode: Opcode, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX + mask.len() + payload.len());
    bytes.push(if fin { FIN } else { 0 } | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < LENGTH_16 => bytes.push(MASKED | short),
        (_, Ok(length)) => {
            bytes.push(MASKED | LENGTH_16);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            bytes.push(MASKED | LENGTH_64);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(mask, bytes.get_mut(start..).unwrap_or_default());
    bytes
}

/// Collects a payload behind room for the longest header, so that the finished frame needs no second copy.
///
/// It is an [`io::Write`] that never fails, for encoders that want one. The spare capacity of the buffer
/// lives as long as the frame does: give a close estimate to frames that will wait in queues.
#[derive(Debug)]
pub struct FrameBuilder {
    /// Ten bytes of room, then the payload.
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// An empty payload with room for `payload_estimate` bytes; it grows when the estimate was too low.
    #[must_use]
    pub fn with_capacity(payload_estimate: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX.saturating_add(payload_estimate));
        bytes.extend_from_slice(&[0; HEADER_BYTES_MAX]);
        Self { bytes }
    }

    /// Appends to the payload.
    pub fn extend_from_slice(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
    }

    /// Length of the payload so far, in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER_BYTES_MAX)
    }

    /// The finished unmasked frame. The header goes right before the payload, and what is left of the room is
    /// sliced off.
    #[must_use]
    pub fn finish(self, opcode: Opcode) -> Bytes {
        self.finish_with(opcode, 0)
    }

    /// [`finish`](Self::finish) with reserved bits of the first byte, for a payload of an extension.
    pub(super) fn finish_with(mut self, opcode: Opcode, reserved: u8) -> Bytes {
        let mut header = [0; HEADER_BYTES_MAX];
        let header_len = encode_header(opcode, self.payload_bytes(), &mut header);
        header[0] |= reserved;
        let start = HEADER_BYTES_MAX - header_len;
        for (room, byte) in self
            .bytes
            .iter_mut()
            .skip(start)
            .zip(header.iter().take(header_len))
        {
            *room = *byte;
        }
        Bytes::from(self.bytes).slice(start..)
    }
}

impl io::Write for FrameBuilder {
    fn write(&mut self, payload: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(payload);
        Ok(payload.len())
    }

    fn write_all(&mut self, payload: &[u8]) -> io::Result<()> {
        self.extend_from_slice(payload);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
