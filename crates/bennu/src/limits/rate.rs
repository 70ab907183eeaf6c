//! [`Rate`]: how often something may happen, and the clock by which that is held.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Add;
use std::time::Duration;

use governor::Quota;
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, RateLimiter};
use tokio::time::Instant;

/// How often something may happen: so many times a second in the long run, and so many at once after a
/// silence.
///
/// Held by the generic cell rate algorithm, to a nanosecond: from a million a second on, it is rounded
/// by up to a tenth of a percent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// So many a second, and as many at once. Zero counts as one.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        let count = at_least_one(count);
        Self {
            per_second: count,
            burst: count,
        }
    }

    /// So many at once. Zero counts as one.
    #[must_use]
    pub const fn with_burst(self, burst: u32) -> Self {
        Self {
            burst: at_least_one(burst),
            ..self
        }
    }

    /// How many at once.
    #[must_use]
    pub const fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    pub(crate) fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }

    /// After this time of silence, everything is as at the beginning.
    pub(crate) fn refill_time(self) -> Duration {
        Duration::from_secs(self.burst.get().into()) / self.per_second.get()
    }

    pub(crate) fn limiter(self) -> Limiter {
        RateLimiter::direct_with_clock(self.quota(), RuntimeClock)
    }
}

const fn at_least_one(count: u32) -> NonZeroU32 {
    match NonZeroU32::new(count) {
        Some(count) => count,
        None => NonZeroU32::MIN,
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s, {} at once", self.per_second, self.burst)
    }
}

/// Holds one rate.
pub(crate) type Limiter = KeyedLimiter<NotKeyed, InMemoryState>;

/// Holds a rate for each key of a table.
pub(crate) type KeyedLimiter<K, S> = RateLimiter<K, S, RuntimeClock, NoOpMiddleware<Moment>>;

/// The clock of the runtime, which tests can stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuntimeClock;

/// A moment of that clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Instant);

impl Clock for RuntimeClock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(Instant::now())
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        let nanos = self.0.saturating_duration_since(earlier.0).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

impl Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, duration: Nanos) -> Self {
        Self(self.0.checked_add(duration.into()).unwrap_or(self.0))
    }
}

/// What happens to a client that sends more than its rates allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RatePolicy {
    /// It is read no faster than that: what it sends waits in its own TCP connection.
    #[default]
    SlowDown,
    /// The connection closes with 1008.
    Close,
}
