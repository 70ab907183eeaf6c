//! [`TestSubscription`]: a topic's broadcasts, as the rest of the program sees them.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use bennu::pubsub::{Broadcast, PubSub, Publish, Registration, Subscriber};
use bennu::{Payload, Topic};
use serde::Serialize;
use serde_json::Value;

use crate::failure::{fail, json, payload_of, same, shown};
use crate::mailbox::Mailbox;

/// The broadcasts of one topic, from whatever source, whether or not a channel pushes them.
#[derive(Debug)]
pub struct TestSubscription {
    inbox: Arc<Broadcasts>,
    registration: Registration,
    pubsub: PubSub,
    timeout: Duration,
}

impl TestSubscription {
    pub(crate) fn new(pubsub: &PubSub, topic: &Topic, timeout: Duration) -> Self {
        let inbox = Arc::<Broadcasts>::default();
        let subscriber: Arc<dyn Subscriber> = Arc::<Broadcasts>::clone(&inbox);
        Self {
            registration: pubsub.register(topic, subscriber, 0),
            inbox,
            pubsub: pubsub.clone(),
            timeout,
        }
    }

    /// Asserts a broadcast with this payload.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn assert_broadcast<T: Serialize + ?Sized>(
        &self,
        event: &str,
        payload: &T,
    ) -> impl Future<Output = ()> {
        let (at, expected) = (Location::caller(), payload_of(payload));
        async move {
            let what = format!("broadcast {event:?} {}", shown(&expected));
            let fits = |payload: &Payload| same(payload, &expected);
            self.expect(at, event, &what, fits).await;
        }
    }

    /// Asserts a broadcast whose payload the closure accepts, and returns the payload.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn assert_broadcast_matching(
        &self,
        event: &str,
        matches: impl Fn(&Value) -> bool,
    ) -> impl Future<Output = Value> {
        let at = Location::caller();
        async move {
            let what = format!("broadcast {event:?} that matches");
            let fits = |payload: &Payload| json(payload).is_some_and(|json| matches(&json));
            let payload = self.expect(at, event, &what, fits).await;
            json(&payload).unwrap_or_default()
        }
    }

    /// Asserts that no such broadcast comes.
    ///
    /// # Panics
    /// If one does.
    #[track_caller]
    pub fn refute_broadcast(&self, event: &str) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let fits = |shown: &Shown| shown.0.event() == event;
            if let Some(broadcast) = self.inbox.0.take(self.timeout, fits).await {
                let what = format!("an unexpected broadcast on {:?}: {broadcast}", self.topic());
                fail(at, &what, &self.inbox.0.listed());
            }
        }
    }

    /// Broadcasts an event to everybody on the topic but this subscription.
    ///
    /// # Panics
    /// If the event cannot be broadcast.
    #[track_caller]
    pub fn broadcast_from<T: Serialize + ?Sized>(&self, event: &str, payload: &T) {
        let publish = Publish {
            except: Some(self.registration.id()),
            ..Publish::default()
        };
        let broadcast = Broadcast::new(self.topic().clone(), event, payload_of(payload));
        let broadcast = match broadcast {
            Ok(broadcast) => broadcast,
            Err(error) => panic!("{event:?} cannot be broadcast: {error}"),
        };
        if let Err(error) = self.pubsub.publish(broadcast, &publish) {
            panic!("{event:?} was not broadcast: {error}");
        }
    }

    fn topic(&self) -> &Topic {
        self.registration.topic()
    }

    async fn expect(
        &self,
        at: &Location<'_>,
        event: &str,
        what: &str,
        fits: impl Fn(&Payload) -> bool,
    ) -> Payload {
        let matches = |shown: &Shown| shown.0.event() == event && fits(shown.0.payload());
        match self.inbox.0.take(self.timeout, matches).await {
            Some(broadcast) => broadcast.0.payload().clone(),
            None => {
                let (topic, timeout) = (self.topic(), self.timeout);
                let what = format!("no {what} on {topic:?} within {timeout:?}");
                fail(at, &what, &self.inbox.0.listed())
            }
        }
    }
}

#[derive(Debug, Default)]
struct Broadcasts(Mailbox<Shown, std::convert::Infallible>);

/// A broadcast that can be listed.
#[derive(Debug)]
struct Shown(Arc<Broadcast>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.0.event(), shown(self.0.payload()))
    }
}

impl Subscriber for Broadcasts {
    fn deliver(&self, _: u64, broadcast: &Arc<Broadcast>) {
        // A full mailbox drops what comes; the test that filled it looks at none of it.
        self.0.put(Shown(Arc::clone(broadcast)));
    }
}
