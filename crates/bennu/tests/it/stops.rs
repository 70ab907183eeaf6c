//! How channels end, and what their `terminate` is told.

use std::time::Duration;

use bennu::endpoint::DrainOptions;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Bench, join, wire};

#[tokio::test(start_paused = true)]
async fn stop_normal_and_shutdown_close_the_channel() {
    for reason in ["normal", "shutdown"] {
        let bench = Bench::new();
        let room = bench.joined_with(&json!({"terminate": "push"})).await;
        room.push("stop", &json!({ "reason": reason })).await;
        assert_eq!(
            wire(room.socket()).await,
            [
                r#"["1","1","lab:1","phx_close",{}]"#,
                // What terminate pushes comes after it.
                r#"["1",null,"lab:1","bye",{}]"#,
            ]
        );
        let terminated = format!("terminate lab:1: {reason} after 1");
        assert_eq!(bench.log.take(), ["join lab:1", &terminated, "drop lab:1"]);
        let echo = room.push("echo", &json!({})).await;
        room.assert_reply(&echo, "error", &json!({"reason": "unmatched topic"}))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn stop_with_an_error_is_a_crash() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"terminate": "push"})).await;
    room.push("stop", &json!({"reason": "out of paper"})).await;
    assert_eq!(
        wire(room.socket()).await,
        [
            r#"["1",null,"lab:1","bye",{}]"#,
            r#"["1","1","lab:1","phx_error",{"reason":"channel_crash"}]"#,
        ]
    );
    let expected = "terminate lab:1: error: out of paper after 1";
    assert_eq!(bench.log.take(), ["join lab:1", expected, "drop lab:1"]);
}

#[tokio::test(start_paused = true)]
async fn stop_with_a_reply_answers_first() {
    let bench = Bench::new();
    for (reason, end) in [
        ("normal", "phx_close"),
        ("shutdown", "phx_close"),
        ("bad", "phx_error"),
    ] {
        let room = bench.joined().await;
        room.push("stop_reply", &json!({ "reason": reason })).await;
        let messages = room.socket().assert_in_order(&["phx_reply", end]).await;
        assert_eq!(messages[0].json(), json!({"bye": true}));
        assert_eq!(messages[0].status.as_deref(), Some("ok"));
        assert_eq!(messages[1].join_ref.as_deref(), Some("1"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_channel_that_stops_is_dropped() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    room.push("stop", &json!({"reason": "normal"})).await;
    let behind = room.push("echo", &json!({})).await;
    let heartbeat = room.socket().heartbeat().await;
    room.assert_reply(&heartbeat, "ok", &json!({})).await;
    bench.gate.add_permits(1);
    room.assert_closed().await;
    room.refute_reply(&behind).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_channel_hears_no_more_broadcasts() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"terminate": "wait"})).await;
    room.push("stop", &json!({"reason": "normal"})).await;
    bench.log.wait_for("terminate lab:1: normal after 1").await;
    room.broadcast_from("told", &json!({}));
    room.assert_closed().await;
    room.refute_push("told").await;
}

#[tokio::test(start_paused = true)]
async fn terminate_is_told_that_the_client_closed_or_lost_the_connection() {
    let bench = Bench::new();
    bench.joined().await.close().await;
    bench.joined().await.socket().close(1000).await;
    bench.joined().await.socket().lose().await;
    let ended = [
        "join lab:1",
        "terminate lab:1: connection closed after 0",
        "drop lab:1",
    ];
    assert_eq!(bench.log.take(), ended.repeat(3));
}

#[tokio::test(start_paused = true)]
async fn terminate_is_told_of_a_disconnect_of_idleness_and_of_a_drain() {
    let bench = Bench::new();
    let socket = bench.connect_as("ada").await;
    join(&socket, "lab:1", &json!({})).await;
    bench.kit.endpoint().disconnect("user:ada").unwrap();
    socket.server_done().await;

    let socket = bench.connect().await;
    join(&socket, "lab:2", &json!({})).await;
    socket.server_done().await;

    let socket = bench.connect().await;
    join(&socket, "lab:3", &json!({})).await;
    let report = bench.kit.endpoint().drain(&DrainOptions::default()).await;
    assert_eq!((report.closed, report.dropped), (1, 0));

    let mut log = bench.log.take();
    log.retain(|entry| entry.starts_with("terminate"));
    let expected = [
        "terminate lab:1: disconnected after 0",
        "terminate lab:2: idle after 0",
        "terminate lab:3: draining after 0",
    ];
    assert_eq!(log, expected);
}

#[tokio::test(start_paused = true)]
async fn every_channel_of_a_connection_is_terminated_with_it() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    for n in 0..5 {
        join(&socket, &format!("lab:{n}"), &json!({})).await;
    }
    socket.close(None).await;
    let log = bench.log.take();
    for n in 0..5 {
        let expected = format!("terminate lab:{n}: connection closed after 0");
        assert!(log.contains(&expected), "{log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_handler_may_finish_after_the_connection_is_gone() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("wait", &json!({})).await;
    room.push("echo", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let (gate, started) = (bench.gate.clone(), Instant::now());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(4)).await;
        gate.add_permits(1);
    });
    room.socket().lose().await;
    assert_eq!(started.elapsed().as_secs(), 4);
    // What waited behind it is not handled any more.
    bench
        .log
        .wait_for("terminate lab:1: connection closed after 1")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_too_long_is_dropped_without_terminate() {
    let bench = Bench::with_limits(|limits| {
        limits.terminate_timeout = Duration::from_secs(3);
        limits.close_timeout = Duration::from_secs(1);
    });
    let room = bench.joined().await;
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let started = Instant::now();
    room.socket().lose().await;
    assert_eq!(started.elapsed().as_secs(), 3);
    assert_eq!(
        bench.log.take(),
        ["join lab:1", "waiting lab:1", "drop lab:1"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_join_that_waits_is_dropped_with_its_connection() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    socket
        .push("lab:1", "phx_join", &json!({"how": "wait "}))
        .await;
    bench.log.wait_for("join lab:1").await;
    let started = Instant::now();
    socket.lose().await;
    assert!(started.elapsed() < Duration::from_secs(1));
    bench.gate.add_permits(1);
    assert_eq!(bench.log.take(), ["join lab:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_terminate_that_takes_too_long_is_dropped_and_the_crash_is_told() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"terminate": "wait"})).await;
    room.push("panic", &json!({})).await;
    let started = Instant::now();
    bench.log.wait_for("drop lab:1").await;
    assert_eq!(started.elapsed().as_secs(), 5);
    room.assert_crashed().await;
    assert!(!bench.log.take().contains(&"terminated lab:1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_terminate_that_waits_holds_up_no_other_channel() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"terminate": "wait"})).await;
    let other = join(room.socket(), "lab:2", &json!({})).await;
    room.leave().await;
    room.assert_closed().await;
    let echo = other.push("echo", &json!({})).await;
    other.assert_reply(&echo, "ok", &json!({})).await;
    bench.gate.add_permits(1);
    bench.log.wait_for("terminated lab:1").await;
}

#[tokio::test(start_paused = true)]
async fn terminate_may_wait_after_the_connection_is_gone() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"terminate": "wait"})).await;
    let gate = bench.gate.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        gate.add_permits(1);
    });
    room.socket().lose().await;
    let log = bench.log.take();
    assert_eq!(log[2..], ["terminated lab:1", "drop lab:1"]);
}
