//! What failing assertions say.

use std::future::Future;

use bennu::Payload;
use serde_json::json;

use crate::{joined, kit};

/// The text of the panic with which a task ends.
async fn failure(test: impl Future<Output = ()> + Send + 'static) -> String {
    let panic = tokio::spawn(test).await.unwrap_err().into_panic();
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_push_lists_what_did_come_and_where_it_was_asserted() {
    let text = failure(async {
        let room = joined().await;
        room.push("push", &json!({"n": 1})).await;
        room.push("push", &Payload::binary(&b"\x00\xff"[..])).await;
        room.assert_push("pushed", &json!({"n": 2})).await;
    })
    .await;
    let expected = "no push \"pushed\" {\"n\":2} on \"room:1\" within 100ms\n\
        in the mailbox: (1 taken before)\n  \
        [\"1\",null,\"room:1\",\"pushed\",{\"n\":1}]\n  \
        [\"1\",null,\"room:1\",\"pushed\",<<00 ff>>]\n\
        asserted at crates/testkit/tests/it/failures.rs:";
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_reply_names_its_ref() {
    let text = failure(async {
        let room = joined().await;
        let silent = room.push("silent", &json!({})).await;
        room.assert_reply(&silent, "ok", &json!({})).await;
    })
    .await;
    assert!(
        text.starts_with("no reply \"ok\" {} to ref 2 within 100ms\nthe mailbox is empty"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn refutes_show_what_should_not_have_come() {
    let text = failure(async {
        let room = joined().await;
        room.push("push", &json!({})).await;
        room.refute_push("pushed").await;
    })
    .await;
    assert!(
        text.starts_with("an unexpected push: [\"1\",null,\"room:1\",\"pushed\",{}]"),
        "{text}"
    );
    let text = failure(async {
        let room = joined().await;
        room.push("broadcast", &json!({})).await;
        room.refute_broadcast("told").await;
    })
    .await;
    assert!(
        text.starts_with("an unexpected broadcast on \"room:1\": \"told\" {}"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn broadcasts_cannot_be_asserted_without_a_subscription() {
    let text = failure(async {
        let socket = kit().connect(&[]).await.unwrap();
        let room = socket.join("room:1", &json!({})).await.unwrap();
        room.refute_broadcast("told").await;
    })
    .await;
    assert!(text.contains("join by subscribe_and_join"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_order_names_what_came_instead() {
    let text = failure(async {
        let room = joined().await;
        room.push("push", &json!({})).await;
        room.push("x", &json!({})).await;
        room.socket()
            .assert_in_order(&["phx_reply", "pushed"])
            .await;
    })
    .await;
    assert!(
        text.starts_with("\"phx_reply\" was expected after 0 of"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_gone_is_said_to_be() {
    let text = failure(async {
        let room = joined().await;
        room.socket().close(4000).await;
        room.assert_push("pushed", &json!({})).await;
    })
    .await;
    assert!(
        text.contains("the server closed the connection with 4000"),
        "{text}"
    );
    let text = failure(async {
        kit()
            .connect(&[])
            .await
            .unwrap()
            .assert_disconnected(1001)
            .await;
    })
    .await;
    assert!(text.contains("with 1001), but it is open"), "{text}");
    let text = failure(async {
        let room = joined().await;
        room.socket().lose().await;
        room.socket().assert_connected().await;
    })
    .await;
    assert!(
        text.contains("should be open, but the connection ended without a close frame"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_of_the_other_kind_is_none() {
    let text = failure(async {
        let room = joined().await;
        room.push("crash", &json!({})).await;
        room.assert_closed().await;
    })
    .await;
    assert!(
        text.contains("no phx_close on \"room:1\"") && text.contains("phx_error"),
        "{text}"
    );
}
