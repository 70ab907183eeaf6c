//! Draining: closing all sockets of an endpoint gently before the process ends. Which connections
//! there are is in `connection/connections.rs`; the listeners and the rest of HTTP are the server's.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Endpoint;
use crate::connection::{CloseReason, Connection};
use crate::driver::deadline_after;

/// How an endpoint is drained. The numbers of the batches are Phoenix's.
///
/// Sockets are closed in batches, one every `batch_interval`, and within a batch at random moments of
/// the window, so that their clients do not come back as one herd. A batch that is not full takes a
/// proportional part of the window: with the defaults 5,000 sockets close in a second, and 50 within
/// 10 ms. Where the batches would not fit into `timeout`, they follow each other quicker, so that
/// every client is told and has time to answer: the last close frame is sent no later than the shorter
/// of [`Limits::close_timeout`](crate::Limits::close_timeout) and a quarter of `timeout` before its
/// end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainOptions {
    /// How long the endpoint still takes sockets once [`Endpoint::is_ready`] says no, so that load
    /// balancers that ask for its health look elsewhere first. Not part of `timeout`. Default 0.
    pub readiness_delay: Duration,
    /// How many sockets a batch has. Default 10,000.
    pub batch_size: usize,
    /// The time from one batch to the next. Default 2 s.
    pub batch_interval: Duration,
    /// The time over which the closes of a full batch are spread; 0 closes a batch at once. What is
    /// longer than `batch_interval` counts as that. Default 2 s.
    pub window: Duration,
    /// When to give up waiting for sockets that do not end. Default 30 s.
    pub timeout: Duration,
}

impl Default for DrainOptions {
    fn default() -> Self {
        Self {
            readiness_delay: Duration::ZERO,
            batch_size: 10_000,
            batch_interval: Duration::from_secs(2),
            window: Duration::from_secs(2),
            timeout: Duration::from_secs(30),
        }
    }
}

/// What became of the sockets of an endpoint that was drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Sockets that were closed with 1012 and ended.
    pub closed: usize,
    /// Sockets that had not ended at the timeout and were dropped: 0 if all went well.
    pub dropped: usize,
}

impl std::iter::Sum for DrainReport {
    fn sum<I: Iterator<Item = Self>>(reports: I) -> Self {
        reports.fold(Self::default(), |sum, report| Self {
            closed: sum.closed + report.closed,
            dropped: sum.dropped + report.dropped,
        })
    }
}

impl Endpoint {
    /// Says that it is not ready, then takes no new sockets (HTTP 503) and closes those that are there
    /// with 1012, in batches, so that their clients come back to another node. What is still there at
    /// the timeout is dropped.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the endpoint as far as it was: not ready or draining for good, and those not
    /// yet closed stay.
    pub async fn drain(&self, options: &DrainOptions) -> DrainReport {
        self.hub.not_ready.store(true, Ordering::Release);
        if !options.readiness_delay.is_zero() {
            sleep(options.readiness_delay).await;
        }
        let started = Instant::now();
        let deadline = deadline_after(started, options.timeout);
        self.hub.draining.store(true, Ordering::Release);
        let mut connections = self.hub.connections.snapshot();
        // Those that came together do not leave together.
        fastrand::shuffle(&mut connections);
        let told = connections.len();
        self.close_in_batches(&connections, options, started).await;
        drop(connections);
        let connections = &self.hub.connections;
        let emptied = timeout_at(deadline, connections.emptied()).await;
        let dropped = if emptied.is_ok() {
            0
        } else {
            connections.count()
        };
        for connection in connections.snapshot() {
            connection.abort();
        }
        DrainReport {
            closed: told.saturating_sub(dropped),
            dropped,
        }
    }

