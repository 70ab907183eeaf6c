//! Messages from the rest of the program, and from topics that a channel listens to beside its own.

use bennu::Payload;
use bennu::channel::SendError;
use serde_json::json;

use crate::lab::Do;
use crate::support::{Bench, join};

#[tokio::test(start_paused = true)]
async fn another_task_sends_to_a_channel_by_its_ref() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("ref", &json!({})).await;
    room.push("log", &json!({"text": "ready"})).await;
    bench.log.wait_for("ready").await;
    let channel = bench.world.refs.lock()[0].clone();
    let sent = tokio::spawn(async move { channel.send(Do::Note("hello".into())) });
    sent.await.unwrap().unwrap();
    room.assert_push("note", &json!({"text": "hello"})).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_may_push_broadcast_and_stop() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("tell", &json!({"note": "n"})).await;
    room.assert_push("note", &json!({"text": "n"})).await;
    room.push("tell", &json!({"broadcast": "b"})).await;
    room.assert_push("note", &json!({"text": "b"})).await;
    room.assert_broadcast("note", &json!({"text": "b"})).await;
    room.push("tell", &json!("stop")).await;
    room.assert_closed().await;
    bench.log.wait_for("terminate lab:1: normal after 3").await;
}

#[tokio::test(start_paused = true)]
async fn messages_and_events_wait_for_each_other_in_order() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("tell", &json!("wait")).await;
    bench.log.wait_for("waiting lab:1").await;
    room.push("log", &json!({"text": "event 1"})).await;
    room.push("tell", &json!({"log": "message 1"})).await;
    room.push("log", &json!({"text": "event 2"})).await;
    bench.log.take();
    bench.gate.add_permits(1);
    bench.log.wait_for("message 1").await;
    // The message was sent when event 2 waited already.
    assert_eq!(bench.log.take(), ["event 1", "event 2", "message 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_ref_to_an_ended_channel_drops_messages_and_one_to_a_lost_socket_says_gone() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("ref", &json!({})).await;
    room.leave().await;
    room.assert_closed().await;
    let channel = bench.world.refs.lock()[0].clone();
    assert_eq!(channel.send(Do::Note("late".into())), Ok(()));
    room.refute_push("note").await;
    room.socket().lose().await;
    assert_eq!(channel.send(Do::Note("later".into())), Err(SendError::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_and_takes_again_once_there_is_room() {
    let bench = Bench::with_limits(|limits| limits.mailbox_messages_max = 3);
    let room = bench.joined().await;
    room.push("ref", &json!({})).await;
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let channel = bench.world.refs.lock()[0].clone();
    for n in 0..3 {
        assert_eq!(channel.send(Do::Note(n.to_string())), Ok(()));
    }
    assert_eq!(
        channel.send(Do::Note("too many".into())),
        Err(SendError::Full)
    );
    bench.gate.add_permits(1);
    for n in 0..3 {
        room.assert_push("note", &json!({ "text": n.to_string() }))
            .await;
    }
    assert_eq!(channel.send(Do::Note("again".into())), Ok(()));
    room.assert_push("note", &json!({"text": "again"})).await;
    room.refute_push("note").await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_an_ending_channel_leaves_behind_make_room() {
    let bench = Bench::with_limits(|limits| limits.mailbox_messages_max = 3);
    let socket = bench.connect().await;
    for _ in 0..5 {
        let room = join(&socket, "lab:1", &json!({})).await;
        room.push("ref", &json!({})).await;
        room.push("wait", &json!({})).await;
        bench.log.wait_for("waiting lab:1").await;
        let channel = bench.world.refs.lock().pop().unwrap();
        for _ in 0..3 {
            assert_eq!(channel.send(Do::Note("never".into())), Ok(()));
        }
        assert_eq!(channel.send(Do::Note("never".into())), Err(SendError::Full));
        // The next join takes its place; what waited for it is dropped.
        bench.log.take();
    }
}

#[tokio::test(start_paused = true)]
async fn broadcasts_of_a_further_topic_arrive_as_messages() {
    let bench = Bench::new();
    let room = bench.joined().await;
    // Twice is the same as once.
    for _ in 0..2 {
        let subscribe = room.push("subscribe", &json!({"topic": "news"})).await;
        room.assert_reply(&subscribe, "ok", &json!({})).await;
    }
    let body = Payload::json(&json!({"n": 1})).unwrap();
    bench
        .kit
        .endpoint()
        .broadcast_raw("news", "headline", body)
        .unwrap();
    let heard = json!({"topic": "news", "event": "headline", "body": {"n": 1}});
    room.assert_push("heard", &heard).await;
    room.refute_push("heard").await;
    room.refute_push("headline").await;

    let unsubscribe = room.push("unsubscribe", &json!({"topic": "news"})).await;
    room.assert_reply(&unsubscribe, "ok", &json!({})).await;
    bench
        .kit
        .endpoint()
        .broadcast_raw("news", "headline", Payload::empty())
        .unwrap();
    room.refute_push("heard").await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_with_its_channel() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("subscribe", &json!({"topic": "news"})).await;
    room.leave().await;
    room.assert_closed().await;
    assert_eq!(bench.kit.endpoint().pubsub().subscriber_count("news"), 0);
    // The test itself still listens.
    assert_eq!(bench.kit.endpoint().pubsub().subscriber_count("lab:1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_channel_subscribes_to_so_many_topics_and_no_more() {
    let bench = Bench::with_limits(|limits| limits.subscriptions_max = 2);
    let room = bench.joined().await;
    for topic in ["a", "b"] {
        let subscribe = room.push("subscribe", &json!({ "topic": topic })).await;
        room.assert_reply(&subscribe, "ok", &json!({})).await;
    }
    let third = room.push("subscribe", &json!({"topic": "c"})).await;
    let text = room.assert_reply_matching(&third, "error", |_| true).await;
    assert!(text.as_str().unwrap().contains("2 topics"), "{text}");
    room.push("unsubscribe", &json!({"topic": "a"})).await;
    let third = room.push("subscribe", &json!({"topic": "c"})).await;
    room.assert_reply(&third, "ok", &json!({})).await;
}
