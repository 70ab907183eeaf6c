//! A histogram of durations: log-linear buckets, 128 to each power of two, so that a figure is off by less than 1 % whatever its size.
//! What a duration is measured from is the scenario's business.

use std::time::Duration;

const SUB_BITS: u32 = 7;
const SUBS: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUBS;

/// Counts of durations, in nanoseconds.
#[derive(Debug, Clone)]
pub struct Latency {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            count: 0,
            max: 0,
        }
    }
}

impl Latency {
    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// Forgets everything; for the end of a warm-up.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many durations were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in microseconds.
    pub fn max_us(&self) -> f64 {
        self.max as f64 / 1e3
    }

    /// The duration, in microseconds, that the given share of all did not exceed; 0 if there are none.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return ceiling(index).min(self.max) as f64 / 1e3;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < SUBS as u64 {
        return nanos as usize;
    }
    let shift = 63 - nanos.leading_zeros() - SUB_BITS;
    (shift as usize) * SUBS + (nanos >> shift) as usize
}

/// The largest value that falls into a bucket.
fn ceiling(index: usize) -> u64 {
    if index < SUBS {
        return index as u64;
    }
    let shift = (index / SUBS - 1) as u32;
    let floor = ((index % SUBS + SUBS) as u64) << shift;
    floor + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        let mut last = 0;
        for value in (0..100_000)
            .chain((17..64).map(|bits| 1u64 << bits))
            .chain([u64::MAX])
        {
            let index = bucket(value);
            assert!(index < BUCKETS);
            assert!(index >= last, "{value}");
            last = index;
            assert!(ceiling(index) >= value);
            assert!(
                (ceiling(index) - value) as f64 <= value as f64 / 128.0 + 1.0,
                "{value}"
            );
            assert_eq!(bucket(ceiling(index)), index);
        }
    }

    #[test]
    fn quantiles() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile_us(0.5), 0.0);
        for micros in 1..=10_000 {
            latency.record(Duration::from_micros(micros));
        }
        for (share, exact) in [
            (0.5, 5_000.0),
            (0.9, 9_000.0),
            (0.99, 9_900.0),
            (0.999, 9_990.0),
        ] {
            let got = latency.quantile_us(share);
            assert!((got - exact).abs() / exact < 0.01, "{share}: {got}");
        }
        assert_eq!(latency.quantile_us(1.0), 10_000.0);
        assert_eq!(latency.max_us(), 10_000.0);
        assert_eq!(latency.count(), 10_000);
    }

    #[test]
    fn a_single_slow_one_shows_at_the_top_only() {
        let mut latency = Latency::default();
        for _ in 0..999 {
            latency.record(Duration::from_micros(10));
        }
        latency.record(Duration::from_secs(1));
        assert!(latency.quantile_us(0.99) < 11.0);
        assert_eq!(latency.quantile_us(1.0), 1e6);
    }
}
