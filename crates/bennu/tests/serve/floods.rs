//! Frames of HTTP/2 without end, each kind of which has brought servers down. All end the connection,
//! and cost nobody else anything.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Plain;
use crate::support::start;

/// RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

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

/// The frames to send in each step.
type Flood = fn(u32) -> Vec<u8>;

/// Opens and resets a stream.
fn reset(n: u32) -> Vec<u8> {
    let stream = 2 * n + 1;
    let mut frames = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
    frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    frames
}

/// Begins a header that never ends.
fn continuation(n: u32) -> Vec<u8> {
    if n == 0 {
        return frame(HEADERS, 0, 1, GET);
    }
    // A literal field without a name in the table, 1,000 bytes long.
    let mut field = b"\x00\x01x\x7f\xe9\x06".to_vec();
    field.resize(field.len() + 1000, b'y');
    frame(CONTINUATION, 0, 1, &field)
}

/// Begins a body that never says anything.
fn empty_data(n: u32) -> Vec<u8> {
    if n == 0 {
        return frame(HEADERS, END_HEADERS, 1, POST);
    }
    frame(DATA, 0, 1, b"")
}

/// Breaks a rule on a stream of its own each time: a window may not overflow.
fn broken_streams(n: u32) -> Vec<u8> {
    let stream = 2 * n + 1;
    let mut frames = frame(HEADERS, END_HEADERS, stream, POST);
    frames.extend(frame(
        WINDOW_UPDATE,
        0,
        stream,
        &0x7fff_ffff_u32.to_be_bytes(),
    ));
    frames
}

/// Sends a flood until the server ends the connection, and tells the error code of its GOAWAY, if
/// that came before the end.
async fn flooded(addr: std::net::SocketAddr, flood: Flood) -> Option<u32> {
    const FRAMES: u32 = 200_000;
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        while reader
            .read_buf(&mut read)
            .await
            .is_ok_and(|bytes| bytes > 0)
        {}
        read
    });
    let start = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    writer.write_all(&start).await.unwrap();
    let writing = async {
        for n in 0..FRAMES {
            if writer.write_all(&flood(n)).await.is_err() {
                break;
            }
        }
        // The end of our side would be an answer of its own.
        reading.await.unwrap()
    };
    let patience = Duration::from_secs(10);
    let read = tokio::time::timeout(patience, writing).await.unwrap();
    goaway(&read)
}

fn goaway(mut frames: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if *kind == GOAWAY {
            return Some(u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?));
        }
        frames = rest.get(length..)?;
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_their_connection() {
    let server = start(|server| server).await;
    let table: [(&str, Flood); 4] = [
        ("resets", reset),
        ("continuations", continuation),
        ("empty data", empty_data),
        ("broken streams", broken_streams),
    ];
    for (name, flood) in table {
        let code = flooded(server.addr, flood).await;
        // ENHANCE_YOUR_CALM, unless it was lost with what the server did not read.
        assert!(matches!(code, None | Some(11)), "{name}: {code:?}");
        assert_eq!(Plain::connect(server.addr).await.get("/ok").await.1, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_answers_to_its_pings_is_not_read_for_ever() {
    let server = start(|server| server).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
    let pings = frame(PING, 0, 0, b"12345678").repeat(1000);
    // 1.7 GB: if the server took all of it, it would owe as much in answers.
    for _ in 0..100_000 {
        // It stops reading, and so the client cannot write any more.
        let write = stream.write_all(&pings);
        match tokio::time::timeout(Duration::from_millis(300), write).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    panic!("the server reads without end");
}
