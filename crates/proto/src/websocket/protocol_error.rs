//! What a peer can do wrong, and the close code that tells it so. The checks themselves stand where the bytes
//! are read.

/// Why the bytes of a peer are not RFC 6455, or more than we take. Each one ends the connection.
///
/// Every message says what was wrong and what is accepted; none quotes the payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 is set (section 5.2).
    #[error(
        "reserved bits {bits:03b} are set: without an extension all three must be 0, and permessage-deflate \
         sets only the first, on the first frame of a message"
    )]
    ReservedBits {
        /// RSV1 to RSV3, RSV1 being the highest of three bits.
        bits: u8,
    },
    /// An opcode without a meaning (section 5.2).
    #[error("opcode {opcode:#x} is reserved: 0x0 to 0x2 and 0x8 to 0xa are accepted")]
    ReservedOpcode {
        /// The four bits as sent.
        opcode: u8,
    },
    /// A client's frame without a mask (section 5.1).
    #[error("a client sent an unmasked frame: every frame from a client must be masked")]
    UnmaskedFrame,
    /// A server's frame with a mask (section 5.1).
    #[error("a server sent a masked frame: no frame from a server may be masked")]
    MaskedFrame,
    /// A close, ping or pong without FIN (section 5.5).
    #[error("a control frame is fragmented: close, ping and pong must be one frame with FIN set")]
    FragmentedControl,
    /// A close, ping or pong with a 16-bit or 64-bit length (section 5.5).
    #[error("a control frame has an extended length: at most 125 bytes are accepted")]
    ControlTooLong,
    /// The length was written in more bytes than it needs (section 5.2).
    #[error(
        "{length} is written as an extended length: the shortest of the three forms is required"
    )]
    LengthNotMinimal {
        /// The length as read.
        length: u64,
    },
    /// A 64-bit length from 2^63 up (section 5.2).
    #[error("the 64-bit length {length:#x} has its top bit set: it must be 0")]
    LengthTopBit {
        /// The length as read.
        length: u64,
    },
    /// A continuation frame where no message was begun (section 5.4).
    #[error(
        "a continuation frame continues nothing: a text or binary frame without FIN must come first"
    )]
    UnexpectedContinuation,
    /// A text or binary frame inside a fragmented message (section 5.4).
    #[error(
        "a new message starts inside a fragmented one: continuation and control frames are accepted"
    )]
    ExpectedContinuation,
    /// The message would cost more than `Limits::message_bytes_max`. Found at the header, before the payload
    /// is taken in.
    #[error(
        "the message costs {cost_bytes} bytes or more: at most {bytes_max} are accepted, and each fragment has a least cost"
    )]
    MessageTooBig {
        /// What the message costs up to and with the frame that was refused.
        cost_bytes: u64,
        /// The limit in force.
        bytes_max: usize,
    },
    /// Text that is not UTF-8 (section 8.1), or that ends inside a code point.
    #[error("the text is not UTF-8: a text message must be, as a whole")]
    TextNotUtf8,
    /// A close frame of one byte (section 5.5.1).
    #[error(
        "a close frame has a body of one byte: empty, or a code of two bytes and a reason, are accepted"
    )]
    CloseBodyTooShort,
    /// A close code that must not be sent (section 7.4).
    #[error(
        "close code {code} may not be sent: 1000 to 1003, 1007 to 1014 and 3000 to 4999 are accepted"
    )]
    CloseCode {
        /// The code as read.
        code: u16,
    },
    /// A close reason that is not UTF-8 (section 5.5.1).
    #[error("the reason of a close frame is not UTF-8: it must be")]
    CloseReasonNotUtf8,
    /// A compressed message that is no DEFLATE data, or ends in the middle of it (RFC 7692, section 7.2.2).
    #[error("the message cannot be inflated: whole blocks of DEFLATE are required")]
    NotDeflate,
    /// A compressed message would be longer than `Limits::message_bytes_max`. Found while inflating it, and
    /// not held any more.
    #[error("the message is more than {bytes_max} bytes when inflated: at most that are accepted")]
    InflatedTooBig {
        /// The limit in force.
        bytes_max: usize,
    },
    /// A compressed message would be more than `Limits::inflate_ratio_max` times what was sent.
    #[error(
        "the message is more than {ratio_max} times as long when inflated: at most that is accepted from 64 KiB on"
    )]
    InflateRatio {
        /// The limit in force.
        ratio_max: usize,
    },
}

impl ProtocolError {
    /// The code to close the connection with (section 7.4.1): 1007 for bad UTF-8 and for what cannot be
    /// inflated, 1009 for too big, 1002 for everything else. RFC 7692 leaves the code for bad DEFLATE data
    /// open; 1007, "not consistent with the type of the message", is what other servers send.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 | Self::NotDeflate => 1007,
            Self::MessageTooBig { .. }
            | Self::InflatedTooBig { .. }
            | Self::InflateRatio { .. } => 1009,
            _ => 1002,
        }
    }
}
