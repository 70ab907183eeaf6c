//! Joining a topic that is joined already: the newer channel takes the place of the older.

use serde_json::json;

use crate::support::{Bench, join, wire};

const OK: &str = r#"{"status":"ok","response":{}}"#;

#[tokio::test(start_paused = true)]
async fn the_new_join_is_answered_before_the_old_channel_is_closed() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    join(&socket, "lab:1", &json!({})).await;
    let again = socket.push("lab:1", "phx_join", &json!({})).await;
    assert_eq!(
        wire(&socket).await,
        [
            format!(r#"[null,"2","lab:1","phx_reply",{OK}]"#),
            r#"["1","1","lab:1","phx_close",{}]"#.to_owned(),
        ]
    );
    drop(again);
    // The state was dropped, and its terminate not called.
    assert_eq!(bench.log.take(), ["join lab:1", "drop lab:1", "join lab:1"]);
}

#[tokio::test(start_paused = true)]
async fn messages_of_the_old_instance_are_stale() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let old = join(&socket, "lab:1", &json!({})).await;
    let new = join(&socket, "lab:1", &json!({})).await;
    old.assert_closed().await;
    let stale = old.push("echo", &json!({})).await;
    let leave = old.leave().await;
    let current = new.push("echo", &json!({})).await;
    socket.assert_reply(&current, "ok", &json!({})).await;
    socket.refute_reply(&stale).await;
    socket.refute_reply(&leave).await;
    // Without a join reference, whatever is joined is meant.
    let any = socket.push("lab:1", "echo", &json!({})).await;
    socket.assert_reply(&any, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn the_old_channel_hears_no_broadcasts_and_the_new_one_hears_each_once() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    join(&socket, "lab:1", &json!({})).await;
    let new = join(&socket, "lab:1", &json!({})).await;
    new.push("broadcast", &json!({})).await;
    new.assert_push("told", &json!({})).await;
    new.refute_push("told").await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_handler_is_dropped() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let old = join(&socket, "lab:1", &json!({})).await;
    let wait = old.push("wait", &json!({})).await;
    let behind = old.push("echo", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let new = join(&socket, "lab:1", &json!({})).await;
    old.assert_closed().await;
    bench.log.wait_for("drop lab:1").await;
    // The permit is for the new one.
    bench.gate.add_permits(1);
    socket.refute_reply(&wait).await;
    socket.refute_reply(&behind).await;
    let wait = new.push("wait", &json!({})).await;
    new.assert_reply(&wait, "ok", &json!({"waited": true}))
        .await;
    assert!(
        !bench
            .log
            .take()
            .iter()
            .any(|entry| entry.starts_with("terminate"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_join_that_waits_is_answered_as_well() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let old = socket
        .push("lab:1", "phx_join", &json!({"how": "wait "}))
        .await;
    bench.log.wait_for("join lab:1").await;
    let new = socket.push("lab:1", "phx_join", &json!({})).await;
    let replaced = json!({"reason": "replaced by a newer join"});
    socket.assert_reply(&old, "error", &replaced).await;
    socket.assert_reply(&new, "ok", &json!({})).await;
    bench.gate.add_permits(1);
    assert_eq!(wire(&socket).await, [""; 0], "the old join was dropped");
}

#[tokio::test(start_paused = true)]
async fn a_new_join_that_is_refused_still_closes_the_old_channel() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let old = join(&socket, "lab:1", &json!({})).await;
    let params = json!({"how": "refuse", "response": {}});
    socket.join("lab:1", &params).await.unwrap_err();
    old.assert_closed().await;
    let push = socket.push("lab:1", "echo", &json!({})).await;
    socket
        .assert_reply(&push, "error", &json!({"reason": "unmatched topic"}))
        .await;
}

#[tokio::test(start_paused = true)]
async fn timers_and_messages_of_the_old_channel_do_not_reach_the_new_one() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let old = join(&socket, "lab:1", &json!({})).await;
    old.push("every", &json!({"ms": 10})).await;
    old.push("ref", &json!({})).await;
    old.assert_push("note", &json!({"text": "every"})).await;
    let new = join(&socket, "lab:1", &json!({})).await;
    let old_ref = bench.world.refs.lock()[0].clone();
    old_ref
        .send(crate::lab::Do::Note("from outside".into()))
        .unwrap();
    old.assert_closed().await;
    socket.messages().await;
    new.refute_push("note").await;
}
