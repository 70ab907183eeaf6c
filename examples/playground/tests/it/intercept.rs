//! `intercept:*`.

use bennu::Payload;
use serde_json::json;

use crate::{joined, kit};

#[tokio::test(start_paused = true)]
async fn every_subscriber_adds_itself() {
    let kit = kit();
    let (ada, bob) = (
        joined(&kit, "ada", "intercept:1").await,
        joined(&kit, "bob", "intercept:1").await,
    );
    ada.push("shout", &json!({"a": 1})).await;
    ada.assert_push("shout", &json!({"a": 1, "to": "ada"}))
        .await;
    bob.assert_push("shout", &json!({"a": 1, "to": "bob"}))
        .await;
    bob.assert_broadcast("shout", &json!({"a": 1})).await;
    bob.refute_push("shout").await;
}

#[tokio::test(start_paused = true)]
async fn bytes_pass_as_they_are() {
    let room = joined(&kit(), "ada", "intercept:1").await;
    let bytes = Payload::binary(&b"\x01"[..]);
    room.push("shout", &bytes).await;
    room.assert_push("shout", &bytes).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_among_the_last_thousand_is_dropped() {
    let room = joined(&kit(), "ada", "intercept:1").await;
    let shout = async |id: u32| {
        room.broadcast_from("shout", &json!({ "id": id }));
    };
    for id in 0..1000 {
        shout(id).await;
        room.assert_push("shout", &json!({"id": id, "to": "ada"}))
            .await;
    }
    shout(0).await;
    room.refute_push("shout").await;
    // The thousand and first takes the place of the first.
    shout(1000).await;
    room.assert_push("shout", &json!({"id": 1000, "to": "ada"}))
        .await;
    shout(0).await;
    room.assert_push("shout", &json!({"id": 0, "to": "ada"}))
        .await;
    // Without an id, nothing is dropped.
    for _ in 0..2 {
        room.broadcast_from("shout", &json!({}));
        room.assert_push("shout", &json!({"to": "ada"})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_broadcasts_are_left_alone() {
    let room = joined(&kit(), "ada", "intercept:1").await;
    room.broadcast_from("whisper", &json!({}));
    room.assert_push("whisper", &json!({})).await;
}
