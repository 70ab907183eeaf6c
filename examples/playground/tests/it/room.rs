//! `room:*`: its joins and every one of its events.

use std::time::Duration;

use bennu::Payload;
use bennu_testkit::TestChannel;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{join, joined, kit};

async fn room() -> TestChannel {
    joined(&kit(), "ada", "room:1").await
}

fn bytes() -> Payload {
    Payload::binary(&b"\x00\xfe\xff"[..])
}

#[tokio::test(start_paused = true)]
async fn joins() {
    let socket = kit().connect(&[]).await.unwrap();
    for params in [
        json!({}),
        json!({"any": [1]}),
        json!(null),
        json!({"reply": 5}),
    ] {
        assert_eq!(
            join(&socket, "room:1", &params).await.join_response(),
            json!({}),
            "{params}"
        );
    }
    let denied = socket.join("room:denied", &json!({})).await.unwrap_err();
    assert_eq!(denied.response(), json!({"reason": "unauthorized"}));
    let crash = socket.join("room:crash", &json!({})).await.unwrap_err();
    assert_eq!(crash.response(), json!({"reason": "join crashed"}));
    let room = join(&socket, "room:2", &json!({"reply": {"welcome": [1, null]}})).await;
    assert_eq!(room.join_response(), json!({"welcome": [1, null]}));
}

#[tokio::test(start_paused = true)]
async fn after_join_is_pushed_once_joined() {
    let kit = kit();
    let socket = kit.connect(&[]).await.unwrap();
    for topic in ["room:1", "intercept:1"] {
        let room = join(&socket, topic, &json!({"after_join": true})).await;
        room.assert_push("after_join", &json!({ "topic": topic }))
            .await;
        room.refute_push("after_join").await;
    }
    join(&socket, "room:2", &json!({"after_join": false}))
        .await
        .refute_push("after_join")
        .await;
}

#[tokio::test(start_paused = true)]
async fn echo_and_echo_error() {
    let room = room().await;
    for payload in [
        json!({"a": {"b": [1.5, null]}}),
        json!([]),
        json!("x"),
        json!(null),
    ] {
        let echo = room.push("echo", &payload).await;
        room.assert_reply(&echo, "ok", &payload).await;
        let error = room.push("echo_error", &payload).await;
        room.assert_reply(&error, "error", &payload).await;
    }
    let echo = room.push("echo", &bytes()).await;
    room.assert_reply(&echo, "ok", &bytes()).await;
}

#[tokio::test(start_paused = true)]
async fn ack_and_silent() {
    let room = room().await;
    let ack = room.push("ack", &json!({"ignored": 1})).await;
    room.assert_reply(&ack, "ok", &json!({})).await;
    let silent = room.push("silent", &json!({})).await;
    room.refute_reply(&silent).await;
}

#[tokio::test(start_paused = true)]
async fn push_me_goes_to_this_client_alone() {
    let kit = kit();
    let (ada, bob) = (
        joined(&kit, "ada", "room:1").await,
        joined(&kit, "bob", "room:1").await,
    );
    let push = ada.push("push_me", &json!({"a": 1})).await;
    ada.assert_push("pushed", &json!({"a": 1})).await;
    ada.push("push_me", &bytes()).await;
    ada.assert_push("pushed", &bytes()).await;
    ada.refute_reply(&push).await;
    bob.refute_push("pushed").await;
}

