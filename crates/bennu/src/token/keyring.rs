//! [`Keyring`]: the keys of one purpose, and the tokens that are made and verified with them.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{Key, KeyError, KeyOptions, SECRET_BYTES_MIN};
use super::options::{SignOptions, VerifyOptions};
use super::term::Term;
use super::{SignError, TOKEN_BYTES_MAX, VerifyError, encrypted, envelope, signed};

/// The keys for tokens of one purpose: what `Phoenix.Token` calls a salt, `"user socket"` for example.
///
/// Keys are derived when the keyring is made, which is slow on purpose: make it once. It is cheap to
/// clone, and signing and verifying derive nothing.
///
/// Tokens that are signed can be read by everybody, those that are encrypted only with the keys.
#[derive(Clone)]
pub struct Keyring {
    /// The first signs; all verify. There is always a first.
    keys: Arc<[Arc<Key>]>,
    salt: Arc<[u8]>,
    options: KeyOptions,
}

impl Keyring {
    /// The key of a secret and a salt, derived with Phoenix's defaults. The bytes of the
    /// `secret_key_base` are used as they are, as Phoenix uses them.
    ///
    /// # Errors
    /// [`KeyError::Secret`] for a secret of fewer than [`SECRET_BYTES_MIN`] bytes.
    pub fn new(
        secret_key_base: impl AsRef<[u8]>,
        salt: impl AsRef<[u8]>,
    ) -> Result<Self, KeyError> {
        Self::with_key_options(secret_key_base, salt, KeyOptions::default())
    }

    /// The key of a secret and a salt, derived in another way.
    ///
    /// # Errors
    /// [`KeyError`] for a secret that is too short, and for options out of bounds.
    pub fn with_key_options(
        secret_key_base: impl AsRef<[u8]>,
        salt: impl AsRef<[u8]>,
        options: KeyOptions,
    ) -> Result<Self, KeyError> {
        let (secret, salt) = (secret_key_base.as_ref(), salt.as_ref());
        let key = Key::derive(secret, SECRET_BYTES_MIN, salt, &options)?;
        Ok(Self {
            keys: Arc::new([Arc::new(key)]),
            salt: salt.into(),
            options,
        })
    }

    /// Accepts what was made with an older secret as well, with the same salt and options. New
    /// tokens are made with the first secret.
    ///
    /// # Errors
    /// [`KeyError::Secret`] for a secret of fewer than [`SECRET_BYTES_MIN`] bytes.
    pub fn with_previous_secret(self, secret_key_base: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let secret = secret_key_base.as_ref();
        let key = Key::derive(secret, SECRET_BYTES_MIN, &self.salt, &self.options)?;
        Ok(self.with_keys([Arc::new(key)]))
    }

    /// Accepts what the other keyring accepts as well, for when the salt or the options changed.
    #[must_use]
    pub fn with_previous(self, previous: &Self) -> Self {
        self.with_keys(previous.keys.iter().cloned())
    }

    fn with_keys(self, more: impl IntoIterator<Item = Arc<Key>>) -> Self {
        let keys = self.keys.iter().cloned().chain(more).collect();
        Self { keys, ..self }
    }

    /// A signed token of the data, valid for a day from now.
    ///
    /// # Errors
    /// [`SignError`] for data that has no [`Term`], and for more than [`TOKEN_BYTES_MAX`].
    pub fn sign<T: Serialize + ?Sized>(&self, data: &T) -> Result<String, SignError> {
        self.sign_with(data, &SignOptions::default())
    }

    /// A signed token of the data.
    ///
    /// # Errors
    /// As [`Keyring::sign`].
    pub fn sign_with<T: Serialize + ?Sized>(
        &self,
        data: &T,
        options: &SignOptions,
    ) -> Result<String, SignError> {
        self.sign_term(Term::from_data(data)?, options)
    }

    /// A signed token of exactly this term.
    ///
    /// # Errors
    /// As [`Keyring::sign`].
    pub fn sign_term(&self, data: Term, options: &SignOptions) -> Result<String, SignError> {
        let bytes = envelope::seal(data, options)?;
        bounded(signed::sign(self.first(), &bytes))
    }

