//! HTTP/2 frames without end, lists of headers without end, and windows that are never opened. What of this
//! is HTTP and not a socket is played once more, with other bytes, in `tests/serve/floods.rs`.

use std::net::SocketAddr;
use std::time::Duration;

use bennu::Payload;
use bennu_testkit::WireEvent;
use http_body_util::Empty;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Http2, Plain, heartbeat};
use crate::target::{PATIENCE, Target, join};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `GET http://a/` and `POST http://a/`, by the static table of RFC 7541.
const GET: &[u8] = b"\x82\x84\x86\x41\x01a";
const POST: &[u8] = b"\x83\x84\x86\x41\x01a";

/// RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Sends frames until the server ends the connection. False if it took them all.
async fn ends(addr: SocketAddr, count: u32, frames: impl Fn(u32) -> Vec<u8>) -> bool {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut read = vec![0; 1 << 16];
        while reader.read(&mut read).await.is_ok_and(|len| len > 0) {}
    });
    let start = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    writer.write_all(&start).await.unwrap();
    let writing = async {
        for n in 0..count {
            if writer.write_all(&frames(n)).await.is_err() {
                return true;
            }
        }
        // All is written; whether the server ends the connection may take a moment.
        tokio::time::timeout(Duration::from_secs(1), reading)
            .await
            .is_ok()
    };
    tokio::time::timeout(PATIENCE, writing).await.unwrap()
}

/// RUSTSEC-2023-0034 (h2), CVE-2023-44487: streams are opened and reset at once, so
/// that the limit on open streams is never reached and their work is done all the same.
#[tokio::test(flavor = "multi_thread")]
async fn rapid_reset() {
    let server = Target::new().serve().await;
    let ended = ends(server.addr, 100_000, |n| {
        let stream = 2 * n + 1;
        let mut frames = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        frames
    });
    assert!(ended.await);
    assert_eq!(Plain::connect(server.addr).await.get("/ok").await.1, "ok");
}

/// RUSTSEC-2024-0332 (h2), CVE-2024-27316: a header that is continued for ever is kept until it ends.
/// CVE-2026-42788 (Bandit): what a frame announces is checked once it is there.
#[tokio::test(flavor = "multi_thread")]
async fn continuation_floods() {
    let server = Target::new().serve().await;
    let long = [b"\x00\x01x\x7f\xe9\x06".as_slice(), &[b'y'; 1000]].concat();
    let ended = ends(server.addr, 100_000, |n| match n {
        0 => frame(HEADERS, 0, 1, GET),
        _ => frame(CONTINUATION, 0, 1, &long),
    });
    assert!(ended.await, "of fields");
    let ended = ends(server.addr, 200_000, |n| match n {
        0 => frame(HEADERS, 0, 1, GET),
        _ => frame(CONTINUATION, 0, 1, b""),
    });
    assert!(ended.await, "of nothing");
    // A frame that announces 16 MB where 16 KB are allowed ends the connection by its header alone.
    let ended = ends(server.addr, 1, |_| {
        b"\xff\xff\xff\x01\x04\0\0\0\x01".to_vec()
    });
    assert!(ended.await, "too large");
}

/// RUSTSEC-2026-0258 (h2): DATA frames without data cost no window, and so are never slowed down.
#[tokio::test(flavor = "multi_thread")]
async fn empty_data_floods() {
    let server = Target::new().serve().await;
    let ended = ends(server.addr, 200_000, |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, POST),
        _ => frame(DATA, 0, 1, b""),
    });
    assert!(ended.await);
}

/// CVE-2019-9512, -9515: pings and settings, each of which is owed an answer that nobody reads.
#[tokio::test(flavor = "multi_thread")]
async fn ping_and_settings_floods_without_reading() {
    let server = Target::new().serve().await;
    for flood in [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, b"")] {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
        let flood = flood.repeat(1000);
        let mut took_all = true;
        for _ in 0..20_000 {
            // It stops reading, or ends the connection.
            let write = stream.write_all(&flood);
            match tokio::time::timeout(Duration::from_millis(200), write).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => {
                    took_all = false;
                    break;
                }
            }
        }
        assert!(!took_all, "the server reads without end");
    }
    assert_eq!(Plain::connect(server.addr).await.get("/ok").await.1, "ok");
}

/// CVE-2026-59248 and CVE-2026-58226 (cowlib, hpax): an integer of HPACK that goes on for ever. RFC 7541,
/// section 5.1, leaves the bound to the reader.
#[tokio::test(flavor = "multi_thread")]
async fn unbounded_hpack_integers() {
    let server = Target::new().serve().await;
    for first in [0xff, 0x7f, 0x3f, 0x1f, 0x0f] {
        let mut block = GET.to_vec();
        block.push(first);
        block.extend([0xff; 10_000]);
        let ended = ends(server.addr, 1, |_| {
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
        });
        assert!(ended.await, "{first:#x}");
    }
}

