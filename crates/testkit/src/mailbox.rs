//! [`Mailbox`]: what has arrived and was not asked for yet, to be taken selectively.

use std::collections::VecDeque;
use std::fmt::{Display, Write};
use std::pin::pin;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A test that leaves more than this lying about has lost its way; from here on its client reads no further.
const MESSAGES_MAX: usize = 1 << 16;

/// The most that a failure lists.
const LISTED_MAX: usize = 30;

/// Messages of one kind, and the end after which none comes.
#[derive(Debug)]
pub(crate) struct Mailbox<T, E> {
    state: Mutex<State<T, E>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T, E> {
    waiting: VecDeque<T>,
    taken: usize,
    end: Option<E>,
}

impl<T, E> Default for Mailbox<T, E> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                taken: 0,
                end: None,
            }),
            changed: Notify::new(),
        }
    }
}

impl<T: Display, E: Display + Clone> Mailbox<T, E> {
    /// Puts a message in. False if there is no room.
    pub(crate) fn put(&self, message: T) -> bool {
        let mut state = self.state.lock();
        let room = state.waiting.len() < MESSAGES_MAX;
        if room {
            state.waiting.push_back(message);
        }
        drop(state);
        self.changed.notify_waiters();
        room
    }

    /// Waits until there is room.
    pub(crate) async fn has_room(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.state.lock().waiting.len() < MESSAGES_MAX {
                return;
            }
            changed.await;
        }
    }

    /// Nothing more will come. The first end counts.
    pub(crate) fn end(&self, end: E) {
        self.state.lock().end.get_or_insert(end);
        self.changed.notify_waiters();
    }

    /// Takes the first message that matches, as soon as there is one.
    pub(crate) async fn take(
        &self,
        timeout: Duration,
        mut matches: impl FnMut(&T) -> bool,
    ) -> Option<T> {
        self.wait(timeout, |state| {
            let index = state.waiting.iter().position(&mut matches);
            let message = index.and_then(|index| state.waiting.remove(index));
            state.taken += usize::from(message.is_some());
            match message {
                Some(message) => Some(Some(message)),
                None => state.end.is_some().then_some(None),
            }
        })
        .await
        .flatten()
    }

    /// The end, as soon as it is there.
    pub(crate) async fn ended(&self, timeout: Duration) -> Option<E> {
        self.wait(timeout, |state| state.end.clone()).await
    }

    /// Takes everything.
    pub(crate) fn take_all(&self) -> Vec<T> {
        let mut state = self.state.lock();
        state.taken += state.waiting.len();
        let all = state.waiting.drain(..).collect();
        drop(state);
        self.changed.notify_waiters();
        all
    }

    async fn wait<R>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&mut State<T, E>) -> Option<R>,
    ) -> Option<R> {
        let deadline = Instant::now() + timeout;
        loop {
            let mut changed = pin!(self.changed.notified());
            // Asked for before the look, so that nothing falls between the two.
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.state.lock()) {
                // Whoever waits for room may have it now.
                self.changed.notify_waiters();
                return Some(found);
            }
            if timeout_at(deadline, changed).await.is_err() {
                return None;
            }
        }
    }

    /// What lies there, for a failure.
    pub(crate) fn listed(&self) -> String {
        let state = self.state.lock();
        let mut text = match state.waiting.len() {
            0 => "the mailbox is empty".to_owned(),
            _ => "in the mailbox:".to_owned(),
        };
        if state.taken > 0 {
            let _ = write!(text, " ({} taken before)", state.taken);
        }
        text.push('\n');
        for message in state.waiting.iter().take(LISTED_MAX) {
            let _ = writeln!(text, "  {message}");
        }
        if state.waiting.len() > LISTED_MAX {
            let _ = writeln!(text, "  … and {} more", state.waiting.len() - LISTED_MAX);
        }
        if let Some(end) = &state.end {
            let _ = writeln!(text, "  {end}");
        }
        text
    }
}
