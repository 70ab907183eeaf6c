//! [`Inbox`]: where broadcasts of other nodes enter this one.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::broadcast::Broadcast;
use crate::gate::Gate;
use crate::hub::Hub;
use crate::publish::{BroadcastError, Dispatched, Publish, Scope};

/// The way into a PubSub for what other nodes publish. Cheap to clone; does not keep the PubSub alive.
#[derive(Clone)]
pub struct Inbox(Weak<Hub>);

impl Inbox {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        Self(Arc::downgrade(hub))
    }

    /// Serves the subscribers of this node. Calls made one after the other keep their order.
    ///
    /// # Errors
    /// [`BroadcastError::Overloaded`] when a big topic cannot keep up: the broadcast is lost for this
    /// node, which is to be counted. [`BroadcastError::ShutDown`] when the PubSub is no more.
    pub fn deliver(
        &self,
        broadcast: impl Into<Arc<Broadcast>>,
    ) -> Result<Dispatched, BroadcastError> {
        self.deliver_through(broadcast, None)
    }

    /// As [`Inbox::deliver`], counted at a gate for as long as a big topic is busy with it: an
    /// adapter that reads on only when the gate is idle is never the cause of an overload.
    ///
    /// # Errors
    /// As for [`Inbox::deliver`].
    pub fn deliver_through(
        &self,
        broadcast: impl Into<Arc<Broadcast>>,
        gate: Option<&Arc<Gate>>,
    ) -> Result<Dispatched, BroadcastError> {
        let hub = self.0.upgrade().ok_or(BroadcastError::ShutDown)?;
        let publish = Publish {
            scope: Scope::Node,
            gate,
            ..Publish::default()
        };
        hub.publish(&broadcast.into(), &publish)
    }

    /// Whether the PubSub is gone or shut down, so that nothing can be delivered any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.upgrade().is_none_or(|hub| hub.is_shut_down())
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}
