//! The door: what a request must show before `connect` is asked, and what `connect` is told.

use std::net::SocketAddr;

use axum::extract::ConnectInfo as AxumConnectInfo;
use bennu::limits::Rate;
use bennu::socket::{
    ConnectInfo, ForwardedHeader, MountError, Origins, PeerAddr, SessionCookie, TrustedProxies,
};
use bennu::{PubSub, Refused, SocketService, Sockets};
use bennu_testkit::TestEndpoint;
use bytes::Bytes;
use http::request::Builder;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use crate::support::Bench;
use crate::telemetry::{Lines, Metrics, has_line};

/// What `connect` was told, last time.
type Seen = Arc<Mutex<Option<ConnectInfo>>>;

fn sockets() -> (Sockets<()>, Seen) {
    let seen = Seen::default();
    let told = Arc::clone(&seen);
    let sockets = Sockets::new(PubSub::local(), async move |info: ConnectInfo| {
        *told.lock() = Some(info);
        Ok::<_, Refused>(())
    });
    (sockets, seen)
}

/// What `connect` is told of a request.
async fn told(sockets: (Sockets<()>, Seen), request: Builder) -> ConnectInfo {
    let kit = TestEndpoint::new(sockets.0);
    let request = request.body(()).unwrap();
    kit.connect_with(request).await.unwrap();
    sockets.1.lock().take().unwrap()
}

fn request() -> Builder {
    TestEndpoint::request(&[])
}

