//! [`Context`]: what a channel can do while it handles something.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bennu_proto::codec::{self, EncodeError};
use bennu_proto::event::{self, ToMessageError};
use bennu_proto::message::{Field, Outgoing};
use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::server::ChannelKey;
use bennu_proto::topic::Topic;
use bennu_pubsub::{Broadcast, BroadcastError, Publish, Registration, Scope};
use serde::Serialize;

use super::runner::{self, Contained, SubscriptionSink};
use super::{Channel, Handle, SubscribedBroadcast, TimerError, TimerRef};
use crate::channel::reply::Answer;
use crate::connection::{Address, Class, Connection, MailError, Schedule};

/// A channel's view of the world: its topic, its socket, and the ways to speak.
///
/// What it sends leaves in the order in which it was made: pushes, replies and the channel's own
/// broadcasts keep their order on the wire.
pub struct Context<'a, C: Channel> {
    core: &'a mut Core,
    assigns: &'a Arc<C::Assigns>,
    /// The reference of the event that is being handled.
    reference: Option<Ref>,
    can_reply: bool,
    _channel: PhantomData<fn(C)>,
}

/// What a channel is beside its user's state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) connection: Arc<Connection>,
    pub(crate) key: ChannelKey,
    pub(crate) topic: Topic,
    /// Where in the topic the part begins that the pattern's `*` stands for.
    pub(crate) wildcard_at: usize,
    /// What the channel's own messages carry.
    pub(crate) join_ref: Option<Ref>,
    /// Whether the client has been told that it joined.
    pub(crate) answered: bool,
    /// Present while the channel listens to its topic.
    pub(crate) registration: Option<Registration>,
    /// Other topics that it listens to.
    pub(crate) subscriptions: Vec<(Topic, Registration)>,
}

/// Pushing and broadcasting are for channels that have joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "nothing is joined yet: to push or broadcast right after a join, do it in `joined`, \
     or send a message to yourself"
)]
pub struct NotJoined;

/// A push or a broadcast was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The channel is still joining.
    #[error(transparent)]
    NotJoined(#[from] NotJoined),
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

/// A message to a channel was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Too many messages wait in the channel's socket
    /// ([`Limits::mailbox_messages_max`](crate::Limits)).
    #[error("too many messages wait for this socket")]
    Full,
    /// The socket is gone.
    #[error("the socket is gone")]
    Gone,
}

/// A channel could not subscribe to a further topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a channel can subscribe to {max} topics beside its own, and it has done so")]
pub struct SubscribeError {
    /// The limit ([`Limits::subscriptions_max`](crate::Limits)).
    pub max: usize,
}

impl From<MailError> for SendError {
    fn from(error: MailError) -> Self {
        match error {
            MailError::Full => Self::Full,
            MailError::Gone => Self::Gone,
        }
    }
}

impl<'a, C: Channel> Context<'a, C> {
    pub(super) fn new(
        core: &'a mut Core,
        assigns: &'a Arc<C::Assigns>,
        event: Option<Option<Ref>>,
    ) -> Self {
        let can_reply = event.is_some();
        Self {
            core,
            assigns,
            reference: event.flatten(),
            can_reply,
            _channel: PhantomData,
        }
    }