#[tokio::test(start_paused = true)]
async fn shout_and_local_reach_the_whole_topic_without_a_reply() {
    let kit = kit();
    let (ada, bob) = (
        joined(&kit, "ada", "room:1").await,
        joined(&kit, "bob", "room:1").await,
    );
    for event in ["shout", "local"] {
        for payload in [Payload::json(&json!({"a": 1})).unwrap(), bytes()] {
            let push = ada.push(event, &payload).await;
            ada.assert_push("shout", &payload).await;
            bob.assert_push("shout", &payload).await;
            bob.assert_broadcast("shout", &payload).await;
            ada.refute_reply(&push).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shout_ack_broadcasts_before_it_replies() {
    let room = room().await;
    let push = room.push("shout_ack", &json!({"a": 1})).await;
    let messages = room.socket().assert_in_order(&["shout", "phx_reply"]).await;
    assert_eq!(messages[0].json(), json!({"a": 1}));
    assert_eq!(messages[1].json(), json!({}));
    room.refute_reply(&push).await;
}

#[tokio::test(start_paused = true)]
async fn whisper_spares_the_sender() {
    let kit = kit();
    let (ada, bob) = (
        joined(&kit, "ada", "room:1").await,
        joined(&kit, "bob", "room:1").await,
    );
    let push = ada.push("whisper", &json!({"a": 1})).await;
    bob.assert_push("whisper", &json!({"a": 1})).await;
    ada.refute_push("whisper").await;
    ada.refute_reply(&push).await;
}

#[tokio::test(start_paused = true)]
async fn slow_holds_up_its_own_channel_alone() {
    let kit = kit().with_timeout(Duration::from_secs(5));
    let room = joined(&kit, "ada", "room:1").await;
    let beside = join(room.socket(), "room:2", &json!({})).await;
    let started = Instant::now();
    let slow = room.push("slow", &json!({"ms": 2000})).await;
    let behind = room.push("ack", &json!({})).await;
    let other = beside.push("ack", &json!({})).await;
    beside.assert_reply(&other, "ok", &json!({})).await;
    assert!(started.elapsed() < Duration::from_millis(10));
    room.assert_reply(&slow, "ok", &json!({"ms": 2000})).await;
    assert_eq!(started.elapsed().as_secs(), 2);
    room.assert_reply(&behind, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn later_answers_later_and_holds_up_nothing() {
    let kit = kit().with_timeout(Duration::from_secs(5));
    let room = joined(&kit, "ada", "room:1").await;
    let started = Instant::now();
    let later = room.push("later", &json!({"ms": 2000})).await;
    let behind = room.push("ack", &json!({})).await;
    room.assert_reply(&behind, "ok", &json!({})).await;
    assert!(started.elapsed() < Duration::from_millis(10));
    room.assert_reply(&later, "ok", &json!({"ms": 2000})).await;
    assert_eq!(started.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_most_a_hundred_later_are_open_at_once() {
    let kit = kit().with_timeout(Duration::from_secs(5));
    let room = joined(&kit, "ada", "room:1").await;
    for _ in 0..100 {
        room.push("later", &json!({"ms": 2000})).await;
    }
    let too_many = room.push("later", &json!({"ms": 2000})).await;
    room.assert_reply(&too_many, "error", &json!({"reason": "too many"}))
        .await;
    let answers = room.socket().messages().await;
    assert_eq!(answers.len(), 100);
    assert!(
        answers
            .iter()
            .all(|answer| answer.json() == json!({"ms": 2000}))
    );
    let again = room.push("later", &json!({"ms": 1})).await;
    room.assert_reply(&again, "ok", &json!({"ms": 1})).await;
}

#[tokio::test(start_paused = true)]
async fn tick_pushes_n_times_one_every_m_ms() {
    let room = room().await;
    let started = Instant::now();
    let tick = room.push("tick", &json!({"ms": 50, "n": 3})).await;
    room.assert_reply(&tick, "ok", &json!({})).await;
    for n in 1..=3 {
        room.assert_push("tick", &json!({ "n": n })).await;
        let elapsed = started.elapsed().as_millis();
        assert!(
            (50 * n..50 * n + 10).contains(&elapsed),
            "{elapsed} ms at {n}"
        );
    }
    room.refute_push("tick").await;
    let none = room.push("tick", &json!({"ms": 1, "n": 0})).await;
    room.assert_reply(&none, "ok", &json!({})).await;
    room.refute_push("tick").await;
    let too_many = room.push("tick", &json!({"ms": 1, "n": 10_001})).await;
    room.assert_reply_matching(&too_many, "error", Value::is_object)
        .await;
}

#[tokio::test(start_paused = true)]
async fn count_counts_for_each_channel() {
    let kit = kit();
    let (ada, bob) = (
        joined(&kit, "ada", "room:1").await,
        joined(&kit, "bob", "room:1").await,
    );
    for k in 1..=3 {
        let count = ada.push("count", &json!({})).await;
        ada.assert_reply(&count, "ok", &json!({ "count": k })).await;
    }
    let count = bob.push("count", &json!({})).await;
    bob.assert_reply(&count, "ok", &json!({"count": 1})).await;
    let again = join(ada.socket(), "room:1", &json!({})).await;
    let count = again.push("count", &json!({})).await;
    again.assert_reply(&count, "ok", &json!({"count": 1})).await;
}

#[tokio::test(start_paused = true)]
async fn big_answers_with_that_many() {
    let room = room().await;
    for n in [0, 1, 1_000_000] {
        let big = room.push("big", &json!({ "bytes": n })).await;
        let data = room
            .assert_reply_matching(&big, "ok", |reply| reply["data"].is_string())
            .await;
        assert_eq!(data, json!({"data": "x".repeat(n)}));
    }
    let too_big = room.push("big", &json!({"bytes": 1_000_001})).await;
    room.assert_reply_matching(&too_big, "error", Value::is_object)
        .await;
}

#[tokio::test(start_paused = true)]
async fn stop_ends_the_channel_with_that_reason_and_no_reply() {
    let kit = kit();
    for reason in ["normal", "shutdown", "error"] {
        let room = joined(&kit, "ada", "room:1").await;
        let stop = room.push("stop", &json!({ "reason": reason })).await;
        if reason == "error" {
            room.assert_crashed().await;
        } else {
            room.assert_closed().await;
        }
        room.refute_reply(&stop).await;
    }
}

#[tokio::test(start_paused = true)]
async fn stop_reply_answers_before_it_stops() {
    let room = room().await;
    room.push("stop_reply", &json!({})).await;
    let messages = room
        .socket()
        .assert_in_order(&["phx_reply", "phx_close"])
        .await;
    assert_eq!(messages[0].json(), json!({"bye": true}));
}

#[tokio::test(start_paused = true)]
async fn crash_crashes() {
    let room = room().await;
    let crash = room.push("crash", &json!({})).await;
    room.assert_crashed().await;
    room.refute_reply(&crash).await;
    join(room.socket(), "room:1", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn any_other_event_is_unknown_and_the_channel_lives_on() {
    let room = room().await;
    for event in ["other", "Echo", "shout "] {
        let unknown = room.push(event, &json!({})).await;
        room.assert_reply(&unknown, "error", &json!({"reason": "unknown event"}))
            .await;
    }
    let ack = room.push("ack", &json!({})).await;
    room.assert_reply(&ack, "ok", &json!({})).await;
}
