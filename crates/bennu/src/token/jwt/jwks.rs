//! JSON Web Key Sets (RFC 7517): the keys that an issuer publishes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::Material;
use super::{Algorithm, VerifyingKey};

/// The most bytes of a key set.
pub const JWKS_BYTES_MAX: usize = 262_144;
/// The most keys of a key set, those that are skipped among them.
pub const JWKS_KEYS_MAX: usize = 64;

/// A key set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// It is not JSON with a list of keys.
    #[error("a key set is a JSON object with a list of objects under 'keys'")]
    Malformed,
    /// It is longer than [`JWKS_BYTES_MAX`], or has more keys than [`JWKS_KEYS_MAX`].
    #[error("a key set has at most {JWKS_BYTES_MAX} bytes and {JWKS_KEYS_MAX} keys")]
    TooLong,
    /// None of its keys is for any of the algorithms.
    #[error("none of the keys is for an algorithm that is accepted")]
    Empty,
}

/// The keys of a set that are for one of the algorithms. What is not understood, or not meant for
/// signatures, or secret, is skipped (RFC 7517 section 5).
pub(super) fn parse(text: &str, algorithms: &[Algorithm]) -> Result<Vec<VerifyingKey>, JwksError> {
    #[derive(Deserialize)]
    struct Jwks<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }

    if text.len() > JWKS_BYTES_MAX {
        return Err(JwksError::TooLong);
    }
    let set: Jwks<'_> = serde_json::from_str(text).map_err(|_| JwksError::Malformed)?;
    if set.keys.len() > JWKS_KEYS_MAX {
        return Err(JwksError::TooLong);
    }
    let keys: Vec<_> = set
        .keys
        .iter()
        .filter_map(|key| serde_json::from_str::<Jwk>(key.get()).ok()?.key(algorithms))
        .collect();
    if keys.is_empty() {
        return Err(JwksError::Empty);
    }
    Ok(keys)
}

/// What is read of a key.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    /// The key, for those of the algorithms that it fits and that it does not rule out.
    fn key(&self, accepted: &[Algorithm]) -> Option<VerifyingKey> {
        let verifies = self
            .key_ops
            .as_deref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if self
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
            || !verifies
        {
            return None;
        }
        let material = self.material()?;
        let own = match &self.alg {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let algorithms: Vec<_> = accepted
            .iter()
            .copied()
            .filter(|&algorithm| material.fits(algorithm))
            .filter(|&algorithm| own.is_none_or(|own| own == algorithm))
            .collect();
        if algorithms.is_empty() {
            return None;
        }
        Some(VerifyingKey::new(self.kid.clone(), algorithms, material))
    }

    /// Secrets (`oct`) have no place where everybody reads.
    fn material(&self) -> Option<Material> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Material::rsa(&bytes(&self.n)?, &bytes(&self.e)?).ok(),
            ("EC", Some("P-256")) => self.point::<32>()?.try_into().ok().map(Material::P256),
            ("EC", Some("P-384")) => self.point::<48>()?.try_into().ok().map(Material::P384),
            ("OKP", Some("Ed25519")) => bytes(&self.x)?.try_into().ok().map(Material::Ed25519),
            _ => None,
        }
    }

    /// A point with coordinates of exactly this length (RFC 7518 section 6.2.1).
    fn point<const N: usize>(&self) -> Option<Vec<u8>> {
        let x: [u8; N] = bytes(&self.x)?.try_into().ok()?;
        let y: [u8; N] = bytes(&self.y)?.try_into().ok()?;
        Some([&[4], x.as_slice(), y.as_slice()].concat())
    }
}

fn bytes(text: &Option<String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.as_deref()?).ok()
}
