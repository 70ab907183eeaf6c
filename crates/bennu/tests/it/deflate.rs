//! Compressed messages: from the offer in a request to what is on the wire, over a pipe.

use std::pin::Pin;
use std::task::Poll;

use bennu::{
    Channel, Context, DeflateOptions, Joined, Limits, Payload, PubSub, RawEvent, Refused,
    Rejection, Reply, SocketService, Sockets, Stop,
};
use bennu_proto::websocket::deflate::{Deflater, Inflater};
use bennu_proto::websocket::{self, Decoder, Event, Opcode, Role, masked_frame};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tower_service::Service;

const RSV1: u8 = 0x40;
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// Broadcasts what it is told, and answers with it.
struct Room;

impl Channel for Room {
    type Assigns = ();
    type Params = Payload;
    type In = RawEvent;

    async fn join(_: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        Ok(Room.into())
    }

    async fn handle_in(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: RawEvent,
    ) -> Result<Reply, Stop> {
        match event.event.as_str() {
            "push" => cx.push_raw("pushed", &event.payload)?,
            "say" => cx.broadcast_raw("said", event.payload.clone())?,
            _ => {}
        }
        Ok(Reply::ok(&event.payload))
    }
}

fn sockets() -> Sockets<(), Room> {
    Sockets::new(PubSub::local(), async || Ok::<_, Refused>(())).channel::<Room>("room:*")
}

fn deflating() -> SocketService {
    let options = DeflateOptions::default();
    sockets().with_deflate(options).into_service()
}