    /// The topic of the channel.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.core.topic
    }

    /// The part of the topic that the `*` of the channel's pattern stands for: `lobby` for
    /// `room:lobby` under `room:*`. Empty for a pattern without `*`.
    #[must_use]
    pub fn wildcard(&self) -> &str {
        self.core
            .topic
            .get(self.core.wildcard_at..)
            .unwrap_or_default()
    }

    /// What `connect` established for the socket.
    #[must_use]
    pub fn assigns(&self) -> &C::Assigns {
        self.assigns
    }

    /// What `connect` established for the socket, to be kept.
    #[must_use]
    pub fn shared_assigns(&self) -> Arc<C::Assigns> {
        Arc::clone(self.assigns)
    }

    /// Sends an event to this client alone.
    ///
    /// # Errors
    /// [`PushError`] before the channel has joined, and when the event cannot travel.
    pub fn push<E: Serialize + ?Sized>(&self, event: &E) -> Result<(), PushError> {
        let (event, payload) = event::to_message(event)?;
        self.push_raw(event, &payload)
    }

    /// Sends an event whose name is data to this client alone.
    ///
    /// # Errors
    /// As for [`Context::push`]. The payload must be an object or bytes. Bytes for a client that polls,
    /// which cannot get them, are dropped and counted.
    pub fn push_raw(&self, event: &str, payload: &Payload) -> Result<(), PushError> {
        self.joined()?;
        let connection = &self.core.connection;
        let push = Outgoing::Push {
            join_ref: self.core.join_ref.as_ref(),
            topic: &self.core.topic,
            event,
            payload,
        };
        let telemetry = connection.hub().telemetry();
        match codec::encode(connection.form(), &push) {
            Ok(frame) => connection.queue(frame.bytes, Class::Push),
            // As with broadcasts: the channel need not know how its client is connected.
            Err(EncodeError::BinaryOnLongPoll) => {
                telemetry.dropped_unencodable.increment(1);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        telemetry.pushes.increment(1);
        Ok(())
    }

    /// Broadcasts an event on the channel's topic, to this client too, on all nodes.
    ///
    /// # Errors
    /// [`PushError`] before the channel has joined, when the event cannot travel, and when the topic
    /// has too many broadcasts waiting.
    pub fn broadcast<E: Serialize + ?Sized>(&self, event: &E) -> Result<(), PushError> {
        let (event, payload) = event::to_message(event)?;
        self.broadcast_raw(event, payload)
    }

    /// Broadcasts an event on the channel's topic, on all nodes, but not to this channel.
    ///
    /// # Errors
    /// As for [`Context::broadcast`].
    pub fn broadcast_from<E: Serialize + ?Sized>(&self, event: &E) -> Result<(), PushError> {
        let (event, payload) = event::to_message(event)?;
        self.broadcast_from_raw(event, payload)
    }

    /// Broadcasts an event on the channel's topic to the subscribers on this node.
    ///
    /// # Errors
    /// As for [`Context::broadcast`].
    pub fn local_broadcast<E: Serialize + ?Sized>(&self, event: &E) -> Result<(), PushError> {
        let (event, payload) = event::to_message(event)?;
        self.publish(self.core.topic.clone(), event, payload, Scope::Node, false)
    }

    /// Broadcasts an event on another topic, on all nodes. If this channel is subscribed to it,
    /// it gets it too.
    ///
    /// # Errors
    /// As for [`Context::broadcast`].
    pub fn broadcast_to<E: Serialize + ?Sized>(
        &self,
        topic: impl Into<Topic>,
        event: &E,
    ) -> Result<(), PushError> {
        let (event, payload) = event::to_message(event)?;
        self.broadcast_to_raw(topic, event, payload)
    }

    /// [`Context::broadcast`] of an event whose name is data.
    ///
    /// # Errors
    /// As for [`Context::broadcast`]. The payload must be an object or bytes.
    pub fn broadcast_raw(&self, event: &str, payload: Payload) -> Result<(), PushError> {
        self.publish(
            self.core.topic.clone(),
            event,
            payload,
            Scope::Cluster,
            false,
        )
    }

    /// [`Context::broadcast_from`] of an event whose name is data.
    ///
    /// # Errors
    /// As for [`Context::broadcast_raw`].
    pub fn broadcast_from_raw(&self, event: &str, payload: Payload) -> Result<(), PushError> {
        self.publish(
            self.core.topic.clone(),
            event,
            payload,
            Scope::Cluster,
            true,
        )
    }

    /// [`Context::local_broadcast`] of an event whose name is data.
    ///
    /// # Errors
    /// As for [`Context::broadcast_raw`].
    pub fn local_broadcast_raw(&self, event: &str, payload: Payload) -> Result<(), PushError> {
        self.publish(self.core.topic.clone(), event, payload, Scope::Node, false)
    }

    /// [`Context::broadcast_to`] of an event whose name is data.
    ///
    /// # Errors
    /// As for [`Context::broadcast_raw`].
    pub fn broadcast_to_raw(
        &self,
        topic: impl Into<Topic>,
        event: &str,
        payload: Payload,
    ) -> Result<(), PushError> {
        self.publish(topic.into(), event, payload, Scope::Cluster, false)
    }

    fn publish(
        &self,
        topic: Topic,
        event: &str,
        payload: Payload,
        scope: Scope,
        skip_sender: bool,
    ) -> Result<(), PushError> {
        self.joined()?;
        let broadcast = Broadcast::new(topic, event, payload)?;
        let connection = &self.core.connection;
        let sender = self.core.registration.as_ref();
        let publish = Publish {
            scope,
            sender,
            except: sender.filter(|_| skip_sender).map(Registration::id),
            gate: Some(connection.gate()),
        };
        let dispatched = connection.hub().publish(broadcast, &publish)?;
        connection.add_work(dispatched.subscribers);
        Ok(())
    }

    /// A handle by which the event that is being handled can be answered later, from anywhere, also
    /// after the handler has returned. `None` where no event is being handled.
    #[must_use]
    pub fn reply_later(&self) -> Option<ReplyHandle> {
        self.can_reply.then(|| ReplyHandle {
            connection: Arc::clone(&self.core.connection),
            topic: self.core.topic.clone(),
            join_ref: self.core.join_ref.clone(),
            reference: self.reference.clone(),
        })
    }

    /// Sends a message to this channel itself. In `join`, it arrives once the client has been told
    /// that it joined.
    ///
    /// # Errors
    /// [`SendError`] when too many messages wait.
    pub fn send_self<M>(&self, message: M) -> Result<(), SendError>
    where
        C: Handle<M>,
        M: Send + 'static,
    {
        Ok(self
            .core
            .connection
            .post(self.core.key, runner::message::<C, M>(message))?)
    }

    /// Sends a message to this channel after a while. The timer ends with the channel.
    ///
    /// # Errors
    /// [`TimerError`] when too many messages or timers wait.
    pub fn send_after<M>(&self, delay: Duration, message: M) -> Result<TimerRef, TimerError>
    where
        C: Handle<M>,
        M: Send + 'static,
    {
        let schedule = Schedule::Once(runner::message::<C, M>(message));
        self.set_timer(delay, schedule)
    }

    /// Sends a message to this channel once every period, first after one period. A beat for which
    /// there is no room, because too many messages wait, is left out. Ends with the channel.
    ///
    /// # Errors
    /// [`TimerError`] for a period of zero, and when too many messages or timers wait.
    pub fn send_interval<M>(&self, period: Duration, message: M) -> Result<TimerRef, TimerError>
    where
        C: Handle<M>,
        M: Clone + Send + 'static,
    {
        if period.is_zero() {
            return Err(TimerError::ZeroPeriod);
        }
        let make = move || runner::message::<C, M>(message.clone());
        self.set_timer(period, Schedule::Every(Contained::new(Box::new(make))))
    }

    fn set_timer(&self, delay: Duration, schedule: Schedule) -> Result<TimerRef, TimerError> {
        let timer = self
            .core
            .connection
            .set_timer(self.core.key, delay, schedule);
        timer.map_err(|error| TimerError::Mailbox(error.into()))
    }

    /// Cancels a timer of this channel. A message that it has already sent still arrives.
    ///
    /// # Errors
    /// [`SendError`] when too many messages wait.
    pub fn cancel_timer(&self, timer: TimerRef) -> Result<(), SendError> {
        Ok(self.core.connection.cancel_timer(self.core.key, timer)?)
    }

    /// Subscribes to a further topic: its broadcasts arrive as messages. Subscribing twice changes
    /// nothing. Ends with the channel.
    ///
    /// # Errors
    /// [`SubscribeError`] when there are too many.
    pub fn subscribe(&mut self, topic: impl Into<Topic>) -> Result<(), SubscribeError>
    where
        C: Handle<SubscribedBroadcast>,
    {
        let topic = topic.into();
        if self
            .core
            .subscriptions
            .iter()
            .any(|(known, _)| *known == topic)
        {
            return Ok(());
        }
        let hub = self.core.connection.hub();
        let max = hub.limits().subscriptions_max;
        if self.core.subscriptions.len() >= max {
            return Err(SubscribeError { max });
        }
        let sink = Arc::new(SubscriptionSink::<C>::new(self.address()));
        let registration = hub.pubsub().register(&topic, sink, self.core.key.0);
        self.core.subscriptions.push((topic, registration));
        Ok(())
    }

    /// Ends a subscription made by [`Context::subscribe`]. Broadcasts that wait still arrive.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.core
            .subscriptions
            .retain(|(known, _)| **known != *topic);
    }

    /// A handle to this channel for the rest of the program.
    #[must_use]
    pub fn channel_ref(&self) -> ChannelRef<C> {
        ChannelRef {
            address: self.address(),
            _channel: PhantomData,
        }
    }

    fn address(&self) -> Address {
        Address {
            connection: Arc::clone(&self.core.connection),
            key: self.core.key,
        }
    }

    fn joined(&self) -> Result<(), NotJoined> {
        if self.core.answered {
            Ok(())
        } else {
            Err(NotJoined)
        }
    }
}