    /// The data of a signed token that is valid as long as it says itself. Takes the token or an
    /// `Option` of it, such as [`ConnectParams::get`](crate::ConnectParams::get) returns.
    ///
    /// # Errors
    /// [`VerifyError`]; nothing of a token is looked at before its signature is verified.
    pub fn verify<'t, T: DeserializeOwned>(
        &self,
        token: impl Into<Option<&'t str>>,
    ) -> Result<T, VerifyError> {
        self.verify_with(token, &VerifyOptions::default())
    }

    /// The data of a signed token.
    ///
    /// # Errors
    /// As [`Keyring::verify`].
    pub fn verify_with<'t, T: DeserializeOwned>(
        &self,
        token: impl Into<Option<&'t str>>,
        options: &VerifyOptions,
    ) -> Result<T, VerifyError> {
        Ok(self.verify_term(token, options)?.into_data()?)
    }

    /// The data of a signed token, exactly as it was signed.
    ///
    /// # Errors
    /// As [`Keyring::verify`].
    pub fn verify_term<'t>(
        &self,
        token: impl Into<Option<&'t str>>,
        options: &VerifyOptions,
    ) -> Result<Term, VerifyError> {
        let token = present(token.into())?;
        let mut keys = self.keys.iter();
        let bytes = keys.find_map(|key| signed::verify(key, token));
        envelope::open(&bytes.ok_or(VerifyError::Invalid)?, options)
    }

    /// An encrypted token of the data, valid for a day from now.
    ///
    /// # Errors
    /// [`SignError`] for data that has no [`Term`], for more than [`TOKEN_BYTES_MAX`], for keys that
    /// are not 32 bytes long, and when there are no random bytes.
    pub fn encrypt<T: Serialize + ?Sized>(&self, data: &T) -> Result<String, SignError> {
        self.encrypt_with(data, &SignOptions::default())
    }

    /// An encrypted token of the data.
    ///
    /// # Errors
    /// As [`Keyring::encrypt`].
    pub fn encrypt_with<T: Serialize + ?Sized>(
        &self,
        data: &T,
        options: &SignOptions,
    ) -> Result<String, SignError> {
        self.encrypt_term(Term::from_data(data)?, options)
    }

    /// An encrypted token of exactly this term.
    ///
    /// # Errors
    /// As [`Keyring::encrypt`].
    pub fn encrypt_term(&self, data: Term, options: &SignOptions) -> Result<String, SignError> {
        let bytes = envelope::seal(data, options)?;
        bounded(encrypted::encrypt(self.first(), bytes)?)
    }

    /// The data of an encrypted token that is valid as long as it says itself. Tokens of before
    /// Plug.Crypto 2 are read as well.
    ///
    /// # Errors
    /// [`VerifyError`]; nothing of a token is looked at before it is known to be made with our keys.
    pub fn decrypt<'t, T: DeserializeOwned>(
        &self,
        token: impl Into<Option<&'t str>>,
    ) -> Result<T, VerifyError> {
        self.decrypt_with(token, &VerifyOptions::default())
    }

    /// The data of an encrypted token.
    ///
    /// # Errors
    /// As [`Keyring::decrypt`].
    pub fn decrypt_with<'t, T: DeserializeOwned>(
        &self,
        token: impl Into<Option<&'t str>>,
        options: &VerifyOptions,
    ) -> Result<T, VerifyError> {
        Ok(self.decrypt_term(token, options)?.into_data()?)
    }

    /// The data of an encrypted token, exactly as it was encrypted.
    ///
    /// # Errors
    /// As [`Keyring::decrypt`].
    pub fn decrypt_term<'t>(
        &self,
        token: impl Into<Option<&'t str>>,
        options: &VerifyOptions,
    ) -> Result<Term, VerifyError> {
        let token = present(token.into())?;
        let mut keys = self.keys.iter();
        let bytes = keys.find_map(|key| encrypted::decrypt(key, b"", token));
        envelope::open(&bytes.ok_or(VerifyError::Invalid)?, options)
    }

    fn first(&self) -> &Key {
        &self.keys[0]
    }
}

impl fmt::Debug for Keyring {
    /// Without anything that is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("keys", &self.keys.len())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A token of a length that we would accept.
pub(super) fn bounded(token: String) -> Result<String, SignError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(SignError::TooLong);
    }
    Ok(token)
}

/// A token that is there and not too long.
pub(super) fn present(token: Option<&str>) -> Result<&str, VerifyError> {
    let token = token.ok_or(VerifyError::Missing)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(VerifyError::TooLong);
    }
    Ok(token)
}
