//! The check against cross-site request forgery: a page shows, masked, what the session keeps.

use base64::Engine;
use subtle::ConstantTimeEq;

use super::BASE64;

/// Where Plug keeps the value in the session.
pub const SESSION_KEY: &str = "_csrf_token";

/// The random bytes of a value.
const RANDOM_BYTES: usize = 18;
/// The characters of a value, and of a mask.
const VALUE_CHARS: usize = 24;
/// The characters of a masked value.
const MASKED_CHARS: usize = 32;

/// A token could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrfError {
    /// The session's value has another length.
    #[error("a session's value has {VALUE_CHARS} characters")]
    SessionValue,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
}

/// Whether the token of a request belongs to the value in the session. In constant time for tokens of
/// the right length; all others are wrong, those that are not masked among them.
#[must_use]
pub fn verify(session_value: &str, request_token: &str) -> bool {
    let Some((masked, mask)) = request_token.as_bytes().split_first_chunk::<MASKED_CHARS>() else {
        return false;
    };
    let mut value = [0; VALUE_CHARS];
    let decoded = BASE64.decode_slice(masked, &mut value);
    let (Ok(VALUE_CHARS), Ok(mask)) = (decoded, <&[u8; VALUE_CHARS]>::try_from(mask)) else {
        return false;
    };
    xor(&value, mask).ct_eq(session_value.as_bytes()).into()
}

/// A token for a page, of the value in its session. A new one for each page, so that compressed pages
/// do not tell the value to those who see only their lengths.
///
/// # Errors
/// [`CsrfError`] for a value of another length than 24, and when there are no random bytes.
pub fn mask(session_value: &str) -> Result<String, CsrfError> {
    let value = <&[u8; VALUE_CHARS]>::try_from(session_value.as_bytes())
        .map_err(|_| CsrfError::SessionValue)?;
    let mask = generate()?;
    let bytes = <&[u8; VALUE_CHARS]>::try_from(mask.as_bytes()).map_err(|_| CsrfError::Random)?;
    let mut token = BASE64.encode(xor(value, bytes));
    token.push_str(&mask);
    Ok(token)
}

/// A new value for a session.
///
/// # Errors
/// [`CsrfError::Random`] when there are no random bytes.
pub fn generate() -> Result<String, CsrfError> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| CsrfError::Random)?;
    Ok(BASE64.encode(bytes))
}

fn xor(a: &[u8; VALUE_CHARS], b: &[u8; VALUE_CHARS]) -> [u8; VALUE_CHARS] {
    std::array::from_fn(|place| a[place] ^ b[place])
}
