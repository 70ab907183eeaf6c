//! [`Subscriber`]: what a broadcast is handed to, and the containment of its panics.
//!
//! Not here: the ready-made subscriber with a queue ([`crate::Subscription`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::broadcast::Broadcast;

/// Somebody who is handed broadcasts, such as a connection. One subscriber can stand behind any
/// number of registrations; the token says which of them is meant.
pub trait Subscriber: Send + Sync + 'static {
    /// Takes one broadcast.
    ///
    /// Called in the middle of a fan-out, on any thread and from several at once: it must neither
    /// block nor wait, so it puts the broadcast into a bounded queue and wakes whoever empties it. No
    /// lock of this crate is held, so it may register, unregister and broadcast. A panic is logged and
    /// costs the other subscribers nothing.
    ///
    /// A broadcast that was under way when the registration was dropped may still arrive a little
    /// later. A token that is used again for another registration would take it for its own; tokens
    /// are best never used twice.
    fn deliver(&self, token: u64, broadcast: &Arc<Broadcast>);
}

/// A subscriber that was copied out of the registry to be delivered to.
pub(crate) struct Target {
    pub(crate) subscriber: Arc<dyn Subscriber>,
    pub(crate) token: u64,
}

impl Target {
    /// Delivers. Neither the subscriber's code nor the drop of the subscriber can unwind further.
    pub(crate) fn deliver(self, broadcast: &Arc<Broadcast>) {
        let delivered = catch_unwind(AssertUnwindSafe(move || {
            self.subscriber.deliver(self.token, broadcast);
        }));
        if delivered.is_err() {
            metrics::counter!("bennu_pubsub_subscriber_panics_total").increment(1);
            tracing::error!(
                topic = %broadcast.topic(),
                event = broadcast.event(),
                "a subscriber panicked while it took a broadcast"
            );
        }
    }
}
