//! [`SessionStore`]: the session cookies of a Phoenix application, read and written.
//!
//! Which cookie holds the session, and where a request keeps its cookies, is not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keyring::{bounded, present};
use super::keys::{Key, KeyError, KeyOptions};
use super::term::{DataError, Term};
use super::{SignError, VerifyError, csrf, encrypted, signed};

/// The least bytes of a `secret_key_base` for sessions.
pub const SESSION_SECRET_BYTES_MIN: usize = 64;

/// How an application keeps its sessions: what it gives to `plug Plug.Session, store: :cookie`.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    signing_salt: Vec<u8>,
    encryption_salt: Option<Vec<u8>>,
    key_options: KeyOptions,
}

impl SessionOptions {
    /// Sessions that are signed with the key of this salt.
    pub fn new(signing_salt: impl Into<Vec<u8>>) -> Self {
        Self {
            signing_salt: signing_salt.into(),
            encryption_salt: None,
            key_options: KeyOptions::default(),
        }
    }

    /// Sessions that are encrypted with the key of this salt, instead of signed. The signing salt is
    /// needed as well, for cookies of before Plug.Crypto 2.
    #[must_use]
    pub fn with_encryption_salt(self, encryption_salt: impl Into<Vec<u8>>) -> Self {
        let encryption_salt = Some(encryption_salt.into());
        Self {
            encryption_salt,
            ..self
        }
    }

    /// Keys that are derived in another way.
    #[must_use]
    pub fn with_key_options(self, key_options: KeyOptions) -> Self {
        Self {
            key_options,
            ..self
        }
    }
}

/// Reads and writes session cookies.
///
/// Keys are derived when the store is made; make it once. It is cheap to clone. Sessions are in the
/// external term format; applications with a `serializer` of their own are not served.
///
/// ```
/// use bennu::token::{Session, SessionOptions, SessionStore};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let secret_key_base = "abcdefgh".repeat(8);
/// let store = SessionStore::new(secret_key_base, &SessionOptions::new("change_me"))?;
/// # let mut session = Session::default();
/// # session.insert("user_id", &7)?;
/// # let cookie = store.encode(&session)?;
/// // Phoenix takes a cookie that is not valid for an empty session.
/// let session = store.decode(cookie.as_str()).unwrap_or_default();
/// let user_id: Option<u64> = session.get("user_id");
/// # assert_eq!(user_id, Some(7));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SessionStore {
    /// The first writes; all read. There is always a first.
    keys: Arc<[Arc<StoreKeys>]>,
}

struct StoreKeys {
    signing: Key,
    encryption: Option<Key>,
}

impl SessionStore {
    /// The store of a secret and options.
    ///
    /// # Errors
    /// [`KeyError`] for a secret of fewer than [`SESSION_SECRET_BYTES_MIN`] bytes, and for options
    /// out of bounds.
    pub fn new(
        secret_key_base: impl AsRef<[u8]>,
        options: &SessionOptions,
    ) -> Result<Self, KeyError> {
        let derive = |salt: &[u8]| {
            let secret = secret_key_base.as_ref();
            Key::derive(secret, SESSION_SECRET_BYTES_MIN, salt, &options.key_options)
        };
        let keys = StoreKeys {
            signing: derive(&options.signing_salt)?,
            encryption: options.encryption_salt.as_deref().map(derive).transpose()?,
        };
        Ok(Self {
            keys: Arc::new([Arc::new(keys)]),
        })
    }

    /// Reads the cookies of another store as well, for when the secret or the options changed:
    /// Plug's `rotating_options`.
    #[must_use]
    pub fn with_previous(self, previous: &Self) -> Self {
        let keys = self.keys.iter().chain(previous.keys.iter());
        Self {
            keys: keys.cloned().collect(),
        }
    }

    /// The session in the value of a cookie. It has no age of its own. Takes the value or an
    /// `Option` of it.
    ///
    /// # Errors
    /// [`VerifyError`]: `Missing`, `TooLong`, `Invalid`, or, for what our key has signed,
    /// `Term` and `Shape`. Phoenix goes on with an empty session in all of these cases.
    pub fn decode<'c>(&self, cookie: impl Into<Option<&'c str>>) -> Result<Session, VerifyError> {
        let cookie = present(cookie.into())?;
        let mut keys = self.keys.iter();
        let bytes = keys.find_map(|keys| keys.open(cookie));
        Session::from_term(Term::decode(&bytes.ok_or(VerifyError::Invalid)?)?)
    }

    /// The value of a cookie that holds the session. Browsers keep about 4,096 bytes.
    ///
    /// # Errors
    /// [`SignError`] for a session that has no bytes or too many, and where it should be encrypted,
    /// for keys that are not 32 bytes long, and when there are no random bytes.
    pub fn encode(&self, session: &Session) -> Result<String, SignError> {
        let keys = &self.keys[0];
        let bytes = session.to_term().encode()?;
        bounded(match &keys.encryption {
            Some(key) => encrypted::encrypt(key, bytes)?,
            None => signed::sign(&keys.signing, &bytes),
        })
    }
}

impl StoreKeys {
    /// A store that encrypts does not accept what is only signed.
    fn open(&self, cookie: &str) -> Option<Vec<u8>> {
        match &self.encryption {
            Some(key) => encrypted::decrypt(key, self.signing.bytes(), cookie),
            None => signed::verify(&self.signing, cookie),
        }
    }
}

impl fmt::Debug for SessionStore {
    /// Without anything that is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// What a session cookie holds: values under text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Session(BTreeMap<String, Term>);

impl Session {
    /// A value. `None` when it is not there, or is not of this type; [`Session::term`] tells which.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.0.get(key)?.clone().into_data().ok()
    }

    /// A value, exactly as it was written.
    #[must_use]
    pub fn term(&self, key: &str) -> Option<&Term> {
        self.0.get(key)
    }

    /// Sets a value.
    ///
    /// # Errors
    /// [`DataError`] for a value that has no [`Term`].
    pub fn insert<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), DataError> {
        self.0.insert(key.to_owned(), Term::from_data(value)?);
        Ok(())
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a page of this session has made the request: see [`csrf::verify`]. A session that
    /// never showed a form has no value to compare with, and no request is its own.
    #[must_use]
    pub fn verify_csrf(&self, request_token: &str) -> bool {
        let value = self.0.get(csrf::SESSION_KEY).and_then(Term::as_text);
        value.is_some_and(|value| csrf::verify(value, request_token))
    }

    fn from_term(term: Term) -> Result<Self, VerifyError> {
        let Term::Map(pairs) = term else {
            return Err(VerifyError::Shape);
        };
        let text = |key| match key {
            Term::Binary(bytes) => String::from_utf8(bytes).map_err(|_| VerifyError::Shape),
            _ => Err(VerifyError::Shape),
        };
        let pairs = pairs
            .into_iter()
            .map(|(key, value)| Ok((text(key)?, value)));
        pairs.collect::<Result<_, _>>().map(Self)
    }

    fn to_term(&self) -> Term {
        let pairs = self.0.iter();
        Term::Map(
            pairs
                .map(|(key, value)| (Term::from(key.as_str()), value.clone()))
                .collect(),
        )
    }
}

impl fmt::Debug for Session {
    /// The keys alone: a session may come out of an encrypted cookie.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys()).finish()
    }
}
