//! Replies and pushes of one channel to its client.

use bennu::Payload;
use serde_json::json;

use crate::support::{Bench, wire};

#[tokio::test(start_paused = true)]
async fn replies_with_and_without_payload() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let echo = room.push("echo", &json!({"deep": [{"a": null}]})).await;
    room.assert_reply(&echo, "ok", &json!({"deep": [{"a": null}]}))
        .await;
    let refuse = room.push("refuse", &json!({"why": "no"})).await;
    room.assert_reply(&refuse, "error", &json!({"why": "no"}))
        .await;
    let empty = room.push("status", &json!({"status": "ok"})).await;
    room.assert_reply(&empty, "ok", &json!({})).await;
    let silent = room.push("silent", &json!({})).await;
    room.refute_reply(&silent).await;
}

#[tokio::test(start_paused = true)]
async fn any_status_and_any_json_value_can_be_replied() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let weird = room.push("status", &json!({"status": "weird"})).await;
    room.assert_reply(&weird, "weird", &json!({})).await;
    for value in [
        json!(1),
        json!([1, [2]]),
        json!("text"),
        json!(null),
        json!(1.5),
    ] {
        let echo = room.push("echo", &value).await;
        room.assert_reply(&echo, "ok", &value).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_carries_the_join_ref_and_the_ref() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let _echo = room.push("echo", &json!({})).await;
    let expected = r#"["1","2","lab:1","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(wire(room.socket()).await, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_push_carries_the_join_ref_and_no_ref() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let push = room.push("push", &json!({"a": 1})).await;
    assert_eq!(
        wire(room.socket()).await,
        [r#"["1",null,"lab:1","pushed",{"a":1}]"#]
    );
    room.refute_reply(&push).await;
    room.refute_broadcast("pushed").await;
}

#[tokio::test(start_paused = true)]
async fn binary_pushes_and_replies() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let bytes = Payload::binary(&b"\x00\x01\xfe"[..]);
    let echo = room.push("echo", &bytes).await;
    room.assert_reply(&echo, "ok", &bytes).await;
    room.push("push", &bytes).await;
    room.assert_push("pushed", &bytes).await;
    room.push("broadcast", &bytes).await;
    room.assert_push("told", &bytes).await;
    room.assert_broadcast("told", &bytes).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_may_come_later_and_more_than_once() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let later = room.push("later", &json!({"times": 3})).await;
    for time in 1..=3 {
        room.assert_reply(&later, "ok", &json!({ "time": time }))
            .await;
    }
    room.refute_reply(&later).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_may_come_from_another_task_after_the_handler() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let later = room.push("later_elsewhere", &json!({})).await;
    let echo = room.push("echo", &json!({})).await;
    room.assert_reply(&echo, "ok", &json!({})).await;
    room.refute_reply(&later).await;
    bench.gate.add_permits(1);
    room.assert_reply(&later, "ok", &json!({"later": true}))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_of_a_channel_that_has_ended_is_sent_and_harmless() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let later = room.push("later_elsewhere", &json!({})).await;
    room.push("stop", &json!({"reason": "normal"})).await;
    room.assert_closed().await;
    bench.gate.add_permits(1);
    room.assert_reply(&later, "ok", &json!({"later": true}))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_to_a_socket_that_is_gone_is_harmless() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("later_elsewhere", &json!({})).await;
    room.push("log", &json!({"text": "handled"})).await;
    bench.log.wait_for("handled").await;
    room.socket().lose().await;
    bench.gate.add_permits(1);
    bench.log.wait_for("answered").await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_event_is_answered_and_the_channel_lives_on() {
    let bench = Bench::new();
    let room = bench.joined().await;
    for event in ["nonsense", "Echo", "phx_reply", "phx_close", "phx_error"] {
        let unknown = room.push(event, &json!({})).await;
        room.assert_reply(&unknown, "error", &json!({"reason": "unknown event"}))
            .await;
    }
    let echo = room.push("echo", &json!({})).await;
    room.assert_reply(&echo, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_does_not_fit_is_answered_and_the_channel_lives_on() {
    let bench = Bench::new();
    let room = bench.joined().await;
    for payload in [
        json!({"n": "x"}),
        json!({"n": 256}),
        json!({}),
        json!([]),
        json!(null),
    ] {
        let unfit = room.push("typed", &payload).await;
        room.assert_reply(&unfit, "error", &json!({"reason": "invalid payload"}))
            .await;
    }
    let unfit = room.push("typed", &Payload::binary(&b"{}"[..])).await;
    room.assert_reply(&unfit, "error", &json!({"reason": "invalid payload"}))
        .await;
    let typed = room.push("typed", &json!({"n": 255})).await;
    room.assert_reply(&typed, "ok", &json!({"n": 255})).await;
}

#[tokio::test(start_paused = true)]
async fn pushes_broadcasts_and_the_reply_of_one_handler_keep_their_order() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("ordered", &json!({})).await;
    let order = [
        "pushed",
        "told",
        "pushed",
        "told",
        "pushed",
        "told",
        "phx_reply",
    ];
    let messages = room.socket().assert_in_order(&order).await;
    let steps: Vec<_> = messages
        .iter()
        .map(|message| message.json()["step"].clone())
        .collect();
    assert_eq!(steps, [0, 0, 1, 1, 2, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_one_channel_are_handled_one_at_a_time_and_in_order() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let wait = room.push("wait", &json!({})).await;
    let mut echoes = Vec::new();
    for n in 0..50 {
        echoes.push(room.push("echo", &json!({ "n": n })).await);
    }
    room.refute_reply(&echoes[0]).await;
    bench.gate.add_permits(1);
    let messages = room.socket().messages().await;
    assert_eq!(messages[0].json(), json!({"waited": true}));
    let order: Vec<_> = messages[1..]
        .iter()
        .map(|message| message.json()["n"].clone())
        .collect();
    assert_eq!(order, (0..50).collect::<Vec<_>>());
    room.refute_reply(&wait).await;
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_neither_an_object_nor_bytes_crashes_the_channel() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("push", &json!([1])).await;
    room.assert_crashed().await;
    let room = bench.joined().await;
    room.push("push_list", &json!({})).await;
    room.assert_crashed().await;
    let room = bench.joined().await;
    room.push("broadcast", &json!(1)).await;
    room.assert_crashed().await;
    room.refute_broadcast("told").await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_cannot_be_serialized_crashes_the_channel() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let push = room.push("unserializable", &json!({})).await;
    room.assert_crashed().await;
    room.refute_reply(&push).await;
}
