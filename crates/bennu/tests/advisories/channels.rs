//! What a client may say once it is connected: joins, names, payloads, and what they do to others and to logs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bennu::{ConnectParams, Limits};
use bennu_testkit::TestEndpoint;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::target::{Lines, Target, beats, closes, join, joined, others_are_well, wire};

const PROTOTYPE_NAMES: [&str; 8] = [
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "valueOf",
    "__defineGetter__",
    "",
];

/// CVE-2026-56811 (Phoenix): one connection joins topic after topic, each of which is a process there, until
/// the node is out of them.
#[tokio::test]
async fn unlimited_joins() {
    let kit = Target::with(|target| target.limits.joins_max = 20).kit();
    let mut wire = wire(&kit).await;
    for n in 0..500 {
        wire.send_text(&format!(r#"["{n}","{n}","room:{n}","phx_join",{{}}]"#))
            .await;
        let reply: Value = serde_json::from_str(&wire.next_text().await).unwrap();
        let status = if n < 20 { "ok" } else { "error" };
        assert_eq!(reply[4]["status"], status, "{n}");
    }
    assert_eq!(kit.endpoint().pubsub().topic_count(), 20);
    others_are_well(&kit).await;
}

/// The same topic again and again, each time in place of the one before, and joins that are left at once: what
/// was replaced is gone, and the connection's other channels are served between them.
#[tokio::test]
async fn duplicate_joins_and_churn() {
    let kit = Target::new().kit();
    let mut wire = joined(&kit, "room:steady").await;
    for n in 0..2000 {
        wire.send_text(&format!(r#"["{n}","{n}","room:1","phx_join",{{}}]"#))
            .await;
        loop {
            // The close of the channel before comes first.
            let message: Value = serde_json::from_str(&wire.next_text().await).unwrap();
            if message[3] == "phx_reply" {
                break assert_eq!(message[4]["status"], "ok", "{n}");
            }
        }
    }
    assert_eq!(kit.endpoint().pubsub().topic_count(), 2);
    for n in 0..1000 {
        let topic = format!("room:churn{n}");
        wire.send_text(&format!(r#"["{n}","{n}","{topic}","phx_join",{{}}]"#))
            .await;
        wire.send_text(&format!(r#"["{n}","{n}","{topic}","phx_leave",{{}}]"#))
            .await;
        while !wire
            .next_text()
            .await
            .contains(&format!(r#""{topic}","phx_close""#))
        {}
    }
    assert_eq!(kit.endpoint().pubsub().topic_count(), 2);
    beats(&mut wire).await;
}

/// CVE-2026-56812 (Phoenix's presence, in the browser) and every prototype pollution (CVE-2022-2421,
/// socket.io-parser): names with a meaning to JavaScript as topics, events, keys and params. They are data
/// like any other here, and come back as they went in.
#[tokio::test]
async fn prototype_named_keys() {
    let kit = Target::new().kit();
    let params: Vec<_> = PROTOTYPE_NAMES.iter().map(|name| (*name, "x")).collect();
    let request = TestEndpoint::request(&params).body(()).unwrap();
    let mut wire = kit.connect_wire(request).await.unwrap();
    for name in PROTOTYPE_NAMES {
        let topic = format!("room:{name}");
        join(&mut wire, &topic).await;
        let payload = json!({ name: { name: 1, "__proto__": { "admin": true } } });
        let push = json!(["1", "2", topic, name, payload]);
        wire.send_text(&push.to_string()).await;
        let reply: Value = serde_json::from_str(&wire.next_text().await).unwrap();
        assert_eq!(
            reply[4],
            json!({"status": "ok", "response": payload}),
            "{name}"
        );
        // As a topic by itself it is nobody's.
        wire.send_text(&json!(["1", "3", name, "phx_join", payload]).to_string())
            .await;
        let reply: Value = serde_json::from_str(&wire.next_text().await).unwrap();
        assert_eq!(
            reply[4]["response"],
            json!({"reason": "unmatched topic"}),
            "{name}"
        );
    }
    let query = "__proto__[admin]=1&constructor[prototype][x]=2&a[__proto__]=3";
    let params = ConnectParams::from_query(query).unwrap();
    assert_eq!(params.value("__proto__"), Some(&json!({"admin": "1"})));
    assert_eq!(params.value("a"), Some(&json!({"__proto__": "3"})));
    assert_eq!(params.get("admin"), None);
}

/// CVE-2026-32688, CVE-2026-8469 (atoms that clients name are kept for ever): names that clients choose as
/// labels of metrics. However many they invent, the metrics are those of before.
#[tokio::test]
async fn names_of_clients_as_metrics() {
    let names = Names::default();
    let kit = metrics::with_local_recorder(&names, || Target::new().kit());
    let before = names.0.lock().clone();
    let guard = metrics::set_default_local_recorder(&names);
    let mut wire = wire(&kit).await;
    for n in 0..90 {
        let topic = format!("room:{n}");
        join(&mut wire, &topic).await;
        for text in [
            format!(r#"["1","2","{topic}","event{n}",{{}}]"#),
            format!(r#"["1","2","{topic}","panic",{{}}]"#),
            format!(r#"["1","2","nowhere{n}","phx_join",{{}}]"#),
        ] {
            wire.send_text(&text).await;
            wire.next_text().await;
        }
        let vsn = format!("{n}.0.0");
        let _ = kit.connect(&[("vsn", &vsn)]).await;
    }
    drop(guard);
    assert_eq!(*names.0.lock(), before);
}

/// CVE-2026-47068 (cross-session PubSub topic injection by a parameter): the id of a socket is a topic. A
/// client that joins it, or pushes or names an event on it, must not end another's connection.
#[tokio::test]
async fn topics_of_other_sessions() {
    let kit = Target::new().kit();
    let victim = kit.connect(&[("user", "ada")]).await.unwrap();
    // Another user, whose name is made to look like more.
    for name in ["eve", "ada ", "ada\0", "ada\n", "room:1", "ada:ada", "*"] {
        let request = TestEndpoint::request(&[("user", name)]).body(()).unwrap();
        let mut attacker = kit.connect_wire(request).await.unwrap();
        for (topic, event) in [
            ("user:ada", "phx_join"),
            ("user:ada", "disconnect"),
            ("user:*", "phx_join"),
            ("phoenix", "disconnect"),
            ("room:1", "disconnect"),
            ("", "disconnect"),
        ] {
            let push = json!(["1", "2", topic, event, {}]);
            attacker.send_text(&push.to_string()).await;
        }
        attacker
            .send_text(r#"["1","9","room:1","phx_join",{}]"#)
            .await;
        while !attacker.next_text().await.contains(r#"["1","9","#) {}
        // What it shouts stays in its room, whatever the event is called.
        attacker
            .send_text(r#"["1","3","room:1","disconnect",{"topic":"user:ada"}]"#)
            .await;
        attacker.next_text().await;
        kit.endpoint().disconnect(&format!("user:{name}")).unwrap();
        closes(&mut attacker, 1001).await;
        victim.assert_connected().await;
    }
    kit.endpoint().disconnect("user:ada").unwrap();
    victim.assert_disconnected(1001).await;
}

/// Log forging (CWE-117): a line break in a topic, event, parameter or version of the protocol begins a line
/// of the client's own in the log.
#[tokio::test(start_paused = true)]
async fn line_breaks_in_logs() {
    let (lines, _guard) = Lines::capture();
    let forged = "x\r\n2026-01-01T00:00:00Z ERROR bennu: forged\u{1b}[2J\u{85}\u{2028}";
    let kit = Target::new().kit();
    let params = [("user", forged), (forged, "1"), ("a[b]", forged)];
    let request = TestEndpoint::request(&params).body(()).unwrap();
    let mut wire = kit.connect_wire(request).await.unwrap();
    let _ = kit.connect(&[("vsn", forged)]).await;
    for value in ["http://x\u{85}y", "http://evil.net/forged"] {
        let request = TestEndpoint::request(&[]).header("origin", value);
        let _ = kit.connect_with(request.body(()).unwrap()).await;
    }
    for topic in ["room:1", forged] {
        for (event, payload) in [
            ("phx_join", json!({})),
            ("phx_join", json!({ forged: forged })),
            (forged, json!({ forged: forged })),
            ("panic", json!(forged)),
            (forged, json!({})),
        ] {
            let topic = format!("{topic}{}", if topic == forged { "" } else { forged });
            let push = json!(["1", "1", topic, event, payload]);
            wire.send_text(&push.to_string()).await;
            wire.next_text().await;
        }
    }
    wire.send_text(&json!([forged, forged, forged]).to_string())
        .await;
    closes(&mut wire, 1011).await;
    let log = lines.take();
    assert!(log.contains("forged"), "it was logged, escaped");
    for line in log.lines() {
        assert!(!line.starts_with("2026-01-01"), "{line:?}");
        assert!(!line.contains(['\u{1b}', '\r']), "{line:?}");
    }
}

/// Panics in the application, whatever brings them about: one channel ends, its connection goes on, and
/// so does everybody else.
#[tokio::test]
async fn handlers_that_panic() {
    let kit = Target::new().kit();
    let mut neighbour = joined(&kit, "room:1").await;
    let mut wire = joined(&kit, "room:steady").await;
    for n in 0..200 {
        join(&mut wire, "room:1").await;
        wire.send_text(r#"["1","2","room:1","panic",{}]"#).await;
        let crashed = r#"["1","1","room:1","phx_error","#;
        assert!(wire.next_text().await.starts_with(crashed), "{n}");
        wire.send_text(r#"["1","3","room:panic","phx_join",{}]"#)
            .await;
        let reply = r#"["1","3","room:panic","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]"#;
        assert_eq!(wire.next_text().await, reply, "{n}");
    }
    for wire in [&mut wire, &mut neighbour] {
        beats(wire).await;
    }
}

/// CVE-2026-33151 (socket.io-parser: a packet says how many attachments follow), and the whole of RFC 8259's
/// nesting: arrays a hundred thousand deep, which a recursive reader ends the process over.
#[tokio::test]
async fn depth_bombs() {
    let kit = Target::new().kit();
    let mut wire = joined(&kit, "reader:1").await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 100_000;
        let bomb = open.repeat(depth) + "1" + &close.repeat(depth);
        for (topic, event) in [
            ("reader:1", "tree"),
            ("reader:1", "number"),
            ("reader:2", "phx_join"),
            ("room:1", "phx_join"),
            ("nowhere", "phx_join"),
        ] {
            wire.send_text(&format!(r#"["1","2","{topic}","{event}",{bomb}]"#))
                .await;
            // Of two joins of a topic, the first is closed.
            while !wire.next_text().await.contains("\"phx_reply\"") {}
        }
    }
    beats(&mut wire).await;
    // Where the envelope should be, and never closed.
    for text in ["[".repeat(500_000), "{\"a\":".repeat(100_000)] {
        let mut wire = joined(&kit, "room:1").await;
        wire.send_text(&text).await;
        closes(&mut wire, 1011).await;
    }
    others_are_well(&kit).await;
}

/// CVE-2026-32686 (decimal): `1e1000000000` as a number is written out digit by digit. Numbers that fit no
/// type are refused, and no work is done for their size.
#[tokio::test]
async fn huge_numbers() {
    let kit = Target::new().kit();
    let mut wire = joined(&kit, "reader:1").await;
    let digits = "9".repeat(900_000);
    let numbers = [
        "1e1000000000",
        "-1e1000000000",
        "1e-1000000000",
        "1E+99999999999999999999",
        &digits,
        &format!("0.{digits}"),
        &format!("1e{digits}"),
        "18446744073709551616",
        "-1",
        "1.5",
    ];
    let started = Instant::now();
    for number in numbers {
        for (event, key) in [("number", "n"), ("float", "x"), ("tree", "t")] {
            wire.send_text(&format!(
                r#"["1","2","reader:1","{event}",{{"{key}":{number}}}]"#
            ))
            .await;
            let reply: Value = serde_json::from_str(&wire.next_text().await).unwrap();
            if event == "number" {
                let reason = json!({"reason": "invalid payload"});
                assert_eq!(
                    reply[4]["response"],
                    reason,
                    "{}",
                    &number[..9.min(number.len())]
                );
            }
        }
    }
    assert!(started.elapsed() < Duration::from_secs(15));
    beats(&mut wire).await;
}

/// CVE-2020-36049 and CVE-2023-32695 (socket.io-parser), CVE-2017-16031: messages that are almost some, in
/// every position of the envelope. The connection may end by 1011, the server goes on.
#[tokio::test]
async fn envelopes_that_are_almost_some() {
    let kit = Target::new().kit();
    let odd = [
        "null",
        "1",
        "-1",
        "1e400",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
    ];
    for place in 0..5 {
        for odd in odd {
            let mut parts = [r#""1""#, r#""2""#, r#""room:1""#, r#""echo""#, "{}"];
            parts[place] = odd;
            let mut wire = joined(&kit, "room:1").await;
            wire.send_text(&format!("[{}]", parts.join(","))).await;
            // Either it is answered or passed over, or the connection ends; which, is in the golden tests.
            wire.send_text(crate::target::BEAT).await;
            assert!(wire.next().await.is_some());
        }
    }
    let wires = [
        &b""[..],
        b"\0",
        b"\x01",
        b"\xff",
        b"\0\xff\xff\xff\xff",
        b"\0\x01\x01\xff\x01",
        b"\x02\xff\xff",
    ];
    for bytes in wires {
        let mut wire = joined(&kit, "room:1").await;
        wire.send_binary(bytes).await;
        closes(&mut wire, 1011).await;
    }
    others_are_well(&kit).await;
}

/// Topics and references as long as a message may be: they are kept for as long as a channel lives, so they
/// have bounds of their own.
#[tokio::test]
async fn long_names() {
    let kit = Target::new().kit();
    let mut wire = wire(&kit).await;
    let limits = Limits::default();
    let topic = format!("room:{}", "x".repeat(limits.topic_bytes_max));
    wire.send_text(&format!(r#"["1","1","{topic}","phx_join",{{}}]"#))
        .await;
    let reply: Value = serde_json::from_str(&wire.next_text().await).unwrap();
    assert_eq!(reply[4]["response"], json!({"reason": "topic too long"}));
    assert_eq!(kit.endpoint().pubsub().topic_count(), 0);
    let long = "1".repeat(2000);
    wire.send_text(&format!(r#"["{long}","1","room:1","phx_join",{{}}]"#))
        .await;
    closes(&mut wire, 1011).await;
}

/// The names and labels of metrics.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<BTreeSet<String>>>);

impl Names {
    fn note(&self, key: &Key) {
        self.0.lock().insert(format!("{key}"));
    }
}

impl Recorder for Names {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note(key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.note(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note(key);
        Histogram::noop()
    }
}
