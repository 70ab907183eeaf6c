//! What one connection has sent of a frame and of a message, and what comes out of it.
//!
//! Not here: the rules for a header by itself (`header`), for the body of a close frame (`close`) and for
//! text in pieces (`utf8`).

use std::fmt;
use std::ops::Range;

use super::event::{Deflated, Event, check_close, read_event};
use super::header::{CONTROL_BYTES_MAX, Context, Header, Opcode, PartialHeader, Role};
use super::limits::Limits;
use super::mask::apply_mask;
use super::protocol_error::ProtocolError;
use super::utf8::Utf8Validator;

/// The first buffer of a message that arrives in pieces, unless it is known to be shorter.
const BUFFER_BYTES_MIN: usize = 64;

/// What one call of [`Decoder::decode`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// How much of the front of the input is done with: all of it, if there is no event.
    pub consumed: usize,
    /// The first thing that the input completed.
    pub event: Option<Event<'a>>,
}

/// Reads the frames of one connection. At most 64 bytes, and no heap memory while the connection is between
/// messages.
///
/// A message that arrives whole, in one frame, is never copied. One that arrives in pieces is held here; the
/// buffer grows with the bytes that are really there, to no more than [`Limits::message_bytes_max`] and one
/// control frame.
pub struct Decoder {
    /// The message so far, and behind it the control frame that is arriving, if one is.
    buffer: Vec<u8>,
    state: State,
    /// What the frames of the message under way have cost.
    cost_bytes: u64,
    utf8: Utf8Validator,
    role: Role,
    /// `Text` or `Binary`: the kind of the message under way, from its first header to its last byte.
    message: Option<Opcode>,
    /// How many bytes at the end of `buffer` belong to a control frame.
    control_bytes: u8,
    deflate: Deflate,
}

/// permessage-deflate, as far as framing goes: one bit on the first frame of a message (RFC 7692, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deflate {
    /// Not negotiated: no frame may have the bit.
    Off,
    /// Negotiated, and the message under way is not compressed, or none is under way.
    Plain,
    /// Negotiated, and the message under way is compressed.
    Deflated,
}

#[derive(Debug)]
enum State {
    /// Between frames, or inside a header.
    Header(PartialHeader),
    /// Inside a payload, or right before an empty one.
    Payload(Frame),
    /// A close frame has been read.
    Closed,
    Failed(ProtocolError),
}

/// The frame whose payload is arriving.
#[derive(Clone, Copy, Debug)]
struct Frame {
    remaining: usize,
    /// Turned so that its first byte belongs to the next byte of the payload.
    mask: Option<[u8; 4]>,
    opcode: Opcode,
    fin: bool,
}

/// A complete message or control frame, by its place: the borrow is taken only once the work is done.
#[derive(Debug)]
struct Found {
    opcode: Opcode,
    deflated: bool,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Input(Range<usize>),
    /// From here to the end of `Decoder::buffer`.
    Buffer(usize),
}

/// What a piece of payload led to.
enum Progress {
    NeedsMore,
    /// A fragment ended, its message did not.
    FragmentEnded,
    Found(Found),
}

