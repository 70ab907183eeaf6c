//! Clients that poll: what is answered, what is acknowledged, and how sessions end.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu::endpoint::DrainOptions;
use bennu::limits::{OverflowPolicy, Rate};
use bennu::socket::{ConnectInfo, LongPollOptions, SessionCookie};
use bennu::token::{Session, SessionOptions, SessionStore};
use bennu::{ConnectParams, Payload, PubSub, Refused, Sockets};
use bennu_testkit::TestEndpoint;
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::json;
use tokio::time::Instant;

use crate::poller::{Poller, request};
use crate::support::Bench;

const JOIN: &str = r#"["1","1","lab:1","phx_join",{}]"#;
const JOINED: &str = r#"["1","1","lab:1","phx_reply",{"status":"ok","response":{}}]"#;
const WINDOW: Duration = Duration::from_secs(10);

async fn joined(bench: &Bench) -> Poller {
    let mut poller = Poller::begin(bench.kit.service(), "").await;
    assert_eq!(poller.post(&[JOIN]).await.status(), 200);
    assert_eq!(poller.poll().await.messages(), [JOINED]);
    poller
}

fn shout(bench: &Bench, n: u32) {
    let payload = Payload::json(&json!({ "n": n })).unwrap();
    let endpoint = bench.kit.endpoint();
    endpoint.broadcast_raw("lab:1", "shout", payload).unwrap();
}

fn shouted(n: u32) -> String {
    format!(r#"[null,null,"lab:1","shout",{{"n":{n}}}]"#)
}

#[tokio::test(start_paused = true)]
async fn a_conversation() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    let echo = r#"["1","2","lab:1","echo",{"a":"ü\"\n"}]"#;
    let beat = r#"[null,"3","phoenix","heartbeat",{}]"#;
    assert_eq!(poller.post(&[echo, beat]).await.status(), 200);
    let answer = poller.poll().await;
    assert_eq!(answer.status(), 200);
    let replies = [
        r#"["1","2","lab:1","phx_reply",{"status":"ok","response":{"a":"ü\"\n"}}]"#,
        r#"[null,"3","phoenix","phx_reply",{"status":"ok","response":{}}]"#,
    ];
    assert_eq!(answer.messages(), replies);
    assert_eq!(
        answer.headers["content-type"],
        "application/json; charset=utf-8"
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    // Nothing more: the poll waits for its window.
    let before = Instant::now();
    let answer = poller.poll().await;
    assert_eq!((answer.status(), before.elapsed()), (204, WINDOW));
    assert_eq!(answer.messages(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_waits_is_answered_at_once() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    let before = Instant::now();
    let (answer, ()) = tokio::join!(poller.poll(), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        shout(&bench, 1);
    });
    assert_eq!(answer.messages(), [shouted(1)]);
    assert_eq!(before.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn with_one_response_in_three_lost_everything_arrives_once_and_in_order() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    let (mut seen, mut turn, mut lost) = (Vec::new(), 0_u32, 0);
    for n in 0..300 {
        shout(&bench, n);
        if n % 4 == 3 {
            turn += 1;
            if turn % 3 == 0 {
                let answer = poller.poll_and_lose().await;
                lost += answer.messages().len();
            } else {
                seen.extend(poller.poll().await.messages());
            }
        }
    }
    seen.extend(poller.poll().await.messages());
    assert_eq!(seen, (0..300).map(shouted).collect::<Vec<_>>());
    assert!(lost > 90, "{lost}");
    assert_eq!(poller.poll().await.status(), 204);
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_client_goes_away_takes_nothing_with_it() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    let gone = tokio::time::timeout(Duration::from_secs(1), poller.poll_and_lose());
    assert!(gone.await.is_err());
    shout(&bench, 1);
    assert_eq!(poller.poll().await.messages(), [shouted(1)]);
}

#[tokio::test(start_paused = true)]
async fn of_two_polls_the_later_is_served_and_the_earlier_waits_in_vain() {
    let bench = Bench::new();
    let poller = joined(&bench).await;
    let before = Instant::now();
    let (first, second, ()) = tokio::join!(
        async { (poller.poll_and_lose().await.status(), before.elapsed()) },
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            poller.poll_and_lose().await.messages()
        },
        async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            shout(&bench, 1);
        },
    );
    assert_eq!(first, (204, WINDOW));
    assert_eq!(second, [shouted(1)]);
}

#[tokio::test(start_paused = true)]
async fn an_old_token_neither_fetches_nor_acknowledges() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    let old = poller.clone();
    for n in 1..=2 {
        shout(&bench, n);
        assert_eq!(poller.poll().await.messages(), [shouted(n)]);
    }
    shout(&bench, 3);
    // Two behind: it was overtaken, and must not see anything twice.
    assert_eq!(old.poll_and_lose().await.status(), 204);
    assert_eq!(poller.poll().await.messages(), [shouted(3)]);
}

