//! Clients that do not read, or hardly write: what waits for them has a bound, and they cost nobody else
//! anything.

use std::time::Duration;

use bennu::Payload;
use bennu::limits::OverflowPolicy;
use bennu_proto::websocket::{Opcode, masked_frame};
use bennu_testkit::{TestEndpoint, WireEvent};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::client::{Plain, UPGRADE, heartbeat};
use crate::target::{PATIENCE, Target, beats, join, joined, others_are_well};

/// A broadcast of about a kilobyte.
fn shout(kit: &TestEndpoint, n: usize) {
    let payload = json!({"n": n, "fill": "x".repeat(1000)});
    let payload = Payload::json(&payload).unwrap();
    let endpoint = kit.endpoint();
    endpoint.broadcast_raw("room:1", "told", payload).unwrap();
}

/// CVE-2020-35896 (the Rust crate ws: the outgoing buffer grows until memory ends; never patched), and
/// RUSTSEC-2025-0023's neighbourhood: a queue for each reader that nobody bounds.
#[tokio::test]
async fn a_client_that_never_reads() {
    let target = Target::with(|target| target.limits.outbound_bytes_max = 64 << 10);
    let kit = target.kit().with_pipe_bytes(1024);
    let mut silent = joined(&kit, "room:1").await;
    let mut reading = joined(&kit, "room:1").await;
    for n in 0..1000 {
        shout(&kit, n);
        let text = reading.next_text().await;
        assert!(text.starts_with(r#"[null,null,"room:1","told",{"fill":"xxx"#));
    }
    let mut waited = 0;
    let closing = async {
        loop {
            match silent.next().await.unwrap() {
                WireEvent::Text(text) => waited += text.len(),
                other => break assert_eq!(other, WireEvent::Close(Some(1013))),
            }
        }
    };
    tokio::time::timeout(PATIENCE, closing).await.unwrap();
    assert!(waited < 70_000, "{waited} bytes waited");
    beats(&mut reading).await;
}

/// The same over a real socket, whose kernel buffers come on top and end as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_never_read() {
    let target = Target::with(|target| {
        target.limits.outbound_bytes_max = 256 << 10;
        target.limits.close_timeout = Duration::from_millis(200);
    });
    let server = target.serve().await;
    let mut silent = Plain::websocket(server.addr).await;
    join(&mut silent, "room:1").await;
    let mut neighbour = Plain::websocket(server.addr).await;
    let payload = Payload::json(&json!({ "fill": "x".repeat(60_000) })).unwrap();
    let shouting = async {
        while server.endpoint.connection_count() > 1 {
            let broadcast = server
                .endpoint
                .broadcast_raw("room:1", "told", payload.clone());
            broadcast.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, shouting).await.unwrap();
    heartbeat(&mut neighbour).await;
}

/// A client that asks and does not listen: its own replies are what fills its queue. It is not read any more,
/// or cut off, but nothing waits beyond the limit.
#[tokio::test]
async fn a_client_that_asks_and_never_reads() {
    let target = Target::with(|target| target.limits.outbound_bytes_max = 64 << 10);
    let kit = target.kit().with_pipe_bytes(1024);
    let mut wire = joined(&kit, "room:1").await;
    let ask = format!(r#"["1","2","room:1","echo","{}"]"#, "x".repeat(1000));
    let asks = masked_frame(true, Opcode::Text, [1; 4], ask.as_bytes()).repeat(5000);
    // When the server reads no more, this waits for as long as it may.
    let _ = tokio::time::timeout(Duration::from_millis(500), wire.send_bytes(&asks)).await;
    others_are_well(&kit).await;
    let mut replies = 0;
    let reading = async {
        while let Some(event) = wire.next().await {
            match event {
                WireEvent::Text(_) => replies += 1,
                WireEvent::Close(code) => return assert_eq!(code, Some(1013)),
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    // What waited, with four times the limit for a burst, and what went through the pipe meanwhile.
    assert!(replies < 1000, "{replies} replies");
}

/// A client that sends to a channel whose handler waits: what it sends piles up in the server of whoever reads
/// first and thinks later. Here the connection is not read any more, and what was read is counted.
#[tokio::test(start_paused = true)]
async fn a_client_that_sends_and_is_not_handled() {
    let target = Target::with(|target| target.limits.inbound_bytes_max = 64 << 10);
    for size in [10, 10_000] {
        let kit = target.kit().with_pipe_bytes(1024);
        let mut wire = joined(&kit, "room:1").await;
        let wait = format!(r#"["1","2","room:1","wait","{}"]"#, "x".repeat(size));
        let wait = masked_frame(true, Opcode::Text, [1; 4], wait.as_bytes());
        let mut taken = 0;
        let sending = async {
            while taken < 10 << 20 {
                wire.send_bytes(&wait).await;
                taken += wait.len();
            }
        };
        // On a paused clock this waits for nothing but the pipe.
        let sent = tokio::time::timeout(Duration::from_secs(5), sending).await;
        assert!(sent.is_err(), "all of it was taken");
        // The limit, a message that exceeds it, one read, and the pipe.
        assert!(taken < (64 << 10) + 10_000 + (16 << 10) + 2048, "{taken}");
        others_are_well(&kit).await;
    }
}

/// Where only the newest matters the oldest go, and the client stays: also then no more waits than may.
#[tokio::test]
async fn a_client_that_reads_too_slowly_for_ever() {
    let target = Target::with(|target| {
        target.limits.outbound_bytes_max = 20_000;
        target.policy = OverflowPolicy::DropOldest;
    });
    let kit = target.kit().with_pipe_bytes(1024);
    let mut silent = joined(&kit, "room:1").await;
    let mut reading = joined(&kit, "room:1").await;
    for n in 0..1000 {
        shout(&kit, n);
        reading.next_text().await;
    }
    silent.send_text(crate::target::BEAT).await;
    let mut waited = 0;
    while silent.next_text().await != crate::target::BEATEN {
        waited += 1;
    }
    assert!(waited < 25, "{waited} broadcasts waited");
}

/// One byte per second: frames that arrive byte by byte keep a connection, and nothing else. Each byte is a
/// sign of life; a message is handled when it is complete; nobody waits for it.
#[tokio::test(start_paused = true)]
async fn one_byte_per_second() {
    let kit = Target::new().kit();
    let mut slow = joined(&kit, "room:1").await;
    let frame = masked_frame(true, Opcode::Text, [1; 4], crate::target::BEAT.as_bytes());
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    for byte in &frame[..] {
        clock.tick().await;
        slow.send_bytes(&[*byte]).await;
        others_are_well(&kit).await;
    }
    assert_eq!(slow.next_text().await, crate::target::BEATEN);
    // And who sends nothing at all is closed after a minute.
    let started = tokio::time::Instant::now();
    assert_eq!(slow.next().await, Some(WireEvent::Close(Some(1001))));
    assert_eq!(started.elapsed().as_secs(), 60);
}

/// Connections that are opened and left alone, with half a handshake or a whole one, as many as one peer
/// may have: the next one is refused, and another peer is served.
#[tokio::test]
async fn connections_that_are_left_alone() {
    let mut limits = bennu::serve::ServeLimits::default();
    limits.connections_per_peer_max = Some(30);
    let server = Target::new().serve_with(limits).await;
    let mut held = Vec::new();
    for n in 0..30 {
        let mut client = Plain::connect(server.addr).await;
        client.send(&UPGRADE[..n * UPGRADE.len() / 30]).await;
        held.push(client);
    }
    let mut refused = Plain::connect(server.addr).await;
    assert!(refused.head().await.starts_with("http/1.1 429"));
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut other = Plain(other.connect(server.addr).await.unwrap());
    assert_eq!(other.get("/ok").await.1, "ok");
    other.0.shutdown().await.unwrap();
}
