//! Leaving a topic.

use serde_json::json;

use crate::support::{Bench, wire};

const OK: &str = r#"{"status":"ok","response":{}}"#;

#[tokio::test(start_paused = true)]
async fn a_leave_is_answered_then_closed_then_terminate_speaks_its_last_words() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"terminate": "push"})).await;
    room.leave().await;
    assert_eq!(
        wire(room.socket()).await,
        [
            format!(r#"["1","2","lab:1","phx_reply",{OK}]"#),
            r#"["1","1","lab:1","phx_close",{}]"#.to_owned(),
            r#"["1",null,"lab:1","bye",{}]"#.to_owned(),
        ]
    );
    let expected = ["join lab:1", "terminate lab:1: left after 0", "drop lab:1"];
    assert_eq!(bench.log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn after_a_leave_the_topic_is_unmatched_and_leaving_twice_is_harmless() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let leave = room.leave().await;
    room.assert_reply(&leave, "ok", &json!({})).await;
    room.assert_closed().await;
    let echo = room.push("echo", &json!({})).await;
    room.assert_reply(&echo, "error", &json!({"reason": "unmatched topic"}))
        .await;
    let again = room.leave().await;
    room.assert_reply(&again, "ok", &json!({})).await;
    room.broadcast_from("told", &json!({}));
    room.refute_push("told").await;
}

#[tokio::test(start_paused = true)]
async fn a_leave_waits_behind_a_slow_handler() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let wait = room.push("wait", &json!({})).await;
    let leave = room.leave().await;
    room.refute_reply(&leave).await;
    bench.gate.add_permits(1);
    room.assert_reply(&wait, "ok", &json!({"waited": true}))
        .await;
    room.assert_reply(&leave, "ok", &json!({})).await;
    room.assert_closed().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_between_its_leave_and_the_end_is_not_answered() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("wait", &json!({})).await;
    room.leave().await;
    let late = room.push("echo", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    bench.gate.add_permits(1);
    room.assert_closed().await;
    room.refute_reply(&late).await;
}

#[tokio::test(start_paused = true)]
async fn a_leave_overtaken_by_a_rejoin_is_not_answered() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("wait", &json!({})).await;
    let leave = room.leave().await;
    bench.log.wait_for("waiting lab:1").await;
    let again = room.socket().join("lab:1", &json!({})).await.unwrap();
    room.assert_closed().await;
    bench.gate.add_permits(1);
    room.refute_reply(&leave).await;
    let echo = again.push("echo", &json!({})).await;
    again.assert_reply(&echo, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_can_be_joined_again_while_the_old_terminate_runs() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"terminate": "wait"})).await;
    room.leave().await;
    room.assert_closed().await;
    let again = room.socket().join("lab:1", &json!({})).await.unwrap();
    bench.gate.add_permits(1);
    bench.log.wait_for("terminated lab:1").await;
    let echo = again.push("echo", &json!({})).await;
    again.assert_reply(&echo, "ok", &json!({})).await;
    again.refute_push("phx_close").await;
}
