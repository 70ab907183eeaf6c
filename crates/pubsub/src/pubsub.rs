//! [`PubSub`]: the face of the crate.
//!
//! Not here: what is behind it (the hub).

use std::fmt;
use std::sync::Arc;

use bennu_proto::topic::Topic;

use crate::adapter::{Adapter, Local};
use crate::broadcast::Broadcast;
use crate::gate::Gate;
use crate::hub::Hub;
use crate::options::{PubSubOptions, SubscriptionOptions};
use crate::publish::{BroadcastError, Dispatched, Publish, Scope};
use crate::registration::{Registration, RegistrationId};
use crate::subscriber::Subscriber;
use crate::subscription::Subscription;

/// Topics, and who is subscribed to them. Cheap to clone; several may run side by side.
///
/// **Delivery** is at most once, with nothing kept for later. A broadcast reaches, exactly once each,
/// all who subscribed before it began and stay until it is done; who subscribes after it began is
/// not served by a big topic's lanes, and may or may not be otherwise.
///
/// **Order**: what one sender broadcasts to one topic, one call after the other, reaches each
/// subscriber in that order, whether the topic is small or big and also while it becomes either.
/// Between senders, and between topics, there is none.
///
/// **Cost**: a topic of up to [`PubSubOptions::in_place_max`] subscribers is served before
/// [`PubSub::broadcast`] returns. A bigger one is served by a few tasks that exist only while they
/// have work. They run in the tokio runtime of the thread that broadcasts, or else in the first one
/// that was seen where the PubSub was made or subscribed to; without any, every topic is served in
/// place.
#[derive(Clone)]
pub struct PubSub {
    hub: Arc<Hub>,
}

impl PubSub {
    /// A PubSub for a node that is on its own.
    #[must_use]
    pub fn local() -> Self {
        Self::new(Arc::new(Local::default()))
    }

    /// A PubSub whose broadcasts an adapter carries to other nodes.
    #[must_use]
    pub fn new(adapter: Arc<dyn Adapter>) -> Self {
        Self::with_options(adapter, &PubSubOptions::default())
    }

    /// As [`PubSub::new`], with limits of your choice.
    #[must_use]
    pub fn with_options(adapter: Arc<dyn Adapter>, options: &PubSubOptions) -> Self {
        Self {
            hub: Hub::start(adapter, options),
        }
    }

    /// The name of this node, as the adapter knows it.
    #[must_use]
    pub fn node_name(&self) -> &str {
        self.hub.adapter().node_name()
    }

    /// Subscribes somebody who takes broadcasts on the spot, until the registration is dropped. The
    /// token comes with each of them. Registering twice makes two registrations, each of which is
    /// served.
    ///
    /// Takes constant time, whatever the size of the topic. Broadcasts may arrive before this returns.
    pub fn register(
        &self,
        topic: &Topic,
        subscriber: Arc<dyn Subscriber>,
        token: u64,
    ) -> Registration {
        self.hub.register(topic, subscriber, token)
    }

    /// Subscribes any task of the program, with a queue of the default size.
    pub fn subscribe(&self, topic: impl Into<Topic>) -> Subscription {
        self.subscribe_with(topic, &SubscriptionOptions::default())
    }

    /// Subscribes any task of the program, with a queue of your choice.
    pub fn subscribe_with(
        &self,
        topic: impl Into<Topic>,
        options: &SubscriptionOptions,
    ) -> Subscription {
        Subscription::new(&self.hub, &topic.into(), options)
    }

    /// Broadcasts to everybody on the topic, on all nodes.
    ///
    /// Never waits; takes time with the number of subscribers up to the limit of what is served in
    /// place, and constant time beyond. The adapter comes first; if it refuses, nobody on this node is served either.
    ///
    /// # Errors
    /// [`BroadcastError::Overloaded`] when a big topic's lanes are full, before anybody was served on
    /// any node; [`BroadcastError::Adapter`]; [`BroadcastError::ShutDown`].
    pub fn broadcast(
        &self,
        broadcast: impl Into<Arc<Broadcast>>,
    ) -> Result<Dispatched, BroadcastError> {
        self.publish(broadcast, &Publish::default())
    }

    /// Broadcasts to everybody on the topic but one registration, on all nodes.
    ///
    /// # Errors
    /// As for [`PubSub::broadcast`].
    pub fn broadcast_from(
        &self,
        from: RegistrationId,
        broadcast: impl Into<Arc<Broadcast>>,
    ) -> Result<Dispatched, BroadcastError> {
        let publish = Publish {
            except: Some(from),
            ..Publish::default()
        };
        self.publish(broadcast, &publish)
    }

    /// Broadcasts to everybody on the topic on this node.
    ///
    /// # Errors
    /// As for [`PubSub::broadcast`], without the adapter's.
    pub fn local_broadcast(
        &self,
        broadcast: impl Into<Arc<Broadcast>>,
    ) -> Result<Dispatched, BroadcastError> {
        let publish = Publish {
            scope: Scope::Node,
            ..Publish::default()
        };
        self.publish(broadcast, &publish)
    }

    /// Broadcasts to everybody on the topic on this node but one registration.
    ///
    /// # Errors
    /// As for [`PubSub::local_broadcast`].
    pub fn local_broadcast_from(
        &self,
        from: RegistrationId,
        broadcast: impl Into<Arc<Broadcast>>,
    ) -> Result<Dispatched, BroadcastError> {
        let publish = Publish {
            scope: Scope::Node,
            except: Some(from),
            ..Publish::default()
        };
        self.publish(broadcast, &publish)
    }

    /// Broadcasts in the way that is asked for. The other broadcasts are this one with little said.
    ///
    /// # Errors
    /// As for [`PubSub::broadcast`].
    pub fn publish(
        &self,
        broadcast: impl Into<Arc<Broadcast>>,
        publish: &Publish<'_>,
    ) -> Result<Dispatched, BroadcastError> {
        self.hub.publish(&broadcast.into(), publish)
    }

    /// Serves the subscribers of this node with what another node published. Adapters do the same
    /// through their [`crate::Inbox`], which does not keep the PubSub alive.
    ///
    /// # Errors
    /// As for [`PubSub::local_broadcast`].
    pub fn deliver_remote(
        &self,
        broadcast: impl Into<Arc<Broadcast>>,
        gate: Option<&Arc<Gate>>,
    ) -> Result<Dispatched, BroadcastError> {
        let publish = Publish {
            scope: Scope::Node,
            gate,
            ..Publish::default()
        };
        self.publish(broadcast, &publish)
    }

    /// How many registrations there are for a topic on this node.
    #[must_use]
    pub fn subscriber_count(&self, topic: &str) -> usize {
        self.hub
            .registry()
            .find(topic)
            .map_or(0, |node| node.subscribers())
    }

    /// How many topics have a subscriber on this node. Looks at every shard.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.hub.registry().topics()
    }

    /// Refuses broadcasts from now on, waits until those that are under way have been delivered, and
    /// ends the adapter. Subscriptions give what they still hold and then say that they are closed.
    ///
    /// A broadcast that another thread is in the middle of making may be lost to subscriptions.
    /// A PubSub that is dropped instead finishes what is under way too, and nobody is told. Cancel
    /// safe: what was begun goes on, and another call waits for it.
    pub async fn shutdown(&self) {
        self.hub.shut_down().await;
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub")
            .field("node_name", &self.node_name())
            .field("topics", &self.topic_count())
            .finish_non_exhaustive()
    }
}
