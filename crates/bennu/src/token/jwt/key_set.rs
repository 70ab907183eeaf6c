//! [`KeySet`]: the keys of a verifier, which may change while it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time;

use super::jwks::{self, JwksError};
use super::{Algorithm, VerifyingKey};

/// The longest time until a fetch that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// The shortest time between two fetches.
const FETCH_EVERY_MIN: Duration = Duration::from_secs(1);

/// Keys that verify tokens. Clones share them: what one reloads, all have.
#[derive(Clone)]
pub struct KeySet {
    /// Replaced as a whole.
    keys: Arc<RwLock<Arc<[VerifyingKey]>>>,
    /// What the keys of a published set may be for.
    algorithms: Arc<[Algorithm]>,
}

impl KeySet {
    /// These keys.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self::with(keys.into_iter().collect(), &[])
    }

    /// The keys of a JSON Web Key Set that are for these algorithms. Keys that say themselves which
    /// algorithm they are for are for no other. Others are skipped, secrets always.
    ///
    /// # Errors
    /// [`JwksError`] for text that is no such set, and when no key is left.
    pub fn from_jwks(jwks: &str, algorithms: &[Algorithm]) -> Result<Self, JwksError> {
        let keys = jwks::parse(jwks, algorithms)?;
        Ok(Self::with(keys, algorithms))
    }

    /// No keys yet: all tokens are refused until [`KeySet::reload`] or [`KeySet::keep_fresh`] has
    /// brought some for these algorithms. A server can start so while its issuer is away.
    #[must_use]
    pub fn empty(algorithms: &[Algorithm]) -> Self {
        Self::with(Vec::new(), algorithms)
    }

    fn with(keys: Vec<VerifyingKey>, algorithms: &[Algorithm]) -> Self {
        Self {
            keys: Arc::new(RwLock::new(keys.into())),
            algorithms: algorithms.into(),
        }
    }

    /// Replaces the keys by those of a JSON Web Key Set, for the same algorithms as before.
    ///
    /// # Errors
    /// [`JwksError`]; the keys then stay as they are. Of a set that was made by [`KeySet::new`],
    /// always `Empty`.
    pub fn reload(&self, jwks: &str) -> Result<(), JwksError> {
        let keys = jwks::parse(jwks, &self.algorithms)?;
        *self.keys.write() = keys.into();
        Ok(())
    }

    /// Fetches the keys now, and again and again with so much time between, at least a second. The
    /// future has no end: spawn it, and abort the task when the keys are no longer needed.
    ///
    /// `fetch` is to get the text from an address that the program knows, over TLS, with a limit to
    /// its size ([`JWKS_BYTES_MAX`](super::JWKS_BYTES_MAX)). It is given nothing of any token. A
    /// fetch that takes longer than the time between two is dropped. When one fails, the keys stay as
    /// they are, a warning is logged, and it is tried again after 30 s at the latest.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the keys as they are.
    pub async fn keep_fresh<F, Fut, E>(&self, every: Duration, mut fetch: F)
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<String, E>>,
        E: fmt::Display,
    {
        let every = every.max(FETCH_EVERY_MIN);
        loop {
            let reason = match time::timeout(every, fetch()).await {
                Ok(Ok(jwks)) => self.reload(&jwks).err().map(|error| error.to_string()),
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("it took too long".to_owned()),
            };
            let pause = match reason {
                None => every,
                Some(reason) => {
                    tracing::warn!("the keys for tokens were not fetched: {reason}");
                    every.min(RETRY_AFTER)
                }
            };
            time::sleep(pause).await;
        }
    }

    /// The keys as they are now.
    pub(super) fn snapshot(&self) -> Arc<[VerifyingKey]> {
        Arc::clone(&self.keys.read())
    }
}

impl From<VerifyingKey> for KeySet {
    fn from(key: VerifyingKey) -> Self {
        Self::new([key])
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySet").field(&self.snapshot()).finish()
    }
}
