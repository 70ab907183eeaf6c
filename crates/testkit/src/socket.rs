//! [`TestSocket`]: one client and its connection.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bennu::{Endpoint, Payload, Topic};
use bennu_proto::codec::client;
use bennu_proto::message;
use bennu_proto::reference::Ref;
use bennu_proto::websocket::Opcode;
use serde::Serialize;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::channel::TestChannel;
use crate::endpoint::ServerEnd;
use crate::failure::{fail, payload_of, same, shown};
use crate::message::{JoinRefused, Message, PushRef};
use crate::reader::{self, End, Inbox, Writer};
use crate::subscription::TestSubscription;
use crate::wire::TestWire;

/// How long a server may take to be done with a connection that has ended: longer than its own timeouts.
const SERVER_END_MAX: Duration = Duration::from_secs(120);

/// A connected client, as the official one behaves: it reads all the time, answers pings and close frames,
/// and numbers what it sends. Cheap to clone; when the last clone and the last channel are dropped, the
/// connection is lost.
#[derive(Clone, Debug)]
pub struct TestSocket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    writer: Writer,
    inbox: Arc<Inbox>,
    reading: watch::Sender<bool>,
    reader: JoinHandle<()>,
    server: ServerEnd,
    next_ref: AtomicU64,
    endpoint: Endpoint,
    timeout: Duration,
}

impl TestSocket {
    pub(crate) fn new(
        wire: TestWire,
        server: ServerEnd,
        endpoint: &Endpoint,
        timeout: Duration,
    ) -> Self {
        let writer = Arc::new(Mutex::new(Some(wire.writer)));
        let inbox = Arc::<Inbox>::default();
        let (reading, is_reading) = watch::channel(true);
        let read = reader::read(wire.reader, writer.clone(), inbox.clone(), is_reading);
        Self {
            shared: Arc::new(Shared {
                writer,
                inbox,
                reading,
                reader: tokio::spawn(read),
                server,
                next_ref: AtomicU64::new(1),
                endpoint: endpoint.clone(),
                timeout,
            }),
        }
    }

