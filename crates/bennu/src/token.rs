//! Tokens and session cookies as Phoenix makes them, so that an Elixir application can sign what we
//! verify, and the other way round.
//!
//! | you have | you use |
//! | --- | --- |
//! | a token of `Phoenix.Token`, or a user to make one for | [`Keyring`] |
//! | the session cookie of a Phoenix application | [`SessionStore`], then [`csrf`] |
//! | a JSON Web Token of somebody else, and the feature `jwt` | `jwt` |
//! | an exact term of Erlang | [`term`] |
//!
//! ```
//! use bennu::token::Keyring;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret_key_base = "at least 20 bytes, kept out of the program";
//! let keys = Keyring::new(secret_key_base, "user socket")?;
//! let token = keys.sign(&42)?;
//! let user_id: u64 = keys.verify(token.as_str())?;
//! # assert_eq!(user_id, 42);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing in a token is looked at before its signature is verified, and what is then read is bounded:
//! see [`TOKEN_BYTES_MAX`] and the limits in [`term`].

pub mod csrf;
mod encrypted;
mod envelope;
mod error;
#[cfg(feature = "jwt")]
pub mod jwt;
mod keyring;
mod keys;
mod options;
mod session;
mod signed;
pub mod term;

pub use error::{SignError, VerifyError};
pub use keyring::Keyring;
pub use keys::{KEY_BYTES_MAX, KEY_BYTES_MIN, KeyDigest, KeyError, KeyOptions, SECRET_BYTES_MIN};
pub use options::{CLOCK_SKEW, MAX_AGE, MaxAge, SignOptions, VerifyOptions};
pub use session::{SESSION_SECRET_BYTES_MIN, Session, SessionOptions, SessionStore};
pub use term::{Atom, DataError, Term};

/// The most bytes of a token or of a session cookie. Longer ones are refused before anything is
/// computed, and not made.
pub const TOKEN_BYTES_MAX: usize = 65_536;

/// Base64 with the alphabet for URLs, written without padding. As in the reference, padding may be
/// there, and the bits that fill up the last character may have any value.
const BASE64: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    base64::engine::GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);
