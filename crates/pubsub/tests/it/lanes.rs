//! Big topics: served by lanes, in order, with back-pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bennu_proto::payload::Payload;
use bennu_pubsub::{
    Broadcast, BroadcastError, Dispatched, Gate, PubSub, PubSubOptions, Publish, PublishError,
    Registration,
};
use tokio::runtime::Runtime;

use crate::support::{Counter, Recorder, RecordingAdapter, big_above, local_with, message};

fn through(gate: &Arc<Gate>) -> Publish<'_> {
    Publish {
        gate: Some(gate),
        ..Publish::default()
    }
}

fn by<'a>(sender: &'a Registration, gate: &'a Arc<Gate>) -> Publish<'a> {
    Publish {
        sender: Some(sender),
        ..through(gate)
    }
}

// On a runtime of one thread no lane runs before the test awaits, so that every step can be seen.

#[tokio::test]
async fn the_sender_is_served_first_and_the_gate_opens_when_all_are() {
    let pubsub = PubSub::local();
    let (gate, own_log, counter) = (Arc::new(Gate::default()), Recorder::new(), Counter::new());
    let crowd = counter.crowd(&pubsub, "a", 1_000);
    let own = own_log.join(&pubsub, "a", 1);
    let dispatched = pubsub.publish(message("a", "1"), &by(&own, &gate)).unwrap();
    assert_eq!(
        dispatched,
        Dispatched {
            subscribers: 1_001,
            queued: true
        }
    );
    pubsub.publish(message("a", "2"), &by(&own, &gate)).unwrap();
    assert_eq!((own_log.events().len(), counter.count()), (2, 0));
    assert_eq!((gate.is_idle(), gate.outstanding()), (false, 2));
    let mut seen_shut = 0;
    while !gate.is_idle() {
        seen_shut += usize::from(counter.count() > 0);
        assert!(counter.count() <= 2_000);
        tokio::task::yield_now().await;
    }
    assert!(
        seen_shut > 0,
        "the gate opened before anything was delivered"
    );
    assert_eq!(counter.count(), 2_000);
    assert_eq!(own_log.events(), ["1", "2"]);
    drop(crowd);
}

#[tokio::test]
async fn a_waiter_at_the_gate_is_woken() {
    let pubsub = local_with(&big_above(0));
    let (gate, counter) = (Arc::new(Gate::default()), Counter::new());
    let _crowd = counter.crowd(&pubsub, "a", 10);
    let waiter = tokio::spawn({
        pubsub.publish(message("a", "1"), &through(&gate)).unwrap();
        let gate = Arc::clone(&gate);
        async move { gate.idle().await }
    });
    waiter.await.unwrap();
    assert_eq!(counter.count(), 10);
}

#[tokio::test]
async fn broadcast_from_skips_the_sender_on_a_big_topic() {
    let pubsub = local_with(&big_above(2));
    let (gate, recorder) = (Arc::new(Gate::default()), Recorder::new());
    let registrations: Vec<_> = (0..4)
        .map(|token| recorder.join(&pubsub, "a", token))
        .collect();
    let publish = Publish {
        except: Some(registrations[1].id()),
        ..through(&gate)
    };
    pubsub.publish(message("a", "1"), &publish).unwrap();
    // In its own name as well, and with somebody else left out.
    pubsub
        .publish(
            message("a", "2"),
            &Publish {
                sender: Some(&registrations[1]),
                ..publish
            },
        )
        .unwrap();
    pubsub
        .publish(
            message("a", "3"),
            &Publish {
                sender: Some(&registrations[2]),
                ..publish
            },
        )
        .unwrap();
    assert_eq!(recorder.take(), [(2, "3".into())]);
    gate.idle().await;
    let mut seen = recorder.take();
    seen.sort();
    let events = |token, events: &[&str]| -> Vec<_> {
        events
            .iter()
            .map(|&event| (token, event.to_owned()))
            .collect()
    };
    let expected = [
        events(0, &["1", "2", "3"]),
        events(2, &["1", "2"]),
        events(3, &["1", "2", "3"]),
    ];
    assert_eq!(seen, expected.concat());
}

