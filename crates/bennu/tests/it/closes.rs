//! How connections end, and with which code.

use std::time::Duration;

use bennu::Payload;
use bennu::endpoint::DrainOptions;
use bennu_proto::websocket::{Opcode, masked_frame};
use bennu_testkit::{TestEndpoint, TestWire, WireEvent};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::{Bench, join};

async fn wire(bench: &Bench) -> TestWire {
    let request = TestEndpoint::request(&[]).body(()).unwrap();
    bench.kit.connect_wire(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_by_id_ends_every_socket_with_that_id_and_no_other() {
    let bench = Bench::new();
    let devices = [bench.connect_as("ada").await, bench.connect_as("ada").await];
    for device in &devices {
        join(device, "lab:1", &json!({})).await;
        join(device, "lab:2", &json!({})).await;
    }
    let others = [bench.connect_as("ad").await, bench.connect().await];
    let observer = bench.kit.subscribe("user:ada");
    bench.kit.endpoint().disconnect("user:ada").unwrap();
    observer.assert_broadcast("disconnect", &json!({})).await;
    for device in &devices {
        device.assert_disconnected(1001).await;
        assert!(
            device.messages().await.is_empty(),
            "no frame of a channel comes first"
        );
    }
    for other in &others {
        other.assert_connected().await;
    }
    bench.kit.endpoint().disconnect("user:nobody").unwrap();
}

#[tokio::test(start_paused = true)]
async fn other_events_on_the_topic_of_the_id_are_ignored() {
    let bench = Bench::new();
    let socket = bench.connect_as("ada").await;
    for event in ["disconnected", "Disconnect", "phx_close"] {
        bench
            .kit
            .endpoint()
            .broadcast_raw("user:ada", event, Payload::empty())
            .unwrap();
    }
    socket.assert_connected().await;
    assert!(socket.messages().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_with_1001() {
    let bench = Bench::with_limits(|limits| limits.idle_timeout = Duration::from_millis(200));
    let kit = bench.kit.with_timeout(Duration::from_secs(1));
    let started = Instant::now();
    let socket = kit.connect(&[]).await.unwrap();
    socket.assert_disconnected(1001).await;
    let elapsed = started.elapsed().as_millis();
    assert!((200..210).contains(&elapsed), "{elapsed} ms");
}

#[tokio::test(start_paused = true)]
async fn whatever_comes_in_is_a_sign_of_life_and_what_goes_out_is_none() {
    let bench = Bench::with_limits(|limits| limits.idle_timeout = Duration::from_millis(200));
    let mut wire = wire(&bench).await;
    let started = Instant::now();
    let last_words: [(Opcode, &[u8]); 4] = [
        (Opcode::Pong, b""),
        (Opcode::Ping, b"x"),
        (Opcode::Text, br#"["1","1","lab:1","phx_join",{}]"#),
        (Opcode::Text, br#"["1","2","lab:1","every",{"ms":50}]"#),
    ];
    for (opcode, payload) in last_words {
        sleep(Duration::from_millis(150)).await;
        wire.send_frame(opcode, payload).await;
    }
    while let Some(event) = wire.next().await {
        if event == WireEvent::Close(Some(1001)) {
            let elapsed = started.elapsed().as_millis();
            assert!((800..810).contains(&elapsed), "{elapsed} ms");
            return;
        }
    }
    panic!("the connection ended without a close frame");
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_is_a_sign_of_life_as_well() {
    let bench = Bench::with_limits(|limits| limits.idle_timeout = Duration::from_millis(200));
    let mut wire = wire(&bench).await;
    for byte in masked_frame(true, Opcode::Text, [0; 4], b"[]")
        .into_iter()
        .take(5)
    {
        sleep(Duration::from_millis(150)).await;
        wire.send_bytes(&[byte]).await;
    }
    let started = Instant::now();
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1001))));
    assert_eq!(started.elapsed().as_millis() / 10, 20);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_answered_and_then_silence_ends_the_connection() {
    let bench = Bench::new();
    let kit = bench.kit.with_timeout(Duration::from_secs(100));
    let socket = kit.connect(&[]).await.unwrap();
    sleep(Duration::from_secs(59)).await;
    let heartbeat = socket.heartbeat().await;
    socket.assert_reply(&heartbeat, "ok", &json!({})).await;
    let started = Instant::now();
    socket.assert_disconnected(1001).await;
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_undecodable_message_closes_with_1011() {
    let bench = Bench::new();
    for text in ["nonsense", "[1,2]", r#"{"topic":"x"}"#, ""] {
        let mut wire = wire(&bench).await;
        wire.send_text(text).await;
        assert_eq!(
            wire.next().await,
            Some(WireEvent::Close(Some(1011))),
            "{text}"
        );
        assert_eq!(wire.next().await, None);
    }
    let mut wire = wire(&bench).await;
    wire.send_binary(b"\x00\x01").await;
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1011))));
}

#[tokio::test(start_paused = true)]
async fn broken_frames_close_with_the_codes_of_rfc_6455() {
    let bench = Bench::with_limits(|limits| limits.message_bytes_max = 1000);
    let mask = [1, 2, 3, 4];
    let cases: [(&str, Vec<u8>, u16); 6] = [
        (
            "not utf-8",
            masked_frame(true, Opcode::Text, mask, b"\xff\xfe"),
            1007,
        ),
        ("unmasked", vec![0x81, 0x02, b'[', b']'], 1002),
        ("reserved opcode", vec![0x83, 0x80, 0, 0, 0, 0], 1002),
        (
            "a continuation of nothing",
            masked_frame(true, Opcode::Continuation, mask, b"x"),
            1002,
        ),
        (
            "a ping in pieces",
            masked_frame(false, Opcode::Ping, mask, b"x"),
            1002,
        ),
        (
            "too big",
            masked_frame(true, Opcode::Text, mask, &[b'x'; 1001]),
            1009,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut wire = wire(&bench).await;
        wire.send_bytes(&bytes).await;
        assert_eq!(
            wire.next().await,
            Some(WireEvent::Close(Some(code))),
            "{what}"
        );
        assert_eq!(wire.next().await, None, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_just_the_limit_is_taken_also_in_pieces() {
    let bench = Bench::with_limits(|limits| limits.message_bytes_max = 1000);
    let mut wire = wire(&bench).await;
    let envelope = r#"[null,"1","phoenix","heartbeat",""]"#.len();
    let fill = "x".repeat(1000 - envelope);
    let text = format!(r#"[null,"1","phoenix","heartbeat","{fill}"]"#);
    wire.send_text(&text).await;
    assert!(wire.next_text().await.contains("phx_reply"));
    let (first, second) = text.as_bytes().split_at(300);
    wire.send_bytes(&masked_frame(false, Opcode::Text, [9; 4], first))
        .await;
    wire.send_frame(Opcode::Ping, b"between").await;
    wire.send_frame(Opcode::Continuation, second).await;
    assert_eq!(
        wire.next().await,
        Some(WireEvent::Pong(b"between".as_slice().into()))
    );
    assert!(wire.next_text().await.contains("phx_reply"));
}

#[tokio::test(start_paused = true)]
async fn pings_with_and_without_payload_are_answered_and_pongs_do_no_harm() {
    let bench = Bench::new();
    let mut wire = wire(&bench).await;
    for payload in [&b""[..], b"payload"] {
        wire.send_frame(Opcode::Pong, payload).await;
        wire.send_frame(Opcode::Ping, payload).await;
        let expected = WireEvent::Pong(payload.to_vec().into());
        assert_eq!(wire.next().await, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_code_is_echoed() {
    let bench = Bench::new();
    for code in [1000_u16, 1001, 3000, 4999] {
        let mut wire = wire(&bench).await;
        wire.send_frame(Opcode::Close, &code.to_be_bytes()).await;
        assert_eq!(wire.next().await, Some(WireEvent::Close(Some(code))));
        assert_eq!(wire.next().await, None);
    }
    let mut wire = wire(&bench).await;
    wire.send_frame(Opcode::Close, b"").await;
    assert_eq!(wire.next().await, Some(WireEvent::Close(None)));
    assert_eq!(wire.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_follows_the_clients_close_frame_is_not_handled() {
    let bench = Bench::new();
    let mut wire = wire(&bench).await;
    let mut bytes = masked_frame(
        true,
        Opcode::Text,
        [0; 4],
        br#"["1","1","lab:1","phx_join",{}]"#,
    );
    bytes.extend(masked_frame(true, Opcode::Close, [0; 4], b""));
    let late = br#"["1","2","lab:1","log",{"text":"late"}]"#;
    bytes.extend(masked_frame(true, Opcode::Text, [0; 4], late));
    wire.send_bytes(&bytes).await;
    assert!(wire.next_text().await.contains("phx_reply"));
    assert_eq!(wire.next().await, Some(WireEvent::Close(None)));
    assert_eq!(wire.next().await, None);
    assert!(!bench.log.take().contains(&"late".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_a_close_frame_is_dropped_after_a_while() {
    let bench = Bench::with_limits(|limits| limits.close_timeout = Duration::from_secs(3));
    let request = TestEndpoint::request(&[("user_id", "ada")])
        .body(())
        .unwrap();
    let mut wire = bench.kit.connect_wire(request).await.unwrap();
    bench.kit.endpoint().disconnect("user:ada").unwrap();
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1001))));
    let started = Instant::now();
    assert_eq!(wire.next().await, None);
    assert_eq!(started.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_everybody_with_1012_in_batches() {
    let bench = Bench::new();
    let mut sockets = Vec::new();
    for _ in 0..5 {
        let socket = bench.connect().await;
        join(&socket, "lab:1", &json!({})).await;
        sockets.push(socket);
    }
    assert_eq!(bench.kit.endpoint().connection_count(), 5);
    let mut options = DrainOptions::default();
    (options.batch_size, options.batch_interval) = (2, Duration::from_secs(2));
    let started = Instant::now();
    assert_eq!(bench.kit.endpoint().drain(&options).await.closed, 5);
    assert_eq!(started.elapsed().as_secs(), 4, "three batches, two pauses");
    for socket in &sockets {
        socket.assert_disconnected(1012).await;
        assert!(
            socket.messages().await.is_empty(),
            "no frame of a channel comes first"
        );
    }
    assert_eq!(bench.kit.endpoint().connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn before_a_drain_begins_the_endpoint_says_that_it_is_not_ready() {
    let bench = Bench::new();
    let endpoint = bench.kit.endpoint();
    let socket = bench.connect().await;
    assert!(endpoint.is_ready());
    let mut options = DrainOptions::default();
    options.readiness_delay = Duration::from_secs(3);
    let draining = endpoint.clone();
    let drain = tokio::spawn(async move { draining.drain(&options).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!endpoint.is_ready() && !endpoint.is_draining());
    let late = bench.connect().await;
    assert_eq!(
        drain.await.unwrap().closed,
        2,
        "sockets are taken until then"
    );
    assert!(endpoint.is_draining());
    socket.assert_disconnected(1012).await;
    late.assert_disconnected(1012).await;
}

#[tokio::test(start_paused = true)]
async fn the_sockets_of_a_batch_do_not_leave_at_the_same_moment() {
    let bench = Bench::new();
    let mut ends = Vec::new();
    for _ in 0..20 {
        let socket = bench.connect().await;
        ends.push(tokio::spawn(async move {
            socket.server_done().await;
            let end = Instant::now();
            socket.assert_disconnected(1012).await;
            end
        }));
    }
    let mut options = DrainOptions::default();
    (options.batch_size, options.batch_interval) = (20, Duration::from_secs(10));
    options.window = Duration::from_secs(10);
    let started = Instant::now();
    bench.kit.endpoint().drain(&options).await;
    let mut seconds = std::collections::BTreeSet::new();
    for end in ends {
        seconds.insert((end.await.unwrap() - started).as_secs());
    }
    assert!(
        seconds.len() > 3 && seconds.iter().all(|second| *second <= 10),
        "{seconds:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_gives_up_at_its_timeout() {
    let bench = Bench::with_limits(|limits| limits.terminate_timeout = Duration::from_secs(60));
    let room = bench.joined().await;
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let mut options = DrainOptions::default();
    options.timeout = Duration::from_secs(7);
    let started = Instant::now();
    assert_eq!(bench.kit.endpoint().drain(&options).await.dropped, 1);
    assert_eq!(started.elapsed().as_secs(), 7);
    bench.gate.add_permits(1);
    room.socket().server_done().await;
    bench
        .log
        .wait_for("terminate lab:1: draining after 1")
        .await;
}
