//! The books of a fan-out: who got which message, and whether everybody got each one exactly once and in order. It knows sequence
//! numbers and nothing of sockets.
//!
//! A stream is one sender as one reader sees it. Order is promised per sender, so each stream is checked by itself.

use std::collections::BTreeSet;

/// Gaps that are remembered one by one; past it the ledger is hopelessly wrong anyway, and only counts.
const GAPS_MAX: usize = 100_000;
/// Faults that are described in words.
const EXAMPLES_MAX: usize = 10;

/// What a delivery turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The one that was due, or a later one; those in between are missing for now.
    Fresh,
    /// One that was missing, after a later one.
    Reordered,
    /// One that had come before.
    Duplicate,
}

/// Counts deliveries per stream. Sequence numbers of a stream start at 0.
#[derive(Debug)]
pub struct Ledger {
    next: Vec<u64>,
    gaps: BTreeSet<(usize, u64)>,
    gaps_forgotten: u64,
    delivered: u64,
    duplicated: u64,
    reordered: u64,
    examples: Vec<String>,
}

impl Ledger {
    /// A ledger of so many streams.
    pub fn new(streams: usize) -> Self {
        Self {
            next: vec![0; streams],
            gaps: BTreeSet::new(),
            gaps_forgotten: 0,
            delivered: 0,
            duplicated: 0,
            reordered: 0,
            examples: Vec::new(),
        }
    }

    /// Notes that message `sequence` of `stream` arrived.
    pub fn note(&mut self, stream: usize, sequence: u64) -> Delivery {
        let next = self.next[stream];
        if sequence >= next {
            self.next[stream] = sequence + 1;
            self.delivered += 1;
            if sequence > next {
                self.note_gap(stream, next, sequence);
            }
            return Delivery::Fresh;
        }
        if self.gaps.remove(&(stream, sequence)) {
            self.delivered += 1;
            self.reordered += 1;
            self.example(format!(
                "stream {stream}: message {sequence} came after message {}",
                next - 1
            ));
            return Delivery::Reordered;
        }
        self.duplicated += 1;
        self.example(format!("stream {stream}: message {sequence} came again"));
        Delivery::Duplicate
    }

    /// Messages that arrived, each counted once per stream.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Closes the books: `published(stream)` is how many messages the stream should have carried.
    pub fn verdict(mut self, published: impl Fn(usize) -> u64) -> Verdict {
        let mut missing = self.gaps_forgotten + self.gaps.len() as u64;
        let mut invented = 0;
        let gaps: Vec<_> = self.gaps.iter().copied().take(EXAMPLES_MAX).collect();
        for (stream, sequence) in gaps {
            self.example(format!("stream {stream}: message {sequence} never came"));
        }
        for stream in 0..self.next.len() {
            let (next, published) = (self.next[stream], published(stream));
            missing += published.saturating_sub(next);
            invented += next.saturating_sub(published);
            if next != published {
                self.example(format!(
                    "stream {stream}: {published} published, the last to come was number {}",
                    next as i64 - 1
                ));
            }
        }
        Verdict {
            delivered: self.delivered,
            missing,
            duplicated: self.duplicated,
            reordered: self.reordered,
            invented,
            examples: self.examples,
        }
    }

    fn note_gap(&mut self, stream: usize, from: u64, to: u64) {
        let room = (GAPS_MAX - self.gaps.len()) as u64;
        let kept = (to - from).min(room);
        self.gaps
            .extend((from..from + kept).map(|sequence| (stream, sequence)));
        self.gaps_forgotten += to - from - kept;
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }
}

/// What the books say at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Deliveries, each counted once.
    pub delivered: u64,
    /// Deliveries that never happened.
    pub missing: u64,
    /// Deliveries that happened more than once, counted each extra time.
    pub duplicated: u64,
    /// Deliveries that came after a later message of the same sender.
    pub reordered: u64,
    /// Sequence numbers that nobody published.
    pub invented: u64,
    /// The first few faults, in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether every message reached everybody once and in order.
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.duplicated == 0 && self.reordered == 0 && self.invented == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_books() {
        let mut ledger = Ledger::new(3);
        for sequence in 0..5 {
            for stream in 0..3 {
                assert_eq!(ledger.note(stream, sequence), Delivery::Fresh);
            }
        }
        let verdict = ledger.verdict(|_| 5);
        assert!(verdict.is_clean());
        assert_eq!(verdict.delivered, 15);
    }

    #[test]
    fn finds_a_missing_delivery_in_the_middle_at_the_end_and_altogether() {
        let mut ledger = Ledger::new(3);
        for sequence in [0, 2] {
            ledger.note(0, sequence);
        }
        for sequence in [0, 1] {
            ledger.note(1, sequence);
        }
        let verdict = ledger.verdict(|_| 3);
        assert!(!verdict.is_clean());
        assert_eq!((verdict.delivered, verdict.missing), (4, 1 + 1 + 3));
        assert_eq!(
            (verdict.duplicated, verdict.reordered, verdict.invented),
            (0, 0, 0)
        );
        assert_eq!(verdict.examples.len(), 3);
    }

    #[test]
    fn finds_a_duplicate() {
        let mut ledger = Ledger::new(1);
        ledger.note(0, 0);
        ledger.note(0, 1);
        assert_eq!(ledger.note(0, 1), Delivery::Duplicate);
        assert_eq!(ledger.note(0, 0), Delivery::Duplicate);
        let verdict = ledger.verdict(|_| 2);
        assert_eq!(
            (
                verdict.delivered,
                verdict.duplicated,
                verdict.missing,
                verdict.reordered
            ),
            (2, 2, 0, 0)
        );
        assert!(!verdict.is_clean());
    }

    #[test]
    fn finds_a_reordered_delivery_and_does_not_call_it_missing() {
        let mut ledger = Ledger::new(1);
        ledger.note(0, 0);
        assert_eq!(ledger.note(0, 2), Delivery::Fresh);
        assert_eq!(ledger.note(0, 1), Delivery::Reordered);
        assert_eq!(ledger.note(0, 1), Delivery::Duplicate);
        let verdict = ledger.verdict(|_| 3);
        assert_eq!(
            (
                verdict.delivered,
                verdict.missing,
                verdict.reordered,
                verdict.duplicated
            ),
            (3, 0, 1, 1)
        );
        assert!(!verdict.is_clean());
    }

    #[test]
    fn finds_a_message_that_nobody_sent() {
        let mut ledger = Ledger::new(1);
        ledger.note(0, 0);
        ledger.note(0, 1);
        let verdict = ledger.verdict(|_| 1);
        assert_eq!(verdict.invented, 1);
        assert!(!verdict.is_clean());
    }

    #[test]
    fn a_wild_sequence_number_does_not_fill_the_memory() {
        let mut ledger = Ledger::new(1);
        ledger.note(0, 1 << 40);
        let verdict = ledger.verdict(|_| (1 << 40) + 1);
        assert_eq!(verdict.missing, 1 << 40);
    }
}
