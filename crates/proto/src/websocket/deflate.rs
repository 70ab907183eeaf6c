//! permessage-deflate, RFC 7692: messages that travel compressed. [`negotiate`] reads what a client offers and
//! says what to answer; a `Deflater` compresses and an `Inflater` inflates, both only with the feature
//! `deflate`, which brings the library that does it.
//!
//! There is no context takeover, in either direction: each message is compressed by itself. So nothing of
//! either belongs to a connection. A few of them serve all connections, and what a broadcast becomes serves
//! all of its subscribers.
//!
//! Not here: the bit on the frames (`header`, `decoder`), and who keeps deflaters and inflaters for how long;
//! both are passed in, as time is elsewhere.

#[cfg(feature = "deflate")]
mod deflater;
#[cfg(feature = "deflate")]
mod inflater;
mod negotiation;

#[cfg(feature = "deflate")]
pub use deflater::Deflater;
#[cfg(feature = "deflate")]
pub use inflater::Inflater;
pub use negotiation::{Agreement, EXTENSIONS_BYTES_MAX, negotiate};

/// What an empty block at the end of every message comes to. It is not sent (RFC 7692, section 7.2.1).
#[cfg(feature = "deflate")]
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A buffer that one message has made larger than this is not kept for the next.
#[cfg(feature = "deflate")]
const KEPT_BYTES_MAX: usize = 64 * 1024;
