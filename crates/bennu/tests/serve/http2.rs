//! WebSockets over HTTP/2, as RFC 8441 has them.

use hyper::Method;

use crate::client::{Http2, echo, heartbeat};
use crate::support::start;

#[tokio::test]
async fn sockets_share_a_connection() {
    let server = start(|server| server).await;
    let mut client = Http2::connect(server.addr).await;
    let (mut one, mut two) = (client.websocket().await, client.websocket().await);
    assert_eq!(server.endpoint.connection_count(), 2);
    heartbeat(&mut one).await;
    echo(&mut two).await;
    let big = format!(
        r#"["1","3","echo:1","say",{{"x":"{}"}}]"#,
        "y".repeat(900_000)
    );
    two.send_text(&big).await;
    assert!(two.next_text().await.len() > 900_000);
    heartbeat(&mut one).await;
    assert_eq!(client.get("/ok").await.1, "ok");
    drop(one);
    heartbeat(&mut two).await;
}

#[tokio::test]
async fn a_socket_that_is_left_ends() {
    let server = start(|server| server).await;
    let mut client = Http2::connect(server.addr).await;
    let wire = client.websocket().await;
    drop((wire, client));
    while server.endpoint.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_no_websocket_is_refused() {
    let server = start(|server| server).await;
    let mut client = Http2::connect(server.addr).await;
    let table = [
        (Some("connect-udp"), "13", 501),
        (Some("websocket"), "8", 400),
    ];
    for (protocol, version, status) in table {
        let request = Http2::connect_request(protocol, version);
        let (answered, _) = client.send(request).await;
        assert_eq!(answered, status, "{protocol:?} {version}");
    }
    for method in [Method::GET, Method::POST] {
        let mut request = Http2::connect_request(None, "13");
        *request.method_mut() = method;
        assert_eq!(client.send(request).await.0, 400);
    }
    assert_eq!(server.endpoint.connection_count(), 0);
}