#[tokio::test]
async fn a_topic_that_shrinks_keeps_the_order_of_its_broadcasts() {
    let pubsub = local_with(&big_above(10));
    let (gate, recorder, counter) = (Arc::new(Gate::default()), Recorder::new(), Counter::new());
    let stays = recorder.join(&pubsub, "a", 1);
    let crowd = counter.crowd(&pubsub, "a", 20);
    assert!(
        pubsub
            .publish(message("a", "1"), &through(&gate))
            .unwrap()
            .queued
    );
    drop(crowd);
    // Small by now, but the first is still waiting.
    assert!(
        pubsub
            .publish(message("a", "2"), &through(&gate))
            .unwrap()
            .queued
    );
    assert!(recorder.events().is_empty());
    gate.idle().await;
    assert!(
        !pubsub
            .publish(message("a", "3"), &through(&gate))
            .unwrap()
            .queued
    );
    assert_eq!(recorder.events(), ["1", "2", "3"]);
    assert_eq!(
        counter.count(),
        0,
        "who left before the lane came was served all the same"
    );
    drop(stays);
}

#[tokio::test]
async fn a_topic_that_grows_keeps_the_order_of_its_broadcasts() {
    let pubsub = local_with(&big_above(10));
    let (gate, recorder, counter) = (Arc::new(Gate::default()), Recorder::new(), Counter::new());
    let _stays = recorder.join(&pubsub, "a", 1);
    assert!(
        !pubsub
            .publish(message("a", "1"), &through(&gate))
            .unwrap()
            .queued
    );
    let _crowd = counter.crowd(&pubsub, "a", 20);
    assert!(
        pubsub
            .publish(message("a", "2"), &through(&gate))
            .unwrap()
            .queued
    );
    assert_eq!(recorder.events(), ["1"]);
    gate.idle().await;
    assert_eq!(recorder.events(), ["1", "2"]);
}

#[tokio::test]
async fn who_joins_after_a_broadcast_is_not_served_by_the_lanes() {
    let pubsub = local_with(&big_above(2));
    let (gate, early, late) = (Arc::new(Gate::default()), Counter::new(), Counter::new());
    let _early = early.crowd(&pubsub, "a", 300);
    pubsub.publish(message("a", "1"), &through(&gate)).unwrap();
    let _late = late.crowd(&pubsub, "a", 600);
    gate.idle().await;
    assert_eq!((early.count(), late.count()), (300, 0));
}

#[tokio::test]
async fn an_overloaded_topic_refuses_before_anybody_is_served() {
    let adapter = Arc::new(RecordingAdapter::default());
    let options = big_above(2).with_lane_jobs_max(2);
    let pubsub = PubSub::with_options(Arc::<RecordingAdapter>::clone(&adapter), &options);
    let (gate, own_log, counter) = (Arc::new(Gate::default()), Recorder::new(), Counter::new());
    let own = own_log.join(&pubsub, "a", 1);
    let _crowd = counter.crowd(&pubsub, "a", 600);
    for event in ["1", "2"] {
        pubsub
            .publish(message("a", event), &by(&own, &gate))
            .unwrap();
    }
    let refused = pubsub.publish(message("a", "3"), &by(&own, &gate));
    assert!(matches!(refused, Err(BroadcastError::Overloaded { topic }) if &*topic == "a"));
    assert_eq!(own_log.events(), ["1", "2"]);
    assert_eq!(adapter.take(), ["opened a", "publish a 1", "publish a 2"]);
    assert_eq!(gate.outstanding(), 2);
    gate.idle().await;
    assert_eq!(counter.count(), 1_200);
    pubsub.publish(message("a", "4"), &by(&own, &gate)).unwrap();
    gate.idle().await;
    assert_eq!(counter.count(), 1_800);
}

