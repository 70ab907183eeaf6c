//! The request that becomes a socket: its headers, its query, where it comes from, and what is echoed of it.

use std::time::{Duration, Instant};

use bennu::serve::ServeLimits;
use bennu::socket::Origins;
use bennu::{ConnectParams, Refused, Sockets};
use bennu_testkit::TestEndpoint;
use http::{HeaderValue, Request};
use http_body_util::Full;
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;

use crate::client::{Plain, UPGRADE, heartbeat};
use crate::target::{PATIENCE, Running, Target};

/// A handshake with more headers, and the head of the answer.
async fn upgrade(server: &Running, headers: &str) -> String {
    let request = format!("{}\r\n{headers}\r\n", UPGRADE.trim_end());
    answer(server, &request).await
}

/// Any request, and the head of the answer, which may come before all is written.
async fn answer(server: &Running, request: &str) -> String {
    let stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let request = request.as_bytes().to_vec();
    let writing = tokio::spawn(async move {
        let _ = writer.write_all(&request).await;
        writer
    });
    let mut client = Plain(tokio::io::join(reader, tokio::io::sink()));
    let head = client.head().await;
    drop(writing);
    head
}

fn status(head: &str) -> &str {
    head.get(9..12).unwrap_or(head)
}

/// CVE-2024-37890 (ws), CVE-2023-43669 (tungstenite), CVE-2026-65624 (cowlib: duplicate names passed under
/// `max_headers`), GHSA-9q5m-g6v3-6772 (Bandit): headers without end, in number or length, under new
/// names or always the same.
#[tokio::test(flavor = "multi_thread")]
async fn header_floods() {
    let server = Target::new().serve().await;
    let table = [
        (0..2000)
            .map(|n| format!("x{n}: y\r\n"))
            .collect::<String>(),
        "x: y\r\n".repeat(2000),
        "connection: upgrade\r\n".repeat(2000),
        format!("x: {}\r\n", "y".repeat(1 << 20)),
        format!("{}: y\r\n", "x".repeat(1 << 20)),
        // Never a line's end.
        "x".repeat(1 << 20),
    ];
    for headers in table {
        let head = upgrade(&server, &headers).await;
        assert!(matches!(status(&head), "431" | "400"), "{head}");
    }
    heartbeat(&mut Plain::websocket(server.addr).await).await;
}

/// CVE-2021-32640 (ws: a ReDoS in `Sec-WebSocket-Protocol`) and the extensions header DoS of 2017 (ws): lists
/// whose reading takes quadratic time or worse. The limits on headers keep them short here, so those are
/// taken away, to see the parsers.
#[tokio::test(flavor = "multi_thread")]
async fn subprotocol_and_extension_lists() {
    let service = Target::with(|target| {
        target.limits.header_bytes_max = usize::MAX;
    })
    .kit()
    .service();
    let long = 1_000_000;
    let table = [
        ("sec-websocket-protocol", format!("a{}b", " ".repeat(long))),
        ("sec-websocket-protocol", "a, ".repeat(long / 3)),
        ("sec-websocket-protocol", ",".repeat(long)),
        (
            "sec-websocket-extensions",
            format!("a{}b", " ".repeat(long)),
        ),
        ("sec-websocket-extensions", "a; b=c, ".repeat(long / 8)),
        (
            "sec-websocket-extensions",
            "permessage-deflate; ".repeat(long / 20),
        ),
        (
            "sec-websocket-extensions",
            format!("a; b=\"{}", "\\\"".repeat(long / 2)),
        ),
        ("connection", "upgrade, ".repeat(long / 9)),
    ];
    for (name, value) in table {
        let request = Request::get("/websocket?vsn=2.0.0")
            .header("host", "localhost")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-version", "13")
            .header(name, value)
            .body(Full::<bytes::Bytes>::default())
            .unwrap();
        let started = Instant::now();
        let _ = service.clone().oneshot(request).await.unwrap();
        // Linear work is some milliseconds, quadratic work hours.
        assert!(started.elapsed() < Duration::from_secs(5), "{name}");
    }
}

/// CVE-2026-54892 (Plug): each parameter of a nested query is put into a copy of what was there, so that a
/// query of some kilobytes takes minutes. Names, levels and pairs have bounds here, and work is linear in
/// length.
#[test]
fn quadratic_queries() {
    let deep = format!("a{}=1&", "[x]".repeat(16));
    let table = [
        "a[]=1&".repeat(1024),
        deep.repeat(1024),
        (0..1024).map(|n| format!("a[{n}][x]=1&")).collect(),
        format!("a{}=1", "[x]".repeat(1_000_000)),
        format!("a{}=1", "[]".repeat(1_000_000)),
        format!("{}=1", "[".repeat(1_000_000)),
        "a=1&".repeat(1_000_000),
        "&".repeat(3_000_000),
        "%".repeat(3_000_000),
        format!("a={}", "%41".repeat(1_000_000)),
    ];
    for query in table {
        let started = Instant::now();
        let _ = ConnectParams::from_query(&query);
        let start = &query[..20.min(query.len())];
        assert!(started.elapsed() < Duration::from_secs(5), "{start}");
    }
    assert!(ConnectParams::from_query(&"a=1&".repeat(1025)).is_err());
    assert!(ConnectParams::from_query(&format!("a{}=1", "[x]".repeat(17))).is_err());
}

