//! The cases of Phoenix's own PubSub suite, as far as they apply.

use std::sync::{Arc, OnceLock};

use bennu_proto::topic::Topic;
use bennu_pubsub::{
    Broadcast, BroadcastError, Dispatched, Local, PubSub, Publish, Registration, Scope, Subscriber,
};
use parking_lot::Mutex;

use crate::support::{Counter, Recorder, message};

#[test]
fn node_name_is_the_adapters() {
    assert_eq!(PubSub::local().node_name(), "local");
    assert_eq!(
        PubSub::new(Arc::new(Local::new("a@host"))).node_name(),
        "a@host"
    );
}

#[test]
fn subscribe_and_unsubscribe_change_the_subscriber_count() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    assert_eq!((pubsub.subscriber_count("a"), pubsub.topic_count()), (0, 0));
    let first = recorder.join(&pubsub, "a", 1);
    let second = pubsub.subscribe("a");
    let other = pubsub.subscribe("b");
    assert_eq!((pubsub.subscriber_count("a"), pubsub.topic_count()), (2, 2));
    drop(first);
    assert_eq!((pubsub.subscriber_count("a"), pubsub.topic_count()), (1, 2));
    drop((second, other));
    assert_eq!((pubsub.subscriber_count("a"), pubsub.topic_count()), (0, 0));
}

#[test]
fn broadcast_reaches_subscribers() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let registrations = [
        recorder.join(&pubsub, "a", 1),
        recorder.join(&pubsub, "a", 2),
    ];
    let dispatched = pubsub.broadcast(message("a", "hi")).unwrap();
    assert_eq!(
        dispatched,
        Dispatched {
            subscribers: 2,
            queued: false
        }
    );
    assert_eq!(recorder.take(), [(1, "hi".into()), (2, "hi".into())]);
    drop(registrations);
}

#[test]
fn broadcast_does_not_reach_subscribers_of_other_topics() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let _registration = recorder.join(&pubsub, "room:1", 1);
    for topic in ["room:10", "room:", "Room:1", "", "room:*"] {
        let dispatched = pubsub.broadcast(message(topic, "hi")).unwrap();
        assert_eq!(dispatched, Dispatched::default(), "{topic}");
    }
    assert!(recorder.take().is_empty());
}

#[test]
fn broadcast_from_skips_the_sender() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let sender = recorder.join(&pubsub, "a", 1);
    let _other = recorder.join(&pubsub, "a", 2);
    pubsub
        .broadcast_from(sender.id(), message("a", "hi"))
        .unwrap();
    pubsub
        .local_broadcast_from(sender.id(), message("a", "ho"))
        .unwrap();
    assert_eq!(recorder.take(), [(2, "hi".into()), (2, "ho".into())]);
}

#[test]
fn subscribing_twice_gives_two_entries_and_each_leaves_alone() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let first = recorder.join(&pubsub, "a", 1);
    let _second = recorder.join(&pubsub, "a", 1);
    pubsub.broadcast(message("a", "twice")).unwrap();
    drop(first);
    pubsub.broadcast(message("a", "once")).unwrap();
    assert_eq!(recorder.events(), ["twice", "twice", "once"]);
}

#[test]
fn an_unsubscribed_guard_gets_nothing_afterwards() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let mut registrations: Vec<Registration> = (0..600)
        .map(|token| recorder.join(&pubsub, "a", token))
        .collect();
    // From the front, the back and the middle, so that entries move about.
    while let Some(gone) = (!registrations.is_empty()).then(|| {
        let index = [0, registrations.len() - 1, registrations.len() / 2][registrations.len() % 3];
        registrations.swap_remove(index)
    }) {
        drop(gone);
        pubsub.broadcast(message("a", "hi")).unwrap();
        let mut seen: Vec<u64> = recorder
            .take()
            .into_iter()
            .map(|(token, _)| token)
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), registrations.len());
    }
    assert_eq!(pubsub.topic_count(), 0);
}

