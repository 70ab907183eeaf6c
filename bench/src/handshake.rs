//! The upgrade from HTTP to WebSocket, the client's side: the request and a strict look at the answer. The floor answers it in
//! `floor.rs`, from the key, as any server must.

use crate::target::Target;

/// The key of the example in RFC 6455, 1.3; the server cannot tell that it is always the same.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The only right answer to [`KEY`].
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// More header than any server under test should send.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The request that opens a socket at `target`.
pub fn request(target: &Target) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n",
        path = target.path,
        address = target.address,
    )
    .into_bytes()
}

/// Reads the answer off the front of `input`: `None` if it is not all there yet, otherwise its length. The error says what is wrong.
pub fn read_response(input: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        if input.len() > HEAD_BYTES_MAX {
            return Err(format!("a header of more than {HEAD_BYTES_MAX} bytes"));
        }
        return Ok(None);
    };
    let head =
        std::str::from_utf8(&input[..end]).map_err(|_| "a header that is not text".to_owned())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        return Err(format!("status line {status:?}"));
    }
    let (mut upgrade, mut connection, mut accept) = (false, false, false);
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("header line {line:?}"))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "upgrade" => upgrade = value.eq_ignore_ascii_case("websocket"),
            "connection" => connection = has_token(value, "upgrade"),
            "sec-websocket-accept" => accept = value == ACCEPT,
            "sec-websocket-extensions" | "sec-websocket-protocol" => {
                return Err(format!("{line:?} was not asked for"));
            }
            _ => {}
        }
    }
    match (upgrade, connection, accept) {
        (true, true, true) => Ok(Some(end + 4)),
        _ => Err(format!(
            "upgrade {upgrade}, connection {connection}, accept {accept} in {head:?}"
        )),
    }
}

fn has_token(list: &str, wanted: &str) -> bool {
    list.split(',')
        .any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn takes_the_right_answer_and_leaves_what_follows() {
        assert_eq!(
            read_response(format!("{GOOD}\u{1}").as_bytes()),
            Ok(Some(GOOD.len()))
        );
        assert_eq!(read_response(&GOOD.as_bytes()[..GOOD.len() - 1]), Ok(None));
    }

    #[test]
    fn refuses_wrong_answers() {
        for (from, to) in [
            ("101", "200"),
            ("websocket\r\nconnection", "h2c\r\nconnection"),
            ("connection: Upgrade", "connection: close"),
            ("s3pP", "s3pQ"),
            (
                "\r\n\r\n",
                "\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n",
            ),
        ] {
            assert!(
                read_response(GOOD.replacen(from, to, 1).as_bytes()).is_err(),
                "{from} -> {to}"
            );
        }
        assert!(read_response(&vec![b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
