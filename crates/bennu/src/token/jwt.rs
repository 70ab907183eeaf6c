//! JSON Web Tokens of other issuers, verified (RFC 7515, RFC 7519). None are made here.
//!
//! The program says which keys there are and what each is for. A token can do no more than choose among
//! them: never a key of its own, an algorithm that its key is not for, or an address to fetch something
//! from. Headers such as `jku`, `x5u` and `jwk` are not even read.
//!
//! ```
//! use bennu::token::jwt::{Algorithm, Verifier, VerifyingKey};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = [0; 32];
//! let key = VerifyingKey::secret(Algorithm::Hs256, &secret)?;
//! let verifier = Verifier::new(key)
//!     .with_issuer("https://id.example.com")
//!     .with_audience("chat");
//!
//! #[derive(serde::Deserialize)]
//! struct Claims {
//!     sub: String,
//! }
//! # let token = "not.a.token";
//! let claims = verifier.verify::<Claims>(token);
//! # assert!(claims.is_err());
//! # let _ = claims.map(|claims| claims.sub);
//! # Ok(())
//! # }
//! ```

mod algorithm;
mod claims;
mod jwks;
mod key;
mod key_set;

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::TOKEN_BYTES_MAX;
use crate::socket::Refused;
use claims::Rules;

pub use algorithm::Algorithm;
pub use claims::LEEWAY;
pub use jwks::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, JwksError};
pub use key::{KeyError, VerifyingKey};
pub use key_set::KeySet;

/// Verifies tokens: their signature, and what they say about their time, issuer and audience. Cheap to
/// clone.
///
/// | claim | rule |
/// | --- | --- |
/// | `exp` | must be there, and in the future; see [`Verifier::with_optional_expiry`] |
/// | `nbf` | must be in the past, if there is one |
/// | `iss` | must be one of the issuers, if there are any |
/// | `aud` | must hold one of the audiences; without audiences, there must be none |
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: KeySet,
    rules: Rules,
}

impl Verifier {
    /// A verifier with these keys: one [`VerifyingKey`], or a [`KeySet`].
    pub fn new(keys: impl Into<KeySet>) -> Self {
        Self {
            keys: keys.into(),
            rules: Rules::default(),
        }
    }

    /// Accepts tokens of this issuer, and of others that were named, but of nobody else.
    #[must_use]
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.rules.issuers.push(issuer.into());
        self
    }

    /// Accepts tokens for this audience, or for others that were named.
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.rules.audiences.push(audience.into());
        self
    }

    /// How far the clock of the issuer may be from ours; [`LEEWAY`] by default.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway;
        self
    }

    /// Accepts tokens without `exp` as well. They are valid for ever.
    #[must_use]
    pub fn with_optional_expiry(mut self) -> Self {
        self.rules.expiry_required = false;
        self
    }

    /// The claims of a token. Takes the token or an `Option` of it.
    ///
    /// # Errors
    /// [`JwtError`]. No claim is looked at before the signature is verified.
    pub fn verify<'t, T: DeserializeOwned>(
        &self,
        token: impl Into<Option<&'t str>>,
    ) -> Result<T, JwtError> {
        self.verify_at(token, SystemTime::now())
    }

    /// The claims of a token, at another time than now.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn verify_at<'t, T: DeserializeOwned>(
        &self,
        token: impl Into<Option<&'t str>>,
        now: SystemTime,
    ) -> Result<T, JwtError> {
        let payload = self.verified(token.into().ok_or(JwtError::Missing)?)?;
        self.rules.check(&payload, now)?;
        serde_json::from_slice(&payload).map_err(|_| JwtError::Claims)
    }

    /// The payload, once its signature is known to be one of ours.
    fn verified(&self, token: &str) -> Result<Vec<u8>, JwtError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwtError::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(JwtError::Malformed)?;
        if payload.contains('.') {
            return Err(JwtError::Malformed);
        }
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| JwtError::Malformed)?;
        if header.crit.is_some() {
            return Err(JwtError::Malformed);
        }
        let algorithm = Algorithm::from_name(&header.alg).ok_or(JwtError::Algorithm)?;
        let signature = decode(signature)?;
        let keys = self.keys.snapshot();
        let mut candidates = keys
            .iter()
            .filter(|key| key.is_for(algorithm, header.kid.as_deref()))
            .peekable();
        if candidates.peek().is_none() {
            return Err(JwtError::Key);
        }
        if !candidates.any(|key| key.verify(algorithm, message.as_bytes(), &signature)) {
            return Err(JwtError::Signature);
        }
        decode(payload)
    }
}

/// What is read of a header.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 section 4.1.11). None is.
    crit: Option<IgnoredAny>,
}

/// Base64 as RFC 7515 section 2 has it: without padding, and in one spelling only.
fn decode(text: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| JwtError::Malformed)
}

/// A JSON Web Token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// There is none.
    #[error("there is no token")]
    Missing,
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It is not three parts in base64, or its header is not JSON, or it asks for extensions.
    #[error("a token is a JSON header without 'crit', a payload and a signature, in base64url")]
    Malformed,
    /// Its header names no algorithm of [`Algorithm`]; `none` is none.
    #[error("the token names an algorithm that is not accepted")]
    Algorithm,
    /// There is no key of that name for that algorithm.
    #[error("there is no key for the token")]
    Key,
    /// The signature was not made with any of the keys that it may be.
    #[error("the signature of the token is not valid")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    Immature,
    /// There is no `exp`.
    #[error("the token has no 'exp'")]
    Expiry,
    /// `iss` is missing or another.
    #[error("the token is not from an issuer that is accepted")]
    Issuer,
    /// `aud` is missing or does not name us, or names somebody when we are nobody.
    #[error("the token is not for this audience")]
    Audience,
    /// The payload is no JSON object with the claims that were asked for.
    #[error("the claims of the token do not have the expected names and types")]
    Claims,
}

/// The client is refused with 403; it does not learn why.
impl From<JwtError> for Refused {
    fn from(_: JwtError) -> Self {
        Self::forbidden()
    }
}
