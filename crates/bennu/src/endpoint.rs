//! [`Endpoint`]: the program's way to speak to its sockets from anywhere, and the state that all
//! connections of an endpoint share.

mod budget;
mod drain;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bennu_proto::codec::EncodeError;
use bennu_proto::event::{self, ToMessageError};
use bennu_proto::payload::Payload;
use bennu_proto::topic::Topic;
use bennu_pubsub::{
    Broadcast, BroadcastError, Dispatched, PubSub, Publish, RegistrationId, Scope, Subscription,
};
use serde::Serialize;

use crate::connection::Connections;
use crate::limits::{Limits, OverflowPolicy, RatePolicy};
use crate::socket::SocketOptions;
use crate::telemetry::{ParamFilter, Telemetry};
use crate::transport::LongPolling;
use crate::transport::throttle::Throttle;

pub(crate) use budget::Budget;
pub use drain::{DrainOptions, DrainReport};
pub(crate) use sessions::{Entered, SessionId, Sessions};

/// The event that disconnects every socket whose id is the topic.
pub(crate) const DISCONNECT: &str = "disconnect";

/// Speaks to sockets and channels from outside of them. Cheap to clone; made by
/// [`Sockets::endpoint`](crate::Sockets::endpoint).
#[derive(Clone, Debug)]
pub struct Endpoint {
    hub: Arc<Hub>,
}

/// A broadcast from outside of a channel was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The value is not an event.
    #[error(transparent)]
    Event(#[from] ToMessageError),
    /// The payload cannot travel.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The broadcast was not taken.
    #[error(transparent)]
    Broadcast(#[from] BroadcastError),
}

impl Endpoint {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Broadcasts an event on a topic, on all nodes. Never waits.
    ///
    /// # Errors
    /// [`EndpointError`] when the event cannot travel, and when the topic has too many broadcasts
    /// waiting.
    pub fn broadcast<E: Serialize + ?Sized>(
        &self,
        topic: impl Into<Topic>,
        event: &E,
    ) -> Result<(), EndpointError> {
        let (event, payload) = event::to_message(event)?;
        self.broadcast_raw(topic, event, payload)
    }

    /// [`Endpoint::broadcast`] of an event whose name is data. The payload must be an object or
    /// bytes.
    ///
    /// # Errors
    /// As for [`Endpoint::broadcast`].
    pub fn broadcast_raw(
        &self,
        topic: impl Into<Topic>,
        event: &str,
        payload: Payload,
    ) -> Result<(), EndpointError> {
        self.publish(Broadcast::new(topic, event, payload)?, Scope::Cluster)
    }

    /// Broadcasts an event on a topic, on all nodes, but not to one subscription of this program
    /// (see [`Endpoint::subscribe`] and [`Subscription::id`]).
    ///
    /// # Errors
    /// As for [`Endpoint::broadcast`].
    pub fn broadcast_from<E: Serialize + ?Sized>(
        &self,
        from: RegistrationId,
        topic: impl Into<Topic>,
        event: &E,
    ) -> Result<(), EndpointError> {
        let (event, payload) = event::to_message(event)?;
        let publish = Publish {
            except: Some(from),
            ..Publish::default()
        };
        let broadcast = Broadcast::new(topic, event, payload)?;
        self.hub.publish(broadcast, &publish)?;
        Ok(())
    }

    /// Broadcasts an event to the subscribers of a topic on this node.
    ///
    /// # Errors
    /// As for [`Endpoint::broadcast`].
    pub fn local_broadcast<E: Serialize + ?Sized>(
        &self,
        topic: impl Into<Topic>,
        event: &E,
    ) -> Result<(), EndpointError> {
        let (event, payload) = event::to_message(event)?;
        self.local_broadcast_raw(topic, event, payload)
    }

    /// [`Endpoint::local_broadcast`] of an event whose name is data.
    ///
    /// # Errors
    /// As for [`Endpoint::broadcast_raw`].
    pub fn local_broadcast_raw(
        &self,
        topic: impl Into<Topic>,
        event: &str,
        payload: Payload,
    ) -> Result<(), EndpointError> {
        self.publish(Broadcast::new(topic, event, payload)?, Scope::Node)
    }

    fn publish(&self, broadcast: Broadcast, scope: Scope) -> Result<(), EndpointError> {
        let publish = Publish {
            scope,
            ..Publish::default()
        };
        self.hub.publish(broadcast, &publish)?;
        Ok(())
    }

    /// Subscribes a task of the program to a topic.
    #[must_use]
    pub fn subscribe(&self, topic: impl Into<Topic>) -> Subscription {
        self.hub.pubsub.subscribe(topic)
    }

    /// Disconnects every socket with this id, on all nodes. Their clients see close code 1001 and
    /// connect again, so that whatever `connect` decides is decided anew. An id that nobody has is
    /// fine.
    ///
    /// # Errors
    /// [`EndpointError::Broadcast`] as for [`Endpoint::broadcast`].
    pub fn disconnect(&self, id: &str) -> Result<(), EndpointError> {
        self.broadcast_raw(id, DISCONNECT, Payload::empty())
    }

    /// How many sockets are connected to this endpoint on this node, those that are about to be
    /// included.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.hub.connections.count()
    }

    /// Whether clients should be sent here: what a health check of a load balancer asks for. No longer
    /// once [`Endpoint::drain`] was called, also while it waits for its
    /// [`readiness_delay`](DrainOptions::readiness_delay).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.hub.not_ready.load(Ordering::Acquire)
    }

    /// Whether [`Endpoint::drain`] has begun to refuse and close sockets.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.hub.is_draining()
    }

    /// The PubSub that carries its broadcasts.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        &self.hub.pubsub
    }
}

