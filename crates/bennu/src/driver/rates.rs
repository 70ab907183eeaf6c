//! [`Rates`]: how fast a client may send. What is over the rate has been read already, so it is owed:
//! nothing more is handled or read until it is paid for.

use std::num::NonZeroU32;
use std::task::Context;

use tokio::time::Instant;

use super::Driver;
use crate::connection::CloseReason;
use crate::limits::{Limiter, Limits, Rate, RatePolicy};
use crate::telemetry::Limit;

/// The rates of one connection.
pub(super) struct Rates {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    /// When something that is owed can be paid for.
    closed_until: Option<Instant>,
}

struct Bucket {
    limiter: Limiter,
    burst: NonZeroU32,
    owed: usize,
}

impl Rates {
    /// `None` if there are no rates, which costs nothing. What came with the handshake counts.
    pub(super) fn new(limits: &Limits, early_bytes: usize) -> Option<Box<Self>> {
        let (messages, bytes) = (limits.messages_per_second, limits.bytes_per_second);
        (messages.is_some() || bytes.is_some()).then(|| {
            let mut rates = Self {
                messages: messages.map(Bucket::new),
                bytes: bytes.map(Bucket::new),
                closed_until: None,
            };
            rates.take(Limit::Bytes, early_bytes);
            Box::new(rates)
        })
    }

    /// Counts input. True if that is why nothing may be read any more.
    fn take(&mut self, limit: Limit, count: usize) -> bool {
        let bucket = match limit {
            Limit::Messages => &mut self.messages,
            _ => &mut self.bytes,
        };
        let Some(bucket) = bucket else { return false };
        bucket.owed = bucket.owed.saturating_add(count);
        let Some(until) = bucket.pay() else {
            return false;
        };
        let was_open = self.closed_until.is_none();
        self.closed_until = Some(self.closed_until.map_or(until, |other| other.max(until)));
        was_open
    }

    /// Pays for what is owed, as far as it can be by now.
    fn refill(&mut self, now: Instant) {
        if self.closed_until.is_some_and(|until| until <= now) {
            let buckets = [&mut self.messages, &mut self.bytes];
            let untils = buckets.into_iter().flatten().filter_map(Bucket::pay);
            self.closed_until = untils.max();
        }
    }
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self {
            limiter: rate.limiter(),
            burst: rate.burst(),
            owed: 0,
        }
    }

    /// Pays for what is owed. If not all can be paid for, says when to go on.
    fn pay(&mut self) -> Option<Instant> {
        loop {
            let owed = u32::try_from(self.owed).unwrap_or(u32::MAX);
            let part = NonZeroU32::new(owed)?.min(self.burst);
            match self.limiter.check_n(part) {
                Ok(Ok(())) => self.owed -= part.get() as usize,
                Ok(Err(not_until)) => return Some(not_until.earliest_possible().0),
                Err(_) => {
                    debug_assert!(false, "a part is no larger than the burst");
                    self.owed = 0;
                }
            }
        }
    }
}

impl Driver {
    /// Counts input and does what the policy says when it is too much.
    pub(super) fn count_inbound(&mut self, limit: Limit, count: usize, cx: &mut Context<'_>) {
        let Some(rates) = &mut self.rates else { return };
        if !rates.take(limit, count) {
            return;
        }
        let hub = self.connection.hub();
        hub.telemetry().limited(limit);
        if hub.rate_policy() == RatePolicy::Close {
            tracing::debug!(limit = limit.name(), "the client sends too much");
            self.begin_close(CloseReason::TooFast, cx);
        }
    }

    pub(super) fn rates_are_open(&self) -> bool {
        self.rates_closed_until().is_none()
    }

    /// When input goes on that the rates hold up.
    pub(super) fn rates_closed_until(&self) -> Option<Instant> {
        self.rates.as_ref()?.closed_until
    }

    pub(super) fn refill_rates(&mut self, now: Instant) {
        if let Some(rates) = &mut self.rates {
            rates.refill(now);
        }
    }
}
