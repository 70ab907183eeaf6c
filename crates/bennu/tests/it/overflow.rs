//! Clients that do not read: what waits for them is bounded, and what happens at the bound.

use bennu::Payload;
use bennu::limits::OverflowPolicy;
use bennu_testkit::TestEndpoint;
use serde_json::{Value, json};

use crate::lab::Do;
use crate::support::{Bench, join};

const PIPE_BYTES: usize = 1024;

/// A bench whose pipes are short, so that what is not read waits on the server's side.
fn bench(outbound_bytes_max: usize, policy: OverflowPolicy) -> Bench {
    let limits = |limits: &mut bennu::Limits| limits.outbound_bytes_max = outbound_bytes_max;
    let mut bench = Bench::with(limits, policy);
    bench.kit = bench.kit.with_pipe_bytes(PIPE_BYTES);
    bench
}

/// About 2 KB, numbered.
fn big(n: usize) -> Value {
    json!({"n": n, "fill": "x".repeat(2000)})
}

fn shout(kit: &TestEndpoint, topic: &str, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let payload = Payload::json(&big(n)).unwrap();
        kit.endpoint()
            .broadcast_raw(topic, "told", payload)
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_disconnected_with_1013() {
    let bench = bench(20_000, OverflowPolicy::Disconnect);
    let (slow, fast) = (bench.joined().await, bench.joined().await);
    slow.socket().pause_reading();
    for n in 0..20 {
        shout(&bench.kit, "lab:1", n..n + 1);
        assert_eq!(fast.next_message().await.json()["n"], n);
    }
    slow.socket().resume_reading();
    slow.socket().assert_disconnected(1013).await;
    slow.socket().server_done().await;
    bench
        .log
        .wait_for("terminate lab:1: outbound queue overflow after 0")
        .await;
    // Nothing was lost in silence: what came was in order, up to the end.
    let numbers: Vec<_> = slow
        .socket()
        .messages()
        .await
        .iter()
        .map(|m| m.json()["n"].clone())
        .collect();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    fast.socket().assert_connected().await;
}

#[tokio::test(start_paused = true)]
async fn one_frame_may_be_larger_than_the_bound() {
    let bench = bench(100, OverflowPolicy::Disconnect);
    let room = bench.joined().await;
    let echo = room.push("echo", &big(0)).await;
    room.assert_reply(&echo, "ok", &big(0)).await;
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_keeps_the_newest_and_every_reply() {
    let bench = bench(20_000, OverflowPolicy::DropOldest);
    let room = bench.joined().await;
    room.socket().pause_reading();
    let mut echoes = Vec::new();
    for n in 0..3 {
        echoes.push(room.push("echo", &json!({"reply": n})).await);
        room.push("push", &big(n)).await;
        // The reply is in the queue when this is answered to the program.
        room.push("log", &json!({"text": format!("round {n}")}))
            .await;
        bench.log.wait_for(&format!("round {n}")).await;
        shout(&bench.kit, "lab:1", n * 20..n * 20 + 20);
    }
    room.socket().resume_reading();
    for (n, echo) in echoes.iter().enumerate() {
        room.assert_reply(echo, "ok", &json!({"reply": n})).await;
    }
    let messages = room.socket().messages().await;
    let told = messages.iter().filter(|message| message.event == "told");
    let numbers: Vec<u64> = told
        .map(|message| message.json()["n"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers.last(), Some(&59), "{numbers:?}");
    assert!(
        numbers.is_sorted() && (8..30).contains(&numbers.len()),
        "{numbers:?}"
    );
    let newest = numbers[numbers.len() - 8..].to_vec();
    assert_eq!(newest, (52..60).collect::<Vec<u64>>());
    room.socket().assert_connected().await;
}

#[tokio::test(start_paused = true)]
async fn replies_alone_that_are_too_many_disconnect_also_with_drop_oldest() {
    let bench = bench(20_000, OverflowPolicy::DropOldest);
    let room = bench.joined().await;
    room.socket().pause_reading();
    for n in 0..20 {
        room.push("echo", &big(n)).await;
    }
    room.socket().resume_reading();
    room.socket().assert_disconnected(1013).await;
}

#[tokio::test(start_paused = true)]
async fn beyond_the_budget_of_the_process_the_fullest_queue_is_cut() {
    let mut bench = Bench::with_limits(|limits| limits.outbound_total_bytes_max = 50_000);
    bench.kit = bench.kit.with_pipe_bytes(PIPE_BYTES);
    let (full, fuller) = (bench.connect().await, bench.connect().await);
    join(&full, "lab:full", &json!({})).await;
    join(&fuller, "lab:fuller", &json!({})).await;
    for socket in [&full, &fuller] {
        socket.pause_reading();
    }
    shout(&bench.kit, "lab:fuller", 0..15);
    shout(&bench.kit, "lab:full", 0..11);
    bench
        .log
        .wait_for("terminate lab:fuller: outbound queue overflow after 0")
        .await;
    for socket in [&full, &fuller] {
        socket.resume_reading();
    }
    // Without a close frame: what waited had to be given back at once.
    fuller.assert_lost().await;
    full.assert_connected().await;
    assert_eq!(full.messages().await.len(), 11);
    // What was cut and what was read is given back: there is room for as much again.
    full.pause_reading();
    shout(&bench.kit, "lab:full", 0..20);
    full.resume_reading();
    assert_eq!(full.messages().await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_for_which_the_mailbox_has_no_room_is_an_overflow() {
    let bench = Bench::with_limits(|limits| limits.mailbox_messages_max = 3);
    let room = bench.joined().await;
    room.push("subscribe", &json!({"topic": "news"})).await;
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    shout(&bench.kit, "news", 0..3);
    room.socket().assert_connected().await;
    shout(&bench.kit, "news", 3..4);
    room.socket().assert_disconnected(1013).await;
}

#[tokio::test(start_paused = true)]
async fn with_drop_oldest_such_a_broadcast_is_dropped() {
    let small = |limits: &mut bennu::Limits| limits.mailbox_messages_max = 3;
    let bench = Bench::with(small, OverflowPolicy::DropOldest);
    let room = bench.joined().await;
    room.push("subscribe", &json!({"topic": "news"})).await;
    room.push("ref", &json!({})).await;
    room.push("wait", &json!({})).await;
    bench.log.wait_for("waiting lab:1").await;
    let channel = bench.world.refs.lock()[0].clone();
    channel.send(Do::Note("first".into())).unwrap();
    shout(&bench.kit, "news", 0..5);
    bench.gate.add_permits(1);
    let messages = room.socket().messages().await;
    let events: Vec<_> = messages
        .iter()
        .map(|message| message.event.as_str())
        .collect();
    assert_eq!(
        events.iter().filter(|event| **event == "heard").count(),
        2,
        "{events:?}"
    );
    room.socket().assert_connected().await;
}