    async fn close_in_batches(
        &self,
        connections: &[Arc<Connection>],
        options: &DrainOptions,
        started: Instant,
    ) {
        let answer_time = self.hub.limits.close_timeout;
        let plan = Plan::new(connections.len(), options, answer_time);
        let telemetry = &self.hub.telemetry;
        for (index, batch) in connections.chunks(plan.batch_size).enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let start = deadline_after(started, plan.interval.saturating_mul(index));
            sleep_until(start).await;
            tracing::info!(
                batch = index + 1,
                batches = plan.batches,
                sockets = batch.len(),
                total = connections.len(),
                "draining"
            );
            telemetry.drain_batches.increment(1);
            for (connection, offset) in batch.iter().zip(plan.offsets(batch.len())) {
                if !offset.is_zero() {
                    sleep_until(deadline_after(start, offset)).await;
                }
                connection.close(CloseReason::Draining);
                telemetry.drained.increment(1);
            }
        }
    }
}

/// When the batches of a drain begin and how far each is spread.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    batch_size: usize,
    batches: u32,
    interval: Duration,
    /// Of a full batch; at most the interval.
    window: Duration,
}

impl Plan {
    fn new(sockets: usize, options: &DrainOptions, answer_time: Duration) -> Self {
        let batch_size = options.batch_size.max(1);
        let batches = u32::try_from(sockets.div_ceil(batch_size)).unwrap_or(u32::MAX);
        let last_close = options.timeout - answer_time.min(options.timeout / 4);
        let interval = options.batch_interval.min(last_close / batches.max(1));
        Self {
            batch_size,
            batches,
            interval,
            window: options.window.min(interval),
        }
    }

    /// Random moments for the closes of a batch, in order, from its beginning.
    fn offsets(&self, sockets: usize) -> Vec<Duration> {
        #[allow(
            clippy::cast_precision_loss,
            reason = "a share of a time; what is lost is far below a tick"
        )]
        let share = (sockets as f64 / self.batch_size as f64).min(1.0);
        let window = self.window.mul_f64(share);
        let mut offsets: Vec<_> = (0..sockets)
            .map(|_| window.mul_f64(fastrand::f64()))
            .collect();
        offsets.sort_unstable();
        offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Duration = Duration::from_secs(5);

    fn plan(sockets: usize, change: impl FnOnce(&mut DrainOptions)) -> Plan {
        let mut options = DrainOptions::default();
        change(&mut options);
        Plan::new(sockets, &options, ANSWER)
    }

    fn last(plan: &Plan, sockets: usize) -> Duration {
        plan.offsets(sockets).last().copied().unwrap_or_default()
    }

    #[test]
    fn a_small_server_is_drained_at_once_and_a_full_batch_over_the_window() {
        let small = plan(50, |_| {});
        assert_eq!(small.batches, 1);
        assert!(last(&small, 50) < Duration::from_millis(10));
        let full = plan(10_000, |_| {});
        let offsets = full.offsets(10_000);
        assert!(offsets.is_sorted());
        for quarter in 0..4 {
            let range =
                Duration::from_millis(500) * quarter..Duration::from_millis(500) * (quarter + 1);
            let inside = offsets.iter().filter(|offset| range.contains(offset));
            assert!(inside.count() > 2_000, "closes are spread evenly");
        }
    }

    #[test]
    fn batches_that_would_not_fit_follow_each_other_quicker() {
        let plan = plan(1_000_000, |_| {});
        assert_eq!(plan.batches, 100);
        assert_eq!(plan.interval, Duration::from_millis(250));
        assert!(last(&plan, 10_000) <= Duration::from_millis(250));
    }

    #[test]
    fn extremes_are_no_trouble() {
        let table: [fn(&mut DrainOptions); 4] = [
            |options| options.batch_size = 0,
            |options| options.timeout = Duration::ZERO,
            |options| options.timeout = Duration::MAX,
            |options| {
                (options.batch_interval, options.window) = (Duration::ZERO, Duration::MAX);
            },
        ];
        for change in table {
            for sockets in [0, 1, 1000] {
                let plan = plan(sockets, change);
                assert!(last(&plan, sockets.min(plan.batch_size)) <= plan.interval);
            }
        }
    }
}