#[tokio::test]
async fn the_lanes_are_bounded_in_bytes_and_carry_one_of_any_size() {
    let pubsub = local_with(&big_above(2).with_lane_bytes_max(10_000));
    let (gate, counter) = (Arc::new(Gate::default()), Counter::new());
    let _crowd = counter.crowd(&pubsub, "a", 5);
    let send = |bytes: usize| {
        let payload = Payload::binary(vec![0; bytes]);
        pubsub.publish(Broadcast::new("a", "e", payload).unwrap(), &through(&gate))
    };
    send(20_000).unwrap();
    assert!(matches!(send(1), Err(BroadcastError::Overloaded { .. })));
    gate.idle().await;
    send(4_000).unwrap();
    send(4_000).unwrap();
    assert!(matches!(
        send(4_000),
        Err(BroadcastError::Overloaded { .. })
    ));
    gate.idle().await;
    assert_eq!(counter.count(), 15);
}

#[tokio::test]
async fn a_broadcast_that_the_adapter_refuses_takes_no_room() {
    let adapter = Arc::new(RecordingAdapter::default());
    let options = big_above(2).with_lane_jobs_max(1);
    let pubsub = PubSub::with_options(Arc::<RecordingAdapter>::clone(&adapter), &options);
    let (gate, counter) = (Arc::new(Gate::default()), Counter::new());
    let _crowd = counter.crowd(&pubsub, "a", 5);
    adapter.refuses.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let refused = pubsub.publish(message("a", "lost"), &through(&gate));
        assert!(matches!(
            refused,
            Err(BroadcastError::Adapter(PublishError::Disconnected))
        ));
    }
    assert!(gate.is_idle());
    adapter.refuses.store(false, Ordering::Relaxed);
    pubsub
        .publish(message("a", "kept"), &through(&gate))
        .unwrap();
    gate.idle().await;
    assert_eq!(counter.count(), 5);
}

#[tokio::test]
async fn a_topic_with_100_000_subscribers_lets_others_run() {
    const CROWD: usize = 100_000;
    let pubsub = PubSub::local();
    let (gate, counter) = (Arc::new(Gate::default()), Counter::new());
    let crowd = counter.crowd(&pubsub, "a", CROWD);
    pubsub.publish(message("a", "hi"), &through(&gate)).unwrap();
    let (mut turns, mut longest, mut before) = (0, 0, 0);
    while !gate.is_idle() {
        tokio::task::yield_now().await;
        longest = longest.max(counter.count() - before);
        before = counter.count();
        turns += 1;
    }
    assert_eq!(counter.count(), CROWD);
    // At most four lanes of 64 each run between two turns of another task.
    assert!(longest <= 4 * 64, "{longest} deliveries without a pause");
    assert!(turns >= CROWD / (4 * 64), "only {turns} turns");
    drop(crowd);
    assert_eq!(pubsub.topic_count(), 0);
}

#[tokio::test]
async fn a_shutdown_waits_for_the_lanes() {
    let pubsub = local_with(&big_above(2));
    let counter = Counter::new();
    let _crowd = counter.crowd(&pubsub, "a", 1_000);
    for _ in 0..5 {
        pubsub.broadcast(message("a", "hi")).unwrap();
    }
    pubsub.shutdown().await;
    assert_eq!(counter.count(), 5_000);
}

#[tokio::test]
async fn a_dropped_pubsub_finishes_what_it_began() {
    let pubsub = local_with(&big_above(2));
    let (gate, counter) = (Arc::new(Gate::default()), Counter::new());
    let crowd = counter.crowd(&pubsub, "a", 100);
    pubsub.publish(message("a", "hi"), &through(&gate)).unwrap();
    drop(pubsub);
    gate.idle().await;
    assert_eq!(counter.count(), 100);
    drop(crowd);
}

#[test]
fn without_a_runtime_big_topics_are_served_in_place() {
    let pubsub = local_with(&big_above(2));
    let counter = Counter::new();
    let _crowd = counter.crowd(&pubsub, "a", 1_000);
    let dispatched = pubsub.broadcast(message("a", "hi")).unwrap();
    assert_eq!(
        dispatched,
        Dispatched {
            subscribers: 1_000,
            queued: false
        }
    );
    assert_eq!(counter.count(), 1_000);
}

