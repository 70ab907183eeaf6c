//! Clients: one that writes HTTP/1.1 by hand, one that speaks HTTP/2 by hyper, and WebSockets over
//! both.

use std::net::SocketAddr;
use std::time::Duration;

use bennu_proto::websocket::Opcode;
use bennu_testkit::{TestWire, WireEvent};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::ext::Protocol;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const UPGRADE: &str = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\n\
    Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A connection on which a test reads and writes bytes.
pub(crate) struct Plain<T = TcpStream>(pub(crate) T);

impl Plain {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    /// A connection that has become a socket.
    pub(crate) async fn websocket(addr: SocketAddr) -> TestWire {
        Self::connect(addr).await.upgrade().await
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Plain<T> {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The head of the next answer, in lower case.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
        };
        timeout(PATIENCE, read).await.unwrap();
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// Asks for a path, without a body in the answer but what fits one read.
    pub(crate) async fn get(&mut self, path: &str) -> (String, String) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await;
        let head = self.head().await;
        let length = head.split("content-length: ").nth(1).map_or(0, |rest| {
            rest.split("\r\n").next().unwrap().parse().unwrap()
        });
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Everything until the server ends the connection, by a reset or otherwise.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .unwrap();
        rest
    }

    pub(crate) async fn upgrade(mut self) -> TestWire {
        self.send(UPGRADE).await;
        let head = self.head().await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        TestWire::over(self.0)
    }
}

/// An HTTP/2 connection.
pub(crate) struct Http2 {
    requests: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap()).await
    }

    pub(crate) async fn over<T>(transport: T) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(transport))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let mut client = Self {
            requests,
            connection,
        };
        // With the answer come the settings, without which there is no extended CONNECT.
        assert_eq!(client.get("/ok").await, (StatusCode::OK, "ok".to_owned()));
        client
    }

    pub(crate) async fn send(&mut self, request: Request<Empty<Bytes>>) -> (StatusCode, String) {
        let response = self.requests.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let uri = format!("http://localhost{path}");
        self.send(Request::get(uri).body(Empty::new()).unwrap())
            .await
    }

    /// An extended CONNECT at the sockets.
    pub(crate) fn connect_request(
        protocol: Option<&'static str>,
        version: &str,
    ) -> Request<Empty<Bytes>> {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://localhost/socket/websocket?vsn=2.0.0")
            .header("sec-websocket-version", version);
        if let Some(protocol) = protocol {
            request = request.extension(Protocol::from_static(protocol));
        }
        request.body(Empty::new()).unwrap()
    }

    /// A stream that has become a socket.
    pub(crate) async fn websocket(&mut self) -> TestWire {
        let request = Self::connect_request(Some("websocket"), "13");
        let response = self.requests.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        for absent in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!response.headers().contains_key(absent), "{absent}");
        }
        let stream = hyper::upgrade::on(response).await.unwrap();
        TestWire::over(TokioIo::new(stream))
    }

    /// Waits until the server has ended the connection, in good order.
    pub(crate) async fn ended(self) {
        let ended = timeout(PATIENCE, self.connection).await.unwrap().unwrap();
        ended.unwrap();
    }
}

/// A heartbeat there and back.
pub(crate) async fn heartbeat(wire: &mut TestWire) {
    wire.send_text(r#"[null,"7","phoenix","heartbeat",{}]"#)
        .await;
    let reply = r#"[null,"7","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(wire.next_text().await, reply);
}

/// A push to a channel and its reply.
pub(crate) async fn echo(wire: &mut TestWire) {
    wire.send_text(r#"["1","1","echo:1","phx_join",{}]"#).await;
    let joined = r#"["1","1","echo:1","phx_reply",{"status":"ok","response":{}}]"#;
    assert_eq!(wire.next_text().await, joined);
    wire.send_text(r#"["1","2","echo:1","say",{"a":1}]"#).await;
    let reply = r#"["1","2","echo:1","phx_reply",{"status":"ok","response":{"a":1}}]"#;
    assert_eq!(wire.next_text().await, reply);
}

/// The server closes with this code, is answered, and ends the transport.
pub(crate) async fn closed(wire: &mut TestWire, code: u16) {
    assert_eq!(wire.next().await, Some(WireEvent::Close(Some(code))));
    wire.send_frame(Opcode::Close, &code.to_be_bytes()).await;
    assert_eq!(wire.next().await, None);
}