/// CVE-2026-54892 and -56814 (Plug) as a request: a long query, many parameters, and deep ones are refused
/// before the application sees them.
#[tokio::test]
async fn long_and_deep_queries() {
    let kit = Target::with(|target| target.limits.query_bytes_max = 60_000).kit();
    let refused = async |query: &str| {
        let request = Request::get(format!("/websocket?{query}"));
        let connected = kit.connect_with(request.body(()).unwrap()).await;
        connected.unwrap_err().into_response().status().as_u16()
    };
    // The http crate takes no URI beyond 65,534 bytes, so the limit is set below it.
    assert_eq!(
        refused(&format!("vsn=2.0.0&a={}", "a".repeat(60_000))).await,
        414
    );
    assert_eq!(
        refused(&format!("vsn=2.0.0&{}", "a=1&".repeat(2000))).await,
        400
    );
    let deep = format!("vsn=2.0.0&a{}=1", "%5Bx%5D".repeat(5000));
    assert_eq!(refused(&deep).await, 400);
}

/// Slowloris: handshakes that arrive byte by byte hold a connection each, for as long as they like.
#[tokio::test]
async fn slow_handshakes() {
    let mut limits = ServeLimits::default();
    limits.header_read_timeout = Duration::from_millis(150);
    let server = Target::new().serve_with(limits).await;
    let started = Instant::now();
    let dripping = (0..20).map(|_| async {
        let mut client = Plain::connect(server.addr).await;
        let mut clock = tokio::time::interval(Duration::from_millis(10));
        for byte in UPGRADE.bytes() {
            clock.tick().await;
            if client.0.write_all(&[byte]).await.is_err() {
                return true;
            }
        }
        false
    });
    let cut = futures_util::future::join_all(dripping);
    let cut = tokio::time::timeout(PATIENCE, cut).await.unwrap();
    assert!(cut.into_iter().all(|cut| cut));
    // At one byte per 10 ms they would need two seconds.
    assert!(started.elapsed() < Duration::from_secs(2));
    heartbeat(&mut Plain::websocket(server.addr).await).await;
}

/// GHSA-p8f7-22gq-m7j9 (Phoenix: a wildcard that matched any suffix), CVE-2020-28481 (socket.io), and every
/// other way of looking like the right origin.
#[tokio::test]
async fn origins_that_look_right() {
    let target = Target::new();
    let kit = |origins| TestEndpoint::new(target.sockets().with_origins(origins));
    let status = async |kit: &TestEndpoint, origins: &[&str]| {
        let mut request = TestEndpoint::request(&[]);
        for origin in origins {
            let value = HeaderValue::from_bytes(origin.as_bytes()).unwrap();
            request = request.header("origin", value);
        }
        match kit.connect_with(request.body(()).unwrap()).await {
            Ok(_) => 200,
            Err(refused) => refused.into_response().status().as_u16(),
        }
    };
    let listed = kit(Origins::list(["https://example.com", "//*.example.org"]));
    for right in [
        "https://example.com",
        "https://a.example.org",
        "http://a.b.example.org",
    ] {
        assert_eq!(status(&listed, &[right]).await, 200, "{right}");
    }
    let wrong = [
        "http://example.com",
        "https://example.com:444",
        "https://example.com.evil.net",
        "https://evilexample.com",
        "https://example.com@evil.net",
        "https://evil.net/https://example.com",
        "https://evil.net?https://example.com",
        "https://evil.net#.example.org",
        "https://evil.net/.example.org",
        "https://evilexample.org",
        "https://example.org.evil.net",
        "https://a.example.org.evil.net",
        "https://a.example.org@evil.net",
        "https://a.example.org:80:90",
        "https://example.com, https://evil.net",
        "https://evil.net https://example.com",
        "https://evil.net\\.example.org",
        "https://evil.net\t.example.org",
        "https://ex\u{e4}mple.com",
        "https://",
        "//example.com",
        "example.com",
        "file://",
        "null",
        "",
    ];
    for wrong in wrong {
        assert_eq!(status(&listed, &[wrong]).await, 403, "{wrong}");
    }
    // Two of them: whichever a proxy looked at, it was not both.
    for pair in [
        ["https://example.com", "https://evil.net"],
        ["https://evil.net", "https://example.com"],
    ] {
        assert_eq!(status(&listed, &pair).await, 403, "{pair:?}");
    }
    let same_host = TestEndpoint::new(target.sockets());
    for wrong in [
        "https://localhost.evil.net",
        "https://evil.net",
        "https://localhos",
    ] {
        assert_eq!(status(&same_host, &[wrong]).await, 403, "{wrong}");
    }
}

