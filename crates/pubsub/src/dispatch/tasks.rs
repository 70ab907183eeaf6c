//! [`Tasks`]: where lanes run, and how many of them do.
//!
//! Not here: what a lane does (dispatch).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Tasks {
    running: AtomicUsize,
    ended: Notify,
    /// The first runtime that was seen, for broadcasts from threads outside any.
    remembered: OnceLock<Handle>,
}

impl Tasks {
    /// The runtime of this thread, or the one remembered.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        match Handle::try_current() {
            Ok(current) => {
                self.remembered.get_or_init(|| current.clone());
                Some(current)
            }
            Err(_) => self.remembered.get().cloned(),
        }
    }

    /// Remembers the runtime of this thread, if it has one and none is remembered yet.
    pub(crate) fn remember_runtime(&self) {
        if self.remembered.get().is_none()
            && let Ok(current) = Handle::try_current()
        {
            // Another thread may have been first, with a runtime as good as this.
            let _ = self.remembered.set(current);
        }
    }

    /// Waits until no task runs. Cancel safe.
    pub(crate) async fn drained(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// A task that runs, or is about to.
pub(crate) struct Running(Arc<Tasks>);

impl Running {
    pub(crate) fn new(tasks: &Arc<Tasks>) -> Self {
        tasks.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(tasks))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}
