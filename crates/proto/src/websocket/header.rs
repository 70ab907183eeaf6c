//! The frame header of RFC 6455, section 5.2, as it is read, and every rule that it can break by itself.
//!
//! Not here: limits on size (the decoder knows what a message has cost so far), and writing headers
//! (`encode`).

use super::protocol_error::ProtocolError;

/// Which end of the connection we are. It decides who masks (section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The peer is a client: its frames must be masked, ours must not be.
    Server,
    /// The peer is a server: its frames must not be masked, ours must be.
    Client,
}

/// What a frame is (section 5.2). The reserved opcodes are refused when a header is read, so they have no
/// variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of the message that is under way.
    Continuation = 0x0,
    /// A message in UTF-8, or its first fragment.
    Text = 0x1,
    /// A message of any bytes, or its first fragment.
    Binary = 0x2,
    /// The closing handshake, section 5.5.1.
    Close = 0x8,
    /// To be answered by a pong with the same payload, section 5.5.2.
    Ping = 0x9,
    /// The answer to a ping, or a sign of life, section 5.5.3.
    Pong = 0xA,
}

impl Opcode {
    /// Whether this is a close, ping or pong: at most 125 bytes, never fragmented, and allowed between
    /// fragments (section 5.5).
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }
}

pub(super) const FIN: u8 = 0x80;
pub(super) const MASKED: u8 = 0x80;
/// The seven length bits that say "a 16-bit length follows" and "a 64-bit length follows".
pub(super) const LENGTH_16: u8 = 126;
pub(super) const LENGTH_64: u8 = 127;
/// The most that a control frame carries.
pub(super) const CONTROL_BYTES_MAX: usize = 125;

const READ_BYTES_MAX: usize = 14;

/// RSV1 to RSV3. An extension that is negotiated takes its bit out of this mask, for the frames that may
/// carry it: permessage-deflate (RFC 7692, section 6) allows RSV1 on the first frame of a message and nowhere
/// else.
const RESERVED: u8 = 0x70;
/// Set on the first frame of a message that is compressed.
pub(super) const RSV1: u8 = 0x40;

/// A header that has been read to its end and breaks no rule.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) fin: bool,
    /// RSV1: this frame begins a message that is compressed.
    pub(super) deflated: bool,
    pub(super) opcode: Opcode,
    pub(super) length: u64,
    /// Present exactly if the peer is a client.
    pub(super) mask: Option<[u8; 4]>,
}

/// What the connection is in the middle of, as far as it decides which header is legal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) role: Role,
    pub(super) in_message: bool,
    /// permessage-deflate has been negotiated.
    pub(super) deflate: bool,
}

/// A header that may have arrived in part. Kept inline: an idle connection has no buffer to keep it in.
#[derive(Debug, Default)]
pub(super) struct PartialHeader {
    bytes: [u8; READ_BYTES_MAX],
    len: u8,
}

impl PartialHeader {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the rest of the header from the front of `input`. Returns how many bytes it took; all of them if
    /// it has no header yet.
    #[inline]
    pub(super) fn read(
        &mut self,
        input: &[u8],
        context: Context,
    ) -> Result<(usize, Option<Header>), ProtocolError> {
        if self.is_empty()
            && let Some((header, taken)) = parse(input, context)?
        {
            return Ok((taken, Some(header)));
        }
        let had = usize::from(self.len);
        for (kept, byte) in self.bytes.iter_mut().skip(had).zip(input) {
            *kept = *byte;
            self.len += 1;
        }
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        match parse(bytes, context)? {
            Some((header, end)) => {
                self.len = 0;
                Ok((end.saturating_sub(had), Some(header)))
            }
            None => Ok((input.len(), None)),
        }
    }
}

/// Reads a header from the front of `bytes`, and says where it ends. Each byte is judged as soon as it is
/// there.
#[inline]
fn parse(bytes: &[u8], context: Context) -> Result<Option<(Header, usize)>, ProtocolError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let fin = first & FIN != 0;
    let opcode = parse_first(first, context)?;

    let Some((&second, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let marker = second & !MASKED;
    match (context.role, second & MASKED != 0) {
        (Role::Server, false) => return Err(ProtocolError::UnmaskedFrame),
        (Role::Client, true) => return Err(ProtocolError::MaskedFrame),
        _ => {}
    }
    if opcode.is_control() && usize::from(marker) > CONTROL_BYTES_MAX {
        return Err(ProtocolError::ControlTooLong);
    }

    let Some((length, rest)) = parse_length(marker, rest)? else {
        return Ok(None);
    };
    let (mask, rest) = match context.role {
        Role::Client => (None, rest),
        Role::Server => match rest.split_first_chunk::<4>() {
            Some((mask, rest)) => (Some(*mask), rest),
            None => return Ok(None),
        },
    };
    Ok(Some((
        Header {
            fin,
            deflated: first & RSV1 != 0,
            opcode,
            length,
            mask,
        },
        bytes.len() - rest.len(),
    )))
}

#[inline]
fn parse_first(first: u8, context: Context) -> Result<Opcode, ProtocolError> {
    let in_message = context.in_message;
    let bits = first & 0x0F;
    let opcode = Opcode::from_bits(bits);
    let begins_message = matches!(opcode, Some(Opcode::Text | Opcode::Binary));
    let allowed = if context.deflate && begins_message {
        RSV1
    } else {
        0
    };
    if first & RESERVED & !allowed != 0 {
        return Err(ProtocolError::ReservedBits {
            bits: (first & RESERVED) >> 4,
        });
    }
    let opcode = opcode.ok_or(ProtocolError::ReservedOpcode { opcode: bits })?;
    match opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong if first & FIN == 0 => {
            Err(ProtocolError::FragmentedControl)
        }
        Opcode::Continuation if !in_message => Err(ProtocolError::UnexpectedContinuation),
        Opcode::Text | Opcode::Binary if in_message => Err(ProtocolError::ExpectedContinuation),
        _ => Ok(opcode),
    }
}

/// The length that `marker`, the seven bits, announces, and what follows it. The longer forms are refused
/// where a shorter one would do: section 5.2 asks for the minimal number of bytes, and one spelling per
/// length leaves nothing for two readers to disagree about.
#[inline]
fn parse_length(marker: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    match marker {
        LENGTH_16 => {
            let Some((bytes, rest)) = rest.split_first_chunk::<2>() else {
                return Ok(None);
            };
            let length = u64::from(u16::from_be_bytes(*bytes));
            if length < u64::from(LENGTH_16) {
                return Err(ProtocolError::LengthNotMinimal { length });
            }
            Ok(Some((length, rest)))
        }
        LENGTH_64 => {
            let Some((bytes, rest)) = rest.split_first_chunk::<8>() else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(*bytes);
            if length >> 63 != 0 {
                return Err(ProtocolError::LengthTopBit { length });
            }
            if length <= u64::from(u16::MAX) {
                return Err(ProtocolError::LengthNotMinimal { length });
            }
            Ok(Some((length, rest)))
        }
        short => Ok(Some((u64::from(short), rest))),
    }
}