/// The head of the answer to a handshake with these headers, through hyper.
async fn handshake(service: SocketService, headers: &str) -> String {
    let (mut client, server) = tokio::io::duplex(4096);
    let service = service_fn(move |request| service.clone().oneshot(request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    tokio::spawn(connection.with_upgrades());
    let request = format!(
        "GET /websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{headers}\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

#[tokio::test(start_paused = true)]
async fn the_handshake_answers_with_the_subprotocol_that_was_agreed_upon() {
    let with = |make: fn(Sockets<()>) -> Sockets<()>| make(sockets().0).into_service();
    let plain = || with(|sockets| sockets);
    let named = || with(|sockets| sockets.with_subprotocols(["b", "a"]));
    let token = || with(Sockets::with_auth_token);
    let both = || with(|sockets| sockets.with_auth_token().with_subprotocols(["a"]));
    let client = "Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.c2VjcmV0\r\n";
    let offer = "Sec-WebSocket-Protocol: x, a, b\r\n";
    let table = [
        (plain(), offer, "101", None),
        (named(), offer, "101", Some("b")),
        (named(), "", "101", None),
        (named(), "Sec-WebSocket-Protocol: x\r\n", "403", None),
        (token(), client, "101", Some("phoenix")),
        (token(), "", "101", None),
        (
            token(),
            "Sec-WebSocket-Protocol: base64url.bearer.phx.aGk\r\n",
            "101",
            None,
        ),
        (
            token(),
            "Sec-WebSocket-Protocol: phoenix\r\n",
            "101",
            Some("phoenix"),
        ),
        (token(), "Sec-WebSocket-Protocol: x\r\n", "403", None),
        (
            token(),
            "Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.!\r\n",
            "400",
            None,
        ),
        (both(), client, "101", Some("phoenix")),
        (both(), "Sec-WebSocket-Protocol: a\r\n", "101", Some("a")),
        (
            both(),
            "Sec-WebSocket-Protocol: a, phoenix\r\n",
            "101",
            Some("phoenix"),
        ),
    ];
    for (service, headers, status, subprotocol) in table {
        let head = handshake(service, headers).await;
        assert!(
            head.starts_with(&format!("http/1.1 {status}")),
            "{headers}{head}"
        );
        let answer = head
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(answer, subprotocol, "{headers}{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_auth_token_reaches_connect_and_no_log() {
    let (lines, _guard) = Lines::capture();
    let (sockets, seen) = sockets();
    let sockets = (sockets.with_auth_token(), seen);
    let offer = "phoenix, base64url.bearer.phx.aHVudGVyMg";
    let request = request().header("sec-websocket-protocol", offer);
    let info = told(sockets, request).await;
    assert_eq!(info.auth_token().unwrap().as_str(), Some("hunter2"));
    let headers: Vec<_> = info.sec_websocket_headers().collect();
    assert_eq!(
        headers,
        [(
            &HeaderName::from_static("sec-websocket-protocol"),
            &HeaderValue::from_static("phoenix"),
        )]
    );
    let printed = format!("{info:?} {:?}", info.auth_token());
    let log = lines.take() + &printed;
    assert!(
        !log.contains("hunter2") && !log.contains("aHVudGVyMg"),
        "{log}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_read_is_a_400_that_says_so() {
    let kit = TestEndpoint::new(sockets().0.with_auth_token());
    let offer = "phoenix, base64url.bearer.phx.hunter%2";
    let request = request().header("sec-websocket-protocol", offer);
    let refused = kit.connect_with(request.body(()).unwrap()).await;
    let response = refused.unwrap_err().into_response();
    assert_eq!(response.status(), 400);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        body,
        "the auth token in 'sec-websocket-protocol' must be base64, padded or not"
    );
}

#[test]
#[should_panic(expected = "a subprotocol is a token")]
fn a_subprotocol_that_cannot_be_one_is_a_mistake_of_the_program() {
    let _ = sockets().0.with_subprotocols(["a b"]);
}

#[tokio::test(start_paused = true)]
async fn connect_is_told_what_the_headers_say() {
    let request = request()
        .header("x-one", "1")
        .header("user-agent", "tests")
        .header("x-two", "2")
        .header("cookie", "secret=1")
        .header("x-one", "3")
        .header("traceparent", "00-1")
        .header("tracestate", "v=1")
        .header("trace", "no")
        .header("sec-websocket-protocol", "my, protocols");
    let info = told(sockets(), request).await;
    let list = |headers: Vec<(&HeaderName, &HeaderValue)>| {
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let headers = headers.into_iter();
        headers
            .map(|(name, value)| format!("{name}={}", text(value)))
            .collect::<Vec<_>>()
    };
    let x = list(info.x_headers().collect());
    assert_eq!(x, ["x-one=1", "x-one=3", "x-two=2"]);
    let sec = list(info.sec_websocket_headers().collect());
    assert_eq!(sec, ["sec-websocket-protocol=my, protocols"]);
    let trace = list(info.trace_context().collect());
    assert_eq!(trace, ["traceparent=00-1", "tracestate=v=1"]);
    assert_eq!(info.user_agent().unwrap(), "tests");
    assert!(info.auth_token().is_none());
    let uri = info.uri();
    assert_eq!(
        (uri.scheme(), uri.host(), uri.port()),
        ("http", Some("localhost"), 80)
    );
    assert_eq!((uri.path(), uri.query()), ("/websocket", Some("vsn=2.0.0")));
    assert!(info.peer().is_none() && info.address().is_none());
}

#[tokio::test]
async fn the_path_is_that_of_the_whole_request() {
    let (sockets, seen) = sockets();
    let router = axum::Router::<()>::new().nest("/api/socket", sockets.into_router());
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let (mut client, server) = tokio::io::duplex(4096);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    tokio::spawn(connection.with_upgrades());
    let request = "GET /api/socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n\
        Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    client.read_u8().await.unwrap();
    let info = seen.lock().take().unwrap();
    assert_eq!(info.uri().path(), "/api/socket/websocket");
}

#[tokio::test(start_paused = true)]
async fn the_peer_is_what_the_server_says() {
    let addr: SocketAddr = "[::ffff:192.0.2.1]:4711".parse().unwrap();
    let info = told(sockets(), request().extension(AxumConnectInfo(addr))).await;
    assert_eq!(info.peer().unwrap().addr(), Some(addr));
    assert_eq!(info.address().unwrap().to_string(), "192.0.2.1");
    assert_eq!(info.uri().scheme(), "http");
    let peer = PeerAddr::new(addr)
        .with_tls()
        .with_certificate(Bytes::from_static(b"der"));
    let request = request()
        .extension(peer.clone())
        .header("x-forwarded-for", "1.2.3.4");
    let info = told(sockets(), request).await;
    assert_eq!(info.peer(), Some(&peer));
    // Nobody is trusted by default.
    assert_eq!(info.address().unwrap().to_string(), "192.0.2.1");
    assert_eq!((info.uri().scheme(), info.uri().port()), ("https", 443));
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_says_who_is_behind_it_and_where_they_wanted_to_go() {
    let proxies = || TrustedProxies::new(ForwardedHeader::XForwarded, ["10.0.0.0/8"]).unwrap();
    let behind = |peer: &str| {
        request()
            .extension(PeerAddr::new(peer.parse().unwrap()))
            .header("x-forwarded-for", "1.2.3.4, 203.0.113.7")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "example.com")
            .header("origin", "https://example.com")
    };
    let trusting = || {
        let (sockets, seen) = sockets();
        let sockets = sockets.with_trusted_proxies(proxies());
        (sockets.with_origins(Origins::conn()), seen)
    };
    let info = told(trusting(), behind("10.1.2.3:80")).await;
    assert_eq!(info.address().unwrap().to_string(), "203.0.113.7");
    let uri = info.uri();
    assert_eq!(
        (uri.scheme(), uri.host(), uri.port()),
        ("https", Some("example.com"), 443)
    );
    // The same words from a stranger: neither its address nor its page is believed.
    let kit = TestEndpoint::new(trusting().0);
    let request = behind("203.0.113.9:80").body(()).unwrap();
    let refused = kit.connect_with(request).await.unwrap_err();
    assert_eq!(refused.into_response().status(), 403);
}

/// A bench with limits whose metrics are kept.
fn limited(change: impl FnOnce(&mut bennu::Limits)) -> (Bench, Metrics) {
    let metrics = Metrics::default();
    let bench = metrics::with_local_recorder(&metrics, || Bench::with_limits(change));
    (bench, metrics)
}

/// The status and `retry-after` of a refusal.
async fn refusal(bench: &Bench, request: Builder) -> (u16, Option<String>) {
    let refused = bench.kit.connect_with(request.body(()).unwrap()).await;
    let response = refused.unwrap_err().into_response();
    let after = response.headers().get("retry-after");
    let after = after.map(|after| after.to_str().unwrap().to_owned());
    (response.status().as_u16(), after)
}

fn from(peer: &str) -> Builder {
    request().extension(PeerAddr::new(peer.parse().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn there_are_so_many_connections_and_no_more() {
    let (bench, metrics) = limited(|limits| limits.connections_max = 2);
    let (first, _second) = (bench.connect().await, bench.connect().await);
    let expected = (503, Some("5".to_owned()));
    assert_eq!(refusal(&bench, request()).await, expected);
    assert_eq!(refusal(&bench, request()).await, expected);
    assert_eq!(metrics.count("bennu_limited_total connections_max"), 2);
    assert_eq!(metrics.count("bennu_connects_total limited"), 2);
    first.close(1000).await;
    bench.connect().await;
}

#[tokio::test(start_paused = true)]
async fn one_address_has_so_many_connections_and_no_more() {
    let (bench, metrics) = limited(|limits| limits.connections_per_peer_max = Some(1));
    let connect = async |peer: &str| {
        let request = from(peer).body(()).unwrap();
        bench.kit.connect_with(request).await
    };
    let first = connect("[2001:db8::1]:1").await.unwrap();
    // The same network of 64 bits, and another one.
    let expected = (429, Some("5".to_owned()));
    assert_eq!(refusal(&bench, from("[2001:db8::2]:1")).await, expected);
    connect("[2001:db8:0:1::1]:1").await.unwrap();
    connect("192.0.2.1:1").await.unwrap();
    assert_eq!(
        metrics.count("bennu_limited_total connections_per_peer_max"),
        1
    );
    first.close(1000).await;
    connect("[2001:db8::2]:1").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_address_connects_so_often_and_no_more() {
    let (bench, metrics) = limited(|limits| {
        limits.handshakes_per_second = Some(Rate::per_second(1).with_burst(2));
        limits.handshakes_per_second_total = Some(Rate::per_second(1).with_burst(3));
    });
    let connect = async |peer: &str| {
        let request = from(peer).body(()).unwrap();
        bench.kit.connect_with(request).await.unwrap()
    };
    connect("192.0.2.1:1").await;
    connect("192.0.2.1:2").await;
    let too_often = (429, Some("1".to_owned()));
    for _ in 0..10 {
        assert_eq!(refusal(&bench, from("192.0.2.1:3")).await, too_often);
    }
    connect("192.0.2.2:1").await;
    let overloaded = (503, Some("1".to_owned()));
    assert_eq!(refusal(&bench, from("192.0.2.3:1")).await, overloaded);
    assert_eq!(
        metrics.count("bennu_limited_total handshakes_per_second"),
        10
    );
    assert_eq!(
        metrics.count("bennu_limited_total handshakes_per_second_total"),
        1
    );
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    connect("192.0.2.1:1").await;
}

#[tokio::test(start_paused = true)]
async fn headers_are_so_many_and_so_long_and_no_more() {
    let (bench, metrics) = limited(|limits| {
        limits.headers_max = 10;
        limits.header_bytes_max = 1000;
    });
    // The same name again and again counts each time. `host` is the first.
    let many = |count| (0..count).fold(request(), |request, _| request.header("x-a", "1"));
    bench
        .kit
        .connect_with(many(9).body(()).unwrap())
        .await
        .unwrap();
    assert_eq!(refusal(&bench, many(10)).await, (431, None));
    let long = |bytes| request().header("x-a", "x".repeat(bytes));
    bench
        .kit
        .connect_with(long(900).body(()).unwrap())
        .await
        .unwrap();
    assert_eq!(refusal(&bench, long(1000)).await, (431, None));
    assert_eq!(metrics.count("bennu_limited_total headers_max"), 1);
    assert_eq!(metrics.count("bennu_limited_total header_bytes_max"), 1);
    assert_eq!(bench.kit.endpoint().connection_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_limits_in_force_are_logged_once() {
    let (lines, _guard) = Lines::capture();
    let bench = Bench::with_limits(|limits| {
        limits.messages_per_second = Some(Rate::per_second(7).with_burst(9));
    });
    bench.connect().await;
    let log = lines.take();
    let parts = [
        "DEBUG",
        "limits in force",
        "joins_max: 100",
        "7/s, 9 at once",
    ];
    assert!(has_line(&log, &parts), "{log}");
    assert_eq!(log.matches("limits in force").count(), 1);
}

/// A session is `user/csrf`; the token must be its second part.
fn cookie() -> SessionCookie {
    let decode = |cookie: &str| {
        assert_ne!(cookie, "panic");
        let (user, csrf) = cookie.split_once('/')?;
        Some((user.to_owned(), csrf.to_owned()))
    };
    SessionCookie::new(
        "_key",
        decode,
        |(_, csrf): &(String, String), token: &str| {
            assert_ne!(token, "panic");
            csrf == token
        },
    )
}

#[tokio::test(start_paused = true)]
async fn a_session_is_there_if_its_page_has_made_the_request() {
    let user = async |cookie: SessionCookie, header: &str, params: &[(&str, &str)]| {
        let (sockets, seen) = sockets();
        let request = TestEndpoint::request(params).header("cookie", header);
        let info = told((sockets.with_session(cookie), seen), request).await;
        let session = info.session::<(String, String)>();
        session.map(|(user, _)| user.clone())
    };
    let own: &[(&str, &str)] = &[("_csrf_token", "abc")];
    let ada = Some("ada".to_owned());
    assert_eq!(user(cookie(), "a=1; _key=ada/abc", own).await, ada);
    // Nobody is refused for the lack of one: that is for `connect` to decide.
    let table: &[(&str, &[(&str, &str)])] = &[
        ("_key=ada/abc", &[]),
        ("_key=ada/abc", &[("_csrf_token", "abd")]),
        ("_key=ada/abc", &[("_csrf_token", "")]),
        ("_key=ada/abc", &[("_csrf_token", "panic")]),
        ("_key=ada/abc", &[("_csrf_token[]", "abc")]),
        ("_key=forged", own),
        ("_key=panic", own),
        ("_other=ada/abc", own),
        ("", own),
    ];
    for (header, params) in table {
        assert_eq!(
            user(cookie(), header, params).await,
            None,
            "{header} {params:?}"
        );
    }
    let open = || cookie().without_csrf_check();
    assert_eq!(user(open(), "_key=ada/abc", &[]).await, ada);
    assert_eq!(user(open(), "_key=forged", &[]).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_another_host_cannot_use_a_session() {
    let kit = TestEndpoint::new(sockets().0.with_session(cookie().without_csrf_check()));
    let request = request()
        .header("cookie", "_key=ada/abc")
        .header("origin", "https://evil.com");
    let refused = kit.connect_with(request.body(()).unwrap()).await;
    assert_eq!(refused.unwrap_err().into_response().status(), 403);
}

#[test]
fn a_session_that_any_page_could_use_is_a_mistake_of_the_program() {
    let open = || sockets().0.with_session(cookie().without_csrf_check());
    let error = open().with_origins(Origins::any()).try_into_service();
    assert_eq!(error.unwrap_err(), MountError::OpenSession);
    assert!(open().try_into_service().is_ok());
    let checked = sockets().0.with_session(cookie());
    assert!(
        checked
            .with_origins(Origins::any())
            .try_into_service()
            .is_ok()
    );
}

#[test]
#[should_panic(expected = "any web page could connect as whoever looks at it")]
fn a_session_that_any_page_could_use_does_not_start() {
    let sockets = sockets().0.with_session(cookie().without_csrf_check());
    let _ = sockets.with_origins(Origins::any()).into_service();
}
