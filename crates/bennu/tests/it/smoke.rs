//! One connection over a real port, from the upgrade to the end.

use axum::extract::Path;
use bennu::{
    Channel, Context, Joined, Payload, PubSub, RawEvent, Refused, Rejection, Reply, Sockets, Stop,
};
use bennu_proto::websocket::{Opcode, masked_frame};
use bennu_testkit::{TestWire, WireEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Room;

impl Channel for Room {
    type Assigns = String;
    type Params = Payload;
    type In = RawEvent;

    async fn join(cx: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        Ok(Joined::from(Room).with_response(cx.assigns()))
    }

    async fn handle_in(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: RawEvent,
    ) -> Result<Reply, Stop> {
        cx.broadcast_raw("told", event.payload.clone())?;
        Ok(Reply::ok(&event.payload))
    }
}

/// Serves the sockets below a path of several segments, one of them a variable.
async fn serve() -> (std::net::SocketAddr, bennu::Endpoint) {
    let connect = async |Path(tenant): Path<String>| Ok::<_, Refused>(tenant);
    let sockets = Sockets::new(PubSub::local(), connect)
        .with_id(|tenant| Some(tenant.clone()))
        .channel::<Room>("room:*");
    let endpoint = sockets.endpoint();
    let router = axum::Router::new().nest("/api/{tenant}/socket", sockets.into_router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, endpoint)
}

/// Upgrades a connection and sends `early` in the same packet as the request.
async fn upgrade(address: std::net::SocketAddr, early: &[u8]) -> TestWire {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request = b"GET /api/acme/socket/websocket?vsn=2.0.0 HTTP/1.1\r\n\
        Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        .to_vec();
    request.extend_from_slice(early);
    stream.write_all(&request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    TestWire::over(stream)
}

#[tokio::test]
async fn from_the_upgrade_over_a_join_to_a_disconnect() {
    let (address, endpoint) = serve().await;
    let join = masked_frame(
        true,
        Opcode::Text,
        [7; 4],
        br#"["1","1","room:1","phx_join",{}]"#,
    );
    let mut wire = upgrade(address, &join).await;
    let ok = r#"["1","1","room:1","phx_reply",{"status":"ok","response":"acme"}]"#;
    assert_eq!(wire.next_text().await, ok);
    wire.send_text(r#"["1","2","room:1","say",{"a":1}]"#).await;
    assert_eq!(
        wire.next_text().await,
        r#"[null,null,"room:1","told",{"a":1}]"#
    );
    let reply = r#"["1","2","room:1","phx_reply",{"status":"ok","response":{"a":1}}]"#;
    assert_eq!(wire.next_text().await, reply);
    // From another task, straight to the socket.
    endpoint
        .broadcast_raw("room:1", "news", Payload::empty())
        .unwrap();
    assert_eq!(wire.next_text().await, r#"[null,null,"room:1","news",{}]"#);
    // Far more than the socket takes at once, both ways.
    let big = format!("\"{}\"", "x".repeat(900_000));
    wire.send_text(&format!(r#"["1","3","room:1","say",{{"big":{big}}}]"#))
        .await;
    assert_eq!(
        wire.next_text().await.len(),
        900_000 + r#"[null,null,"room:1","told",{"big":""}]"#.len()
    );
    assert!(wire.next_text().await.contains("phx_reply"));
    endpoint.disconnect("acme").unwrap();
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1001))));
    wire.send_frame(Opcode::Close, &1001_u16.to_be_bytes())
        .await;
    assert_eq!(wire.next().await, None);
}

#[tokio::test]
async fn a_protocol_error_and_a_lost_connection_over_a_real_port() {
    let (address, endpoint) = serve().await;
    let mut wire = upgrade(address, b"").await;
    wire.send_text("nonsense").await;
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(1011))));
    assert_eq!(wire.next().await, None);
    drop(wire);
    drop(upgrade(address, b"").await);
    // Both are gone once the server has noticed.
    while endpoint.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
}
