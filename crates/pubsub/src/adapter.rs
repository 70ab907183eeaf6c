//! [`Adapter`]: what carries broadcasts to other nodes, and the [`Inbox`] through which theirs arrive.
//!
//! Not here: real networks. [`Local`], which carries nothing anywhere, is the only adapter of this
//! crate.

mod inbox;
mod local;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bennu_proto::topic::Topic;

pub use self::inbox::Inbox;
pub use self::local::Local;
use crate::broadcast::Broadcast;

/// Carries broadcasts between nodes, at most once each, and in the order in which one node
/// published them.
///
/// An implementation may rely on this:
/// - [`Adapter::start`] is called once, before anything else but [`Adapter::node_name`] and
///   [`Adapter::follows_interest`].
/// - [`Adapter::publish`] is called on the thread that broadcasts, before the subscribers of this node
///   are served. One sender's calls come one after the other.
/// - For any one topic, [`Adapter::topic_opened`] and [`Adapter::topic_closed`] come one at a time
///   and in turn, opened first; a topic that closed and opened in between may be left out. Different
///   topics' calls may come at the same time. The call is over before the first subscriber's
///   registration (the last one's drop) returns, unless another thread is telling of the same topic at
///   that moment; then that thread goes on to it.
/// - No lock is held during any call. The calls must not block, and must not panic.
///
/// In return it hands what other nodes published to [`Inbox::deliver`], everything of one node in
/// its order, and never what this node published itself.
pub trait Adapter: Send + Sync + 'static {
    /// The name of this node, different on each of them.
    fn node_name(&self) -> &str;

    /// Whether it wants to be told which topics have subscribers here. Asked once.
    fn follows_interest(&self) -> bool {
        true
    }

    /// The PubSub is there; its inbox takes what other nodes publish. The inbox does not keep the
    /// PubSub alive.
    fn start(&self, inbox: Inbox);

    /// Hands a broadcast to the other nodes, or to a queue of bounded length on the way there.
    ///
    /// # Errors
    /// Whatever keeps it from being handed over; the subscribers of this node do not get it either
    /// then. To report success and lose it is allowed too, and is what Phoenix's Redis adapter
    /// does while it is not connected.
    fn publish(&self, broadcast: &Arc<Broadcast>) -> Result<(), PublishError>;

    /// A topic has got its first subscriber on this node.
    fn topic_opened(&self, topic: &Topic) {
        let _ = topic;
    }

    /// A topic has lost its last subscriber on this node.
    fn topic_closed(&self, topic: &Topic) {
        let _ = topic;
    }

    /// The PubSub shuts down: hands over what is still queued, and ends. Called at least once if the
    /// PubSub is shut down, and not at all if it is only dropped.
    fn shutdown(&self) -> AdapterShutdown<'_> {
        Box::pin(std::future::ready(()))
    }
}

/// What [`Adapter::shutdown`] returns: ready when the adapter has ended.
pub type AdapterShutdown<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Why an adapter did not take a broadcast.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no connection to the other nodes.
    #[error("not connected")]
    Disconnected,
    /// The queue towards the other nodes is full.
    #[error("the queue towards the other nodes is full")]
    Full,
    /// The broadcast is larger than what the network between the nodes carries.
    #[error("a broadcast of {bytes} bytes is too large, {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Something of the adapter's own.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}
