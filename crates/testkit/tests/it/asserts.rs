//! What assertions accept.

use std::time::Duration;

use bennu::Payload;
use bennu_testkit::TestEndpoint;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{joined, kit};

#[tokio::test(start_paused = true)]
async fn connects_and_refusals() {
    let kit = kit();
    kit.connect(&[("name", "ada & bob")]).await.unwrap();
    let refused = kit.connect(&[("deny", "")]).await.unwrap_err();
    assert_eq!(refused.into_response().status(), 403);
    let request = TestEndpoint::request(&[("vsn", "9.0.0")]).header("x-y", "z");
    kit.connect_with(request.body(()).unwrap())
        .await
        .unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn joins_and_refusals_keep_their_response() {
    let socket = kit().connect(&[]).await.unwrap();
    let room = socket.join("room:1", &json!({"a": 1})).await.unwrap();
    assert_eq!(room.join_response(), json!({"a": 1}));
    assert_eq!((room.topic(), room.join_ref()), ("room:1", "1"));
    let refused = socket
        .join("room:refused", &json!({"b": 2}))
        .await
        .unwrap_err();
    assert_eq!(refused.response(), json!({"b": 2}));
    assert_eq!(
        refused.to_string(),
        r#"the join of room:refused was refused: {"b":2}"#
    );
    let bytes = Payload::binary(&b"\x00"[..]);
    let refused = socket.join("room:refused", &bytes).await.unwrap_err();
    assert_eq!(
        (refused.payload(), refused.response()),
        (&bytes, json!(null))
    );
}

#[tokio::test(start_paused = true)]
async fn asserts_take_what_fits_and_leave_the_rest() {
    #[derive(Serialize)]
    struct Body {
        n: u8,
    }
    let room = joined().await;
    for n in 0..4 {
        room.push("push", &Body { n }).await;
    }
    room.assert_push("pushed", &Body { n: 2 }).await;
    let odd = room.assert_push_matching("pushed", |body| body["n"].as_u64().unwrap() % 2 == 1);
    assert_eq!(odd.await, json!({"n": 1}));
    assert_eq!(room.next_message().await.json(), json!({"n": 0}));
    let message = room.socket().next_message().await;
    assert_eq!(
        message.to_string(),
        r#"["1",null,"room:1","pushed",{"n":3}]"#
    );
    room.refute_push("pushed").await;
}

#[tokio::test(start_paused = true)]
async fn replies_belong_to_their_push() {
    let room = joined().await;
    let (first, second) = (
        room.push("x", &json!(1)).await,
        room.push("x", &json!(2)).await,
    );
    room.assert_reply(&second, "ok", &json!(2)).await;
    let reply = room
        .assert_reply_matching(&first, "ok", |reply| reply.is_u64())
        .await;
    assert_eq!(reply, 1);
    room.refute_reply(&first).await;
    let bytes = Payload::binary(&b"\xff"[..]);
    let third = room.push("x", &bytes).await;
    room.assert_reply(&third, "ok", &bytes).await;
}

#[tokio::test(start_paused = true)]
async fn broadcasts_are_seen_as_the_program_sees_them() {
    let kit = kit();
    let program = kit.subscribe("room:1");
    let socket = kit.connect(&[]).await.unwrap();
    let room = socket
        .subscribe_and_join("room:1", &json!({}))
        .await
        .unwrap();
    room.push("broadcast", &json!({"n": 1})).await;
    room.assert_broadcast("told", &json!({"n": 1})).await;
    let seen = program
        .assert_broadcast_matching("told", |body| body["n"] == 1)
        .await;
    assert_eq!(seen, json!({"n": 1}));
    program.broadcast_from("news", &json!({}));
    room.assert_broadcast("news", &json!({})).await;
    room.assert_push("news", &json!({})).await;
    program.refute_broadcast("news").await;
}

#[tokio::test(start_paused = true)]
async fn ends_of_channels() {
    let socket = kit().connect(&[]).await.unwrap();
    let room = socket.join("room:1", &json!({})).await.unwrap();
    room.push("stop", &json!({})).await;
    room.assert_closed().await;
    let room = socket.join("room:1", &json!({})).await.unwrap();
    room.push("crash", &json!({})).await;
    room.assert_crashed().await;
    let room = socket.join("room:1", &json!({})).await.unwrap();
    let leave = room.leave().await;
    room.assert_reply(&leave, "ok", &json!({})).await;
    room.assert_closed().await;
}

#[tokio::test(start_paused = true)]
async fn ends_of_connections() {
    let kit = kit();
    let socket = kit.connect(&[]).await.unwrap();
    socket.assert_connected().await;
    kit.endpoint().disconnect("everybody").unwrap();
    socket.assert_disconnected(1001).await;
    let socket = kit.connect(&[]).await.unwrap();
    socket.close(3000).await;
    socket.assert_disconnected(3000).await;
    let socket = kit.connect(&[]).await.unwrap();
    socket.close(None).await;
    socket.assert_disconnected(None).await;
    let socket = kit.connect(&[]).await.unwrap();
    socket.lose().await;
    socket.assert_lost().await;
    drop(kit.connect(&[]).await.unwrap());
    let socket = kit.connect(&[]).await.unwrap();
    socket.messages().await;
    assert_eq!(
        kit.endpoint().connection_count(),
        1,
        "a client that is dropped is gone"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pauses_misses_nothing() {
    let room = joined().await;
    room.socket().pause_reading();
    room.push("push", &json!({})).await;
    room.refute_push("pushed").await;
    room.socket().resume_reading();
    room.assert_push("pushed", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn asserts_wait_and_refutes_wait_as_long() {
    let kit = kit().with_timeout(Duration::from_secs(3));
    let socket = kit.connect(&[]).await.unwrap();
    let room = socket.join("room:1", &json!({})).await.unwrap();
    let started = Instant::now();
    room.refute_push("pushed").await;
    assert_eq!(started.elapsed().as_secs(), 3);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        kit.endpoint()
            .broadcast_raw("room:1", "late", Payload::empty())
            .unwrap();
    });
    room.assert_push("late", &json!({})).await;
    assert_eq!(started.elapsed().as_secs(), 5);
}
