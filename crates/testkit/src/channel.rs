//! [`TestChannel`]: a client's side of one joined topic.

use std::future::Future;
use std::panic::Location;

use bennu::Payload;
use bennu_proto::message;
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::{self, fail, payload_of, same, shown};
use crate::message::{Message, PushRef};
use crate::socket::{TestSocket, is_reply};
use crate::subscription::TestSubscription;

/// A topic that a [`TestSocket`] has joined. Dropping it does not leave the topic.
#[derive(Debug)]
pub struct TestChannel {
    socket: TestSocket,
    topic: String,
    join_ref: PushRef,
    response: Payload,
    subscription: Option<TestSubscription>,
}

impl TestChannel {
    pub(crate) fn new(
        socket: TestSocket,
        topic: &str,
        join_ref: PushRef,
        response: Payload,
        subscription: Option<TestSubscription>,
    ) -> Self {
        Self {
            socket,
            topic: topic.to_owned(),
            join_ref,
            response,
            subscription,
        }
    }

    /// The socket that joined.
    #[must_use]
    pub fn socket(&self) -> &TestSocket {
        &self.socket
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The reference of the join, which the channel's own messages carry.
    #[must_use]
    pub fn join_ref(&self) -> &str {
        &self.join_ref.0
    }

    /// What the join was answered, as JSON; `null` for bytes.
    #[must_use]
    pub fn join_response(&self) -> Value {
        failure::json(&self.response).unwrap_or_default()
    }

    /// What the join was answered, as it came.
    #[must_use]
    pub fn join_payload(&self) -> &Payload {
        &self.response
    }

    /// Sends an event to the channel. A [`Payload::binary`] goes as a binary message.
    ///
    /// # Panics
    /// If the payload is none.
    #[track_caller]
    pub fn push<T: Serialize + ?Sized>(
        &self,
        event: &str,
        payload: &T,
    ) -> impl Future<Output = PushRef> {
        let payload = payload_of(payload);
        async move { self.send(event, payload).await }
    }

    /// Leaves the topic. The answer is ok and `{}`, and then the channel closes.
    pub async fn leave(&self) -> PushRef {
        self.send(message::LEAVE, Payload::empty()).await
    }

    async fn send(&self, event: &str, payload: Payload) -> PushRef {
        let reference = self.socket.next_ref();
        let refs = (Some(self.join_ref()), &reference);
        self.socket.send(refs, &self.topic, event, payload).await;
        reference
    }

    /// Goes away: closes the whole connection, and waits until the server is done with it.
    ///
    /// # Panics
    /// As for [`TestSocket::close`].
    pub async fn close(&self) {
        self.socket.close(None).await;
    }

    /// Broadcasts an event to everybody on the topic but the test's own subscription.
    ///
    /// # Panics
    /// If the event cannot be broadcast, or if the test is not subscribed.
    #[track_caller]
    pub fn broadcast_from<T: Serialize + ?Sized>(&self, event: &str, payload: &T) {
        self.subscription().broadcast_from(event, payload);
    }

    /// Asserts that the client got an event with this payload: a push, or a broadcast of the topic.
    ///
    /// # Panics
    /// If it got none.
    #[track_caller]
    pub fn assert_push<T: Serialize + ?Sized>(
        &self,
        event: &str,
        payload: &T,
    ) -> impl Future<Output = ()> {
        let (at, expected) = (Location::caller(), payload_of(payload));
        async move {
            let what = format!("push {event:?} {} on {:?}", shown(&expected), self.topic);
            let fits = |message: &Message| {
                self.is_push(message, event) && same(&message.payload, &expected)
            };
            self.socket.expect(at, &what, fits).await;
        }
    }

    /// Asserts that the client got an event whose payload the closure accepts, and returns the payload.
    ///
    /// # Panics
    /// If it got none.
    #[track_caller]
    pub fn assert_push_matching(
        &self,
        event: &str,
        matches: impl Fn(&Value) -> bool,
    ) -> impl Future<Output = Value> {
        let at = Location::caller();
        async move {
            let what = format!("push {event:?} that matches on {:?}", self.topic);
            let fits = |message: &Message| self.is_push(message, event) && fits(message, &matches);
            self.socket.expect(at, &what, fits).await.json()
        }
    }

    /// Asserts that the client gets no such event.
    ///
    /// # Panics
    /// If it gets one.
    #[track_caller]
    pub fn refute_push(&self, event: &str) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let fits = |message: &Message| self.is_push(message, event);
            self.socket.refute(at, "push", fits).await;
        }
    }

    /// Asserts the reply to a push.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn assert_reply<T: Serialize + ?Sized>(
        &self,
        push: &PushRef,
        status: &str,
        response: &T,
    ) -> impl Future<Output = ()> {
        self.socket.assert_reply(push, status, response)
    }

    /// Asserts a reply to a push with this status and a response that the closure accepts, and returns the
    /// response.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn assert_reply_matching(
        &self,
        push: &PushRef,
        status: &str,
        matches: impl Fn(&Value) -> bool,
    ) -> impl Future<Output = Value> {
        let at = Location::caller();
        async move {
            let what = format!("reply {status:?} that matches to ref {}", push.0);
            let fits = |message: &Message| {
                is_reply(message, push)
                    && message.status.as_deref() == Some(status)
                    && fits(message, &matches)
            };
            self.socket.expect(at, &what, fits).await.json()
        }
    }

    /// Asserts that a push is not answered.
    ///
    /// # Panics
    /// If it is.
    #[track_caller]
    pub fn refute_reply(&self, push: &PushRef) -> impl Future<Output = ()> {
        self.socket.refute_reply(push)
    }

    /// Asserts a broadcast on the topic with this payload.
    ///
    /// # Panics
    /// If there is none, or if the test is not subscribed: see [`TestSocket::subscribe_and_join`].
    #[track_caller]
    pub fn assert_broadcast<T: Serialize + ?Sized>(
        &self,
        event: &str,
        payload: &T,
    ) -> impl Future<Output = ()> {
        self.subscription().assert_broadcast(event, payload)
    }

    /// Asserts a broadcast on the topic whose payload the closure accepts, and returns the payload.
    ///
    /// # Panics
    /// As for [`TestChannel::assert_broadcast`].
    #[track_caller]
    pub fn assert_broadcast_matching(
        &self,
        event: &str,
        matches: impl Fn(&Value) -> bool,
    ) -> impl Future<Output = Value> {
        self.subscription()
            .assert_broadcast_matching(event, matches)
    }

    /// Asserts that no such broadcast is made on the topic.
    ///
    /// # Panics
    /// If one is, or if the test is not subscribed.
    #[track_caller]
    pub fn refute_broadcast(&self, event: &str) -> impl Future<Output = ()> {
        self.subscription().refute_broadcast(event)
    }

    /// Asserts that the channel has ended as intended: `phx_close`, after which a client stays away.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn assert_closed(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move { self.ended(at, message::CLOSE, &json!({})).await }
    }

    /// Asserts that the channel has crashed: `phx_error`, after which a client joins again.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn assert_crashed(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        let payload = json!({"reason": "channel_crash"});
        async move { self.ended(at, message::ERROR, &payload).await }
    }

    /// Takes the oldest message of this channel, replies included.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn next_message(&self) -> impl Future<Output = Message> {
        let at = Location::caller();
        async move {
            let what = format!("message on {:?}", self.topic);
            let fits = |message: &Message| self.is_ours(message);
            self.socket.expect(at, &what, fits).await
        }
    }

    async fn ended(&self, at: &Location<'_>, event: &str, payload: &Value) {
        let what = format!("{event} on {:?}", self.topic);
        let fits = |message: &Message| message.event == event && self.is_ours(message);
        let message = self.socket.expect(at, &what, fits).await;
        if message.json() != *payload {
            fail(
                at,
                &format!("{event} should carry {payload}: {message}"),
                "",
            );
        }
    }

    /// Whether a client would hand the message to this instance of the topic.
    fn is_ours(&self, message: &Message) -> bool {
        let join_ref = message.join_ref.as_deref();
        message.topic == self.topic && join_ref.is_none_or(|join_ref| join_ref == self.join_ref.0)
    }

    fn is_push(&self, message: &Message, event: &str) -> bool {
        message.event == event && message.status.is_none() && self.is_ours(message)
    }

    #[track_caller]
    fn subscription(&self) -> &TestSubscription {
        match &self.subscription {
            Some(subscription) => subscription,
            None => panic!(
                "the test is not subscribed to {:?}: join by subscribe_and_join to see broadcasts",
                self.topic
            ),
        }
    }
}

fn fits(message: &Message, matches: impl Fn(&Value) -> bool) -> bool {
    failure::json(&message.payload).is_some_and(|payload| matches(&payload))
}
