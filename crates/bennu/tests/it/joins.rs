//! Joining: what a join can come to, what the client is told, and in which order.

use serde_json::{Value, json};

use crate::support::{Bench, join, wire};

#[tokio::test(start_paused = true)]
async fn a_join_is_answered_ok_with_an_empty_object() {
    let bench = Bench::new();
    let room = bench.joined().await;
    assert_eq!(room.join_response(), json!({}));
    let echo = room.push("echo", &json!({"a": 1})).await;
    room.assert_reply(&echo, "ok", &json!({"a": 1})).await;
}

#[tokio::test(start_paused = true)]
async fn a_join_may_be_answered_with_any_json_value() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    for (n, response) in [
        json!({"a": [1, null]}),
        json!([1, "x"]),
        json!(5),
        json!(true),
    ]
    .iter()
    .enumerate()
    {
        let room = join(
            &socket,
            &format!("lab:{n}"),
            &json!({ "response": response }),
        )
        .await;
        assert_eq!(room.join_response(), *response);
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_may_be_answered_with_bytes() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"response": "binary"})).await;
    assert_eq!(room.join_payload().as_binary().unwrap()[..], *b"\x00\xff");
}

#[tokio::test(start_paused = true)]
async fn a_refused_join_returns_its_response_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let params = json!({"how": "refuse", "response": {"reason": "full"}});
    let refused = socket.join("lab:1", &params).await.unwrap_err();
    assert_eq!(refused.response(), json!({"reason": "full"}));

    let push = socket.push("lab:1", "echo", &json!({})).await;
    socket
        .assert_reply(&push, "error", &json!({"reason": "unmatched topic"}))
        .await;
    bench
        .kit
        .endpoint()
        .broadcast_raw("lab:1", "x", bennu::Payload::empty())
        .unwrap();
    assert_eq!(wire(&socket).await, [""; 0]);
    // It is no leave and no end of a channel: there was none.
    assert_eq!(bench.log.take(), ["join lab:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_join_that_panics_or_fails_is_answered_with_join_crashed() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let neighbour = join(&socket, "lab:neighbour", &json!({})).await;
    for how in ["panic", "error", "unserializable", "push"] {
        let crashed = socket
            .join("lab:1", &json!({ "how": how }))
            .await
            .unwrap_err();
        assert_eq!(
            crashed.response(),
            json!({"reason": "join crashed"}),
            "{how}"
        );
    }
    assert_eq!(
        wire(&socket).await,
        [""; 0],
        "a join that failed ends nothing"
    );
    let echo = neighbour.push("echo", &json!({})).await;
    neighbour.assert_reply(&echo, "ok", &json!({})).await;
    // The topic can be joined afterwards.
    join(&socket, "lab:1", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn params_that_do_not_fit_are_refused_without_a_call_of_join() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    for params in [json!({"number": "many"}), json!({"how": {}}), json!(7)] {
        let refused = socket.join("lab:1", &params).await.unwrap_err();
        assert_eq!(refused.response(), json!({"reason": "invalid payload"}));
    }
    assert_eq!(bench.log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn pushing_in_join_is_not_joined() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    // The channel itself asserts the errors of every way to speak.
    let crashed = socket
        .join("lab:1", &json!({"how": "push"}))
        .await
        .unwrap_err();
    assert_eq!(crashed.response(), json!({"reason": "join crashed"}));
    assert_eq!(bench.log.take(), ["join lab:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_to_itself_in_join_arrives_after_the_reply() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let _joining = socket
        .push("lab:1", "phx_join", &json!({"how": "send_self"}))
        .await;
    let note = r#""lab:1","note",{"text":"from join"}]"#;
    assert_eq!(
        wire(&socket).await,
        [
            r#"[null,"1","lab:1","phx_reply",{"status":"ok","response":{}}]"#.to_owned(),
            format!(r#"["1",null,{note}"#),
            format!("[null,null,{note}"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn joined_runs_after_the_reply_and_before_the_first_event() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let _join = socket
        .push("lab:1", "phx_join", &json!({"joined": "push"}))
        .await;
    let _push = socket.push("lab:1", "push", &json!({})).await;
    assert_eq!(
        wire(&socket).await,
        [
            r#"[null,"1","lab:1","phx_reply",{"status":"ok","response":{}}]"#,
            r#"["1",null,"lab:1","note",{"text":"joined"}]"#,
            r#"[null,null,"lab:1","note",{"text":"joined too"}]"#,
            r#"["1",null,"lab:1","pushed",{}]"#,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_a_joined_that_waits() {
    let bench = Bench::new();
    let room = bench.joined_with(&json!({"joined": "wait"})).await;
    let echo = room.push("echo", &json!({})).await;
    room.refute_reply(&echo).await;
    bench.gate.add_permits(1);
    room.assert_reply(&echo, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn joined_may_stop_or_panic() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    join(&socket, "lab:1", &json!({"joined": "stop"}))
        .await
        .assert_closed()
        .await;
    join(&socket, "lab:2", &json!({"joined": "panic"}))
        .await
        .assert_crashed()
        .await;
    let log = bench.log.take();
    assert!(
        log.contains(&"terminate lab:1: normal after 0".to_owned()),
        "{log:?}"
    );
    assert!(
        log.contains(&"terminate lab:2: panic after 0".to_owned()),
        "{log:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn joins_of_different_topics_run_at_the_same_time() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let slow = socket
        .push("lab:slow", "phx_join", &json!({"how": "wait "}))
        .await;
    let fast = join(&socket, "lab:fast", &json!({})).await;
    let echo = fast.push("echo", &json!({})).await;
    fast.assert_reply(&echo, "ok", &json!({})).await;
    socket.refute_reply(&slow).await;
    bench.gate.add_permits(1);
    socket.assert_reply(&slow, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_answered_while_a_join_and_a_handler_wait() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let socket = room.socket();
    let wait = room.push("wait", &json!({})).await;
    let slow = socket
        .push("lab:slow", "phx_join", &json!({"how": "wait "}))
        .await;
    let heartbeat = socket.heartbeat().await;
    socket.assert_reply(&heartbeat, "ok", &json!({})).await;
    bench.gate.add_permits(2);
    socket
        .assert_reply(&wait, "ok", &json!({"waited": true}))
        .await;
    socket.assert_reply(&slow, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn heartbeat_replies_carry_no_join_ref() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let _heartbeat = socket.heartbeat().await;
    let expected = r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(wire(&socket).await, [expected]);
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_a_join_are_handled_once_it_is_ok() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let joining = socket
        .push("lab:1", "phx_join", &json!({"how": "wait "}))
        .await;
    let echo = socket.push("lab:1", "echo", &json!({"n": 1})).await;
    let leave = socket.push("lab:1", "phx_leave", &json!({})).await;
    socket.refute_reply(&echo).await;
    bench.gate.add_permits(1);
    socket.assert_reply(&joining, "ok", &json!({})).await;
    socket.assert_reply(&echo, "ok", &json!({"n": 1})).await;
    socket.assert_reply(&leave, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_a_join_that_fails_are_unmatched() {
    for (how, response) in [
        ("wait refuse", Value::Null),
        ("wait panic", json!({"reason": "join crashed"})),
    ] {
        let bench = Bench::new();
        let socket = bench.connect().await;
        let joining = socket
            .push("lab:1", "phx_join", &json!({ "how": how }))
            .await;
        let echo = socket.push("lab:1", "echo", &json!({})).await;
        let leave = socket.push("lab:1", "phx_leave", &json!({})).await;
        bench.log.wait_for("join lab:1").await;
        bench.gate.add_permits(1);
        socket.assert_reply(&joining, "error", &response).await;
        socket
            .assert_reply(&echo, "error", &json!({"reason": "unmatched topic"}))
            .await;
        // There is nothing to leave, which is what a leave asks for.
        socket.assert_reply(&leave, "ok", &json!({})).await;
        assert_eq!(wire(&socket).await, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_joins_succeed_and_the_next_is_refused() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    for n in 0..100 {
        join(&socket, &format!("lab:{n}"), &json!({})).await;
    }
    let _join = socket.push("lab:100", "phx_join", &json!({})).await;
    let response = r#"{"status":"error","response":{"reason":"too many channels joined"}}"#;
    let expected = format!(r#"[null,"101","lab:100","phx_reply",{response}]"#);
    assert_eq!(wire(&socket).await, [expected]);
    // One that is joined can be joined again, and one that is left makes room.
    let last = join(&socket, "lab:99", &json!({})).await;
    last.leave().await;
    last.assert_closed().await;
    join(&socket, "lab:100", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_one_refuses_the_second_join() {
    let bench = Bench::with_limits(|limits| limits.joins_max = 1);
    let room = bench.joined().await;
    let refused = room.socket().join("lab:2", &json!({})).await.unwrap_err();
    assert_eq!(
        refused.response(),
        json!({"reason": "too many channels joined"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_topic_may_be_so_long_and_no_longer() {
    let bench = Bench::with_limits(|limits| limits.topic_bytes_max = 8);
    let socket = bench.connect().await;
    join(&socket, "lab:1234", &json!({})).await;
    let refused = socket.join("lab:12345", &json!({})).await.unwrap_err();
    assert_eq!(refused.response(), json!({"reason": "topic too long"}));
}

#[tokio::test(start_paused = true)]
async fn a_topic_without_a_channel_is_unmatched() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let unmatched = r#"{"status":"error","response":{"reason":"unmatched topic"}}"#;
    let _join = socket.push("other:1", "phx_join", &json!({})).await;
    let _event = socket.push("lab:1", "echo", &json!({})).await;
    let _event = socket.push("phoenix", "other", &json!({})).await;
    let _leave = socket.push("lab:1", "phx_leave", &json!({})).await;
    assert_eq!(
        wire(&socket).await,
        [
            format!(r#"[null,"1","other:1","phx_reply",{unmatched}]"#),
            format!(r#"[null,"2","lab:1","phx_reply",{unmatched}]"#),
            format!(r#"[null,"3","phoenix","phx_reply",{unmatched}]"#),
            r#"[null,"4","lab:1","phx_reply",{"status":"ok","response":{}}]"#.to_owned(),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_join_without_a_join_ref_names_the_channel_by_its_ref() {
    let bench = Bench::new();
    let socket = bench.connect().await;
    let _join = socket.push("lab:1", "phx_join", &json!({})).await;
    let _push = socket.push("lab:1", "push", &json!({})).await;
    let _leave = socket.push("lab:1", "phx_leave", &json!({})).await;
    assert_eq!(
        wire(&socket).await,
        [
            r#"[null,"1","lab:1","phx_reply",{"status":"ok","response":{}}]"#,
            r#"["1",null,"lab:1","pushed",{}]"#,
            r#"["1","3","lab:1","phx_reply",{"status":"ok","response":{}}]"#,
            r#"[null,null,"lab:1","phx_close",{}]"#,
        ]
    );
}