// The private steps are marked `#[inline]`: a short frame goes through all of them, and costs a third less that way.
impl Decoder {
    /// For a connection whose handshake is done. `role` is ours.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            buffer: Vec::new(),
            state: State::Header(PartialHeader::default()),
            cost_bytes: 0,
            utf8: Utf8Validator::default(),
            role,
            message: None,
            control_bytes: 0,
            deflate: Deflate::Off,
        }
    }

    /// Accepts compressed messages, for a connection that has negotiated permessage-deflate. They come out
    /// as [`Event::Deflated`], collected and unmasked but not inflated, so that the decoder holds nothing of
    /// an inflater. [`Limits::message_bytes_max`] bounds their compressed bytes here.
    #[must_use]
    pub fn with_deflate(mut self) -> Self {
        self.deflate = Deflate::Plain;
        self
    }

    /// Takes in the front of `input`, unmasking it in place, up to the end of the first message or control
    /// frame.
    ///
    /// Without an event the whole input has been consumed, and more is needed. With one, call again with the
    /// input from `consumed` on. A message that arrived in pieces stays in memory until the next call, or
    /// [`release`](Self::release). `limits` may differ from call to call.
    ///
    /// After a close event all further input is consumed without a look at it.
    ///
    /// # Errors
    ///
    /// The first rule that the peer breaks, as soon as the bytes that break it are there; the same error from
    /// then on. The input may have been unmasked in part; what follows an error means nothing.
    pub fn decode<'a>(
        &'a mut self,
        limits: &Limits,
        input: &'a mut [u8],
    ) -> Result<Decoded<'a>, ProtocolError> {
        self.release();
        let (consumed, found) = match self.advance(limits, input) {
            Ok(advanced) => advanced,
            Err(error) => return Err(self.fail(error)),
        };
        let Some(found) = found else {
            return Ok(Decoded {
                consumed,
                event: None,
            });
        };
        let payload = match found.place {
            Place::Input(range) => input.get(range),
            Place::Buffer(start) => self.buffer.get(start..),
        };
        let payload = payload.unwrap_or_default();
        if found.deflated {
            let text = found.opcode == Opcode::Text;
            return Ok(Decoded {
                consumed,
                event: Some(Event::Deflated(Deflated { text, payload })),
            });
        }
        match read_event(found.opcode, payload) {
            Ok(event) => Ok(Decoded {
                consumed,
                event: Some(event),
            }),
            Err(error) => {
                // Only text that came whole is first judged here, and for that nothing is held.
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Whether the connection is between messages: no part of a frame or of a message is held.
    ///
    /// Also true after a close or an error, when nothing is awaited any more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match &self.state {
            State::Header(header) => header.is_empty() && self.message.is_none(),
            State::Payload(_) => false,
            State::Closed | State::Failed(_) => true,
        }
    }

    /// How much heap memory is held, in bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Lets go of a message that has been handed out. [`decode`](Self::decode) begins with this; call it if
    /// the next call may be long in coming.
    pub fn release(&mut self) {
        if self.buffer.capacity() == 0 || matches!(self.state, State::Payload(_)) {
            return;
        }
        if self.message.is_some() {
            self.buffer.truncate(self.message_bytes());
        } else {
            self.buffer = Vec::new();
        }
        self.control_bytes = 0;
    }

    #[inline]
    fn advance(
        &mut self,
        limits: &Limits,
        input: &mut [u8],
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        let mut at = 0;
        loop {
            let rest = input.get_mut(at..).unwrap_or_default();
            let context = Context {
                role: self.role,
                in_message: self.message.is_some(),
                deflate: self.deflate != Deflate::Off,
            };
            match &mut self.state {
                State::Header(partial) => {
                    let (taken, header) = partial.read(rest, context)?;
                    at += taken;
                    let Some(header) = header else {
                        return Ok((at, None));
                    };
                    self.admit(limits, &header)?;
                }
                State::Payload(frame) => {
                    let frame = *frame;
                    let taken = frame.remaining.min(rest.len());
                    let progress = self.take_payload(limits, frame, at, rest)?;
                    at += taken;
                    match progress {
                        Progress::NeedsMore => return Ok((at, None)),
                        Progress::FragmentEnded => {}
                        Progress::Found(found) => return Ok((at, Some(found))),
                    }
                }
                State::Closed => return Ok((input.len(), None)),
                State::Failed(error) => return Err(error.clone()),
            }
        }
    }

    /// Decides whether the payload that `header` announces may come.
    #[inline]
    fn admit(&mut self, limits: &Limits, header: &Header) -> Result<(), ProtocolError> {
        if !header.opcode.is_control() {
            let continues = header.opcode == Opcode::Continuation;
            let cost_min = if header.fin && !continues {
                0
            } else {
                limits.fragment_cost_bytes_min as u64
            };
            let cost_bytes = self.cost_bytes.saturating_add(header.length.max(cost_min));
            if cost_bytes > limits.message_bytes_max as u64 {
                let bytes_max = limits.message_bytes_max;
                return Err(ProtocolError::MessageTooBig {
                    cost_bytes,
                    bytes_max,
                });
            }
            self.cost_bytes = cost_bytes;
            if !continues {
                self.message = Some(header.opcode);
                if header.deflated {
                    self.deflate = Deflate::Deflated;
                }
            }
        }
        // What was admitted is within a limit that is a `usize`, so nothing is cut off here.
        let remaining = usize::try_from(header.length).unwrap_or(usize::MAX);
        self.state = State::Payload(Frame {
            remaining,
            mask: header.mask,
            opcode: header.opcode,
            fin: header.fin,
        });
        Ok(())
    }

    /// Takes what `rest`, which begins at `at` of the input, has of the payload of `frame`.
    #[inline]
    fn take_payload(
        &mut self,
        limits: &Limits,
        mut frame: Frame,
        at: usize,
        rest: &mut [u8],
    ) -> Result<Progress, ProtocolError> {
        let taken = frame.remaining.min(rest.len());
        let piece = rest.get_mut(..taken).unwrap_or_default();
        if let Some(mask) = &mut frame.mask {
            *mask = apply_mask(*mask, piece);
        }
        let ends = taken == frame.remaining;
        if ends && self.is_whole_in_input(frame) {
            check_close(frame.opcode, piece)?;
            return Ok(self.end_frame(frame, Place::Input(at..at + taken)));
        }

        let is_control = frame.opcode.is_control();
        let is_text = self.message == Some(Opcode::Text) && self.deflate != Deflate::Deflated;
        if !is_control && is_text {
            self.utf8.push(piece)?;
            if ends && frame.fin {
                self.utf8.finish()?;
            }
        }
        self.hold(limits, frame, piece);
        frame.remaining -= taken;
        if !ends {
            self.state = State::Payload(frame);
            return Ok(Progress::NeedsMore);
        }
        let start = if is_control { self.message_bytes() } else { 0 };
        check_close(frame.opcode, self.buffer.get(start..).unwrap_or_default())?;
        Ok(self.end_frame(frame, Place::Buffer(start)))
    }

    /// Whether `frame`, which ends in the input, also begins in it and completes nothing that is held: then it
    /// needs no copy.
    fn is_whole_in_input(&self, frame: Frame) -> bool {
        if frame.opcode.is_control() {
            self.control_bytes == 0
        } else {
            frame.fin && self.buffer.is_empty()
        }
    }

    /// Appends `piece` to the buffer. Its bytes have arrived: no length that was merely announced ever
    /// reserves memory.
    fn hold(&mut self, limits: &Limits, frame: Frame, piece: &[u8]) {
        let held = self.buffer.len();
        let needed = held.saturating_add(piece.len());
        if needed > self.buffer.capacity() {
            // Doubling keeps reassembly linear, for the control frames between fragments too; the bound keeps
            // the last doubling within the limit.
            let last = frame.fin && (!frame.opcode.is_control() || self.message.is_none());
            let bound = if last {
                held.saturating_add(frame.remaining)
            } else {
                limits.message_bytes_max.saturating_add(CONTROL_BYTES_MAX)
            };
            let doubled = self
                .buffer
                .capacity()
                .saturating_mul(2)
                .max(BUFFER_BYTES_MIN);
            let capacity = doubled.min(bound).max(needed);
            self.buffer.reserve_exact(capacity - held);
        }
        self.buffer.extend_from_slice(piece);
        if frame.opcode.is_control() {
            // A control frame carries at most 125 bytes.
            self.control_bytes = self
                .control_bytes
                .saturating_add(u8::try_from(piece.len()).unwrap_or(u8::MAX));
        }
    }

    #[inline]
    fn end_frame(&mut self, frame: Frame, place: Place) -> Progress {
        self.state = State::Header(PartialHeader::default());
        if !frame.fin {
            return Progress::FragmentEnded;
        }
        let mut deflated = false;
        let opcode = if frame.opcode.is_control() {
            frame.opcode
        } else {
            self.cost_bytes = 0;
            if self.deflate == Deflate::Deflated {
                self.deflate = Deflate::Plain;
                deflated = true;
            }
            self.message.take().unwrap_or(frame.opcode)
        };
        if opcode == Opcode::Close {
            self.state = State::Closed;
            self.message = None;
            if matches!(place, Place::Input(_)) {
                self.release();
            }
        }
        Progress::Found(Found {
            opcode,
            deflated,
            place,
        })
    }

    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.state = State::Failed(error.clone());
        self.message = None;
        self.release();
        error
    }

    fn message_bytes(&self) -> usize {
        self.buffer
            .len()
            .saturating_sub(usize::from(self.control_bytes))
    }
}

impl fmt::Debug for Decoder {
    /// Leaves out the bytes that are held: they are somebody's message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("message", &self.message)
            .field("buffered_bytes", &self.buffered_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::{Decoder, Role};

    #[test]
    fn a_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 64, "{} bytes", size_of::<Decoder>());
        assert_eq!(Decoder::new(Role::Server).buffered_bytes(), 0);
    }
}
