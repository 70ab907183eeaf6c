//! [`VerifyingKey`]: a key, and what it is for.

use std::fmt;

use ring::hmac;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use spki::der::asn1::UintRef;
use spki::der::{Decode, Document, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::Algorithm;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The least bytes of an RSA modulus: 2,048 bits (RFC 7518 section 3.3).
const MODULUS_BYTES_MIN: usize = 256;
/// The most: beyond, verifying gets slow.
const MODULUS_BYTES_MAX: usize = 1024;

/// A key that verifies tokens, the algorithms that it is for, and perhaps its name (`kid`).
pub struct VerifyingKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Material,
}

/// What there is of a key. Its kind decides what it can do, whatever a token says.
pub(super) enum Material {
    Secret(hmac::Key),
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256([u8; 65]),
    P384([u8; 97]),
    Ed25519([u8; 32]),
}

/// A key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A secret is shorter than the digest of its algorithm (RFC 7518 section 3.2).
    #[error("a secret has at least 32 bytes for HS256, 48 for HS384, 64 for HS512")]
    Secret,
    /// A public key was given as a secret: whoever knows it could sign.
    #[error("a PEM file is no secret")]
    PublicSecret,
    /// The algorithm needs a key of another kind.
    #[error("the algorithm needs a key of another kind")]
    Algorithm,
    /// Not the PEM of a public key.
    #[error("a key is PEM with the label 'PUBLIC KEY' or 'RSA PUBLIC KEY'")]
    Pem,
    /// A kind of key or a curve that no algorithm here is for.
    #[error("a public key is RSA, P-256, P-384 or Ed25519")]
    Kind,
    /// An RSA key that is too short or too long.
    #[error("an RSA key has 2048 to 8192 bits")]
    Length,
}

impl VerifyingKey {
    /// A secret, for one of HS256, HS384 and HS512.
    ///
    /// # Errors
    /// [`KeyError`] for other algorithms, for secrets that are shorter than the digest, and for text
    /// that is a PEM file.
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let (digest, bytes_min) = match algorithm {
            Algorithm::Hs256 => (hmac::HMAC_SHA256, 32),
            Algorithm::Hs384 => (hmac::HMAC_SHA384, 48),
            Algorithm::Hs512 => (hmac::HMAC_SHA512, 64),
            _ => return Err(KeyError::Algorithm),
        };
        if secret.windows(11).any(|window| window == b"-----BEGIN ") {
            return Err(KeyError::PublicSecret);
        }
        if secret.len() < bytes_min {
            return Err(KeyError::Secret);
        }
        let material = Material::Secret(hmac::Key::new(digest, secret));
        Ok(Self::new(None, vec![algorithm], material))
    }

    /// A public key in PEM, for one algorithm: `PUBLIC KEY`, as `openssl pkey -pubout` writes it, or
    /// `RSA PUBLIC KEY`.
    ///
    /// # Errors
    /// [`KeyError`] for text that is no such file, and for keys that are not for the algorithm.
    pub fn pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        let (label, document) = Document::from_pem(pem.trim()).map_err(|_| KeyError::Pem)?;
        let material = match label {
            "PUBLIC KEY" => public_key(document.as_bytes())?,
            "RSA PUBLIC KEY" => rsa_public_key(document.as_bytes())?,
            _ => return Err(KeyError::Pem),
        };
        if !material.fits(algorithm) {
            return Err(KeyError::Algorithm);
        }
        Ok(Self::new(None, vec![algorithm], material))
    }

    /// Gives the key its name: tokens that name another are not tried with it.
    #[must_use]
    pub fn with_id(self, id: impl Into<String>) -> Self {
        let id = Some(id.into());
        Self { id, ..self }
    }

    /// A key that fits all of the algorithms.
    pub(super) fn new(id: Option<String>, algorithms: Vec<Algorithm>, material: Material) -> Self {
        debug_assert!(algorithms.iter().all(|&algorithm| material.fits(algorithm)));
        Self {
            id,
            algorithms,
            material,
        }
    }

    /// Whether a token with this header may have been signed by it.
    pub(super) fn is_for(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let named = match (&self.id, id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        };
        named && self.algorithms.contains(&algorithm)
    }

    /// Whether the key has signed the message in this way.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.algorithms.contains(&algorithm) || !self.material.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Rsa { modulus, exponent } => rsa_parameters(algorithm).is_some_and(|rules| {
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(rules, message, signature).is_ok()
            }),
            Material::P256(point) => verify(
                &signature::ECDSA_P256_SHA256_FIXED,
                point,
                message,
                signature,
            ),
            Material::P384(point) => verify(
                &signature::ECDSA_P384_SHA384_FIXED,
                point,
                message,
                signature,
            ),
            Material::Ed25519(point) => verify(&signature::ED25519, point, message, signature),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

