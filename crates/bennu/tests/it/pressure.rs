//! Clients that send faster than their channels handle: the server reads no further, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bennu_testkit::TestChannel;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::advance;

use crate::support::{Bench, join};

const PIPE_BYTES: usize = 1024;
const MESSAGES: usize = 200;

fn bench(change: impl FnOnce(&mut bennu::Limits)) -> Bench {
    let mut bench = Bench::with_limits(change);
    bench.kit = bench.kit.with_pipe_bytes(PIPE_BYTES);
    bench
}

/// Sends numbered echoes of about 150 bytes as fast as they are taken, and counts those that were.
fn flood(room: &Arc<TestChannel>) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let (room, counter) = (Arc::clone(room), Arc::clone(&sent));
    let flooding = tokio::spawn(async move {
        for n in 0..MESSAGES {
            room.push("echo", &json!({"n": n, "fill": "x".repeat(100)}))
                .await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (sent, flooding)
}

#[tokio::test(start_paused = true)]
async fn a_stuck_handler_stops_the_reading_and_then_everything_is_handled_in_order() {
    let bench = bench(|limits| limits.inbound_messages_max = 4);
    let room = Arc::new(bench.joined().await);
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let (sent, flooding) = flood(&room);
    room.refute_push("anything").await;
    let taken = sent.load(Ordering::Relaxed);
    // Four wait, and the pipe holds seven or so.
    assert!((4..15).contains(&taken), "{taken} messages were taken");

    // Our silence is not the client's: it is not idle, however long this takes.
    for _ in 0..20 {
        advance(Duration::from_secs(30)).await;
    }
    room.socket().assert_connected().await;
    assert_eq!(sent.load(Ordering::Relaxed), taken);

    bench.gate.add_permits(1);
    flooding.await.unwrap();
    assert_eq!(room.next_message().await.json(), json!({"waited": true}));
    for n in 0..MESSAGES {
        assert_eq!(room.next_message().await.json()["n"], n);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_wait_are_bounded_as_well() {
    let bench = bench(|limits| limits.inbound_bytes_max = 500);
    let room = Arc::new(bench.joined().await);
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let (sent, flooding) = flood(&room);
    room.refute_push("anything").await;
    let taken = sent.load(Ordering::Relaxed);
    assert!((4..15).contains(&taken), "{taken} messages were taken");
    bench.gate.add_permits(1);
    flooding.await.unwrap();
    assert_eq!(room.socket().messages().await.len(), MESSAGES + 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_holds_up_its_own_connection_and_no_other() {
    let bench = bench(|limits| limits.inbound_messages_max = 4);
    let room = Arc::new(bench.joined().await);
    let beside = join(room.socket(), "lab:2", &json!({})).await;
    let elsewhere = bench.joined().await;
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let (_, flooding) = flood(&room);
    room.refute_push("anything").await;
    let echo = elsewhere.push("echo", &json!({})).await;
    elsewhere.assert_reply(&echo, "ok", &json!({})).await;
    // Broadcasts still come, and so do the messages of the program.
    beside.broadcast_from("told", &json!({}));
    beside.assert_push("told", &json!({})).await;
    bench.gate.add_permits(1);
    flooding.await.unwrap();
    let echo = beside.push("echo", &json!({})).await;
    beside.assert_reply(&echo, "ok", &json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_join_that_waits_is_bounded_like_a_handler() {
    let bench = bench(|limits| limits.inbound_messages_max = 4);
    let socket = bench.connect().await;
    let joining = socket
        .push("lab:1", "phx_join", &json!({"how": "wait refuse"}))
        .await;
    bench.log.wait_for("join lab:1").await;
    let flooding = tokio::spawn({
        let socket = socket.clone();
        async move {
            for n in 0..MESSAGES {
                socket.push("lab:1", "echo", &json!({ "n": n })).await;
            }
        }
    });
    socket.refute_reply(&joining).await;
    assert!(!flooding.is_finished());
    bench.gate.add_permits(1);
    flooding.await.unwrap();
    socket.assert_reply(&joining, "error", &json!(null)).await;
    let messages = socket.messages().await;
    assert_eq!(messages.len(), MESSAGES);
    assert!(
        messages
            .iter()
            .all(|m| m.json() == json!({"reason": "unmatched topic"}))
    );
}

#[tokio::test(start_paused = true)]
async fn far_more_than_one_turn_can_handle_is_handled_in_order() {
    let bench = Bench::new();
    let room = bench.joined().await;
    for n in 0..3000 {
        room.push("echo", &json!({ "n": n })).await;
    }
    for n in 0..3000 {
        assert_eq!(room.next_message().await.json(), json!({ "n": n }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closed_while_it_is_not_read_ends() {
    let bench = bench(|limits| limits.inbound_messages_max = 4);
    let socket = bench.connect_as("ada").await;
    let room = Arc::new(join(&socket, "lab:1", &json!({})).await);
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let (_, flooding) = flood(&room);
    room.refute_push("anything").await;
    bench.kit.endpoint().disconnect("user:ada").unwrap();
    socket.assert_disconnected(1001).await;
    flooding.await.unwrap();
    socket.server_done().await;
}