#[test]
fn every_way_to_broadcast_serves_this_node() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let own = recorder.join(&pubsub, "a", 1);
    pubsub.broadcast(message("a", "broadcast")).unwrap();
    pubsub.local_broadcast(message("a", "local")).unwrap();
    pubsub.deliver_remote(message("a", "remote"), None).unwrap();
    let publish = Publish {
        scope: Scope::Node,
        sender: Some(&own),
        ..Publish::default()
    };
    pubsub.publish(message("a", "own"), &publish).unwrap();
    assert_eq!(recorder.events(), ["broadcast", "local", "remote", "own"]);
}

#[test]
fn ids_are_unique_across_pubsubs_and_grow() {
    let (a, b) = (PubSub::local(), PubSub::local());
    let recorder = Recorder::new();
    let ids = [
        recorder.join(&a, "a", 0).id(),
        recorder.join(&b, "a", 0).id(),
        recorder.join(&a, "a", 0).id(),
    ];
    assert!(ids.is_sorted_by(|left, right| left < right));
}

#[test]
fn a_registration_is_small() {
    assert!(size_of::<Registration>() <= 40);
    assert_eq!(size_of::<Option<Registration>>(), size_of::<Registration>());
}

#[test]
fn a_registration_shares_the_topic_of_the_registry() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let first = recorder.join(&pubsub, "a", 1);
    let second = recorder.join(&pubsub, "a", 2);
    assert!(std::ptr::eq(
        &raw const **first.topic(),
        &raw const **second.topic()
    ));
}

struct Panics;

impl Subscriber for Panics {
    fn deliver(&self, _token: u64, _broadcast: &Arc<Broadcast>) {
        panic!("on purpose");
    }
}

#[test]
fn a_panic_in_one_subscriber_costs_the_others_nothing() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let topic = Topic::from("a");
    let _first = recorder.join(&pubsub, "a", 1);
    let _panics = pubsub.register(&topic, Arc::new(Panics), 2);
    let _last = recorder.join(&pubsub, "a", 3);
    let dispatched = pubsub.broadcast(message("a", "hi")).unwrap();
    assert_eq!(dispatched.subscribers, 3);
    assert_eq!(recorder.take(), [(1, "hi".into()), (3, "hi".into())]);
}

/// Leaves, joins and broadcasts while it is being served.
struct Busybody {
    pubsub: OnceLock<PubSub>,
    registration: Mutex<Option<Registration>>,
    counter: Arc<Counter>,
}

impl Subscriber for Busybody {
    fn deliver(&self, _token: u64, broadcast: &Arc<Broadcast>) {
        let pubsub = self.pubsub.get().unwrap();
        let registration = self.registration.lock().take();
        drop(registration);
        drop(self.counter.crowd(pubsub, broadcast.topic(), 3));
        pubsub.broadcast(message("elsewhere", "echo")).unwrap();
    }
}

#[test]
fn a_subscriber_may_use_the_pubsub_while_it_is_served() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let _elsewhere = recorder.join(&pubsub, "elsewhere", 0);
    let busybody = Arc::new(Busybody {
        pubsub: OnceLock::new(),
        registration: Mutex::default(),
        counter: Counter::new(),
    });
    busybody.pubsub.set(pubsub.clone()).unwrap();
    let subscriber: Arc<dyn Subscriber> = Arc::<Busybody>::clone(&busybody);
    *busybody.registration.lock() = Some(pubsub.register(&Topic::from("a"), subscriber, 0));
    pubsub.broadcast(message("a", "hi")).unwrap();
    assert_eq!(recorder.events(), ["echo"]);
    assert_eq!(
        (busybody.counter.count(), pubsub.subscriber_count("a")),
        (0, 0)
    );
}

#[tokio::test]
async fn after_a_shutdown_broadcasts_are_refused() {
    let pubsub = PubSub::local();
    let recorder = Recorder::new();
    let _registration = recorder.join(&pubsub, "a", 1);
    pubsub.shutdown().await;
    for topic in ["a", "nobody"] {
        let refused = pubsub.broadcast(message(topic, "hi"));
        assert!(matches!(refused, Err(BroadcastError::ShutDown)));
    }
    assert!(recorder.take().is_empty());
}
