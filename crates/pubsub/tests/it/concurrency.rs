//! Many threads at once, for a bounded number of rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bennu_pubsub::{Gate, PubSub, Publish};
use tokio::runtime::Builder;

use crate::support::{Counter, Recorder, big_above, local_with, message};

const SENDERS: usize = 3;
const BROADCASTS: u64 = 400;
const CHURNERS: usize = 3;
const STABLE: usize = 40;

/// Joins and leaves in crowds until the senders are through, so that the topic keeps growing over its
/// first partition and the limit of what is served in place, and shrinking below them again.
fn churn(pubsub: &PubSub, senders_left: &AtomicUsize) {
    let counter = Counter::new();
    for round in 0.. {
        let size = [1, 20, 400, 90][round % 4];
        let mut crowd = counter.crowd(pubsub, "a", size);
        let half = crowd.split_off(size / 2);
        drop(crowd);
        drop(half);
        if senders_left.load(Ordering::Acquire) == 0 {
            return;
        }
    }
}

#[test]
fn whoever_stays_gets_everything_once_and_in_order() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let entered = runtime.enter();
    let pubsub = local_with(&big_above(64));
    drop(entered);
    let stable: Vec<_> = (0..STABLE)
        .map(|_| {
            let recorder = Recorder::new();
            let registration = recorder.join(&pubsub, "a", 0);
            (recorder, registration)
        })
        .collect();
    let senders_left = AtomicUsize::new(SENDERS);
    let gate = Arc::new(Gate::default());
    let queued = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CHURNERS {
            scope.spawn(|| churn(&pubsub, &senders_left));
        }
        for sender in 0..SENDERS {
            let (pubsub, gate, queued, senders_left) = (&pubsub, &gate, &queued, &senders_left);
            scope.spawn(move || {
                let publish = Publish {
                    gate: Some(gate),
                    ..Publish::default()
                };
                for offset in 0..BROADCASTS {
                    let message = message("a", &sender.to_string()).with_offset(offset);
                    let dispatched = pubsub.publish(message, &publish).unwrap();
                    assert!(dispatched.subscribers >= STABLE);
                    queued.fetch_add(usize::from(dispatched.queued), Ordering::Relaxed);
                }
                senders_left.fetch_sub(1, Ordering::Release);
            });
        }
    });
    runtime.block_on(gate.idle());
    for (recorder, _) in &stable {
        for sender in 0..SENDERS {
            let expected: Vec<u64> = (0..BROADCASTS).collect();
            assert_eq!(recorder.offsets(&sender.to_string()), expected);
        }
    }
    assert!(queued.into_inner() > 0, "the topic was never big");
    assert_eq!(pubsub.subscriber_count("a"), STABLE);
    drop(stable);
    assert_eq!(pubsub.topic_count(), 0);
}

#[test]
fn a_topic_that_opens_and_closes_all_the_time_loses_nobody() {
    let pubsub = PubSub::local();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let recorder = Recorder::new();
                for round in 0..10_000_u64 {
                    let registration = recorder.join(&pubsub, "a", round);
                    if round % 16 == 0 {
                        recorder.take();
                        pubsub.broadcast(message("a", "hi")).unwrap();
                        let own = recorder
                            .take()
                            .iter()
                            .filter(|seen| seen.0 == round)
                            .count();
                        assert!(own >= 1, "a topic was closed over its subscriber's head");
                    }
                    drop(registration);
                }
            });
        }
    });
    assert_eq!(pubsub.topic_count(), 0);
}

#[test]
fn those_who_open_a_topic_at_the_same_time_are_all_on_it() {
    const RACERS: usize = 3;
    const ROUNDS: usize = 5_000;
    let pubsub = PubSub::local();
    let arrived = AtomicUsize::new(0);
    // All wait, without sleeping, until everybody has come this far.
    let line_up = |stage: usize| {
        arrived.fetch_add(1, Ordering::AcqRel);
        while arrived.load(Ordering::Acquire) < stage * RACERS {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        for _ in 0..RACERS {
            scope.spawn(|| {
                let counter = Counter::new();
                for round in 0..ROUNDS {
                    let topic = round.to_string();
                    line_up(3 * round + 1);
                    let own = counter.crowd(&pubsub, &topic, 1);
                    line_up(3 * round + 2);
                    let seen = pubsub.subscriber_count(&topic);
                    line_up(3 * round + 3);
                    drop(own);
                    assert_eq!(seen, RACERS);
                }
            });
        }
    });
    assert_eq!(pubsub.topic_count(), 0);
}

#[test]
fn nothing_is_left_of_100_000_topics() {
    let pubsub = PubSub::local();
    let counter = Counter::new();
    for cycle in 0..100_000 {
        drop(counter.crowd(&pubsub, &cycle.to_string(), 1));
    }
    let all: Vec<_> = (0..100_000)
        .flat_map(|topic| counter.crowd(&pubsub, &topic.to_string(), 1))
        .collect();
    assert_eq!(pubsub.topic_count(), 100_000);
    drop(all);
    assert_eq!(pubsub.topic_count(), 0);
    assert_eq!(Arc::strong_count(&counter), 1);
}
