//! Every limit of the server, reached.

use std::time::Duration;

use bennu::serve::ServeLimits;
use http_body_util::Empty;
use hyper::Request;

use crate::client::{Http2, Plain, closed, heartbeat};
use crate::support::{Running, start};

async fn limited(change: impl FnOnce(&mut ServeLimits)) -> Running {
    let mut limits = ServeLimits::default();
    change(&mut limits);
    start(|server| server.with_limits(limits)).await
}

#[tokio::test]
async fn a_socket_counts_as_a_connection_for_its_life() {
    let server = limited(|limits| limits.connections_max = 1).await;
    let mut wire = Plain::websocket(server.addr).await;
    heartbeat(&mut wire).await;
    let mut refused = Plain::connect(server.addr).await;
    refused.send("GET /ok HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = refused.head().await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert!(head.contains("retry-after: "), "{head}");
    assert_eq!(refused.rest().await, b"");
    wire.send_text("nonsense").await;
    closed(&mut wire, 1011).await;
    drop(wire);
    // Its place is free once the server has noticed.
    loop {
        let mut next = Plain::connect(server.addr).await;
        next.send("GET /ok HTTP/1.1\r\nHost: a\r\n\r\n").await;
        if next.head().await.starts_with("http/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn one_peer_takes_no_more_than_its_share() {
    let server = limited(|limits| limits.connections_per_peer_max = Some(2)).await;
    let mut first = Plain::connect(server.addr).await;
    first.get("/ok").await;
    let second = Http2::connect(server.addr).await;
    let mut third = Plain::connect(server.addr).await;
    let head = third.head().await;
    assert!(head.starts_with("http/1.1 429"), "{head}");
    assert!(head.contains("retry-after: "), "{head}");
    // Another address is another peer.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut other = Plain(other.connect(server.addr).await.unwrap());
    assert_eq!(other.get("/ok").await.1, "ok");
    drop(second);
}

#[tokio::test]
async fn who_is_slow_with_a_first_request_is_cut() {
    let server = limited(|limits| limits.header_read_timeout = Duration::from_millis(100)).await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for beginning in [
        "",
        "P",
        "PRI",
        "PRI * HT",
        preface,
        "GET /ok HT",
        "GET /ok HTTP/1.1\r\nHost: a\r\nX: ",
    ] {
        let mut client = Plain::connect(server.addr).await;
        client.send(beginning).await;
        let rest = client.rest().await;
        assert!(!rest.starts_with(b"HTTP/1.1"), "{beginning:?}");
    }
    // Dripping does not help.
    let mut client = Plain::connect(server.addr).await;
    client.send("GET /ok HTTP/1.1\r\n").await;
    let mut clock = tokio::time::interval(Duration::from_millis(10));
    let dripping = async {
        loop {
            clock.tick().await;
            use tokio::io::AsyncWriteExt;
            if client.0.write_all(b"X: y\r\n").await.is_err() {
                break;
            }
        }
    };
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, dripping).await.unwrap();
}

#[tokio::test]
async fn a_request_may_take_longer_than_all_timeouts_and_an_idle_connection_may_not() {
    let server = limited(|limits| {
        limits.header_read_timeout = Duration::from_millis(100);
        limits.keep_alive_timeout = Duration::from_millis(100);
    })
    .await;
    let mut idle = Plain::connect(server.addr).await;
    assert_eq!(idle.get("/ok").await.1, "ok");
    let idle_http2 = Http2::connect(server.addr).await;
    let mut busy = Plain::connect(server.addr).await;
    busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut wire = Plain::websocket(server.addr).await;
    let mut http2 = Http2::connect(server.addr).await;
    let mut stream = http2.websocket().await;
    assert_eq!(idle.rest().await, b"");
    idle_http2.ended().await;
    // Another round, to be sure that the others are past theirs.
    let mut idle = Plain::connect(server.addr).await;
    idle.get("/ok").await;
    assert_eq!(idle.rest().await, b"");
    heartbeat(&mut wire).await;
    heartbeat(&mut stream).await;
    server.gate.open.notify_one();
    assert!(busy.head().await.starts_with("http/1.1 200"));
    // The connection is idle when its last socket is gone.
    stream.send_text("nonsense").await;
    closed(&mut stream, 1011).await;
    drop(stream);
    http2.ended().await;
}

#[tokio::test]
async fn headers_that_are_too_long_or_too_many_are_refused() {
    let server = limited(|limits| limits.headers_max = 20).await;
    let many: String = (0..30).map(|n| format!("x{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(64 * 1024));
    let query = format!("/ok?{}", "q".repeat(40 * 1024));
    for (path, headers) in [("/ok", &many), ("/ok", &long), (&*query, &String::new())] {
        let mut client = Plain::connect(server.addr).await;
        let (mut reader, mut writer) = client.0.split();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        // The answer may come before all is written.
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let _ = writer.write_all(request.as_bytes()).await;
        let mut status = [0; 12];
        reader.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 431");
    }
    let mut http2 = Http2::connect(server.addr).await;
    let mut request = Request::get("http://a/ok");
    for n in 0..30 {
        request = request.header(format!("x{n}"), "y");
    }
    let request = request.body(Empty::new()).unwrap();
    assert_eq!(http2.send(request).await.0, 431);
    assert_eq!(http2.get("/ok").await.0, 200, "the connection is kept");
}

#[tokio::test]
async fn limits_at_their_extremes_panic_nowhere() {
    let server = limited(|limits| {
        limits.header_bytes_max = usize::MAX;
        limits.headers_max = 1000;
        limits.http2_send_buffer_bytes_max = usize::MAX;
        limits.header_read_timeout = Duration::MAX;
        limits.keep_alive_timeout = Duration::MAX;
    })
    .await;
    assert_eq!(Plain::connect(server.addr).await.get("/ok").await.1, "ok");
    Http2::connect(server.addr).await;
    let server = limited(|limits| limits.header_bytes_max = 0).await;
    let mut client = Plain::connect(server.addr).await;
    client.send("GET /ok HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.head().await.starts_with("http/1.1 431"));
}
