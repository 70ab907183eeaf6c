//! What may be said about the making and the verifying of one token.

use std::time::{Duration, SystemTime};

/// How long a token is valid where nothing else is said: a day.
pub const MAX_AGE: Duration = Duration::from_secs(86_400);
/// How far ahead of ours the clock of a signer may be where nothing else is said.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// How old a token may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxAge {
    /// So old. A token that may be 0 s old has always expired.
    Within(Duration),
    /// As old as it likes.
    Infinity,
}

impl From<Duration> for MaxAge {
    fn from(age: Duration) -> Self {
        Self::Within(age)
    }
}

/// What a token says of its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignOptions {
    pub(super) max_age: MaxAge,
    pub(super) signed_at: Option<SystemTime>,
}

impl SignOptions {
    /// How old the token may become, where the verifier does not say it; a day by default.
    #[must_use]
    pub fn with_max_age(self, max_age: impl Into<MaxAge>) -> Self {
        let max_age = max_age.into();
        Self { max_age, ..self }
    }

    /// When the token was signed, to the millisecond, instead of now.
    #[must_use]
    pub fn with_signed_at(self, signed_at: SystemTime) -> Self {
        let signed_at = Some(signed_at);
        Self { signed_at, ..self }
    }
}

impl Default for SignOptions {
    fn default() -> Self {
        Self {
            max_age: MAX_AGE.into(),
            signed_at: None,
        }
    }
}

/// What a verifier asks of a token's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    pub(super) max_age: Option<MaxAge>,
    pub(super) now: Option<SystemTime>,
    pub(super) clock_skew: Duration,
}

impl VerifyOptions {
    /// How old the token may be, whatever the token itself says.
    #[must_use]
    pub fn with_max_age(self, max_age: impl Into<MaxAge>) -> Self {
        let max_age = Some(max_age.into());
        Self { max_age, ..self }
    }

    /// The time to compare with, instead of the system's.
    #[must_use]
    pub fn with_now(self, now: SystemTime) -> Self {
        let now = Some(now);
        Self { now, ..self }
    }

    /// How far in the future a token may have been signed: nodes whose clocks differ by less accept
    /// each other's tokens at once. [`CLOCK_SKEW`] by default. It makes no token live longer than
    /// that much more. Tokens that never expire may come from any time.
    #[must_use]
    pub fn with_clock_skew(self, clock_skew: Duration) -> Self {
        Self { clock_skew, ..self }
    }
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            max_age: None,
            now: None,
            clock_skew: CLOCK_SKEW,
        }
    }
}
