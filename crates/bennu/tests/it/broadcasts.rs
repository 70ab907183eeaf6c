//! Broadcasts: who hears them, and in which form.

use bennu::{Payload, Topic};
use serde::Serialize;
use serde_json::json;

use crate::support::{Bench, join, wire};

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_everybody_on_the_topic_and_the_sender() {
    let bench = Bench::new();
    let (ada, bob) = (bench.joined().await, bench.joined().await);
    let elsewhere = join(bob.socket(), "lab:2", &json!({})).await;
    ada.push("broadcast", &json!({"a": 1})).await;
    ada.assert_push("told", &json!({"a": 1})).await;
    bob.assert_push("told", &json!({"a": 1})).await;
    bob.assert_broadcast("told", &json!({"a": 1})).await;
    elsewhere.refute_push("told").await;
    elsewhere.refute_broadcast("told").await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_carries_no_references() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("broadcast", &json!({})).await;
    let expected = [r#"[null,null,"lab:1","told",{}]"#];
    assert_eq!(wire(room.socket()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn broadcast_from_is_not_received_by_the_sender_but_by_others() {
    let bench = Bench::new();
    let (ada, bob) = (bench.joined().await, bench.joined().await);
    ada.push("broadcast_from", &json!({})).await;
    bob.assert_push("told", &json!({})).await;
    bob.assert_broadcast("told", &json!({})).await;
    ada.refute_push("told").await;
}

#[tokio::test(start_paused = true)]
async fn local_broadcast_reaches_this_node() {
    let bench = Bench::new();
    let (ada, bob) = (bench.joined().await, bench.joined().await);
    ada.push("local_broadcast", &json!({"l": 1})).await;
    ada.assert_push("told", &json!({"l": 1})).await;
    bob.assert_push("told", &json!({"l": 1})).await;
}

#[tokio::test(start_paused = true)]
async fn broadcast_to_reaches_another_topic_and_this_client_if_it_is_on_it() {
    let bench = Bench::new();
    let room = bench.joined().await;
    let other = join(room.socket(), "lab:2", &json!({})).await;
    room.push("broadcast_to", &json!({"topic": "lab:2", "body": {"x": 1}}))
        .await;
    other.assert_push("told", &json!({"x": 1})).await;
    room.refute_push("told").await;
    room.refute_broadcast("told").await;
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_broadcasts_from_anywhere() {
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Out {
        News { n: u8 },
        Tick,
    }
    let bench = Bench::new();
    let room = bench.joined().await;
    let endpoint = bench.kit.endpoint().clone();
    let mut program = endpoint.subscribe("lab:1");
    endpoint.broadcast("lab:1", &Out::News { n: 1 }).unwrap();
    endpoint
        .local_broadcast(Topic::from("lab:1"), &Out::Tick)
        .unwrap();
    endpoint
        .broadcast_raw("lab:1", "raw", Payload::empty())
        .unwrap();
    endpoint
        .local_broadcast_raw("lab:1", "raw too", Payload::empty())
        .unwrap();
    let order = ["news", "tick", "raw", "raw too"];
    let messages = room.socket().assert_in_order(&order).await;
    assert_eq!(messages[0].json(), json!({"n": 1}));
    assert_eq!(messages[1].json(), json!({}));
    for event in order {
        assert_eq!(program.recv().await.unwrap().event(), event);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_whose_payload_is_no_object_is_an_error() {
    let bench = Bench::new();
    let endpoint = bench.kit.endpoint();
    let list = Payload::json(&[1]).unwrap();
    assert!(endpoint.broadcast_raw("lab:1", "x", list).is_err());
    assert!(endpoint.broadcast("lab:1", "not an enum").is_err());
}

#[tokio::test(start_paused = true)]
async fn broadcast_from_the_test_reaches_the_channel_and_not_the_test() {
    let bench = Bench::new();
    let room = bench.joined().await;
    room.broadcast_from("news", &json!({}));
    room.assert_push("news", &json!({})).await;
    room.refute_broadcast("news").await;
}

#[tokio::test(start_paused = true)]
async fn events_named_like_those_of_the_protocol_are_forwarded_unchanged() {
    let bench = Bench::new();
    let room = bench.joined().await;
    for event in ["phx_close", "phx_error", "phx_reply", "disconnect"] {
        room.broadcast_from(event, &json!({"own": true}));
        let expected = format!(r#"[null,null,"lab:1","{event}",{{"own":true}}]"#);
        assert_eq!(wire(room.socket()).await, [expected]);
    }
    let echo = room.push("echo", &json!({})).await;
    room.assert_reply(&echo, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn many_subscribers_are_served_in_order_and_a_fast_shouter_loses_nothing() {
    let bench = Bench::new();
    let shouter = bench.joined().await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(
            bench
                .connect()
                .await
                .join("lab:1", &json!({}))
                .await
                .unwrap(),
        );
    }
    for n in 0..20 {
        shouter.push("broadcast", &json!({ "n": n })).await;
    }
    let last = shouter.push("echo", &json!({})).await;
    shouter.assert_reply(&last, "ok", &json!({})).await;
    for room in &crowd {
        for n in 0..20 {
            assert_eq!(room.next_message().await.json(), json!({ "n": n }));
        }
    }
}
