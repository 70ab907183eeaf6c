//! From the application's secret to a key: derived once, then kept ready to sign with.

use std::fmt;

use hmac::{Hmac, KeyInit};
use pbkdf2::pbkdf2_hmac;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// The least bytes of a `secret_key_base` for tokens. `mix phx.gen.secret` makes 64.
pub const SECRET_BYTES_MIN: usize = 20;
/// The least bytes of a key that is derived.
pub const KEY_BYTES_MIN: usize = 16;
/// The most bytes of a key that is derived.
pub const KEY_BYTES_MAX: usize = 1024;
/// The bytes of a key that encrypts.
pub(super) const ENCRYPTION_KEY_BYTES: usize = 32;

/// How a key is derived from a secret: PBKDF2 with HMAC. These must be the same on both sides.
///
/// | option | default | in Phoenix |
/// | --- | --- | --- |
/// | iterations | 1,000 | `key_iterations` |
/// | length | 32 bytes | `key_length` |
/// | digest | SHA-256 | `key_digest` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOptions {
    iterations: u32,
    length: usize,
    digest: KeyDigest,
}

impl KeyOptions {
    /// How often the digest is applied. At least once.
    #[must_use]
    pub fn with_iterations(self, iterations: u32) -> Self {
        Self { iterations, ..self }
    }

    /// The length of the key, in bytes: [`KEY_BYTES_MIN`] to [`KEY_BYTES_MAX`]. Encryption needs 32;
    /// tokens of before Plug.Crypto 2 can be decrypted with 16 and 24 as well.
    #[must_use]
    pub fn with_length(self, length: usize) -> Self {
        Self { length, ..self }
    }

    /// The digest by which the key is derived. It does not change how tokens are signed.
    #[must_use]
    pub fn with_digest(self, digest: KeyDigest) -> Self {
        Self { digest, ..self }
    }
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self {
            iterations: 1000,
            length: 32,
            digest: KeyDigest::Sha256,
        }
    }
}

/// A digest to derive keys by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyDigest {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// No key can be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The secret is too short.
    #[error("a secret key base has at least {min} bytes here")]
    Secret {
        /// The least bytes: [`SECRET_BYTES_MIN`] for tokens, 64 for sessions.
        min: usize,
    },
    /// No iterations.
    #[error("a key is derived by at least 1 iteration")]
    Iterations,
    /// A length out of bounds.
    #[error("a key has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes")]
    Length,
}

/// A derived key. Its bytes are overwritten when it is dropped.
pub(super) struct Key {
    bytes: Zeroizing<Vec<u8>>,
    /// The state after the key, which saves half of the work on short tokens.
    hs256: Hmac<Sha256>,
}

impl Key {
    /// Derives the key of a salt from a secret of at least so many bytes.
    pub(super) fn derive(
        secret: &[u8],
        secret_bytes_min: usize,
        salt: &[u8],
        options: &KeyOptions,
    ) -> Result<Self, KeyError> {
        if secret.len() < secret_bytes_min {
            return Err(KeyError::Secret {
                min: secret_bytes_min,
            });
        }
        if options.iterations == 0 {
            return Err(KeyError::Iterations);
        }
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&options.length) {
            return Err(KeyError::Length);
        }
        let mut bytes = Zeroizing::new(vec![0; options.length]);
        let derive = match options.digest {
            KeyDigest::Sha256 => pbkdf2_hmac::<Sha256>,
            KeyDigest::Sha384 => pbkdf2_hmac::<Sha384>,
            KeyDigest::Sha512 => pbkdf2_hmac::<Sha512>,
        };
        derive(secret, salt, options.iterations, &mut bytes);
        let hs256 = Hmac::new_from_slice(&bytes).map_err(|_| KeyError::Length)?;
        Ok(Self { bytes, hs256 })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn hs256(&self) -> Hmac<Sha256> {
        self.hs256.clone()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_derived_as_the_reference_derives_them() {
        let secret = "abcdefgh".repeat(8);
        let hex = |options: &KeyOptions| {
            let key = Key::derive(secret.as_bytes(), 20, b"user auth", options).unwrap();
            let digits = key.bytes().iter().map(|byte| format!("{byte:02x}"));
            digits.collect::<String>()
        };
        assert_eq!(
            hex(&KeyOptions::default()),
            "2accee82cd986fd3c15e55abf3db03db01e891a4bb9469389a7584fdda020199"
        );
        let long = KeyOptions::default()
            .with_digest(KeyDigest::Sha512)
            .with_iterations(2)
            .with_length(64);
        assert_eq!(
            hex(&long),
            "34d61bbb4269677010672bf53caae67967655d82c65edec6922c97427ca1baadce55929c764e4d29e135eb31b3135b2f8aae379d55e04cb63d3adcdfa4bea57f"
        );
    }
}