impl<C: Channel> std::fmt::Debug for Context<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("topic", &self.core.topic)
            .finish_non_exhaustive()
    }
}

/// Answers one event, later and from anywhere. It may be used more than once: clients take the
/// first reply and ignore the rest. Replies after the channel's end are sent and ignored as well.
#[derive(Clone, Debug)]
pub struct ReplyHandle {
    connection: Arc<Connection>,
    topic: Topic,
    join_ref: Option<Ref>,
    reference: Option<Ref>,
}

impl ReplyHandle {
    /// Sends the reply; [`Reply::none`](super::Reply::none) sends nothing. A socket that is gone
    /// takes it in silence.
    ///
    /// # Errors
    /// [`EncodeError`] when the client's version cannot carry the response;
    /// a response that could not be serialized is reported the same way as [`PushError::Event`].
    pub fn reply(&self, reply: super::Reply) -> Result<(), PushError> {
        let Some(answer) = reply.into_answer() else {
            return Ok(());
        };
        let frame = encode_reply(
            &self.connection,
            &self.topic,
            (self.join_ref.as_ref(), self.reference.as_ref()),
            answer,
        )?;
        self.connection.send(frame, Class::Control);
        Ok(())
    }
}

/// The answer to a client that polls, in place of bytes.
const BINARY_NEEDS_WEBSOCKET: &str = r#"{"reason":"binary needs a websocket"}"#;

