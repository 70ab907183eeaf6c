//! [`Gate`]: back-pressure from big topics to whoever broadcasts to them.
//!
//! Not here: who waits at a gate. A connection's driver does, before it reads on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Counts the broadcasts of one sender that are still on their way through the lanes of big topics.
///
/// Whoever lets others broadcast through it should not take their next message before the gate is
/// idle: then a fast shouter waits, instead of filling queues at its listeners' expense. One task
/// may wait at a gate; a second one takes the place of the first.
#[derive(Debug, Default)]
pub struct Gate {
    outstanding: AtomicUsize,
    waker: AtomicWaker,
}

impl Gate {
    /// Whether nothing is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outstanding() == 0
    }

    /// How many broadcasts are on their way.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Acquire)
    }

    /// Ready when nothing is on its way: every broadcast has reached every subscriber, or was given
    /// up because the runtime that served it is gone.
    pub fn poll_idle(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_idle() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.is_idle() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Waits until nothing is on its way. Cancel safe.
    pub async fn idle(&self) {
        std::future::poll_fn(|cx| self.poll_idle(cx)).await;
    }
}

/// One broadcast on its way; the gate counts it until this is dropped.
pub(crate) struct Pass(Arc<Gate>);

impl Pass {
    pub(crate) fn new(gate: &Arc<Gate>) -> Self {
        gate.outstanding.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gate))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.0.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.waker.wake();
        }
    }
}
