//! The versions of the wire, as they are on it: V1, and the binary messages of V2.

use bennu_testkit::{TestWire, WireEvent};
use serde_json::{Value, json};

use crate::support::Bench;

async fn wire(bench: &Bench, query: &str) -> TestWire {
    let uri = format!("/websocket{query}");
    let request = http::Request::builder().uri(uri).body(()).unwrap();
    bench.kit.connect_wire(request).await.unwrap()
}

async fn ask(wire: &mut TestWire, message: Value) -> Value {
    wire.send_text(&message.to_string()).await;
    next(wire).await
}

async fn next(wire: &mut TestWire) -> Value {
    serde_json::from_str(&wire.next_text().await).unwrap()
}

fn message(topic: &str, event: &str, payload: &Value, reference: &str) -> Value {
    json!({"topic": topic, "event": event, "payload": payload, "ref": reference})
}

fn reply(topic: &str, reference: &str, status: &str, response: &Value) -> Value {
    let payload = json!({"status": status, "response": response});
    json!({"topic": topic, "event": "phx_reply", "payload": payload, "ref": reference})
}

#[tokio::test(start_paused = true)]
async fn a_client_of_version_1_end_to_end() {
    let bench = Bench::new();
    for query in ["", "?vsn=1.0.0", "?vsn=1.0.9"] {
        let wire = &mut wire(&bench, query).await;
        let heartbeat = message("phoenix", "heartbeat", &json!({}), "1");
        assert_eq!(
            ask(wire, heartbeat).await,
            reply("phoenix", "1", "ok", &json!({}))
        );
        let join = message("lab:1", "phx_join", &json!({"joined": "push"}), "2");
        assert_eq!(ask(wire, join).await, reply("lab:1", "2", "ok", &json!({})));
        let note = |text| json!({"topic": "lab:1", "event": "note", "payload": {"text": text}, "ref": null});
        assert_eq!(next(wire).await, note("joined"));
        assert_eq!(next(wire).await, note("joined too"));
        let echo = message("lab:1", "echo", &json!({"a": 1}), "3");
        assert_eq!(
            ask(wire, echo).await,
            reply("lab:1", "3", "ok", &json!({"a": 1}))
        );
        let unmatched = reply("x", "4", "error", &json!({"reason": "unmatched topic"}));
        assert_eq!(
            ask(wire, message("x", "echo", &json!({}), "4")).await,
            unmatched
        );
        let leave = message("lab:1", "phx_leave", &json!({}), "5");
        assert_eq!(
            ask(wire, leave).await,
            reply("lab:1", "5", "ok", &json!({}))
        );
        let close = json!({"topic": "lab:1", "event": "phx_close", "payload": {}, "ref": null});
        assert_eq!(next(wire).await, close);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_on_version_1() {
    let bench = Bench::new();
    let wire = &mut wire(&bench, "?vsn=1.0.0").await;
    ask(wire, message("lab:1", "phx_join", &json!({}), "1")).await;
    let crash = ask(wire, message("lab:1", "panic", &json!({}), "2")).await;
    let payload = json!({"reason": "channel_crash"});
    let expected = json!({"topic": "lab:1", "event": "phx_error", "payload": payload, "ref": null});
    assert_eq!(crash, expected);
}

#[tokio::test(start_paused = true)]
async fn clients_of_both_versions_share_a_topic() {
    let bench = Bench::new();
    let old = &mut wire(&bench, "?vsn=1.0.0").await;
    ask(old, message("lab:1", "phx_join", &json!({}), "1")).await;
    let new = bench.joined().await;
    new.push("broadcast", &json!({"n": 1})).await;
    let told = json!({"topic": "lab:1", "event": "told", "payload": {"n": 1}, "ref": null});
    assert_eq!(next(old).await, told);
    // Version 1 has no bytes: what comes next is the next broadcast.
    new.push("broadcast", &bennu::Payload::binary(&b"x"[..]))
        .await;
    new.push("broadcast", &json!({"n": 2})).await;
    assert_eq!(next(old).await["payload"], json!({"n": 2}));
    // A message that lacks a key is undecodable.
    old.send_text(r#"{"topic":"lab:1","event":"echo","payload":{}}"#)
        .await;
    assert_eq!(old.next().await, Some(WireEvent::Close(Some(1011))));
}

#[tokio::test(start_paused = true)]
async fn binary_messages_in_their_layouts() {
    let bench = Bench::new();
    let wire = &mut wire(&bench, "?vsn=2.0.0").await;
    wire.send_text(r#"["1","1","lab:1","phx_join",{}]"#).await;
    wire.next_text().await;

    wire.send_binary(b"\x00\x01\x02\x05\x04112lab:1echo\x00\xff")
        .await;
    let reply = b"\x01\x01\x02\x05\x02112lab:1ok\x00\xff";
    assert_eq!(
        wire.next().await,
        Some(WireEvent::Binary(reply.to_vec().into()))
    );

    wire.send_binary(b"\x00\x01\x02\x05\x04113lab:1push\x01")
        .await;
    let push = b"\x00\x01\x05\x061lab:1pushed\x01";
    assert_eq!(
        wire.next().await,
        Some(WireEvent::Binary(push.to_vec().into()))
    );

    wire.send_binary(b"\x00\x01\x02\x05\x09114lab:1broadcast")
        .await;
    let broadcast = b"\x02\x05\x04lab:1told";
    assert_eq!(
        wire.next().await,
        Some(WireEvent::Binary(broadcast.to_vec().into()))
    );
}

#[tokio::test(start_paused = true)]
async fn references_are_echoed_as_they_came() {
    let bench = Bench::new();
    let wire = &mut wire(&bench, "?vsn=2.0.0").await;
    wire.send_text(r#"[7,8,"lab:1","phx_join",{}]"#).await;
    let ok = r#"{"status":"ok","response":{}}"#;
    assert_eq!(
        wire.next_text().await,
        format!(r#"[7,8,"lab:1","phx_reply",{ok}]"#)
    );
    // A number is not the text of the number: this one is stale, and not answered.
    wire.send_text(r#"["7",9,"lab:1","echo",{}]"#).await;
    wire.send_text(r#"[7,null,"lab:1","echo",{}]"#).await;
    assert_eq!(
        wire.next_text().await,
        format!(r#"[7,null,"lab:1","phx_reply",{ok}]"#)
    );
    wire.send_text(r#"["1","1",5,"phx_join",{}]"#).await;
    let unmatched = r#"{"status":"error","response":{"reason":"unmatched topic"}}"#;
    assert_eq!(
        wire.next_text().await,
        format!(r#"[null,"1",5,"phx_reply",{unmatched}]"#)
    );
    wire.send_text(r#"[7,"2","lab:1",5,{}]"#).await;
    let unknown = r#"{"status":"error","response":{"reason":"unknown event"}}"#;
    assert_eq!(
        wire.next_text().await,
        format!(r#"[7,"2","lab:1","phx_reply",{unknown}]"#)
    );
}