/// Encodes the answer of a channel to the event with these references (join reference first).
pub(crate) fn encode_reply(
    connection: &Connection,
    topic: &Topic,
    (join_ref, reference): (Option<&Ref>, Option<&Ref>),
    answer: Answer,
) -> Result<bytes::Bytes, PushError> {
    let response = answer
        .response
        .map_err(|error| ToMessageError::Payload(error.to_string()))?;
    let encode = |status, response: &Payload| {
        let reply = Outgoing::Reply {
            join_ref,
            reference,
            topic: &Field::Text((&**topic).into()),
            status,
            response,
        };
        codec::encode(connection.form(), &reply)
    };
    let frame = match encode(answer.status, &response) {
        // The channel need not know how its client is connected, and the client waits for an answer.
        Err(EncodeError::BinaryOnLongPoll) => {
            let reason = Payload::from_json_text(BINARY_NEEDS_WEBSOCKET)
                .map_err(|error| ToMessageError::Payload(error.to_string()))?;
            encode("error", &reason)
        }
        frame => frame,
    };
    Ok(frame?.bytes)
}

/// A channel, as a place to which any task can send messages. Holding it keeps nothing alive but a
/// few words.
pub struct ChannelRef<C> {
    address: Address,
    _channel: PhantomData<fn(C)>,
}

impl<C: Channel> ChannelRef<C> {
    /// Sends a message to the channel. It is handled after what the channel has not yet handled; a
    /// channel that has ended drops it.
    ///
    /// # Errors
    /// [`SendError`] when too many messages wait, or the socket is gone.
    pub fn send<M>(&self, message: M) -> Result<(), SendError>
    where
        C: Handle<M>,
        M: Send + 'static,
    {
        Ok(self
            .address
            .connection
            .post(self.address.key, runner::message::<C, M>(message))?)
    }
}

impl<C> Clone for ChannelRef<C> {
    fn clone(&self) -> Self {
        Self {
            address: self.address.clone(),
            _channel: PhantomData,
        }
    }
}

impl<C> std::fmt::Debug for ChannelRef<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelRef").finish_non_exhaustive()
    }
}