/// What came: the message, and its payload as it was on the wire if it was compressed.
#[derive(Debug, PartialEq)]
enum Came {
    Plain(String),
    Deflated(String, Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

impl Came {
    fn is_deflated(&self) -> bool {
        matches!(self, Self::Deflated(..))
    }

    /// The message.
    fn json(&self) -> Value {
        match self {
            Self::Plain(text) | Self::Deflated(text, _) => serde_json::from_str(text).unwrap(),
            other => panic!("a message was expected, but there came {other:?}"),
        }
    }
}

/// A client that compresses.
struct Client {
    pipe: DuplexStream,
    decoder: Decoder,
    inflater: Inflater,
    deflater: Deflater,
    buffer: Vec<u8>,
    /// The extensions that the server agreed to.
    agreed: Option<String>,
}

impl Client {
    async fn connect(service: &SocketService, offer: Option<&str>) -> Self {
        let (mut pipe, server) = tokio::io::duplex(1 << 20);
        let service = service.clone();
        let service = service_fn(move |request| service.clone().call(request));
        let serving = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        tokio::spawn(serving.with_upgrades());
        let offer = offer.map_or(String::new(), |offer| {
            format!("Sec-WebSocket-Extensions: {offer}\r\n")
        });
        let request = format!(
            "GET /websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\
             Sec-WebSocket-Version: 13\r\n\r\n"
        );
        pipe.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(pipe.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let agreed = head
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-extensions: "))
            .map(str::to_owned);
        let decoder = Decoder::new(Role::Client);
        Self {
            pipe,
            decoder: match agreed {
                Some(_) => decoder.with_deflate(),
                None => decoder,
            },
            inflater: Inflater::new(),
            deflater: Deflater::new(9),
            buffer: Vec::new(),
            agreed,
        }
    }

    async fn joined(service: &SocketService, offer: Option<&str>) -> Self {
        let mut client = Self::connect(service, offer).await;
        client.send(r#"["1","1","room:1","phx_join",{}]"#).await;
        assert_eq!(client.next().await.json()[4]["status"], "ok");
        client
    }

    /// Sends a message, compressed if there is an agreement and it gets shorter.
    async fn send(&mut self, text: &str) {
        let deflated = self
            .agreed
            .as_ref()
            .and(self.deflater.deflate(text.as_bytes()));
        let frame = match deflated {
            Some(payload) => deflated_frame(payload),
            None => masked_frame(true, Opcode::Text, [1; 4], text.as_bytes()),
        };
        self.send_bytes(&frame).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        self.pipe.write_all(bytes).await.unwrap();
    }

    async fn next(&mut self) -> Came {
        let limits = websocket::Limits::default();
        loop {
            if !self.buffer.is_empty() {
                let decoded = self.decoder.decode(&limits, &mut self.buffer).unwrap();
                let came = decoded.event.map(|event| match event {
                    Event::Text(text) => Came::Plain(text.into()),
                    Event::Deflated(deflated) => {
                        match self.inflater.inflate(&limits, deflated).unwrap() {
                            Event::Text(text) => {
                                Came::Deflated(text.into(), deflated.payload.into())
                            }
                            other => panic!("unexpected {other:?}"),
                        }
                    }
                    Event::Pong(payload) => Came::Pong(payload.into()),
                    Event::Close(close) => Came::Close(close.map(|(code, _)| code)),
                    other => panic!("unexpected {other:?}"),
                });
                let consumed = decoded.consumed;
                self.buffer.drain(..consumed);
                if let Some(came) = came {
                    return came;
                }
            }
            let read = self.pipe.read_buf(&mut self.buffer).await.unwrap();
            assert_ne!(read, 0, "the server ended the connection");
        }
    }

    /// Whether nothing has come so far.
    async fn is_quiet(&mut self) -> bool {
        let next = self.next();
        let mut next = std::pin::pin!(next);
        std::future::poll_fn(|cx| Poll::Ready(Pin::as_mut(&mut next).poll(cx).is_pending())).await
    }
}

fn deflated_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = masked_frame(true, Opcode::Text, [1; 4], payload);
    frame[0] |= RSV1;
    frame
}

/// What is worth compressing.
fn long() -> Value {
    json!({"list": (0..100).map(|n| json!({"id": n, "name": "somebody"})).collect::<Vec<_>>()})
}

#[tokio::test(start_paused = true)]
async fn the_extension_is_agreed_on_only_if_both_want_it() {
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (service, offer, agreed) in [
        (deflating(), Some(OFFER), Some(both)),
        (
            deflating(),
            Some("permessage-deflate; mux\r\nSec-WebSocket-Extensions: x, permessage-deflate"),
            Some(both),
        ),
        (
            deflating(),
            Some("permessage-deflate; server_max_window_bits=9"),
            None,
        ),
        (deflating(), None, None),
        (sockets().into_service(), Some(OFFER), None),
    ] {
        let mut client = Client::joined(&service, offer).await;
        assert_eq!(client.agreed.as_deref(), agreed);
        client
            .send(&json!(["1", "2", "room:1", "push", long()]).to_string())
            .await;
        for _ in 0..2 {
            let came = client.next().await;
            assert_eq!(came.is_deflated(), agreed.is_some());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_compressed_in_both_directions_where_it_pays() {
    let mut client = Client::joined(&deflating(), Some(OFFER)).await;
    client
        .send(&json!(["1", "2", "room:1", "push", long()]).to_string())
        .await;
    let pushed = client.next().await;
    assert_eq!(
        pushed.json(),
        json!(["1", null, "room:1", "pushed", long()])
    );
    let Came::Deflated(text, payload) = &pushed else {
        panic!("{pushed:?}");
    };
    assert!(payload.len() * 3 < text.len());
    let reply = client.next().await;
    assert!(reply.is_deflated());
    assert_eq!(reply.json()[4]["response"], long());
    // A short one is sent as it is, to the same client.
    client.send(r#"["1","3","room:1","say",{"a":1}]"#).await;
    let said = client.next().await;
    assert_eq!(
        said,
        Came::Plain(r#"[null,null,"room:1","said",{"a":1}]"#.into())
    );
    // A client need not compress what it sends.
    let plain = json!(["1", "4", "room:1", "echo", long()]).to_string();
    client
        .send_bytes(&masked_frame(true, Opcode::Text, [3; 4], plain.as_bytes()))
        .await;
    assert_eq!(client.next().await.json()[1], "3");
    assert_eq!(client.next().await.json()[4]["response"], long());
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_is_the_same_bytes_for_all_who_compress_and_plain_for_the_others() {
    let service = deflating();
    let mut ada = Client::joined(&service, Some(OFFER)).await;
    let mut bob = Client::joined(&service, Some("permessage-deflate")).await;
    let mut eve = Client::joined(&service, None).await;
    ada.send(&json!(["1", "2", "room:1", "say", long()]).to_string())
        .await;
    let expected = json!([null, null, "room:1", "said", long()]);
    let (to_ada, to_bob, to_eve) = (ada.next().await, bob.next().await, eve.next().await);
    assert_eq!(to_ada.json(), expected);
    assert!(to_ada.is_deflated());
    assert_eq!(to_ada, to_bob);
    assert_eq!(to_eve, Came::Plain(expected.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_compressed_message_may_come_in_pieces_with_a_ping_between() {
    let mut client = Client::joined(&deflating(), Some(OFFER)).await;
    let text = json!(["1", "2", "room:1", "echo", long()]).to_string();
    let payload = client.deflater.deflate(text.as_bytes()).unwrap().to_vec();
    let (front, rest) = payload.split_at(5);
    let mut first = masked_frame(false, Opcode::Text, [1; 4], front);
    first[0] |= RSV1;
    for byte in first {
        client.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    client
        .send_bytes(&masked_frame(true, Opcode::Ping, [2; 4], b"between"))
        .await;
    assert_eq!(client.next().await, Came::Pong(b"between".into()));
    assert!(client.is_quiet().await);
    client
        .send_bytes(&masked_frame(true, Opcode::Continuation, [3; 4], rest))
        .await;
    assert_eq!(client.next().await.json()[4]["response"], long());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_inflated_or_is_too_much_ends_the_connection_and_no_other() {
    let limits = || {
        let mut limits = Limits::default();
        limits.message_bytes_max = 200_000;
        limits.inflate_ratio_max = 5;
        limits
    };
    let options = DeflateOptions::default();
    let service = sockets()
        .with_limits(limits())
        .with_deflate(options)
        .into_service();
    let mut neighbour = Client::joined(&service, Some(OFFER)).await;
    let mut deflater = Deflater::new(9);
    let mut deflated = |text: &str| deflater.deflate(text.as_bytes()).unwrap().to_vec();
    // By a ratio that the default allows; by length, at a harmless ratio; no DEFLATE; no UTF-8; compressed, but no message.
    let numbers: String = (0..60_000).map(|n| n.to_string()).collect();
    let unaligned = [0x00, 0x02, 0x00, 0xfd, 0xff, 0xc3, 0x28, 0x00];
    let alike: String = (0..7000).map(|n| format!("{n}, and much alike ")).collect();
    for (payload, code) in [
        (deflated(&alike), 1009),
        (deflated(&numbers), 1009),
        (b"\x06".to_vec(), 1007),
        (unaligned.to_vec(), 1007),
        (deflated(&"not a message ".repeat(9)), 1011),
    ] {
        let mut client = Client::joined(&service, Some(OFFER)).await;
        client.send_bytes(&deflated_frame(&payload)).await;
        assert_eq!(client.next().await, Came::Close(Some(code)));
    }
    // Without an agreement there is no such bit, and with one not on control frames.
    let mut client = Client::joined(&service, None).await;
    client
        .send_bytes(&deflated_frame(&deflated(&"a".repeat(90))))
        .await;
    assert_eq!(client.next().await, Came::Close(Some(1002)));
    let mut client = Client::joined(&service, Some(OFFER)).await;
    let mut ping = masked_frame(true, Opcode::Ping, [1; 4], b"");
    ping[0] |= RSV1;
    client.send_bytes(&ping).await;
    assert_eq!(client.next().await, Came::Close(Some(1002)));

    neighbour
        .send(&json!(["1", "2", "room:1", "echo", long()]).to_string())
        .await;
    assert_eq!(neighbour.next().await.json()[4]["response"], long());
}

/// The client's own close frame is found among compressed messages that nobody inflates any more.
#[tokio::test(start_paused = true)]
async fn after_the_servers_close_frame_nothing_is_inflated() {
    let mut client = Client::joined(&deflating(), Some(OFFER)).await;
    let mut bytes = deflated_frame(b"\x06");
    bytes.extend(deflated_frame(b"\x06"));
    bytes.extend(masked_frame(
        true,
        Opcode::Close,
        [1; 4],
        &1000_u16.to_be_bytes(),
    ));
    client.send_bytes(&bytes).await;
    assert_eq!(client.next().await, Came::Close(Some(1007)));
    let begun = tokio::time::Instant::now();
    let mut rest = Vec::new();
    client.pipe.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
    assert_eq!(begun.elapsed(), std::time::Duration::ZERO, "nobody waited");
}