impl Material {
    /// Whether the algorithm is for keys of this kind.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm as A;
        match self {
            Self::Secret(key) => {
                let digest = key.algorithm();
                (digest == hmac::HMAC_SHA256 && algorithm == A::Hs256)
                    || (digest == hmac::HMAC_SHA384 && algorithm == A::Hs384)
                    || (digest == hmac::HMAC_SHA512 && algorithm == A::Hs512)
            }
            Self::Rsa { .. } => rsa_parameters(algorithm).is_some(),
            Self::P256(_) => algorithm == A::Es256,
            Self::P384(_) => algorithm == A::Es384,
            Self::Ed25519(_) => algorithm == A::EdDsa,
        }
    }

    /// An RSA key of a modulus and an exponent, the most significant byte first.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let without_zeros = |bytes: &[u8]| {
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            bytes[zeros..].to_vec()
        };
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let first = modulus.first().copied().unwrap_or_default();
        let fits = (MODULUS_BYTES_MIN..=MODULUS_BYTES_MAX).contains(&modulus.len())
            && (modulus.len() > MODULUS_BYTES_MIN || first >= 0x80);
        if !fits || exponent.is_empty() {
            return Err(KeyError::Length);
        }
        Ok(Self::Rsa { modulus, exponent })
    }
}

fn verify(
    rules: &'static dyn signature::VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    let key = UnparsedPublicKey::new(rules, key);
    key.verify(message, signature).is_ok()
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
fn public_key(der: &[u8]) -> Result<Material, KeyError> {
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| KeyError::Pem)?;
    let key = info.subject_public_key.as_bytes().ok_or(KeyError::Pem)?;
    match info.algorithm.oid {
        RSA_ENCRYPTION => rsa_public_key(key),
        EC_PUBLIC_KEY => {
            let curve = info
                .algorithm
                .parameters_oid()
                .map_err(|_| KeyError::Kind)?;
            match curve {
                P256 => point(key).map(Material::P256),
                P384 => point(key).map(Material::P384),
                _ => Err(KeyError::Kind),
            }
        }
        ED25519 => key
            .try_into()
            .map(Material::Ed25519)
            .map_err(|_| KeyError::Pem),
        _ => Err(KeyError::Kind),
    }
}

/// A point with both of its coordinates.
fn point<const N: usize>(bytes: &[u8]) -> Result<[u8; N], KeyError> {
    match bytes.first() {
        Some(4) => bytes.try_into().map_err(|_| KeyError::Pem),
        _ => Err(KeyError::Pem),
    }
}

/// `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn rsa_public_key(der: &[u8]) -> Result<Material, KeyError> {
    let parse = || {
        let mut reader = SliceReader::new(der)?;
        let numbers = reader.sequence(|reader| {
            Ok::<_, spki::der::Error>((UintRef::decode(reader)?, UintRef::decode(reader)?))
        })?;
        reader.finish()?;
        Ok::<_, spki::der::Error>(numbers)
    };
    let (modulus, exponent) = parse().map_err(|_| KeyError::Pem)?;
    Material::rsa(modulus.as_bytes(), exponent.as_bytes())
}
