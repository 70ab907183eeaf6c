//! Metrics and logs.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bennu_testkit::TestEndpoint;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use parking_lot::Mutex;
use serde_json::json;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Bench, join};

/// Keeps metrics by name and label.
#[derive(Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Metrics {
    fn slot(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(metrics::Label::value).collect();
        let name = [&[key.name()], &labels[..]].concat().join(" ");
        Arc::clone(self.0.lock().entry(name).or_default())
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.lock()[name].load(Ordering::Relaxed)
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.count(name))
    }
}

/// Counts how often something was recorded.
struct Count(Arc<AtomicU64>);

impl HistogramFn for Count {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.slot(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.slot(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Count(self.slot(key))))
    }
}

/// A bench whose metrics are kept. They are registered when the sockets are made.
fn measured() -> (Bench, Metrics) {
    let metrics = Metrics::default();
    (metrics::with_local_recorder(&metrics, Bench::new), metrics)
}

#[tokio::test(start_paused = true)]
async fn connections_and_joins_are_counted() {
    let (bench, metrics) = measured();
    let socket = bench.connect().await;
    join(&socket, "lab:1", &json!({})).await;
    socket
        .join("lab:2", &json!({"how": "refuse"}))
        .await
        .unwrap_err();
    socket
        .join("lab:3", &json!({"how": "panic"}))
        .await
        .unwrap_err();
    assert_eq!(metrics.gauge("bennu_connections"), 1.0);
    socket.close(1000).await;
    bench.kit.connect(&[("vsn", "9.9.9")]).await.unwrap_err();
    let expected = [
        ("bennu_connects_total ok", 1),
        ("bennu_connects_total invalid", 1),
        ("bennu_connect_duration_seconds", 1),
        ("bennu_joins_total ok", 1),
        ("bennu_joins_total refused", 1),
        ("bennu_joins_total crashed", 1),
        ("bennu_join_duration_seconds", 3),
        ("bennu_disconnects_total client", 1),
        ("bennu_disconnects_total lost", 0),
    ];
    for (name, count) in expected {
        assert_eq!(metrics.count(name), count, "{name}");
    }
    assert_eq!(metrics.gauge("bennu_connections"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn events_pushes_and_broadcasts_are_counted() {
    let (bench, metrics) = measured();
    let room = bench.joined().await;
    for (event, payload) in [
        ("push", json!({})),
        ("broadcast", json!({})),
        ("nonsense", json!({})),
        ("typed", json!({"n": "x"})),
        ("stop", json!({"reason": "normal"})),
    ] {
        room.push(event, &payload).await;
    }
    room.assert_closed().await;
    let room = bench.joined().await;
    room.push("panic", &json!({})).await;
    room.assert_crashed().await;
    let expected = [
        ("bennu_handled_in_total ok", 2),
        ("bennu_handled_in_total unknown", 1),
        ("bennu_handled_in_total invalid", 1),
        ("bennu_handled_in_total stop", 1),
        ("bennu_handled_in_total crash", 1),
        ("bennu_handle_in_duration_seconds", 6),
        ("bennu_channel_crashes_total", 1),
        ("bennu_pushes_total", 1),
        ("bennu_broadcasts_total", 1),
        // The channel and the test.
        ("bennu_deliveries_total", 2),
    ];
    for (name, count) in expected {
        assert_eq!(metrics.count(name), count, "{name}");
    }
    assert!(metrics.gauge("bennu_outbound_queue_high_water_bytes") > 10.0);
}

#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Everything that is logged on this thread from now on.
    pub(crate) fn capture() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(lines.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The line in which all of these stand.
pub(crate) fn has_line(log: &str, parts: &[&str]) -> bool {
    log.lines()
        .any(|line| parts.iter().all(|part| line.contains(part)))
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_logged_with_its_topic_and_event() {
    let (lines, _guard) = Lines::capture();
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("panic", &json!({"password": "secret"})).await;
    room.assert_crashed().await;
    let log = lines.take();
    assert!(
        has_line(&log, &["ERROR", "lab:1", "panic", "handle_in"]),
        "{log}"
    );
    assert!(
        has_line(&log, &["ERROR", "channel crashed", "lab:1"]),
        "{log}"
    );
    assert!(!log.contains("secret"), "{log}");

    room.socket()
        .join("lab:2", &json!({"how": "panic"}))
        .await
        .unwrap_err();
    let log = lines.take();
    assert!(has_line(&log, &["ERROR", "join crashed"]), "{log}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_event_and_an_unfit_payload_are_logged_quietly() {
    let (lines, _guard) = Lines::capture();
    let bench = Bench::new();
    let room = bench.joined().await;
    room.push("nonsense", &json!({"token": "secret"})).await;
    room.push("typed", &json!({"n": "secret"})).await;
    room.socket()
        .join("lab:2", &json!({"number": "many"}))
        .await
        .unwrap_err();
    let log = lines.take();
    assert!(
        has_line(&log, &["DEBUG", "unknown event", "lab:1"]),
        "{log}"
    );
    assert!(
        has_line(&log, &["DEBUG", "invalid payload", "lab:1"]),
        "{log}"
    );
    assert!(has_line(&log, &["DEBUG", "join refused", "lab:2"]), "{log}");
}

#[tokio::test(start_paused = true)]
async fn passwords_and_tokens_are_filtered_in_connect_join_and_handle_in() {
    let (lines, _guard) = Lines::capture();
    let bench = Bench::new();
    let request = TestEndpoint::request(&[("token", "hunter2"), ("name", "ada")]);
    let socket = bench
        .kit
        .connect_with(request.body(()).unwrap())
        .await
        .unwrap();
    let params = json!({"user_password": "hunter2", "number": 7});
    let room = socket.join("lab:1", &params).await.unwrap();
    let payload = json!({"deep": [{"password": "hunter2"}], "form": "token=hunter2", "ok": 8});
    let echo = room.push("echo", &payload).await;
    room.assert_reply(&echo, "ok", &payload).await;
    let log = lines.take();
    assert!(
        has_line(&log, &["DEBUG", "2.0.0", "ada", "[FILTERED]"]),
        "{log}"
    );
    assert!(
        has_line(&log, &["DEBUG", "lab:1", "\"number\":7", "[FILTERED]"]),
        "{log}"
    );
    assert!(
        has_line(&log, &["DEBUG", "lab:1", "echo", "\"ok\":8", "[FILTERED]"]),
        "{log}"
    );
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_vsn_that_is_not_spoken_is_named_in_a_warning() {
    let (lines, _guard) = Lines::capture();
    let bench = Bench::new();
    bench.kit.connect(&[("vsn", "123.1.1")]).await.unwrap_err();
    let log = lines.take();
    assert!(
        has_line(&log, &["WARN", "connection refused", "123.1.1"]),
        "{log}"
    );
}
