//! [`Publish`]: how a broadcast is made, what comes of it, and why it may fail.

use std::sync::Arc;

use bennu_proto::topic::Topic;

use crate::adapter::PublishError;
use crate::gate::Gate;
use crate::registration::{Registration, RegistrationId};

/// How a broadcast is made. The default is to everybody, on all nodes, in nobody's name.
///
/// ```
/// use bennu_pubsub::{Publish, Scope};
///
/// let here = Publish { scope: Scope::Node, ..Publish::default() };
/// # let _ = here;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Publish<'a> {
    /// On which nodes.
    pub scope: Scope,
    /// The sender's own registration. On a big topic it is served at once, before the call returns, so
    /// that a sender's broadcasts keep their order among its pushes and replies. A sender should then
    /// say so every time: what it broadcasts in nobody's name takes the longer way to itself.
    pub sender: Option<&'a Registration>,
    /// A registration that is left out. Only this node knows it.
    pub except: Option<RegistrationId>,
    /// Counts the broadcast for as long as it is on its way through the lanes of a big topic.
    pub gate: Option<&'a Arc<Gate>>,
}

/// The nodes on which a broadcast is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    #[default]
    Cluster,
    /// This one.
    Node,
}

/// What came of a broadcast on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// How many subscribers were addressed; on a big topic, those who are left out included.
    pub subscribers: usize,
    /// Whether the topic is big, so that its lanes deliver after the call returned.
    pub queued: bool,
}

/// Why a broadcast was not made. Nobody on this node was handed it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// More is on its way to the subscribers of this big topic than the limits allow. It was not
    /// handed to other nodes either.
    #[error("too much is on its way to the subscribers of {topic} already")]
    Overloaded {
        /// The topic.
        topic: Topic,
    },
    /// The adapter could not hand it to the other nodes.
    #[error("the broadcast was not handed to the other nodes: {0}")]
    Adapter(#[from] PublishError),
    /// The PubSub has been shut down.
    #[error("the PubSub has been shut down")]
    ShutDown,
}
