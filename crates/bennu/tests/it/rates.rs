//! How fast a client may send, by a clock that stands still.

use std::time::Duration;

use bennu::limits::{Rate, RatePolicy};
use bennu::{ConnectParams, Limits, PubSub, Refused, Sockets};
use bennu_proto::websocket::Opcode;
use bennu_testkit::{TestEndpoint, TestWire, WireEvent};
use tokio::time::Instant;

use crate::lab::Lab;
use crate::support::Bench;
use crate::telemetry::Metrics;

fn sockets(limits: Limits, policy: RatePolicy) -> (TestEndpoint, Metrics) {
    let world = Bench::new().world;
    let metrics = Metrics::default();
    let kit = metrics::with_local_recorder(&metrics, || {
        let sockets = Sockets::new(PubSub::local(), async move |_: ConnectParams| {
            Ok::<_, Refused>((world, None))
        });
        let sockets = sockets.with_limits(limits).with_rate_policy(policy);
        TestEndpoint::new(sockets.channel::<Lab>("lab:*"))
    });
    (kit, metrics)
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

async fn connect(kit: &TestEndpoint) -> TestWire {
    let request = TestEndpoint::request(&[]).body(()).unwrap();
    kit.connect_wire(request).await.unwrap()
}

const HEARTBEAT: &str = r#"[null,"1","phoenix","heartbeat",{}]"#;

#[tokio::test(start_paused = true)]
async fn a_fast_client_is_read_at_its_rate() {
    let rate = Rate::per_second(2).with_burst(3);
    let limits = limits(|limits| limits.messages_per_second = Some(rate));
    let (kit, metrics) = sockets(limits, RatePolicy::SlowDown);
    let mut wire = connect(&kit).await;
    let start = Instant::now();
    for _ in 0..10 {
        wire.send_text(HEARTBEAT).await;
    }
    let mut times = Vec::new();
    for _ in 0..10 {
        wire.next_text().await;
        times.push(start.elapsed().as_millis());
    }
    // The burst and one that is owed for; then two a second.
    let (at_once, later) = times.split_at(4);
    assert_eq!(at_once, [0; 4]);
    for (index, time) in later.iter().enumerate() {
        let due = 500 * (index as u128 + 1);
        assert!((due..due + 10).contains(time), "{times:?}");
    }
    assert!(metrics.count("bennu_limited_total messages_per_second") >= 1);
    // After a silence, there is a burst again.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let start = Instant::now();
    for _ in 0..4 {
        wire.send_text(HEARTBEAT).await;
        wire.next_text().await;
    }
    assert!(start.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn bytes_are_read_at_their_rate() {
    let rate = Rate::per_second(1000);
    let limits = limits(|limits| limits.bytes_per_second = Some(rate));
    let (kit, metrics) = sockets(limits, RatePolicy::SlowDown);
    let mut wire = connect(&kit).await;
    let start = Instant::now();
    // About 10,000 bytes, of which one read takes most.
    let long = format!(
        r#"[null,"1","phoenix","heartbeat",{{"x":"{}"}}]"#,
        "x".repeat(10_000)
    );
    wire.send_text(&long).await;
    wire.next_text().await;
    wire.send_text(HEARTBEAT).await;
    wire.next_text().await;
    let waited = start.elapsed();
    let expected = Duration::from_secs(9)..Duration::from_secs(10);
    assert!(expected.contains(&waited), "{waited:?}");
    assert!(metrics.count("bennu_limited_total bytes_per_second") >= 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_slowed_down_is_not_silent() {
    // A minute of silence ends a connection, and this client waits for five until it is read again.
    let rate = Rate::per_second(10);
    let limits = limits(|limits| limits.bytes_per_second = Some(rate));
    let (kit, _metrics) = sockets(limits, RatePolicy::SlowDown);
    let mut wire = connect(&kit).await;
    let long = format!(
        r#"[null,"1","phoenix","heartbeat",{{"x":"{}"}}]"#,
        "x".repeat(3_000)
    );
    let start = Instant::now();
    wire.send_text(&long).await;
    wire.next_text().await;
    assert!(start.elapsed() > Duration::from_secs(300));
    // From now on its silence is its own.
    tokio::time::sleep(Duration::from_millis(59_500)).await;
    wire.send_text(HEARTBEAT).await;
    wire.next_text().await;
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1001))));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_too_fast_is_closed_if_the_policy_says_so() {
    let rate = Rate::per_second(1).with_burst(3);
    let by_messages = limits(|limits| limits.messages_per_second = Some(rate));
    let by_bytes = limits(|limits| {
        limits.bytes_per_second = Some(Rate::per_second(100).with_burst(200));
    });
    for limits in [by_messages, by_bytes] {
        let (kit, metrics) = sockets(limits, RatePolicy::Close);
        let mut wire = connect(&kit).await;
        for _ in 0..3 {
            wire.send_text(HEARTBEAT).await;
            wire.next_text().await;
        }
        for _ in 0..3 {
            wire.send_text(HEARTBEAT).await;
        }
        assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1008))));
        let reached = metrics.count("bennu_limited_total messages_per_second")
            + metrics.count("bennu_limited_total bytes_per_second");
        wire.send_frame(Opcode::Close, &1008_u16.to_be_bytes())
            .await;
        assert_eq!(wire.next().await, None);
        assert_eq!(reached, 1);
        while kit.endpoint().connection_count() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(metrics.count("bennu_disconnects_total too_fast"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn pings_count_as_messages() {
    let rate = Rate::per_second(1);
    let limits = limits(|limits| limits.messages_per_second = Some(rate));
    let (kit, _metrics) = sockets(limits, RatePolicy::Close);
    let mut wire = connect(&kit).await;
    for _ in 0..100 {
        wire.send_frame(Opcode::Ping, b"").await;
    }
    let mut last = None;
    while let Some(event) = wire.next().await {
        last = Some(event);
        if matches!(last, Some(WireEvent::Close(_))) {
            break;
        }
    }
    assert_eq!(last, Some(WireEvent::Close(Some(1008))));
}
