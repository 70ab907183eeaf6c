//! What an adapter is told, and when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use bennu_proto::topic::Topic;
use bennu_pubsub::{
    Adapter, Broadcast, BroadcastError, Inbox, PubSub, Publish, PublishError, Registration,
    Subscriber,
};
use parking_lot::Mutex;

use crate::support::{Recorder, RecordingAdapter, message};

#[test]
fn broadcasts_go_to_the_adapter_and_local_ones_do_not() {
    let adapter = Arc::new(RecordingAdapter::default());
    let pubsub = PubSub::new(Arc::<RecordingAdapter>::clone(&adapter));
    let recorder = Recorder::new();
    let own = recorder.join(&pubsub, "a", 1);
    adapter.take();
    pubsub.broadcast(message("a", "1")).unwrap();
    pubsub.broadcast_from(own.id(), message("a", "2")).unwrap();
    pubsub.broadcast(message("nobody", "3")).unwrap();
    pubsub.local_broadcast(message("a", "4")).unwrap();
    pubsub
        .local_broadcast_from(own.id(), message("a", "5"))
        .unwrap();
    pubsub.deliver_remote(message("a", "6"), None).unwrap();
    assert_eq!(
        adapter.take(),
        ["publish a 1", "publish a 2", "publish nobody 3"]
    );
    assert_eq!(recorder.events(), ["1", "4", "6"]);
}

#[test]
fn a_broadcast_that_the_adapter_refuses_reaches_nobody() {
    let adapter = Arc::new(RecordingAdapter::default());
    let pubsub = PubSub::new(Arc::<RecordingAdapter>::clone(&adapter));
    let recorder = Recorder::new();
    let own = recorder.join(&pubsub, "a", 1);
    adapter.refuses.store(true, Ordering::Relaxed);
    let publish = Publish {
        sender: Some(&own),
        ..Publish::default()
    };
    let refused = pubsub.publish(message("a", "lost"), &publish);
    assert!(matches!(
        refused,
        Err(BroadcastError::Adapter(PublishError::Disconnected))
    ));
    pubsub.local_broadcast(message("a", "here")).unwrap();
    assert_eq!(recorder.events(), ["here"]);
}

/// Notes its deliveries in the adapter's log.
struct Shared(Arc<RecordingAdapter>);

impl Subscriber for Shared {
    fn deliver(&self, _token: u64, broadcast: &Arc<Broadcast>) {
        self.0
            .log
            .lock()
            .push(format!("delivered {}", broadcast.event()));
    }
}

#[test]
fn the_adapter_comes_before_the_subscribers_of_this_node() {
    let adapter = Arc::new(RecordingAdapter::default());
    let pubsub = PubSub::new(Arc::<RecordingAdapter>::clone(&adapter));
    let shared = Arc::new(Shared(Arc::clone(&adapter)));
    let _registration = pubsub.register(&Topic::from("a"), shared, 0);
    pubsub.broadcast(message("a", "hi")).unwrap();
    assert_eq!(adapter.take(), ["opened a", "publish a hi", "delivered hi"]);
}

#[test]
fn the_inbox_serves_this_node_and_does_not_keep_the_pubsub_alive() {
    let adapter = Arc::new(RecordingAdapter::default());
    let pubsub = PubSub::new(Arc::<RecordingAdapter>::clone(&adapter));
    let inbox = adapter.inbox.lock().clone().unwrap();
    let recorder = Recorder::new();
    let registration = recorder.join(&pubsub, "a", 1);
    assert_eq!(inbox.deliver(message("a", "hi")).unwrap().subscribers, 1);
    assert_eq!(recorder.events(), ["hi"]);
    assert!(!inbox.is_closed());
    drop((pubsub, registration));
    assert!(inbox.is_closed());
    assert!(matches!(
        inbox.deliver(message("a", "hi")),
        Err(BroadcastError::ShutDown)
    ));
}

