//! [`Registration`]: the guard that keeps a subscriber on a topic, and its id.
//!
//! Not here: where registrations lie (the registry).

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bennu_proto::topic::Topic;

use crate::hub::Hub;
use crate::registry::{Place, TopicNode};

/// Ids are given out in order and never twice, whichever PubSub they are for.
static IDS: AtomicU64 = AtomicU64::new(0);

/// Names a registration, so that a broadcast can leave it out. Unique within the process; a later
/// registration has a greater id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(NonZeroU64);

impl RegistrationId {
    /// The id as a number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn take_next() -> Self {
        Self::numbered(IDS.fetch_add(1, Ordering::Relaxed))
    }

    /// A bound: whoever has a smaller id registered earlier. Whatever orders a registration before
    /// this call also orders the two accesses to the counter, so nothing more is asked of it.
    pub(crate) fn upcoming() -> Self {
        Self::numbered(IDS.load(Ordering::Relaxed))
    }

    fn numbered(number: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(number))
    }
}

/// Keeps a subscriber on a topic; dropping it takes the subscriber off, in constant time.
///
/// When the drop returns, no broadcast that begins from then on is delivered. One that is under way
/// on another thread, or in the lanes of a big topic, may still be.
#[must_use = "dropping a registration takes the subscriber off the topic"]
pub struct Registration {
    hub: Arc<Hub>,
    node: Arc<TopicNode>,
    id: RegistrationId,
    place: Place,
}

impl Registration {
    pub(crate) fn new(
        hub: Arc<Hub>,
        node: Arc<TopicNode>,
        id: RegistrationId,
        place: Place,
    ) -> Self {
        Self {
            hub,
            node,
            id,
            place,
        }
    }

    /// The id, to leave this registration out of a broadcast.
    #[must_use]
    pub fn id(&self) -> RegistrationId {
        self.id
    }

    /// The topic. This is the copy that the registry keeps, shared by everybody on the topic: whoever
    /// holds a registration need not hold a topic of their own.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        self.node.topic()
    }

    pub(crate) fn is_in(&self, node: &Arc<TopicNode>) -> bool {
        Arc::ptr_eq(&self.node, node)
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.unregister(&self.node, self.place);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("topic", self.topic())
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