/// What all connections of an endpoint share.
#[derive(Debug)]
pub(crate) struct Hub {
    pubsub: PubSub,
    limits: Limits,
    overflow_policy: OverflowPolicy,
    rate_policy: RatePolicy,
    param_filter: ParamFilter,
    telemetry: Telemetry,
    throttle: Throttle,
    connections: Arc<Connections>,
    budget: Budget,
    not_ready: AtomicBool,
    draining: AtomicBool,
    /// Where clients may poll.
    long_poll: Option<LongPolling>,
    #[cfg(feature = "deflate")]
    deflate: Option<crate::deflate::Deflate>,
}

impl Hub {
    pub(crate) fn new(pubsub: PubSub, options: SocketOptions) -> Self {
        let SocketOptions {
            limits,
            overflow_policy,
            rate_policy,
            param_filter,
            long_poll,
            #[cfg(feature = "deflate")]
            deflate,
        } = options;
        let long_poll =
            long_poll.map(|options| LongPolling::new(options, &limits, pubsub.node_name()));
        tracing::debug!(?limits, ?overflow_policy, ?rate_policy, "limits in force");
        Self {
            pubsub,
            budget: Budget::new(limits.outbound_total_bytes_max),
            throttle: Throttle::new(&limits),
            limits,
            overflow_policy,
            rate_policy,
            param_filter,
            telemetry: Telemetry::new(),
            connections: Arc::new(Connections::new()),
            not_ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            long_poll,
            #[cfg(feature = "deflate")]
            deflate: deflate.map(crate::deflate::Deflate::new),
        }
    }

    pub(crate) fn pubsub(&self) -> &PubSub {
        &self.pubsub
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn overflow_policy(&self) -> OverflowPolicy {
        self.overflow_policy
    }

    pub(crate) fn rate_policy(&self) -> RatePolicy {
        self.rate_policy
    }

    pub(crate) fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    pub(crate) fn param_filter(&self) -> &ParamFilter {
        &self.param_filter
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn long_poll(&self) -> Option<&LongPolling> {
        self.long_poll.as_ref()
    }

    /// After how long without a poll a session ends.
    pub(crate) fn poll_timeout(&self) -> Duration {
        self.long_poll
            .as_ref()
            .map_or(self.limits.idle_timeout, LongPolling::timeout)
    }

    /// What compresses, if the mount asks for it.
    #[cfg(feature = "deflate")]
    pub(crate) fn deflate(&self) -> Option<&crate::deflate::Deflate> {
        self.deflate.as_ref()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Broadcasts and counts.
    pub(crate) fn publish(
        &self,
        broadcast: Broadcast,
        publish: &Publish<'_>,
    ) -> Result<Dispatched, BroadcastError> {
        let dispatched = self.pubsub.publish(broadcast, publish)?;
        self.telemetry.broadcasts.increment(1);
        self.telemetry
            .deliveries
            .increment(dispatched.subscribers as u64);
        Ok(dispatched)
    }

    /// Brings the process back under its budget: the fullest queues are cut first.
    pub(crate) fn relieve(&self) {
        self.budget.relieve(&self.connections);
    }
}