/// CVE-2026-43966 (Cowboy), GHSA-x3gh-xhj4-3vq8 (Bandit): what a client sent is written into a header of the
/// answer, and a line break in it begins a header, or an answer, of the client's choice.
#[tokio::test(flavor = "multi_thread")]
async fn response_splitting() {
    let server = Target::new().serve().await;
    // As raw bytes the breaks do not even get in.
    let preflight = |value: &str| {
        format!(
            "OPTIONS /socket/longpoll HTTP/1.1\r\nHost: localhost\r\n\
             Access-Control-Request-Headers: {value}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let head = answer(&server, &preflight("x-a, x-b")).await;
    assert!(
        head.contains("\r\naccess-control-allow-headers: x-a, x-b\r\n"),
        "{head}"
    );
    for bad in ["x\rset-cookie: a=b", "x\0y", "x\n y", "x\r\r y", "x\u{7f}y"] {
        let head = answer(&server, &preflight(bad)).await;
        assert_eq!(status(&head), "400", "{bad:?} {head}");
        assert!(!head.contains("set-cookie"), "{head}");
        let offer = format!("Sec-WebSocket-Protocol: phoenix, {bad}\r\n");
        assert_eq!(status(&upgrade(&server, &offer).await), "400", "{bad:?}");
        let host = format!("GET /tls HTTP/1.1\r\nHost: {bad}\r\n\r\n");
        assert_eq!(status(&answer(&server, &host).await), "400", "{bad:?}");
    }
    // The subprotocol that is answered is the server's, not what was sent in its place.
    let head = upgrade(&server, "Sec-WebSocket-Protocol: PHOENIX;x=y\r\n").await;
    assert!(!head.contains("x=y"), "{head}");
    // Escaped, they stay escaped.
    let location = async |path: &str, host: &str| {
        answer(
            &server,
            &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        )
        .await
    };
    let head = location("/tls?a=%0d%0aset-cookie:x", "example.com").await;
    let line = "\r\nlocation: https://example.com/tls?a=%0d%0aset-cookie:x\r\n";
    assert!(head.contains(line), "{head}");
}

/// CVE-2026-64941 (Phoenix: an open redirect by tab, CR and LF), CVE-2026-39807 (Bandit): a redirect that
/// leads to where the client, or a proxy's cache, was told by somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_that_lead_elsewhere() {
    let server = Target::new().serve().await;
    for (host, expected) in [
        ("example.com", Some("https://example.com/tls")),
        ("example.com:8080", Some("https://example.com/tls")),
        ("example.com/evil.net", None),
        ("example.com@evil.net", None),
        ("evil.net#", None),
        ("evil.net?", None),
        ("a b", None),
        ("a\tb", None),
        ("", None),
    ] {
        let request = format!(
            "GET /tls HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: evil.net\r\n\
             X-Forwarded-Proto: https\r\n\r\n"
        );
        let head = answer(&server, &request).await;
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix("location: "));
        assert_eq!(line, expected, "{host:?} {head}");
        if expected.is_none() {
            assert_eq!(status(&head), "400", "{host:?}");
        }
    }
    // In place of a path, something that would become a part of the host.
    for target in ["*", "//evil.net/tls", "http://evil.net/tls"] {
        let head = answer(
            &server,
            &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        )
        .await;
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix("location: "));
        assert!(
            line.is_none_or(|line| !line.starts_with("https://evil.net:")),
            "{head}"
        );
        assert!(
            line.is_none_or(|line| line.starts_with("https://a/") || target.contains("http")),
            "{head}"
        );
    }
}

/// RFC 6455, section 4.2.1: requests that are no proper handshakes become sockets, and with them a cache or
/// a form of another page can open one.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_are_none() {
    let server = Target::new().serve().await;
    let without = |name: &str| {
        let lines = UPGRADE.lines().filter(|line| !line.starts_with(name));
        lines.collect::<Vec<_>>().join("\r\n") + "\r\n"
    };
    let requests = [
        without("Host"),
        without("Sec-WebSocket-Version"),
        without("Connection").replace("Upgrade: w", "Connection: close\r\nUpgrade: w"),
        UPGRADE.replace("Upgrade: websocket", "Upgrade: h2c"),
        UPGRADE.replace("Version: 13", "Version: 8"),
        UPGRADE.replace("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8"),
        UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"),
        UPGRADE.replace("HTTP/1.1", "HTTP/1.0"),
        UPGRADE.replace("GET", "POST"),
    ];
    for request in requests {
        let head = answer(&server, &request).await;
        assert_eq!(status(&head), "400", "{request}{head}");
    }
    assert_eq!(server.endpoint.connection_count(), 0);
}

/// CVE-2022-21676, CVE-2023-31125 (engine.io), CVE-2024-38355 (socket.io): a request makes the code that
/// looks at it fail, and the process ends. Here a panic in `connect` is a 500.
#[tokio::test]
async fn a_request_that_makes_connect_panic() {
    let sockets = Sockets::new(Target::new().pubsub, async |params: ConnectParams| {
        assert!(params.get("bad").is_none(), "connect panics");
        Ok::<_, Refused>(())
    });
    let kit = TestEndpoint::new(sockets);
    for _ in 0..100 {
        let refused = kit.connect(&[("bad", "1")]).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 500);
    }
    assert_eq!(kit.endpoint().connection_count(), 0);
    assert!(kit.connect(&[]).await.is_ok());
}
