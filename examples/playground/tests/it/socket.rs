//! Connect parameters.

use serde_json::{Value, json};

use crate::{join, joined, kit};

#[tokio::test(start_paused = true)]
async fn user_id_is_assigned_and_is_the_id_of_the_socket() {
    let kit = kit();
    let room = joined(&kit, "ada", "room:1").await;
    let other = joined(&kit, "bob", "room:1").await;
    let whoami = room.push("whoami", &json!({})).await;
    let expected = json!({"user_id": "ada", "topic": "room:1", "node": "n1"});
    room.assert_reply(&whoami, "ok", &expected).await;
    kit.endpoint().disconnect("user_socket:ada").unwrap();
    room.socket().assert_disconnected(1001).await;
    other.socket().assert_connected().await;
}

#[tokio::test(start_paused = true)]
async fn deny_refuses_the_connection() {
    let kit = kit();
    let params = [("deny", "1"), ("user_id", "ada")];
    let refused = kit.connect(&params).await.unwrap_err();
    assert_eq!(refused.into_response().status(), 403);
    kit.connect(&[("deny", "0")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_parameters_a_socket_is_anonymous() {
    let kit = kit();
    let socket = kit.connect(&[]).await.unwrap();
    let room = join(&socket, "room:1", &json!({})).await;
    let whoami = room.push("whoami", &json!({})).await;
    let expected = json!({"user_id": Value::Null, "topic": "room:1", "node": "n1"});
    room.assert_reply(&whoami, "ok", &expected).await;
    for id in ["user_socket:", "user_socket:null"] {
        kit.endpoint().disconnect(id).unwrap();
    }
    socket.assert_connected().await;
}

#[tokio::test(start_paused = true)]
async fn other_topics_are_unmatched() {
    let socket = kit().connect(&[]).await.unwrap();
    let refused = socket.join("other:1", &json!({})).await.unwrap_err();
    assert_eq!(refused.response(), json!({"reason": "unmatched topic"}));
}
