//! The opening handshake of RFC 6455, section 4.2, and its form for HTTP/2, RFC 8441: what a request
//! must say, and what is answered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
#[cfg(feature = "deflate")]
use bennu_proto::websocket::deflate;
#[cfg(feature = "deflate")]
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use hyper::ext::Protocol;
use sha1::{Digest, Sha1};

use crate::endpoint::Hub;

/// What RFC 6455 appends to the key before hashing it.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that is no WebSocket handshake. The text names what is wrong; it is sent to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("HTTP version {0:?} unsupported")]
    Version(Version),
    #[error("'{name}' header must contain '{expected}', got {got:?}")]
    Token {
        name: HeaderName,
        expected: &'static str,
        got: Vec<String>,
    },
    #[error("'sec-websocket-version' header must equal '13', got {0:?}")]
    WebSocketVersion(Vec<String>),
    #[error("'{0}' header is absent")]
    Absent(HeaderName),
    #[error("'sec-websocket-key' header must be 16 bytes in base64")]
    Key,
}

/// How a client asks for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// By a GET of HTTP/1.1, to be answered 101 with this value of `sec-websocket-accept`.
    Upgrade(HeaderValue),
    /// By an extended CONNECT of HTTP/2, to be answered 200.
    Connect,
    /// By a CONNECT for something else.
    OtherProtocol,
    /// Not at all.
    OtherMethod,
}

/// Tells how a request asks for a WebSocket, and checks that it does so properly.
pub(super) fn asked(request: &Parts) -> Result<Asked, HandshakeError> {
    let protocol = request.extensions.get::<Protocol>();
    if request.method == Method::GET {
        return accept(request.version, &request.headers).map(Asked::Upgrade);
    }
    match protocol.filter(|_| request.method == Method::CONNECT) {
        None => Ok(Asked::OtherMethod),
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => {
            version_13(&request.headers)?;
            Ok(Asked::Connect)
        }
        Some(_) => Ok(Asked::OtherProtocol),
    }
}

/// Checks the request and computes the value of `sec-websocket-accept`.
fn accept(version: Version, headers: &HeaderMap) -> Result<HeaderValue, HandshakeError> {
    if version != Version::HTTP_11 {
        return Err(HandshakeError::Version(version));
    }
    if !headers.contains_key(HOST) {
        return Err(HandshakeError::Absent(HOST));
    }
    token(headers, CONNECTION, "upgrade")?;
    token(headers, UPGRADE, "websocket")?;
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .ok_or(HandshakeError::Absent(SEC_WEBSOCKET_KEY))?;
    if STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
        return Err(HandshakeError::Key);
    }
    version_13(headers)?;
    accept_value(key).ok_or(HandshakeError::Key)
}

fn version_13(headers: &HeaderMap) -> Result<(), HandshakeError> {
    let versions = values(headers, &SEC_WEBSOCKET_VERSION);
    if versions != ["13"] {
        return Err(HandshakeError::WebSocketVersion(versions));
    }
    Ok(())
}

/// The value of `sec-websocket-extensions` in the answer, if the mount compresses and the client offers to.
#[cfg(feature = "deflate")]
pub(super) fn extensions(hub: &Hub, headers: &HeaderMap) -> Option<HeaderValue> {
    hub.deflate()?;
    let lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    let agreement = deflate::negotiate(lines.map(HeaderValue::as_bytes))?;
    Some(HeaderValue::from_static(agreement.response()))
}

/// No extension is in this build.
#[cfg(not(feature = "deflate"))]
pub(super) fn extensions(_: &Hub, _: &HeaderMap) -> Option<HeaderValue> {
    None
}

/// The answer to a key.
fn accept_value(key: &HeaderValue) -> Option<HeaderValue> {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    HeaderValue::from_str(&STANDARD.encode(hash.finalize())).ok()
}

/// Looks for a token in a header that may come several times and hold a list each time.
fn token(
    headers: &HeaderMap,
    name: HeaderName,
    expected: &'static str,
) -> Result<(), HandshakeError> {
    let found = headers
        .get_all(&name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(expected));
    if found {
        return Ok(());
    }
    let got = values(headers, &name);
    Err(HandshakeError::Token {
        name,
        expected,
        got,
    })
}

/// The lines of a header as they go into an answer: a few, and not long.
fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().take(4);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    lines
        .map(|value| text(value).chars().take(64).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(changes: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let base = [
            ("host", "example.com"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        for (name, value) in base {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in changes {
            headers.remove(*name);
            if let Some(value) = value {
                headers.insert(*name, HeaderValue::from_static(value));
            }
        }
        headers
    }

    #[test]
    fn the_example_of_rfc_6455_section_1_3() {
        let accepted = accept(Version::HTTP_11, &request(&[])).unwrap();
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn token_lists_and_case_are_understood() {
        let headers = request(&[
            ("connection", Some("keep-alive, UPGRADE")),
            ("upgrade", Some("WebSocket")),
        ]);
        assert!(accept(Version::HTTP_11, &headers).is_ok());
    }

    #[test]
    fn what_is_missing_is_named() {
        let table = [
            (
                request(&[("connection", Some("close"))]),
                "'connection' header must contain 'upgrade', got [\"close\"]",
            ),
            (
                request(&[("upgrade", None)]),
                "'upgrade' header must contain 'websocket', got []",
            ),
            (
                request(&[("sec-websocket-key", None)]),
                "'sec-websocket-key' header is absent",
            ),
            (
                request(&[("sec-websocket-version", Some("8"))]),
                "'sec-websocket-version' header must equal '13', got [\"8\"]",
            ),
            (request(&[("host", None)]), "'host' header is absent"),
            (
                request(&[("sec-websocket-key", Some("short"))]),
                "'sec-websocket-key' header must be 16 bytes in base64",
            ),
        ];
        for (headers, text) in table {
            let error = accept(Version::HTTP_11, &headers).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
        let error = accept(Version::HTTP_10, &request(&[])).unwrap_err();
        assert_eq!(error.to_string(), "HTTP version HTTP/1.0 unsupported");
    }

    #[test]
    fn a_connect_of_http2_names_its_protocol_and_the_version() {
        let ask = |method, protocol: Option<&'static str>, headers| {
            let mut request = http::Request::new(());
            *request.method_mut() = method;
            *request.headers_mut() = headers;
            if let Some(protocol) = protocol {
                let protocol = Protocol::from_static(protocol);
                request.extensions_mut().insert(protocol);
            }
            asked(&request.into_parts().0)
        };
        let version = |version: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(version) = version {
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(version));
            }
            headers
        };
        let table = [
            (Some("websocket"), Asked::Connect),
            (Some("WebSocket"), Asked::Connect),
            (Some("connect-udp"), Asked::OtherProtocol),
            (None, Asked::OtherMethod),
        ];
        for (protocol, expected) in table {
            let asked = ask(Method::CONNECT, protocol, version(Some("13")));
            assert_eq!(asked, Ok(expected), "{protocol:?}");
        }
        for wrong in [None, Some("8")] {
            let error = ask(Method::CONNECT, Some("websocket"), version(wrong)).unwrap_err();
            assert!(matches!(error, HandshakeError::WebSocketVersion(_)));
        }
        let asked = ask(Method::POST, Some("websocket"), version(Some("13")));
        assert_eq!(asked, Ok(Asked::OtherMethod));
    }
}