#[test]
fn the_adapter_is_told_of_the_first_and_the_last_subscriber() {
    let adapter = Arc::new(RecordingAdapter::default());
    let pubsub = PubSub::new(Arc::<RecordingAdapter>::clone(&adapter));
    let recorder = Recorder::new();
    let first = recorder.join(&pubsub, "a", 1);
    let second = recorder.join(&pubsub, "a", 2);
    let other = recorder.join(&pubsub, "b", 3);
    drop(first);
    assert_eq!(adapter.take(), ["opened a", "opened b"]);
    drop(second);
    drop(other);
    assert_eq!(adapter.take(), ["closed a", "closed b"]);
    drop(recorder.join(&pubsub, "a", 4));
    assert_eq!(adapter.take(), ["opened a", "closed a"]);
}

/// Checks that topics open and close one call at a time, and in turn.
#[derive(Default)]
struct Strict {
    calling: AtomicBool,
    open: AtomicBool,
    calls: Mutex<u64>,
    faults: Mutex<u64>,
}

impl Strict {
    /// A panic would be contained, so faults are counted.
    fn turn(&self, open: bool) {
        let alone = !self.calling.swap(true, Ordering::SeqCst);
        let in_turn = self.open.swap(open, Ordering::SeqCst) != open;
        *self.calls.lock() += 1;
        *self.faults.lock() += u64::from(!alone) + u64::from(!in_turn);
        thread::yield_now();
        self.calling.store(false, Ordering::SeqCst);
    }
}

impl Adapter for Strict {
    fn node_name(&self) -> &str {
        "strict"
    }

    fn start(&self, _inbox: Inbox) {}

    fn publish(&self, _broadcast: &Arc<Broadcast>) -> Result<(), PublishError> {
        Ok(())
    }

    fn topic_opened(&self, _topic: &Topic) {
        self.turn(true);
    }

    fn topic_closed(&self, _topic: &Topic) {
        self.turn(false);
    }
}

#[test]
fn under_races_topics_still_open_and_close_in_turn() {
    let adapter = Arc::new(Strict::default());
    let pubsub = PubSub::new(Arc::<Strict>::clone(&adapter));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let recorder = Recorder::new();
                for _ in 0..5_000 {
                    drop(recorder.join(&pubsub, "a", 0));
                }
            });
        }
    });
    assert_eq!(*adapter.faults.lock(), 0);
    assert!(
        !adapter.open.load(Ordering::SeqCst),
        "the last word was not that it is closed"
    );
    assert!(*adapter.calls.lock() >= 2);
    assert_eq!(pubsub.topic_count(), 0);
}

/// Has somebody join a topic again while it is told that the topic has closed.
#[derive(Default)]
struct Reopening {
    log: Mutex<Vec<&'static str>>,
    pubsub: OnceLock<PubSub>,
    registration: Mutex<Option<Registration>>,
}

impl Adapter for Reopening {
    fn node_name(&self) -> &str {
        "reopening"
    }

    fn start(&self, _inbox: Inbox) {}

    fn publish(&self, _broadcast: &Arc<Broadcast>) -> Result<(), PublishError> {
        Ok(())
    }

    fn topic_opened(&self, _topic: &Topic) {
        self.log.lock().push("opened");
    }

    fn topic_closed(&self, _topic: &Topic) {
        let registration = Recorder::new().join(self.pubsub.get().unwrap(), "a", 0);
        self.log.lock().push("closed");
        *self.registration.lock() = Some(registration);
    }
}

#[test]
fn a_topic_that_opens_again_while_the_adapter_hears_of_its_end_is_told_of_after() {
    let adapter = Arc::new(Reopening::default());
    let pubsub = PubSub::new(Arc::<Reopening>::clone(&adapter));
    adapter.pubsub.set(pubsub.clone()).unwrap();
    drop(Recorder::new().join(&pubsub, "a", 0));
    assert_eq!(*adapter.log.lock(), ["opened", "closed", "opened"]);
    assert_eq!(pubsub.subscriber_count("a"), 1);
}

#[tokio::test]
async fn a_shutdown_ends_the_adapter() {
    let adapter = Arc::new(RecordingAdapter::default());
    let pubsub = PubSub::new(Arc::<RecordingAdapter>::clone(&adapter));
    pubsub.shutdown().await;
    assert_eq!(adapter.take(), ["shutdown"]);
}
