//! The end of a server, in its order.

use std::time::Duration;

use bennu::endpoint::DrainOptions;
use bennu_proto::websocket::Opcode;
use bennu_testkit::WireEvent;

use crate::client::{Http2, Plain, UPGRADE, closed, echo};
use crate::support::start;

fn drain(change: impl FnOnce(&mut DrainOptions)) -> DrainOptions {
    let mut options = DrainOptions::default();
    change(&mut options);
    options
}

#[tokio::test]
async fn every_socket_is_closed_with_1012() {
    let server = start(|server| server).await;
    let mut wires = Vec::new();
    let mut http2 = Http2::connect(server.addr).await;
    for n in 0..50 {
        let mut wire = if n % 5 == 0 {
            http2.websocket().await
        } else {
            Plain::websocket(server.addr).await
        };
        // Also those that have joined nothing.
        if n % 2 == 0 {
            echo(&mut wire).await;
        }
        wires.push(wire);
    }
    let mut idle = Plain::connect(server.addr).await;
    idle.get("/ok").await;
    let mut silent = Plain::connect(server.addr).await;
    let clients: Vec<_> = wires
        .into_iter()
        .map(|mut wire| tokio::spawn(async move { closed(&mut wire, 1012).await }))
        .collect();
    let report = server.stop().await.unwrap();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!((report.sockets_closed, report.sockets_dropped), (50, 0));
    assert_eq!(report.connections_dropped, 0);
    assert!(report.duration < Duration::from_secs(5), "{report:?}");
    assert_eq!(idle.rest().await, b"");
    assert_eq!(silent.rest().await, b"");
    http2.ended().await;
}

#[tokio::test]
async fn readiness_goes_first_then_sockets_then_the_listener() {
    let options = drain(|options| options.readiness_delay = Duration::from_millis(300));
    let server = start(|server| server.with_drain(options)).await;
    let (addr, endpoint) = (server.addr, server.endpoint.clone());
    let mut health = Plain::connect(addr).await;
    assert!(health.get("/healthz").await.0.starts_with("http/1.1 200"));
    let mut early = Plain::websocket(addr).await;
    let served = server.stop();
    while health.get("/healthz").await.0.starts_with("http/1.1 200") {}
    assert!(!endpoint.is_draining());
    let mut late = Plain::websocket(addr).await;
    // The client does not answer yet, so that the drain goes on.
    assert_eq!(late.next().await, Some(WireEvent::Close(Some(1012))));
    assert!(endpoint.is_draining());
    let mut refused = Plain::connect(addr).await;
    refused.send(UPGRADE).await;
    assert!(refused.head().await.starts_with("http/1.1 503"));
    assert!(health.get("/healthz").await.0.starts_with("http/1.1 503"));
    late.send_frame(Opcode::Close, &1012_u16.to_be_bytes())
        .await;
    closed(&mut early, 1012).await;
    assert_eq!(served.await.unwrap().sockets_closed, 2);
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_request_that_is_under_way_is_answered() {
    let server = start(|server| server).await;
    let gate = std::sync::Arc::clone(&server.gate);
    let mut client = Plain::connect(server.addr).await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered.notified().await;
    let http2 = Http2::connect(server.addr).await;
    let addr = server.addr;
    let served = server.stop();
    while tokio::net::TcpStream::connect(addr).await.is_ok() {}
    gate.open.notify_one();
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(client.rest().await, b"waited");
    assert_eq!(served.await.unwrap().connections_dropped, 0);
    http2.ended().await;
}

#[tokio::test]
async fn what_never_ends_is_dropped_at_the_limit_and_reported() {
    let options = drain(|options| options.timeout = Duration::from_millis(300));
    let server = start(|server| server.with_drain(options)).await;
    let gate = std::sync::Arc::clone(&server.gate);
    let mut client = Plain::connect(server.addr).await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.entered.notified().await;
    // It never answers the close frame.
    let mut deaf = Plain::websocket(server.addr).await;
    let report = server.stop().await.unwrap();
    assert_eq!((report.sockets_closed, report.sockets_dropped), (0, 1));
    assert_eq!(report.connections_dropped, 1);
    assert_eq!(client.rest().await, b"");
    assert_eq!(deaf.next().await, Some(WireEvent::Close(Some(1012))));
    assert_eq!(deaf.next().await, None);
}

#[tokio::test]
async fn half_a_request_does_not_hold_up_the_end() {
    let server = start(|server| server).await;
    let mut clients = Vec::new();
    for half in ["GET /o", "GET /ok HTTP/1.1\r\nHost", "PRI * HT"] {
        let mut client = Plain::connect(server.addr).await;
        client.send(half).await;
        clients.push(client);
    }
    let report = server.stop().await.unwrap();
    assert_eq!(report.connections_dropped, 0);
    assert!(report.duration < Duration::from_secs(5), "{report:?}");
    for mut client in clients {
        assert!(!client.rest().await.starts_with(b"HTTP/1.1"));
    }
}
