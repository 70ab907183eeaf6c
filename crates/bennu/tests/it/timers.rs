//! Timers of a channel.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, advance};

use crate::support::{Bench, join};

const NOTE: &str = "note";

#[tokio::test(start_paused = true)]
async fn a_timer_fires_once_and_when_it_is_due() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let started = Instant::now();
    room.push("after", &json!({"ms": 50})).await;
    room.assert_push(NOTE, &json!({"text": "after"})).await;
    let elapsed = started.elapsed();
    assert!((50..55).contains(&elapsed.as_millis()), "{elapsed:?}");
    room.refute_push(NOTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_does_not_fire_before_its_time() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("after", &json!({"ms": 150})).await;
    room.refute_push(NOTE).await;
    room.assert_push(NOTE, &json!({"text": "after"})).await;
}

#[tokio::test(start_paused = true)]
async fn an_interval_fires_every_period_first_after_one() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let started = Instant::now();
    room.push("every", &json!({"ms": 90})).await;
    for beat in 1..=5 {
        room.assert_push(NOTE, &json!({"text": "every"})).await;
        let elapsed = started.elapsed().as_millis();
        assert!(
            (90 * beat..90 * beat + 5).contains(&elapsed),
            "{elapsed} at {beat}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_interval_of_zero_is_an_error() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let every = room.push("every", &json!({"ms": 0})).await;
    let text = room.assert_reply_matching(&every, "error", |_| true).await;
    assert!(
        text.as_str().unwrap().contains("longer than zero"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_timer_does_not_fire() {
    let bench = Bench::new();
    for event in ["after", "every"] {
        let room = bench.joined().await;
        room.push(event, &json!({"ms": 50})).await;
        room.push("cancel", &json!({})).await;
        room.refute_push(NOTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn timers_end_with_their_channel_and_give_their_room_back() {
    let bench = Bench::with_limits(|limits| limits.mailbox_messages_max = 2);
    let socket = bench.connect().await;
    for round in 0..5 {
        let room = join(&socket, "lab:1", &json!({})).await;
        room.push("every", &json!({"ms": 50})).await;
        // A crash, if there is no room for it.
        room.push("after", &json!({"ms": 50})).await;
        let set = room.push("echo", &json!({ "round": round })).await;
        room.assert_reply(&set, "ok", &json!({ "round": round }))
            .await;
        room.leave().await;
        room.assert_closed().await;
        room.refute_push(NOTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_for_which_there_is_no_room_is_an_error() {
    let bench = Bench::with_limits(|limits| limits.mailbox_messages_max = 2);
    let room = bench.joined().await;
    for _ in 0..3 {
        room.push("after", &json!({"ms": 50})).await;
    }
    // Which this channel takes as a crash.
    room.assert_crashed().await;
    room.refute_push(NOTE).await;
}

#[tokio::test(start_paused = true)]
async fn beats_of_an_interval_for_which_there_is_no_room_are_left_out() {
    let bench = Bench::with_limits(|limits| limits.mailbox_messages_max = 3);
    let room = bench.joined().await;
    // The interval holds one place itself.
    room.push("every", &json!({"ms": 10})).await;
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    for _ in 0..10 {
        advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    room.refute_push(NOTE).await;
    room.push("cancel", &json!({})).await;
    bench.gate.add_permits(1);
    let messages = room.socket().messages().await;
    let beats = messages
        .iter()
        .filter(|message| message.event == NOTE)
        .count();
    // Of twenty, those for which there was room, and perhaps the one that was due at the end.
    assert!((2..=3).contains(&beats), "{beats} beats");
}

#[tokio::test(start_paused = true)]
async fn after_a_long_pause_an_interval_does_not_catch_up() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("every", &json!({"ms": 40})).await;
    room.push("log", &json!({"text": "set"})).await;
    bench.log.wait_for("set").await;
    advance(Duration::from_secs(10)).await;
    let beats = room.socket().messages().await.len();
    assert!(
        (1..=4).contains(&beats),
        "{beats} beats in 100 ms after a pause"
    );
}
