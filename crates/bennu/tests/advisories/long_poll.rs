//! Long polling: bodies that are more than they look, tokens that are none, and requests without end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use bennu::serve::ServeLimits;
use bennu::socket::LongPollOptions;
use bennu::token::Keyring;
use bennu_proto::long_poll::{Body, Part};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use crate::client::Plain;
use crate::poller::{Poller, request};
use crate::target::{PATIENCE, Target, others_are_well};

const NDJSON: &str = "application/x-ndjson";
const JOIN: &str = r#"["1","1","room:1","phx_join",{}]"#;
const JOINED: &str = r#"["1","1","room:1","phx_reply",{"status":"ok","response":{}}]"#;

async fn joined(target: &Target) -> Poller {
    let mut poller = Poller::begin(target.kit().service(), "").await;
    assert_eq!(poller.post(&[JOIN]).await.status(), 200);
    assert_eq!(poller.poll().await.messages(), [JOINED]);
    poller
}

/// CVE-2026-32689 (Phoenix): a body of newlines is split into as many list cells, a gigabyte for 8 MB. Here
/// a line is cut off when it is its turn, and this measures that nothing else is held.
#[test]
fn millions_of_tiny_lines() {
    let mut parts = 0;
    for line in ["\n", "\r\n", "[]\n", "AA==\n"] {
        let body = Bytes::from(line.repeat(8_000_000 / line.len()));
        let started = Instant::now();
        let memory = measure(|| {
            let mut body = Body::new(Some(NDJSON), body.clone());
            while let Some(part) = body.next_part(1 << 20).unwrap() {
                parts += match part {
                    Part::Text(text) => text.len(),
                    Part::Binary(bytes) => bytes.len(),
                };
                if parts > 4_000_000 {
                    break;
                }
            }
        });
        assert!(memory.bytes_max < 4096, "{line:?}: {memory:?}");
        assert!(started.elapsed() < PATIENCE, "{line:?}");
        parts = 0;
    }
}

/// The same as a request, also with a line that is no message at the end, and as more small messages than
/// one turn handles: everybody else is served between them.
#[tokio::test]
async fn batches_of_tiny_messages() {
    let target = Target::new();
    let mut poller = joined(&target).await;
    assert_eq!(
        poller
            .post_body(NDJSON, vec![b'\n'; 8_000_000])
            .await
            .status(),
        200
    );
    let mut rubbish = vec![b'\n'; 100_000];
    rubbish.push(b'!');
    assert_eq!(poller.post_body(NDJSON, rubbish).await.http, 400);
    let echo = r#"["1","2","room:1","echo",{}]"#;
    assert_eq!(poller.post(&[echo; 2000]).await.status(), 200);
    let mut replies = 0;
    while replies < 2000 {
        replies += poller.poll().await.messages().len();
    }
}

/// The headers of a request to the session of `token`.
fn post(token: &str, headers: &str) -> String {
    format!(
        "POST /socket/longpoll?vsn=2.0.0&token={token} HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/x-ndjson\r\n{headers}\r\n"
    )
}

/// A session over a port.
async fn session(addr: SocketAddr) -> String {
    let mut client = Plain::connect(addr).await;
    let (_, body) = client.get("/socket/longpoll?vsn=2.0.0").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    body["token"].as_str().unwrap().to_owned()
}

/// CVE-2026-39803 (Bandit), CVE-2022-3212 (axum-core), CVE-2026-8466 (Cowboy): the limit on a body counts
/// what is announced, and a body in chunks announces nothing.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_ignore_the_cap() {
    let target = Target::with(|target| target.limits.post_bytes_max = 100_000);
    let server = target.serve().await;
    let token = session(server.addr).await;
    // Announced: refused before a byte of it has come.
    let mut client = Plain::connect(server.addr).await;
    client
        .send(post(&token, "Content-Length: 100001\r\n"))
        .await;
    assert!(client.head().await.starts_with("http/1.1 413"));
    // In chunks: refused with the first byte too many, and no more of it is read.
    let mut client = Plain::connect(server.addr).await;
    client
        .send(post(&token, "Transfer-Encoding: chunked\r\n"))
        .await;
    let chunk = format!("{:x}\r\n{}\r\n", 10_000, "\n".repeat(10_000));
    let (mut reader, mut writer) = client.0.into_split();
    let writing = tokio::spawn(async move {
        let mut written = 0;
        while written < 10_000 && writer.write_all(chunk.as_bytes()).await.is_ok() {
            written += 1;
        }
        written
    });
    let mut answered = Plain(tokio::io::join(&mut reader, tokio::io::sink()));
    let mut head = Vec::new();
    use tokio::io::AsyncReadExt;
    while head.len() < 12 {
        head.push(answered.0.read_u8().await.unwrap());
    }
    assert_eq!(head, b"HTTP/1.1 413");
    drop(reader);
    let written = tokio::time::timeout(PATIENCE, writing)
        .await
        .unwrap()
        .unwrap();
    assert!(written < 10_000, "100 MB were read");
    // Just the limit is fine.
    let mut client = Plain::connect(server.addr).await;
    client
        .send(post(&token, "Content-Length: 100000\r\n"))
        .await;
    client.send("\n".repeat(100_000)).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
}

