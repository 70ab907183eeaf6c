//! Subscriptions: queues for any task of the program.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bennu_proto::payload::Payload;
use bennu_pubsub::{Broadcast, PubSub, RecvError, SubscriptionOptions, TryRecvError};

use crate::support::message;

#[tokio::test]
async fn a_subscription_receives_in_order() {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe("a");
    for event in ["1", "2", "3"] {
        pubsub.broadcast(message("a", event)).unwrap();
    }
    for event in ["1", "2", "3"] {
        assert_eq!(subscription.recv().await.unwrap().event(), event);
    }
    assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Empty);
}

#[tokio::test]
async fn a_waiting_receiver_is_woken() {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe("a");
    let receiver =
        tokio::spawn(async move { subscription.recv().await.map(|b| b.event().to_owned()) });
    tokio::task::yield_now().await;
    pubsub.broadcast(message("a", "hi")).unwrap();
    assert_eq!(receiver.await.unwrap().unwrap(), "hi");
}

#[tokio::test]
async fn a_lagging_subscription_says_how_many_it_lost_and_goes_on() {
    let pubsub = PubSub::local();
    let options = SubscriptionOptions::default().with_queue_max(3);
    let mut subscription = pubsub.subscribe_with("a", &options);
    for event in ["1", "2", "3", "4", "5"] {
        pubsub.broadcast(message("a", event)).unwrap();
    }
    assert_eq!(subscription.recv().await.unwrap_err(), RecvError::Lagged(2));
    for event in ["3", "4", "5"] {
        assert_eq!(subscription.recv().await.unwrap().event(), event);
    }
    pubsub.broadcast(message("a", "6")).unwrap();
    assert_eq!(subscription.recv().await.unwrap().event(), "6");
}

#[test]
fn the_queue_is_bounded_in_bytes_and_keeps_the_newest() {
    let pubsub = PubSub::local();
    let options = SubscriptionOptions::default().with_queue_bytes_max(25_000);
    let mut subscription = pubsub.subscribe_with("a", &options);
    let send = |event: &str, bytes: usize| {
        let payload = Payload::binary(vec![0; bytes]);
        pubsub
            .broadcast(Broadcast::new("a", event, payload).unwrap())
            .unwrap();
    };
    for event in ["1", "2", "3"] {
        send(event, 10_000);
    }
    assert_eq!(
        subscription.try_recv().unwrap_err(),
        TryRecvError::Lagged(1)
    );
    assert_eq!(subscription.try_recv().unwrap().event(), "2");
    send("huge", 100_000);
    assert_eq!(
        subscription.try_recv().unwrap_err(),
        TryRecvError::Lagged(1)
    );
    assert_eq!(subscription.try_recv().unwrap().event(), "huge");
    assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Empty);
    // What was received no longer counts.
    send("4", 10_000);
    send("5", 10_000);
    assert_eq!(subscription.try_recv().unwrap().event(), "4");
}

#[tokio::test]
async fn a_receiver_that_gives_up_loses_nothing() {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe("a");
    {
        let mut receiving = pin!(subscription.recv());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(receiving.as_mut().poll(&mut cx).is_pending());
        pubsub.broadcast(message("a", "hi")).unwrap();
    }
    assert_eq!(subscription.recv().await.unwrap().event(), "hi");
}

#[tokio::test]
async fn after_a_shutdown_what_is_left_is_received_and_then_it_is_closed() {
    let pubsub = PubSub::local();
    let mut subscription = pubsub.subscribe("a");
    let mut idle = pubsub.subscribe("b");
    pubsub.broadcast(message("a", "last")).unwrap();
    {
        let mut waiting = pin!(idle.recv());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        pubsub.shutdown().await;
        let Poll::Ready(closed) = waiting.as_mut().poll(&mut cx) else {
            panic!("still waiting")
        };
        assert_eq!(closed.unwrap_err(), RecvError::Closed);
    }
    assert_eq!(subscription.recv().await.unwrap().event(), "last");
    assert_eq!(subscription.recv().await.unwrap_err(), RecvError::Closed);
    assert_eq!(
        pubsub.subscribe("c").recv().await.unwrap_err(),
        RecvError::Closed
    );
}

#[tokio::test]
async fn a_subscription_can_be_left_out() {
    let pubsub = PubSub::local();
    let mut sender = pubsub.subscribe("a");
    let mut other = pubsub.subscribe("a");
    pubsub
        .broadcast_from(sender.id(), message("a", "hi"))
        .unwrap();
    assert_eq!(other.recv().await.unwrap().event(), "hi");
    assert_eq!(sender.try_recv().unwrap_err(), TryRecvError::Empty);
}

#[test]
fn a_dropped_subscription_is_unsubscribed() {
    let pubsub = PubSub::local();
    drop(pubsub.subscribe("a"));
    assert_eq!(pubsub.topic_count(), 0);
    assert_eq!(pubsub.broadcast(message("a", "hi")).unwrap().subscribers, 0);
}