#[test]
fn a_thread_outside_the_runtime_uses_the_one_that_was_seen() {
    let runtime = Runtime::new().unwrap();
    let (gate, counter) = (Arc::new(Gate::default()), Counter::new());
    let pubsub = local_with(&big_above(2));
    let _crowd = runtime.block_on(async { counter.crowd(&pubsub, "a", 1_000) });
    assert!(
        pubsub
            .publish(message("a", "hi"), &through(&gate))
            .unwrap()
            .queued
    );
    runtime.block_on(gate.idle());
    assert_eq!(counter.count(), 1_000);
}

#[test]
fn a_runtime_that_ends_gives_the_work_up_and_opens_the_gate() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (gate, counter) = (Arc::new(Gate::default()), Counter::new());
    let pubsub = local_with(&big_above(2));
    let _crowd = runtime.block_on(async { counter.crowd(&pubsub, "a", 1_000) });
    for _ in 0..3 {
        assert!(
            pubsub
                .publish(message("a", "hi"), &through(&gate))
                .unwrap()
                .queued
        );
    }
    assert!(!gate.is_idle());
    drop(runtime);
    assert!(gate.is_idle());
    // The handle that was remembered is of no use any more; nobody is left waiting.
    pubsub.publish(message("a", "hi"), &through(&gate)).unwrap();
    assert!(gate.is_idle());
    assert_eq!(counter.count(), 0);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        pubsub.publish(message("a", "hi"), &through(&gate)).unwrap();
        gate.idle().await;
    });
    assert_eq!(counter.count(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_subscriber_of_a_big_topic_sees_every_senders_order() {
    const SENDERS: u64 = 4;
    const BROADCASTS: u64 = 200;
    let pubsub = PubSub::local();
    let listeners: Vec<_> = (0..700)
        .map(|_| {
            let listener = Recorder::new();
            let registration = listener.join(&pubsub, "a", 0);
            (listener, registration)
        })
        .collect();
    let sending: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let pubsub = pubsub.clone();
            thread::spawn(move || {
                let gate = Arc::new(Gate::default());
                let own_log = Recorder::new();
                let own = own_log.join(&pubsub, "a", 0);
                let event = sender.to_string();
                for offset in 0..BROADCASTS {
                    let message = message("a", &event).with_offset(offset);
                    assert!(pubsub.publish(message, &by(&own, &gate)).unwrap().queued);
                    assert_eq!(own_log.offsets(&event).last(), Some(&offset));
                }
                (gate, own_log, own)
            })
        })
        .collect();
    for (sender, handle) in sending.into_iter().enumerate() {
        let (gate, own_log, _own) = handle.join().unwrap();
        gate.idle().await;
        assert_eq!(
            own_log.offsets(&sender.to_string()),
            (0..BROADCASTS).collect::<Vec<_>>()
        );
    }
    for (listener, _) in &listeners {
        for sender in 0..SENDERS {
            assert_eq!(
                listener.offsets(&sender.to_string()),
                (0..BROADCASTS).collect::<Vec<_>>()
            );
        }
    }
}

/// Deliveries in the middle of which the number of those that run at the same time is seen.
#[derive(Default)]
struct Overlap {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl bennu_pubsub::Subscriber for Overlap {
    fn deliver(&self, _token: u64, _broadcast: &Arc<Broadcast>) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        thread::yield_now();
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_than_lanes_max_serve_a_topic_at_a_time() {
    let options = PubSubOptions::default()
        .with_in_place_max(0)
        .with_lanes_max(1);
    let pubsub = local_with(&options);
    let overlap = Arc::new(Overlap::default());
    let topic = "a".into();
    let _crowd: Vec<_> = (0..600)
        .map(|token| pubsub.register(&topic, Arc::<Overlap>::clone(&overlap), token))
        .collect();
    for _ in 0..20 {
        pubsub.broadcast(message("a", "hi")).unwrap();
    }
    pubsub.shutdown().await;
    assert_eq!(overlap.most.load(Ordering::SeqCst), 1);
}