    /// Joins a topic.
    ///
    /// # Errors
    /// [`JoinRefused`] when the answer is not ok.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn join<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        params: &T,
    ) -> impl Future<Output = Result<TestChannel, JoinRefused>> {
        let (at, params) = (Location::caller(), payload_of(params));
        async move { self.join_with(at, topic, params, None).await }
    }

    /// Subscribes the test to a topic, so that its broadcasts can be asserted, and joins it.
    ///
    /// # Errors
    /// As for [`TestSocket::join`].
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn subscribe_and_join<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        params: &T,
    ) -> impl Future<Output = Result<TestChannel, JoinRefused>> {
        let (at, params) = (Location::caller(), payload_of(params));
        async move {
            let pubsub = self.shared.endpoint.pubsub();
            let subscription =
                TestSubscription::new(pubsub, &Topic::from(topic), self.shared.timeout);
            self.join_with(at, topic, params, Some(subscription)).await
        }
    }

    async fn join_with(
        &self,
        at: &Location<'_>,
        topic: &str,
        params: Payload,
        subscription: Option<TestSubscription>,
    ) -> Result<TestChannel, JoinRefused> {
        let join_ref = self.next_ref();
        let refs = (Some(join_ref.0.as_str()), &join_ref);
        self.send(refs, topic, message::JOIN, params).await;
        let what = format!("answer to the join of {topic:?}");
        let answer = |message: &Message| is_reply(message, &join_ref);
        let answer = self.expect(at, &what, answer).await;
        if answer.status.as_deref() == Some("ok") {
            let response = answer.payload;
            Ok(TestChannel::new(
                self.clone(),
                topic,
                join_ref,
                response,
                subscription,
            ))
        } else {
            Err(JoinRefused {
                topic: topic.to_owned(),
                response: answer.payload,
            })
        }
    }

    /// Sends a message without a join reference: whatever is joined to the topic is meant.
    ///
    /// # Panics
    /// If the payload is none.
    #[track_caller]
    pub fn push<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        event: &str,
        payload: &T,
    ) -> impl Future<Output = PushRef> {
        let payload = payload_of(payload);
        async move {
            let reference = self.next_ref();
            self.send((None, &reference), topic, event, payload).await;
            reference
        }
    }

    /// Sends a heartbeat. It is answered with ok and `{}`.
    pub async fn heartbeat(&self) -> PushRef {
        self.push(
            message::PHOENIX_TOPIC,
            message::HEARTBEAT,
            &Payload::empty(),
        )
        .await
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
        let (at, expected) = (Location::caller(), payload_of(response));
        async move {
            let what = format!("reply {status:?} {} to ref {}", shown(&expected), push.0);
            let fits = |message: &Message| {
                is_reply(message, push)
                    && message.status.as_deref() == Some(status)
                    && same(&message.payload, &expected)
            };
            self.expect(at, &what, fits).await;
        }
    }

    /// Asserts that a push is not answered.
    ///
    /// # Panics
    /// If it is.
    #[track_caller]
    pub fn refute_reply(&self, push: &PushRef) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let fits = |message: &Message| is_reply(message, push);
            self.refute(at, "reply", fits).await;
        }
    }

    /// Takes the oldest message, whatever it is.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn next_message(&self) -> impl Future<Output = Message> {
        let at = Location::caller();
        async move { self.expect(at, "message", |_| true).await }
    }

    /// Asserts that the next messages are these events and in this order (`phx_reply` for a reply), and
    /// returns them.
    ///
    /// # Panics
    /// If they are not.
    #[track_caller]
    pub fn assert_in_order(&self, events: &[&str]) -> impl Future<Output = Vec<Message>> {
        let at = Location::caller();
        async move {
            let mut messages = Vec::new();
            for event in events {
                let message = self
                    .expect(at, &format!("message {event:?}"), |_| true)
                    .await;
                if message.event != *event {
                    let what = format!(
                        "{event:?} was expected after {} of {events:?}, but there came {message}",
                        messages.len()
                    );
                    fail(at, &what, &self.shared.inbox.listed());
                }
                messages.push(message);
            }
            messages
        }
    }

    /// Waits for the timeout to pass, and takes everything that has come.
    pub async fn messages(&self) -> Vec<Message> {
        sleep(self.shared.timeout).await;
        self.shared.inbox.take_all()
    }

    /// Asserts that the server has ended the connection: with this code, or with a close frame without one.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn assert_disconnected(&self, code: impl Into<Option<u16>>) -> impl Future<Output = ()> {
        let (at, expected) = (Location::caller(), End::Closed(code.into()));
        async move { self.assert_ended(at, expected).await }
    }

    /// Asserts that the connection has ended without a close frame.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn assert_lost(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move { self.assert_ended(at, End::Lost).await }
    }

    async fn assert_ended(&self, at: &Location<'_>, expected: End) {
        let end = self.shared.inbox.ended(self.shared.timeout).await;
        if end != Some(expected) {
            let found = end.map_or("it is open".to_owned(), |end| end.to_string());
            let what = format!("the connection should have ended ({expected}), but {found}");
            fail(at, &what, &self.shared.inbox.listed());
        }
    }

    /// Asserts that the server keeps the connection open for the time of the timeout.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_connected(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            if let Some(end) = self.shared.inbox.ended(self.shared.timeout).await {
                let what = format!("the connection should be open, but {end}");
                fail(at, &what, &self.shared.inbox.listed());
            }
        }
    }

    /// Stops reading, as a client does that cannot keep up. What the server sends stays in the pipe, and then
    /// in its queues.
    pub fn pause_reading(&self) {
        self.shared.reading.send_replace(false);
    }

    /// Goes on reading.
    pub fn resume_reading(&self) {
        self.shared.reading.send_replace(true);
    }

    /// Closes the connection with a close frame, with this code or without one, and waits until the server is
    /// done with it: every channel's `terminate` has run.
    ///
    /// # Panics
    /// If the server is not done within two minutes, or if its task panicked.
    pub async fn close(&self, code: impl Into<Option<u16>>) {
        let body = code.into().map(u16::to_be_bytes);
        if let Some(writer) = self.shared.writer.lock().await.as_mut() {
            let body = body.as_ref().map_or(&[][..], |body| &body[..]);
            writer.send(Opcode::Close, body).await;
        }
        self.server_done().await;
    }

    /// Loses the connection without a word, and waits until the server is done with it.
    ///
    /// # Panics
    /// As for [`TestSocket::close`].
    pub async fn lose(&self) {
        self.shared.reader.abort();
        *self.shared.writer.lock().await = None;
        self.shared.inbox.end(End::Lost);
        self.server_done().await;
    }

    /// Waits until the server is done with the connection, whoever ended it.
    ///
    /// # Panics
    /// As for [`TestSocket::close`].
    pub async fn server_done(&self) {
        let mut server = self.shared.server.clone();
        match timeout(SERVER_END_MAX, server.wait_for(|ended| *ended)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => panic!("the server's task for this connection panicked"),
            Err(_) => panic!("the server still serves this connection after {SERVER_END_MAX:?}"),
        }
    }

    pub(crate) fn next_ref(&self) -> PushRef {
        PushRef(
            self.shared
                .next_ref
                .fetch_add(1, Ordering::Relaxed)
                .to_string(),
        )
    }

    /// Sends a message with these references (join reference first). One for a server that is gone is lost.
    pub(crate) async fn send(
        &self,
        (join_ref, reference): (Option<&str>, &PushRef),
        topic: &str,
        event: &str,
        payload: Payload,
    ) {
        let message = client::Message {
            join_ref: join_ref.and_then(|text| Ref::text(text).ok()),
            reference: Ref::text(&reference.0).ok(),
            topic: topic.to_owned(),
            event: event.to_owned(),
            status: None,
            payload,
        };
        let (binary, bytes) = match client::encode(&message) {
            Ok(encoded) => encoded,
            Err(error) => panic!("{event:?} cannot be sent: {error}"),
        };
        let opcode = if binary { Opcode::Binary } else { Opcode::Text };
        if let Some(writer) = self.shared.writer.lock().await.as_mut() {
            writer.send(opcode, &bytes).await;
        }
    }

    pub(crate) async fn expect(
        &self,
        at: &Location<'_>,
        what: &str,
        matches: impl Fn(&Message) -> bool,
    ) -> Message {
        let Shared { inbox, timeout, .. } = &*self.shared;
        match inbox.take(*timeout, matches).await {
            Some(message) => message,
            None => fail(
                at,
                &format!("no {what} within {timeout:?}"),
                &inbox.listed(),
            ),
        }
    }

    pub(crate) async fn refute(
        &self,
        at: &Location<'_>,
        what: &str,
        matches: impl Fn(&Message) -> bool,
    ) {
        let Shared { inbox, timeout, .. } = &*self.shared;
        if let Some(message) = inbox.take(*timeout, matches).await {
            fail(
                at,
                &format!("an unexpected {what}: {message}"),
                &inbox.listed(),
            );
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

pub(crate) fn is_reply(message: &Message, push: &PushRef) -> bool {
    message.event == message::REPLY && message.reference.as_ref() == Some(&push.0)
}