#[tokio::test(start_paused = true)]
async fn more_polls_than_one_client_has_are_refused() {
    let bench = Bench::new();
    let poller = joined(&bench).await;
    let polls = (0..5).map(|_| poller.poll_and_lose());
    let answers = futures_util::future::join_all(polls).await;
    let last = answers.last().unwrap();
    assert_eq!(
        (last.http, last.status()),
        (StatusCode::TOO_MANY_REQUESTS, 500)
    );
    assert!(last.headers.contains_key("retry-after"));
    assert!(answers[..4].iter().all(|answer| answer.status() == 204));
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_nobody_polls_whatever_is_posted() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    for _ in 0..3 {
        // Each of these waits out its window, and the session lives on.
        assert_eq!(poller.poll().await.status(), 204);
    }
    let ended = Instant::now();
    let beat = r#"[null,"3","phoenix","heartbeat",{}]"#;
    while poller.post(&[beat]).await.status() == 200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(ended.elapsed() < Duration::from_secs(30));
    }
    assert!(
        ended.elapsed() >= Duration::from_secs(15),
        "{:?}",
        ended.elapsed()
    );
    assert_eq!(poller.post(&[beat]).await.status(), 410);
    assert_eq!(bench.kit.endpoint().connection_count(), 0);
    // The next poll begins a new session, which knows nothing of the old one's channels.
    let old = poller.token.clone();
    let answer = poller.poll().await;
    assert_eq!(answer.status(), 410);
    assert_ne!(answer.token(), old);
    assert_eq!(
        poller
            .post(&[r#"["1","4","lab:1","echo",{}]"#])
            .await
            .status(),
        200
    );
    let unmatched = r#"[null,"4","lab:1","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#;
    assert_eq!(poller.poll().await.messages(), [unmatched]);
}

#[tokio::test(start_paused = true)]
async fn a_session_over_its_bound_ends_with_410() {
    let bench = Bench::with_limits(|limits| limits.outbound_bytes_max = 4096);
    let mut poller = joined(&bench).await;
    for n in 0..100 {
        shout(&bench, n);
    }
    let answer = poller.poll().await;
    assert_eq!(answer.status(), 410);
    assert_eq!(answer.messages(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_and_not_acknowledged_counts_against_the_bound() {
    let bench = Bench::with(
        |limits| limits.outbound_bytes_max = 4096,
        OverflowPolicy::DropOldest,
    );
    let mut poller = joined(&bench).await;
    for n in 0..10 {
        shout(&bench, n);
    }
    let sent = poller.poll_and_lose().await.messages();
    assert_eq!(sent.len(), 10);
    // Newer ones push each other out, but not what may be on its way.
    for n in 10..200 {
        shout(&bench, n);
    }
    assert_eq!(poller.poll().await.messages(), sent);
    let newest = poller.poll().await.messages();
    assert_eq!(newest.last().unwrap(), &shouted(199));
    assert!(newest.len() < 30, "{}", newest.len());
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_polls_at_once_and_takes_no_new_sessions() {
    let bench = Bench::new();
    let mut waiting = joined(&bench).await;
    let mut away = joined(&bench).await;
    shout(&bench, 1);
    assert_eq!(waiting.poll().await.messages(), [shouted(1)]);
    let before = Instant::now();
    let options = DrainOptions::default();
    let (answer, left, fetched) = tokio::join!(
        waiting.poll(),
        async {
            tokio::task::yield_now().await;
            bench.kit.endpoint().drain(&options).await
        },
        async {
            // It may still fetch what waits for it.
            tokio::time::sleep(Duration::from_secs(2)).await;
            away.poll().await.messages()
        },
    );
    assert_eq!(answer.status(), 500);
    assert_eq!(fetched, [shouted(1)]);
    assert_eq!(left.dropped, 0);
    // The one that fetched never came back to say so.
    assert!(
        before.elapsed() < Duration::from_secs(6),
        "{:?}",
        before.elapsed()
    );
    let service = bench.kit.service();
    let answer = request(&service, "GET", "vsn=2.0.0", &[], "").await;
    assert_eq!(
        (answer.http, answer.status()),
        (StatusCode::SERVICE_UNAVAILABLE, 500)
    );
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_ends_the_session() {
    let bench = Bench::new();
    let mut poller = Poller::begin(bench.kit.service(), "user_id=7").await;
    let (answer, ()) = tokio::join!(poller.poll(), async {
        tokio::task::yield_now().await;
        bench.kit.endpoint().disconnect("user:7").unwrap();
    });
    assert_eq!(answer.status(), 500);
    assert_eq!(poller.post(&[JOIN]).await.status(), 410);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_connect_is_told_in_the_body() {
    let sockets = Sockets::new(PubSub::local(), async |params: ConnectParams| match params
        .get("deny")
    {
        Some("panic") => panic!("in connect"),
        Some(status) => Err(Refused::status(status.parse().unwrap())),
        None => Ok(()),
    })
    .with_long_poll(LongPollOptions::new());
    let service = TestEndpoint::new(sockets).service();
    for (query, http, status) in [
        ("vsn=2.0.0&deny=403", 200, 403),
        ("vsn=2.0.0&deny=401", 200, 403),
        ("vsn=3.0.0", 200, 403),
        ("vsn=2.0.0&deny=429", 429, 500),
        ("vsn=2.0.0&deny=503", 503, 500),
        ("vsn=2.0.0&deny=panic", 500, 500),
    ] {
        let answer = request(&service, "GET", query, &[], "").await;
        assert_eq!(
            (answer.http.as_u16(), answer.status()),
            (http, status),
            "{query}"
        );
    }
}

#[tokio::test]
async fn without_the_option_there_is_no_long_polling() {
    let sockets = Sockets::new(PubSub::local(), async || Ok::<_, Refused>(()));
    let service = TestEndpoint::new(sockets).service();
    let request = http::Request::builder()
        .uri("/longpoll")
        .body(http_body_util::Empty::<bytes::Bytes>::new());
    let response = tower::ServiceExt::oneshot(service, request.unwrap()).await;
    assert_eq!(response.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn methods_and_preflights() {
    let service = Bench::new().kit.service();
    for method in ["PUT", "HEAD", "DELETE", "PATCH"] {
        let answer = request(&service, method, "vsn=2.0.0", &[], "").await;
        assert_eq!(answer.http, StatusCode::BAD_REQUEST, "{method}");
    }
    let asked = [
        ("host", "elsewhere.example"),
        ("origin", "http://elsewhere.example"),
        ("access-control-request-headers", "content-type"),
        ("access-control-request-headers", "x-phoenix-longpoll-token"),
    ];
    let answer = request(&service, "OPTIONS", "", &asked, "").await;
    assert_eq!(answer.http, StatusCode::OK);
    let headers = answer.headers;
    let allowed = "content-type, x-phoenix-longpoll-token";
    assert_eq!(headers["access-control-allow-headers"], allowed);
    assert_eq!(
        headers["access-control-allow-methods"],
        "get, post, options"
    );
    assert_eq!(headers["access-control-max-age"], "3600");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_none_of_ours() {
    let bench = Bench::new();
    let service = bench.kit.service();
    for token in [
        "null",
        "",
        "abc",
        "lp1.0.abc",
        "lp1..",
        "lp1.99999999999.AAAA",
    ] {
        let query = format!("vsn=2.0.0&token={token}");
        assert_eq!(
            request(&service, "GET", &query, &[], "").await.status(),
            410,
            "{token}"
        );
        assert_eq!(
            request(&service, "POST", &query, &[], JOIN).await.status(),
            410,
            "{token}"
        );
    }
    // One character of the signed part changed.
    let poller = Poller::begin(service.clone(), "").await;
    for at in [8, poller.token.len() / 2, poller.token.len() - 6] {
        let mut forged = poller.token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let query = format!("token={}", String::from_utf8(forged).unwrap());
        assert_eq!(
            request(&service, "POST", &query, &[], JOIN).await.status(),
            410,
            "{at}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_may_come_in_a_header() {
    let bench = Bench::new();
    let poller = joined(&bench).await;
    shout(&bench, 1);
    let headers = [("x-phoenix-longpoll-token", poller.token.as_str())];
    let answer = request(&bench.kit.service(), "GET", "vsn=2.0.0", &headers, "").await;
    assert_eq!(answer.messages(), [shouted(1)]);
}

#[tokio::test(start_paused = true)]
async fn the_applications_own_token_is_told_from_the_sessions() {
    let sockets = Sockets::new(PubSub::local(), async |params: ConnectParams| {
        let seen = params.get("token").unwrap_or("none").to_owned();
        if seen == "secret" || seen == "none" {
            Ok(seen)
        } else {
            Err(Refused::forbidden())
        }
    })
    .with_id(|seen: &String| Some(seen.clone()))
    .with_long_poll(LongPollOptions::new());
    let kit = TestEndpoint::new(sockets);
    let service = kit.service();
    let dead = {
        let poller = Poller::begin(service.clone(), "").await;
        kit.endpoint().disconnect("none").unwrap();
        while kit.endpoint().connection_count() > 0 {
            tokio::task::yield_now().await;
        }
        poller.token
    };
    for query in [
        "token=secret&vsn=2.0.0".to_owned(),
        format!("token=secret&vsn=2.0.0&token={dead}"),
        format!("token={dead}&vsn=2.0.0&token=secret"),
        format!("token=secret&vsn=2.0.0&token={}", dead.replace('.', "%2E")),
    ] {
        assert_eq!(
            request(&service, "GET", &query, &[], "").await.status(),
            410,
            "{query}"
        );
    }
    let alone = format!("vsn=2.0.0&token={dead}");
    assert_eq!(
        request(&service, "GET", &alone, &[], "").await.status(),
        410
    );
    let wrong = request(&service, "GET", "vsn=2.0.0&token=wrong", &[], "").await;
    assert_eq!(wrong.status(), 403);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_is_named_and_the_session_lives() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    let beat = r#"[null,"3","phoenix","heartbeat",{}]"#;
    let beaten = r#"[null,"3","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    for (bad, reason) in [
        (
            "!!",
            "line 2 is neither a JSON array nor base64 of a binary message",
        ),
        ("[1]", "message is not valid"),
        ("[", "message is not valid"),
        ("AAAA", "binary message ends before its"),
    ] {
        let answer = poller.post(&[beat, bad, beat]).await;
        assert_eq!(
            (answer.http, answer.status()),
            (StatusCode::BAD_REQUEST, 400),
            "{bad}"
        );
        let text = answer.body["reason"].as_str().unwrap();
        assert!(text.starts_with(reason), "{bad}: {text}");
        // What came before it was handled, and what came after it was not.
        assert_eq!(poller.poll().await.messages(), [beaten], "{bad}");
    }
    for (kind, body) in [
        ("application/x-ndjson", ""),
        ("application/x-ndjson", "\n\r\n\n"),
        ("application/json", ""),
    ] {
        assert_eq!(poller.post_body(kind, body).await.status(), 200);
    }
    let lines = format!("{beat}\r\n\n{beat}\n");
    let kind = "application/x-ndjson; charset=utf-8";
    assert_eq!(poller.post_body(kind, lines).await.status(), 200);
    assert_eq!(poller.poll().await.messages(), [beaten, beaten]);
    assert_eq!(
        poller.post_body("application/json", beat).await.status(),
        200
    );
    assert_eq!(poller.poll().await.messages(), [beaten]);
}

#[tokio::test(start_paused = true)]
async fn every_line_is_taken_and_a_body_over_the_limit_is_refused_whole() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    let lines: Vec<String> = (0..1000)
        .map(|n| format!(r#"["1","{n}","lab:1","echo",{{}}]"#))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(poller.post(&lines).await.status(), 200);
    let mut replies = 0;
    while replies < 1000 {
        replies += poller.poll().await.messages().len();
    }
    let answer = poller
        .post_body("application/x-ndjson", vec![b'\n'; 8_000_001])
        .await;
    assert_eq!(
        (answer.http, answer.status()),
        (StatusCode::PAYLOAD_TOO_LARGE, 413)
    );
    assert_eq!(
        answer.body["reason"],
        "the body is longer than 8000000 bytes"
    );
    // A single message has a limit of its own.
    let big = format!(
        r#"["1","2","lab:1","echo",{{"a":"{}"}}]"#,
        "x".repeat(1 << 20)
    );
    let answer = poller.post(&[&big]).await;
    assert_eq!(answer.http, StatusCode::BAD_REQUEST);
    assert!(
        answer.body["reason"]
            .as_str()
            .unwrap()
            .contains("a message may have 1048576")
    );
    // Eight million empty lines cost no more than their bytes.
    let newlines = poller
        .post_body("application/x-ndjson", vec![b'\n'; 8_000_000])
        .await;
    assert_eq!(newlines.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn binary_goes_up_and_only_up() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    let mut push = vec![0, 1, 1, 5, 4];
    push.extend_from_slice(b"12lab:1echo\x01\x02");
    let line = STANDARD.encode(&push);
    assert_eq!(poller.post(&[&line]).await.status(), 200);
    let reply = r#"["1","2","lab:1","phx_reply",{"status":"error","response":{"reason":"binary needs a websocket"}}]"#;
    assert_eq!(poller.poll().await.messages(), [reply]);
    // As clients before 1.7 send it: as it is.
    assert_eq!(
        poller.post_body("application/json", push).await.status(),
        200
    );
    assert_eq!(poller.poll().await.messages(), [reply]);
    // To the others of a topic, bytes are a broadcast that this client cannot get.
    let endpoint = bench.kit.endpoint();
    endpoint
        .broadcast_raw("lab:1", "bytes", Payload::binary(vec![1]))
        .unwrap();
    shout(&bench, 1);
    assert_eq!(poller.poll().await.messages(), [shouted(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_post_waits_for_a_channel_that_is_behind_and_then_gives_up() {
    let bench = Bench::with_limits(|limits| limits.inbound_messages_max = 2);
    let mut poller = joined(&bench).await;
    let wait = r#"["1","2","lab:1","wait",{}]"#;
    let echo = r#"["1","3","lab:1","echo",{}]"#;
    let late = r#"["1","9","lab:1","echo",{}]"#;
    assert_eq!(poller.post(&[wait]).await.status(), 200);
    let (before, lines) = (Instant::now(), [echo, echo, late]);
    let polling = async {
        loop {
            assert_eq!(poller.poll_and_lose().await.status(), 204);
        }
    };
    let answer = tokio::select! {
        answer = poller.post(&lines) => answer,
        () = polling => unreachable!("it polls for ever"),
    };
    assert_eq!(answer.status(), 408);
    // The first window saw progress.
    assert_eq!(before.elapsed(), 2 * WINDOW);
    bench.gate.add_permits(1);
    let replies = poller.poll().await.messages();
    assert_eq!(replies.len(), 3, "{replies:?}");
    // Withdrawn: the client was told that it was not handled.
    assert!(!replies.iter().any(|reply| reply.contains("\"9\"")));
}

#[tokio::test(start_paused = true)]
async fn clients_of_version_1_poll_too() {
    let bench = Bench::new();
    let service = bench.kit.service();
    let token = request(&service, "GET", "vsn=1.0.0", &[], "").await.token();
    let query = format!("vsn=1.0.0&token={token}");
    let join = r#"{"topic":"lab:1","event":"phx_join","payload":{},"ref":"1","join_ref":"1"}"#;
    assert_eq!(
        request(&service, "POST", &query, &[], join).await.status(),
        200
    );
    let answer = request(&service, "GET", &query, &[], "").await;
    let reply: serde_json::Value = serde_json::from_str(&answer.messages()[0]).unwrap();
    assert_eq!(reply["event"], "phx_reply");
    assert_eq!(reply["payload"], json!({"status": "ok", "response": {}}));
}

#[tokio::test(start_paused = true)]
async fn sessions_that_have_ended_leave_nothing_behind() {
    let bench = Bench::new();
    for _ in 0..50 {
        drop(joined(&bench).await);
    }
    assert_eq!(bench.kit.endpoint().connection_count(), 50);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(bench.kit.endpoint().connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_origins_may_do_nothing() {
    let bench = Bench::new();
    let service = bench.kit.service();
    let mut poller = joined(&bench).await;
    shout(&bench, 1);
    let headers = [("host", "example.com"), ("origin", "https://evil.example")];
    let query = format!("vsn=2.0.0&token={}", poller.token);
    for (method, query) in [
        ("GET", "vsn=2.0.0"),
        ("GET", &query),
        ("POST", &query),
        ("OPTIONS", ""),
    ] {
        let answer = request(&service, method, query, &headers, JOIN).await;
        assert_eq!(answer.http, StatusCode::OK);
        assert_eq!(answer.body, json!({"status": 403}), "{method} {query}");
        assert!(!answer.headers.contains_key("access-control-allow-methods"));
    }
    assert_eq!(poller.poll().await.messages(), [shouted(1)]);
    let own = [("host", "example.com"), ("origin", "https://example.com")];
    assert_eq!(
        request(&service, "GET", "vsn=2.0.0", &own, "")
            .await
            .status(),
        410
    );
}

#[tokio::test(start_paused = true)]
async fn who_posts_too_much_waits() {
    let bench = Bench::with_limits(|limits| {
        limits.messages_per_second = Some(Rate::per_second(10).with_burst(10));
    });
    let mut poller = joined(&bench).await;
    let before = Instant::now();
    let beat = r#"[null,"3","phoenix","heartbeat",{}]"#;
    assert_eq!(poller.post(&[beat; 50]).await.status(), 200);
    let took = before.elapsed();
    assert!((3..=5).contains(&took.as_secs()), "{took:?}");
    assert_eq!(poller.poll().await.messages().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_browser_shows_its_phoenix_session() {
    let secret = "abcdefgh".repeat(8);
    let store = SessionStore::new(secret, &SessionOptions::new("change_me")).unwrap();
    let connect = async |info: ConnectInfo| {
        let session = info.session::<Session>();
        let from = session.and_then(|session| session.get::<String>("from_session"));
        from.ok_or(Refused::forbidden())
    };
    let sockets = Sockets::new(PubSub::local(), connect)
        .with_session(SessionCookie::of_phoenix("_app_key", store))
        .with_id(|from: &String| Some(from.clone()))
        .with_long_poll(LongPollOptions::new());
    let service = TestEndpoint::new(sockets).service();
    let cookie = "_app_key=SFMyNTY.g3QAAAACbQAAAAtfY3NyZl90b2tlbm0AAAAYQUJDREVGR0hJSktMTU5PUFFSU1RVVldYbQAAAAxmcm9tX3Nlc3Npb25tAAAAAzEyMw.fJD3U8fYEQT_15IQYbLOG18tcj_-gddtsaH8yLTY9MQ";
    let csrf = "ICAgICAgICAgICAgICAgICAgICAgICAgabcdefghijklmnopqrstuvwx";
    for (query, cookie, status) in [
        (format!("vsn=2.0.0&_csrf_token={csrf}"), cookie, 410),
        (
            format!("vsn=2.0.0&_csrf_token={}", csrf.replace('a', "b")),
            cookie,
            403,
        ),
        ("vsn=2.0.0".to_owned(), cookie, 403),
        (
            format!("vsn=2.0.0&_csrf_token={csrf}"),
            "_app_key=forged",
            403,
        ),
    ] {
        let answer = request(&service, "GET", &query, &[("cookie", cookie)], "").await;
        assert_eq!(answer.status(), status, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_is_told_when_to_come_back() {
    let bench = Bench::with_limits(|limits| limits.connections_max = 0);
    let answer = request(&bench.kit.service(), "GET", "vsn=2.0.0", &[], "").await;
    assert_eq!(
        (answer.http, answer.status()),
        (StatusCode::SERVICE_UNAVAILABLE, 500)
    );
    assert_eq!(answer.headers["retry-after"], "5");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_posts_to_an_ending_session_keeps_nobody_waiting() {
    let bench = Bench::with_limits(|limits| limits.inbound_messages_max = 1);
    let (waiting, late) = (joined(&bench).await, joined(&bench).await);
    // Behind a handler that waits, a post waits as well.
    let wait = r#"["1","2","lab:1","wait",{}]"#;
    let echo = r#"["1","3","lab:1","echo",{}]"#;
    assert_eq!(waiting.post(&[wait]).await.status(), 200);
    let before = Instant::now();
    let lines = [echo, echo];
    let options = DrainOptions::default();
    let (posted, posted_late, report) = tokio::join!(
        async {
            let posted = waiting.post(&lines).await;
            // The handler may end now; the answer did not wait for it.
            bench.gate.add_permits(1);
            posted
        },
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            late.post(&[echo]).await
        },
        async {
            // Something that neither of them has fetched.
            shout(&bench, 1);
            tokio::task::yield_now().await;
            bench.kit.endpoint().drain(&options).await
        },
    );
    assert_eq!((posted.status(), posted_late.status()), (410, 410));
    assert_eq!(report.dropped, 0);
    assert!(
        before.elapsed() < Duration::from_secs(1),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_before_1_8_is_sent_away_from_a_session_that_is_lost() {
    let bench = Bench::new();
    let service = bench.kit.service();
    let poller = Poller::begin(service.clone(), "user_id=7").await;
    bench.kit.endpoint().disconnect("user:7").unwrap();
    while bench.kit.endpoint().connection_count() > 0 {
        tokio::task::yield_now().await;
    }
    let query = format!("vsn=2.0.0&token={}", poller.token);
    // What tells it: a type for a body that is not there.
    let old = [("content-type", "application/json")];
    assert_eq!(
        request(&service, "GET", &query, &old, "").await.status(),
        500
    );
    assert_eq!(
        request(&service, "GET", "vsn=2.0.0", &old, "")
            .await
            .status(),
        410
    );
    assert_eq!(
        request(&service, "GET", "vsn=2.0.0&token=abc", &old, "")
            .await
            .status(),
        410
    );
    assert_eq!(
        request(&service, "GET", &query, &[], "").await.status(),
        410
    );
}

#[tokio::test(start_paused = true)]
async fn a_push_of_bytes_does_not_crash_the_channel_of_a_client_that_polls() {
    let bench = Bench::new();
    let mut poller = joined(&bench).await;
    let mut push = vec![0, 1, 1, 5, 4];
    push.extend_from_slice(b"12lab:1push\x01\x02");
    assert_eq!(poller.post(&[&STANDARD.encode(&push)]).await.status(), 200);
    let echo = r#"["1","3","lab:1","echo",{}]"#;
    assert_eq!(poller.post(&[echo]).await.status(), 200);
    let reply = r#"["1","3","lab:1","phx_reply",{"status":"ok","response":{}}]"#;
    let messages = poller.poll().await.messages();
    assert_eq!(
        messages.last().map(String::as_str),
        Some(reply),
        "{messages:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_only_announces_a_body_keeps_nobody_out() {
    let bench = Bench::with_limits(|limits| limits.posts_total_bytes_max = 64 << 10);
    let (slow, mut poller) = (joined(&bench).await, joined(&bench).await);
    let query = format!("vsn=2.0.0&token={}", slow.token);
    let (sender, body) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = StreamBody::new(futures_util::stream::unfold(body, async |mut body| {
        let bytes: Bytes = body.recv().await?;
        Some((Ok::<_, std::io::Error>(Frame::data(bytes)), body))
    }));
    let announced = http::Request::post(format!("/longpoll?{query}"))
        .header("content-length", "8000000")
        .body(Box::pin(body))
        .unwrap();
    let service = bench.kit.service();
    let posting = tokio::spawn(tower::ServiceExt::oneshot(service, announced));
    sender.send(Bytes::from_static(b"[")).await.unwrap();
    tokio::task::yield_now().await;
    let echo = format!(
        r#"["1","2","lab:1","echo",{{"a":"{}"}}]"#,
        "x".repeat(30_000)
    );
    assert_eq!(poller.post(&[&echo]).await.status(), 200);
    assert_eq!(poller.poll().await.messages().len(), 1);
    // What has arrived counts, and what does not fit is refused at once.
    sender.send(vec![b' '; 60_000].into()).await.unwrap();
    tokio::task::yield_now().await;
    let answer = poller.post(&[&echo]).await;
    assert_eq!(
        (answer.http, answer.status()),
        (StatusCode::SERVICE_UNAVAILABLE, 500)
    );
    drop(sender);
    assert_eq!(posting.await.unwrap().unwrap().status(), 400);
    assert_eq!(poller.post(&[&echo]).await.status(), 200);
}