/// Slow POSTs (R.U.D.Y.): a body that arrives byte by byte holds a request, and its share of memory, for as
/// long as it likes. It has one window.
#[tokio::test]
async fn slow_bodies() {
    let window = Duration::from_millis(300);
    let target = Target::with(|target| {
        target.polling = LongPollOptions::new().with_window(window);
        // So that the slow ones have all there is.
        target.limits.posts_total_bytes_max = 10_000;
        target.limits.post_bytes_max = 10_000;
    });
    let server = target.serve_with(ServeLimits::default()).await;
    let token = session(server.addr).await;
    let slow = async {
        let mut client = Plain::connect(server.addr).await;
        client.send(post(&token, "Content-Length: 10000\r\n")).await;
        let (reader, mut writer) = client.0.into_split();
        let dripping = async {
            let mut clock = tokio::time::interval(Duration::from_millis(20));
            loop {
                clock.tick().await;
                if writer.write_all(b"\n").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut client = Plain(tokio::io::join(reader, tokio::io::sink()));
        tokio::select! {
            head = client.head() => assert!(head.starts_with("http/1.1 408"), "{head}"),
            () = dripping => {}
        }
    };
    tokio::time::timeout(PATIENCE, slow).await.unwrap();
    // What it held is free again.
    let token = session(server.addr).await;
    let mut client = Plain::connect(server.addr).await;
    client.send(post(&token, "Content-Length: 10000\r\n")).await;
    client.send("\n".repeat(10_000)).await;
    assert!(client.head().await.starts_with("http/1.1 200"));
}

/// Tokens that name a session without having been given for it: forged, altered, expired, of other secrets,
/// of another node, and of other kinds under the same secret. Identity that is taken before it is verified
/// is CVE-2026-55735 (guardian) and CVE-2026-47068.
#[tokio::test]
async fn tokens_that_are_none() {
    let secret = "abcdefgh".repeat(8);
    let keys = || Keyring::new(&secret, "long poll").unwrap();
    let with = |options: LongPollOptions| Target::with(|target| target.polling = options);
    let target = with(LongPollOptions::new().with_keys(keys()));
    let kit = target.kit();
    let service = kit.service();
    let ours = Poller::begin(service.clone(), "").await.token;
    let signed = ours.strip_prefix("lp1.0.").unwrap();
    let of = async |target: Target| Poller::begin(target.kit().service(), "").await.token;
    let other_salt = Keyring::new(&secret, "user auth").unwrap();
    let parts: Vec<&str> = signed.split('.').collect();
    let (payload, signature) = (parts[1], parts[2]);
    let forged = [
        // Another endpoint's session under our keys, other keys, and a token of ours for something else.
        of(with(LongPollOptions::new().with_keys(keys()))).await,
        of(with(LongPollOptions::new())).await,
        of(with(LongPollOptions::new().with_keys(other_salt))).await,
        format!("lp1.0.{}", keys().sign("user 1").unwrap()),
        format!("lp1.0.{}", keys().sign(&("other", "A".repeat(22))).unwrap()),
        format!(
            "lp1.0.{}",
            keys().encrypt(&("local", "A".repeat(22))).unwrap()
        ),
        // The parts of a good one.
        format!("lp1.0.SFMyNTY.{payload}"),
        format!("lp1.0.SFMyNTY.{payload}."),
        format!("lp1.0.none.{payload}."),
        format!("lp1.0.SFM4NA.{payload}.{signature}"),
        format!("lp1.0.SFMyNTY.{payload}A.{signature}"),
        format!("lp1.0..{payload}.{signature}"),
        format!("lp1.-1.{signed}"),
        format!("lp1.4294967296.{signed}"),
        format!("lp1.{signed}"),
        format!("lp1.0.{}", &signed[..signed.len() - 2]),
        format!("lp1.0.{}", "A".repeat(60_000)),
        "lp1.0.".to_owned(),
    ];
    for token in forged {
        let shown = &token[..token.len().min(60)];
        let query = format!("vsn=2.0.0&token={token}");
        let answer = request(&service, "POST", &query, &[], JOIN).await;
        assert_eq!(answer.status(), 410, "{shown}");
        assert!(answer.body.get("messages").is_none(), "{shown}");
    }
    // Expired, and from before a change of the secret.
    let brief = LongPollOptions::new().with_token_max_age(Duration::from_secs(0));
    let brief = Poller::begin(with(brief).kit().service(), "").await;
    assert_eq!(brief.post(&[JOIN]).await.status(), 410);
    // The number is the client's own affair: a wrong one gets nothing that is not its own.
    let query = format!("vsn=2.0.0&token=lp1.77.{signed}");
    assert_eq!(
        request(&service, "POST", &query, &[], JOIN).await.status(),
        200
    );
}

/// A poll waits, and a client can ask for as many as it likes: of one session four wait, and only the last
/// is answered.
#[tokio::test(start_paused = true)]
async fn concurrent_polls_of_one_session() {
    let target = Target::new();
    let poller = joined(&target).await;
    let polls = (0..200).map(|_| {
        let poller = poller.clone();
        async move { poller.poll_and_lose().await }
    });
    let started = tokio::time::Instant::now();
    let answers = futures_util::future::join_all(polls).await;
    let refused = answers.iter().filter(|answer| answer.http == 429).count();
    let waited = answers.iter().filter(|answer| answer.http == 200).count();
    assert_eq!((waited, refused), (4, 196));
    // After one window all are answered.
    assert!(started.elapsed() <= Duration::from_secs(11));
}

/// A POST waits until its messages are handled: so many of one session wait, and the others are refused at
/// once. While they wait the session's driver rests: one that looks again and again for whether it may go on
/// would hold its thread, and this test, for ever.
#[tokio::test(start_paused = true)]
async fn post_floods() {
    const POSTS: usize = 1000;
    let target = Target::with(|target| target.limits.inbound_messages_max = 1);
    let kit = target.kit();
    let mut poller = Poller::begin(kit.service(), "").await;
    let wait = r#"["1","2","room:1","wait",{}]"#;
    assert_eq!(poller.post(&[JOIN, wait, wait]).await.status(), 200);
    assert_eq!(poller.poll().await.messages(), [JOINED]);
    let query = format!("vsn=2.0.0&token={}", poller.token);
    let length = wait.len().to_string();
    let headers = [("content-type", NDJSON), ("content-length", &length)];
    let service = kit.service();
    let posts = (0..POSTS).map(|_| request(&service, "POST", &query, &headers, wait));
    let answers = futures_util::future::join_all(posts);
    let (answers, ()) = tokio::join!(answers, async {
        others_are_well(&kit).await;
        // The session lives only as long as somebody polls.
        assert_eq!(poller.poll_and_lose().await.status(), 204);
    });
    let refused = answers.iter().filter(|answer| answer.http == 429).count();
    let waited = answers
        .iter()
        .filter(|answer| answer.status() == 408)
        .count();
    assert_eq!((refused, waited), (POSTS - 256, 256));
    // And what was withdrawn is not handled later.
    target.gate.add_permits(POSTS);
    let replies = poller.poll().await.messages().len();
    assert!(replies <= 2, "{replies}");
}

/// Methods, content types and queries that are none of the protocol's: each is answered, and none begins a
/// session by accident.
#[tokio::test]
async fn requests_of_other_kinds() {
    let kit = Target::new().kit();
    for method in ["PUT", "DELETE", "PATCH", "HEAD", "TRACE"] {
        let answer = request(&kit.service(), method, "vsn=2.0.0", &[], "").await;
        assert_eq!(answer.http, 400, "{method}");
    }
    let poller = Poller::begin(kit.service(), "").await;
    for kind in [
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "",
        "text/html",
    ] {
        let body = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n";
        assert_eq!(poller.post_body(kind, body).await.http, 400, "{kind}");
    }
    assert_eq!(kit.endpoint().connection_count(), 1);
}
