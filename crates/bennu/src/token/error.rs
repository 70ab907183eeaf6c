//! Why a token is not accepted, and why one could not be made.

use super::TOKEN_BYTES_MAX;
use super::keys::ENCRYPTION_KEY_BYTES;
use super::term::{DataError, TermDecodeError, TermEncodeError};
use crate::socket::Refused;

/// A token or a cookie is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is none.
    #[error("there is no token")]
    Missing,
    /// It was not made with any of our keys, or it comes from the future.
    #[error("the token is not valid")]
    Invalid,
    /// It is too old.
    #[error("the token has expired")]
    Expired,
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It was made with our key, but not as a token with a time and an age, or not as a session with
    /// text for keys.
    #[error("what was signed is not a token of this kind")]
    Shape,
    /// It was made with our key, of a term that is not accepted.
    #[error("the token holds a term that is not accepted: {0}")]
    Term(#[from] TermDecodeError),
    /// It is valid, but holds other data than was asked for.
    #[error("the data of the token does not fit: {0}")]
    Data(#[from] DataError),
}

/// The client is refused with 403; it does not learn why.
impl From<VerifyError> for Refused {
    fn from(_: VerifyError) -> Self {
        Self::forbidden()
    }
}

/// A token or a cookie could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The data has no term.
    #[error("the data cannot be written: {0}")]
    Data(#[from] DataError),
    /// The term has no bytes.
    #[error("the term cannot be written: {0}")]
    Term(#[from] TermEncodeError),
    /// It would be longer than [`TOKEN_BYTES_MAX`].
    #[error("the token would be longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Encryption needs keys of another length.
    #[error("encryption needs keys of {ENCRYPTION_KEY_BYTES} bytes")]
    KeyLength,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
}
