//! [`Interest`]: tells the adapter which topics have subscribers here, in the right order and with
//! no lock held.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bennu_proto::topic::Topic;
use parking_lot::Mutex;

use crate::adapter::Adapter;

#[derive(Default)]
pub(crate) struct Interest {
    /// Topics about which some thread is talking to the adapter right now, and whether they are open
    /// by now. As many at most as there are such threads. Taken under a shard's lock or alone, for one
    /// look-up.
    unsettled: Mutex<HashMap<Topic, bool, foldhash::fast::RandomState>>,
}

impl Interest {
    /// A topic opened or closed. Called under the lock that makes it so, so that notes have the order
    /// of what happened. Whoever gets `true` must call [`Interest::tell`] when that lock is
    /// released; who gets `false` leaves it to a thread that is at it.
    pub(crate) fn note(&self, topic: &Topic, open: bool) -> bool {
        self.unsettled.lock().insert(topic.clone(), open).is_none()
    }

    /// Tells the adapter, until it has been told how things are.
    pub(crate) fn tell(&self, topic: &Topic, mut open: bool, adapter: &dyn Adapter) {
        loop {
            let told = catch_unwind(AssertUnwindSafe(|| {
                if open {
                    adapter.topic_opened(topic);
                } else {
                    adapter.topic_closed(topic);
                }
            }));
            if told.is_err() {
                tracing::error!(%topic, open, "the adapter panicked while it was told of a topic");
            }
            let mut unsettled = self.unsettled.lock();
            match unsettled.get(topic) {
                Some(&now) if now != open => open = now,
                _ => {
                    unsettled.remove(topic);
                    return;
                }
            }
        }
    }
}
