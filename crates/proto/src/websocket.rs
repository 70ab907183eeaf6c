//! RFC 6455 framing: bytes from a connection become messages, messages become finished frames.
//!
//! [`Decoder`] holds what one connection has sent so far of an unfinished frame or message, and nothing while
//! the connection is between messages. The other half is stateless: [`frame`], [`close_frame`] and
//! [`FrameBuilder`] make unmasked frames that any number of connections can share.
//!
//! One extension is known, permessage-deflate, in [`deflate`]: on connections that have not negotiated it the
//! three reserved bits must be 0.
//!
//! Not here: the opening handshake, timeouts, answering a ping, sending a close. Those belong to whoever owns
//! the connection.
//!
//! Call [`Decoder::decode`] until it has no event left to give. The call that returns none has taken the
//! whole input, and has let go of the memory of the message before it:
//!
//! ```
//! use bennu_proto::websocket::{Decoder, Event, Limits, Opcode, Role, masked_frame};
//!
//! let limits = Limits::default();
//! let mut decoder = Decoder::new(Role::Server);
//! let mut read = masked_frame(true, Opcode::Text, [1, 2, 3, 4], b"hello");
//!
//! let mut input = &mut read[..];
//! let mut texts = Vec::new();
//! loop {
//!     let decoded = decoder.decode(&limits, input)?;
//!     match decoded.event {
//!         Some(Event::Text(text)) => texts.push(text.to_owned()),
//!         Some(_) => {}
//!         None => break,
//!     }
//!     let consumed = decoded.consumed;
//!     input = &mut input[consumed..];
//! }
//! assert_eq!(texts, ["hello"]);
//! # Ok::<(), bennu_proto::websocket::ProtocolError>(())
//! ```

mod close;
mod decoder;
pub mod deflate;
mod encode;
mod event;
mod header;
mod limits;
mod mask;
mod protocol_error;
mod utf8;

pub use close::close_code_is_valid;
pub use decoder::{Decoded, Decoder};
pub use encode::{
    FrameBuilder, HEADER_BYTES_MAX, close_frame, encode_header, frame, masked_frame, plain_message,
};
pub use event::{Deflated, Event};
pub use header::{Opcode, Role};
pub use limits::{INFLATED_BYTES_FREE, Limits};
pub use protocol_error::ProtocolError;
