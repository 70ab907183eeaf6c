//! [`Pace`]: log lines that a client can cause, few enough that it cannot fill the log with them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// One line in so much time.
const INTERVAL: Duration = Duration::from_secs(10);

/// Says when the next line may be written.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Pace {
    /// Whether a line may be written now, and if so, how many were left out before it.
    pub(crate) fn next(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock();
        if state.last.is_some_and(|last| now < last + INTERVAL) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_in_ten_seconds_says_how_many_were_left_out() {
        let pace = Pace::default();
        assert_eq!(pace.next(), Some(0));
        assert_eq!((pace.next(), pace.next()), (None, None));
        tokio::time::advance(INTERVAL).await;
        assert_eq!(pace.next(), Some(2));
        assert_eq!(pace.next(), None);
    }
}