/// GHSA-9q5m-g6v3-6772 (Bandit): the limit on a list of headers is announced and not held. An HPACK bomb
/// (CVE-2016-6581) refers to one large field in its table again and again, a byte for each 4 KB.
#[tokio::test(flavor = "multi_thread")]
async fn header_lists_without_end() {
    let server = Target::new().serve().await;
    let mut http2 = Http2::connect(server.addr).await;
    let mut many = Request::get("http://a/ok");
    for n in 0..500 {
        many = many.header(format!("x{n}"), "y");
    }
    let (status, _) = http2.send(many.body(Empty::new()).unwrap()).await;
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(http2.get("/ok").await.0, 200);

    // Put into the table: 3,900 bytes under index 62; then 10,000 times that.
    let mut bomb = GET.to_vec();
    bomb.extend(b"\x40\x01x\x7f\xbd\x1d");
    bomb.extend([b'y'; 3900]);
    bomb.extend([0x80 | 62; 10_000]);
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    let frames = [
        frame(SETTINGS, 0, 0, b""),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb),
    ];
    stream.write_all(&frames.concat()).await.unwrap();
    let answer = first_frame(&mut stream, &[HEADERS, RST_STREAM, GOAWAY]).await;
    // `:status 431` is no entry of the static table, `:status 200` (0x88) is.
    assert!(
        answer.0 != HEADERS || answer.1.first() != Some(&0x88),
        "{answer:?}"
    );
}

/// The first frame of one of these kinds.
async fn first_frame(stream: &mut TcpStream, kinds: &[u8]) -> (u8, Vec<u8>) {
    let read = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            if kinds.contains(&head[3]) {
                return (head[3], payload);
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap()
}

/// GHSA-x3gh-xhj4-3vq8 (Bandit), CVE-2026-43966: CR, LF and NUL in a field of HTTP/2, where nothing of the
/// framing forbids them, for the next server to read as HTTP/1.1.
#[tokio::test(flavor = "multi_thread")]
async fn line_breaks_in_fields() {
    let server = Target::new().serve().await;
    for value in ["a\r\nb", "a\nb", "a\rb", "a\0b"] {
        let mut block = GET.to_vec();
        block.extend(b"\x00\x01x");
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.bytes());
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        let frames = [
            frame(SETTINGS, 0, 0, b""),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block),
        ];
        stream.write_all(&frames.concat()).await.unwrap();
        let (kind, _) = first_frame(&mut stream, &[HEADERS, RST_STREAM, GOAWAY]).await;
        assert_ne!(kind, HEADERS, "{value:?} is answered");
    }
}

/// CVE-2026-39807 and CVE-2026-32688 (Bandit, plug_cowboy): the scheme that an HTTP/2 client names is
/// believed, or remembered for ever. Here it makes nothing secure and is kept nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn schemes_of_the_clients_choice() {
    let server = Target::new().serve().await;
    let mut http2 = Http2::connect(server.addr).await;
    for scheme in ["https", "http", "ftp", "wss"] {
        let request = Request::get(format!("{scheme}://example.com/tls"));
        let (status, body) = http2.send(request.body(Empty::new()).unwrap()).await;
        assert_eq!(status, StatusCode::MOVED_PERMANENTLY, "{scheme} {body}");
    }
    // An authority beside which `host` says something else, and one with a user in it.
    let request = Request::get("http://example.com@evil.net/tls");
    let (status, _) = http2.send(request.body(Empty::new()).unwrap()).await;
    assert!(status.is_client_error(), "{status}");
    for n in 0..200 {
        let request = Request::get(format!("s{n}://a/ok"));
        assert_eq!(http2.send(request.body(Empty::new()).unwrap()).await.0, 200);
    }
}

/// GHSA-xj8g-532w-jv94 (Bandit), CVE-2019-9517: a client opens a stream and never its window, and whoever
/// sends on it waits for ever, with all that is to be sent. The socket is cut like any slow reader, and its
/// neighbour on the same connection is served.
#[tokio::test(flavor = "multi_thread")]
async fn windows_that_are_never_opened() {
    let target = Target::with(|target| {
        target.limits.outbound_bytes_max = 64 << 10;
        target.limits.close_timeout = Duration::from_millis(200);
    });
    let server = target.serve().await;
    let mut http2 = Http2::connect(server.addr).await;
    let mut silent = http2.websocket().await;
    let mut neighbour = http2.websocket().await;
    join(&mut silent, "room:silent").await;
    let fill = "x".repeat(10_000);
    let payload = Payload::json(&serde_json::json!({ "fill": fill })).unwrap();
    let shouting = async {
        while server.endpoint.connection_count() == 2 {
            let broadcast = server
                .endpoint
                .broadcast_raw("room:silent", "told", payload.clone());
            broadcast.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, shouting).await.unwrap();
    heartbeat(&mut neighbour).await;
    // What comes of it after all is some kilobytes.
    let mut taken = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), silent.next()).await {
        if let WireEvent::Text(text) = event {
            taken += text.len();
        }
    }
    assert!(taken < 4 << 20, "{taken}");
}

/// RUSTSEC-2024-0003 (h2): streams that break a rule each, and are reset each by the server itself.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_break_rules() {
    let server = Target::new().serve().await;
    let ended = ends(server.addr, 100_000, |n| {
        let stream = 2 * n + 1;
        let mut frames = frame(HEADERS, END_HEADERS, stream, POST);
        let window = 0x7fff_ffff_u32.to_be_bytes();
        frames.extend(frame(WINDOW_UPDATE, 0, stream, &window));
        frames
    });
    assert!(ended.await);
}
