//! HTTP/1.1 messages that two servers read in two ways: request smuggling, against ours behind a proxy that
//! reads them the other way.

use crate::client::Plain;
use crate::target::{Running, Target};

/// Sends bytes, and returns all that is answered before the server ends the connection. The bytes end with
/// a request that says `Connection: close`, so that it does.
async fn answers(server: &Running, bytes: &str) -> String {
    let mut client = Plain::connect(server.addr).await;
    client.send(bytes).await;
    String::from_utf8_lossy(&client.rest().await).to_lowercase()
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A POST with these framing headers and this body.
fn post(headers: &str, body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}")
}

/// CVE-2026-39805 (Bandit), CVE-2021-32715 (hyper, a length with a sign): two lengths, of which a proxy takes
/// one and the server the other, so that a body is read as the next client's request.
#[tokio::test(flavor = "multi_thread")]
async fn two_content_lengths() {
    let server = Target::new().serve().await;
    let length = SMUGGLED.len();
    for headers in [
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: {length}, 0\r\n"),
        format!("Content-Length: 0, {length}\r\n"),
        "Content-Length: +0\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 0x0\r\n".to_owned(),
        "Content-Length: 0 0\r\n".to_owned(),
        "Content-Length: \r\n".to_owned(),
        "Content-Length: 99999999999999999999\r\n".to_owned(),
    ] {
        let answers = answers(&server, &post(&headers, SMUGGLED)).await;
        assert!(answers.starts_with("http/1.1 400"), "{headers}{answers}");
        assert_eq!(answers.matches("http/1.1").count(), 1, "{headers}{answers}");
    }
    assert_eq!(server.smuggled(), 0);
}

/// CVE-2021-21299 and CVE-2020-35863 (hyper): a length and chunks at once, a transfer coding that is not quite
/// `chunked`, and bodies where one does not expect them.
#[tokio::test(flavor = "multi_thread")]
async fn lengths_and_chunks() {
    let server = Target::new().serve().await;
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let length = body.len();
    // RFC 9112, section 6.3: the chunks count, and the length is an attack. If it is answered at all, the
    // connection ends after it, so that nothing else is read from it.
    for headers in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding:\x0bchunked\r\n".to_owned(),
        " Transfer-Encoding: chunked\r\n".to_owned(),
        "X: y\r\n Transfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding: identity\r\n".to_owned(),
    ] {
        let before = server.smuggled();
        let answers = answers(&server, &post(&headers, &body)).await;
        assert_eq!(answers.matches("http/1.1").count(), 1, "{headers}{answers}");
        assert_eq!(server.smuggled(), before, "{headers}{answers}");
    }
    // The body of a GET is a body.
    let length = SMUGGLED.len();
    let headers = format!("Content-Length: {length}\r\nConnection: close\r\n");
    let request = post(&headers, SMUGGLED).replacen("POST", "GET", 1);
    let answered = answers(&server, &request).await;
    assert!(answered.ends_with(&SMUGGLED.to_lowercase()), "{answered}");
    assert_eq!(server.smuggled(), 0);
    // HTTP/1.0 knows no chunks.
    let request = post("Transfer-Encoding: chunked\r\n", &body)
        .replace("HTTP/1.1\r\nHost: a\r\nT", "HTTP/1.0\r\nHost: a\r\nT");
    let answers = answers(&server, &request).await;
    assert!(!answers.contains("smuggled"), "{answers}");
}

/// CVE-2026-7790 (cowlib: huge chunk sizes), CVE-2021-32714 (hyper: a chunk size that overflows): digits
/// without end, and sizes that wrap to something small.
#[tokio::test(flavor = "multi_thread")]
async fn chunk_sizes() {
    let server = Target::new().serve().await;
    for size in [
        "10000000000000000",
        "f0000000000000003",
        "ffffffffffffffffffffffffffffffff",
        &"0".repeat(100_000),
        &"f".repeat(100_000),
        "-1",
        "+3",
        "0x3",
        "3 3",
        "",
        "g",
    ] {
        let body = format!("{size}\r\nabc\r\n0\r\n\r\n{SMUGGLED}");
        let mut client = Plain::connect(server.addr).await;
        let request = post("Transfer-Encoding: chunked\r\n", &body);
        // The server may be gone before all is written.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.0, request.as_bytes()).await;
        let answers = String::from_utf8_lossy(&client.rest().await).to_lowercase();
        let shown = &size[..size.len().min(40)];
        assert!(!answers.contains("http/1.1 200"), "{shown} {answers}");
        assert_eq!(server.smuggled(), 0, "{shown}");
    }
}

/// The class of CVE-2026-39806 (Bandit: a trailer is read for ever) and of hyper's limit on extensions: what
/// stands beside the chunks counts towards no limit.
#[tokio::test(flavor = "multi_thread")]
async fn chunk_extensions_and_trailers_without_end() {
    let server = Target::new().serve().await;
    let extensions = (";x=".to_owned() + &"y".repeat(60_000) + "\r\na\r\n").replacen(";", "1;", 1);
    for part in [
        extensions,
        "1".to_owned() + &";".repeat(60_000),
        "0\r\n".to_owned() + &"x: y\r\n".repeat(10_000),
    ] {
        let mut client = Plain::connect(server.addr).await;
        client
            .send(post("Transfer-Encoding: chunked\r\n", ""))
            .await;
        let mut is_cut = false;
        for _ in 0..200 {
            use tokio::io::AsyncWriteExt;
            if client.0.write_all(part.as_bytes()).await.is_err() {
                is_cut = true;
                break;
            }
        }
        // 12 MB are more than any limit on headers.
        if !is_cut {
            let answers = String::from_utf8_lossy(&client.rest().await).to_lowercase();
            assert!(!answers.starts_with("http/1.1 200"), "{answers}");
        }
    }
    assert_eq!(Plain::connect(server.addr).await.get("/ok").await.1, "ok");
}

/// Line ends that one server takes for the end of a header and another does not, and requests behind a
/// handshake: what was refused must not be read as the next request.
#[tokio::test(flavor = "multi_thread")]
async fn requests_behind_what_was_refused() {
    let server = Target::new().serve().await;
    // A handshake that fails, with something behind it that a proxy takes for frames.
    let handshake =
        crate::client::UPGRADE.replace("Version: 13", "Version: 8\r\nConnection: close");
    let answered = answers(&server, &(handshake + SMUGGLED)).await;
    assert!(answered.starts_with("http/1.1 400"), "{answered}");
    // And one that succeeds: what follows is frames, never a request.
    let answered = answers(&server, &(crate::client::UPGRADE.to_owned() + SMUGGLED)).await;
    assert!(answered.starts_with("http/1.1 101"), "{answered}");
    for broken in [
        "GET /ok HTTP/1.1\rHost: a\r\n\r\n",
        "GET /ok HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET /ok\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ok HTTP/9.9\r\nHost: a\r\n\r\n",
        "GET /ok HTTP/1.1\r\nHo st: a\r\n\r\n",
        "GET /ok HTTP/1.1\r\n: a\r\n\r\n",
    ] {
        let answered = answers(&server, &(broken.to_owned() + SMUGGLED)).await;
        assert!(
            answered.starts_with("http/1.1 400"),
            "{broken:?} {answered}"
        );
    }
    assert_eq!(server.smuggled(), 0);
}
