//! What a request is told, and what it may become.

use bennu::serve::Listener;
use tokio::net::UnixListener;

use crate::client::{Http2, Plain, echo, heartbeat};
use crate::support::start;

#[tokio::test]
async fn a_request_knows_its_peer_over_either_version() {
    let server = start(|server| server).await;
    let mut client = Plain::connect(server.addr).await;
    let addr = client.0.local_addr().unwrap();
    let (_, body) = client.get("/peer").await;
    assert_eq!(body, format!("{addr} tls=false certificate=0"));
    let (_, body) = client.get("/ok").await;
    assert_eq!(body, "ok", "the connection is kept");
    let (_, body) = Http2::connect(server.addr).await.get("/peer").await;
    assert!(body.ends_with("tls=false certificate=0"), "{body}");
}

#[tokio::test]
async fn a_socket_is_had_without_a_wrapper() {
    for http1_only in [false, true] {
        let server = start(|server| {
            if http1_only {
                server.with_http1_only()
            } else {
                server
            }
        })
        .await;
        let mut client = Plain::connect(server.addr).await;
        client
            .send("GET /raw HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
            .await;
        assert!(client.head().await.starts_with("http/1.1 101"));
        assert_eq!(client.rest().await, b"plain");
        let mut wire = Plain::websocket(server.addr).await;
        heartbeat(&mut wire).await;
        echo(&mut wire).await;
    }
}

#[tokio::test]
async fn a_method_may_begin_as_http2_does() {
    let server = start(|server| server).await;
    for method in ["PUT", "PRUNE", "POST"] {
        let mut client = Plain::connect(server.addr).await;
        // Byte by byte, since that is where one could stop looking too early.
        for byte in format!("{method} /ok HTTP/1.1\r\nHost: a\r\n\r\n").bytes() {
            client.send([byte]).await;
        }
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 200"), "{method}: {head}");
    }
}

#[tokio::test]
async fn a_server_of_http1_only_does_not_know_http2() {
    let server = start(bennu::serve::Server::with_http1_only).await;
    let mut client = Plain::connect(server.addr).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_nothing_else() {
    let server = start(|server| server).await;
    let mut neighbour = Plain::connect(server.addr).await;
    neighbour.get("/ok").await;
    let mut client = Plain::connect(server.addr).await;
    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(neighbour.get("/ok").await.1, "ok");
}

#[tokio::test]
async fn several_listeners_and_a_unix_socket_are_served() {
    let path = std::env::temp_dir().join(format!("bennu-serve-{}.sock", std::process::id()));
    let unix = UnixListener::bind(&path).unwrap();
    let second = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let second_addr = second.local_addr().unwrap();
    let server = start(|server| server.with_listener(unix).with_listener(second)).await;
    for addr in [server.addr, second_addr] {
        assert_eq!(Plain::connect(addr).await.get("/ok").await.1, "ok");
    }
    let connect = async || Plain(tokio::net::UnixStream::connect(&path).await.unwrap());
    let (_, body) = connect().await.get("/peer").await;
    assert_eq!(body, "none tls=false certificate=0");
    heartbeat(&mut connect().await.upgrade().await).await;
    std::fs::remove_file(&path).unwrap();
}
