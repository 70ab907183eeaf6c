//! Subprotocols of a WebSocket handshake (RFC 6455, section 4.2.2), and the auth token that the official
//! client hides among them, because a browser lets a page set no other header.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::socket::AuthToken;

/// What the official client offers beside its token, and is answered.
pub(crate) const PHOENIX: &str = "phoenix";

/// What stands in front of a token among the subprotocols. The encoding is the standard alphabet's all
/// the same: the official client calls `btoa`.
const BEARER: &str = "base64url.bearer.phx.";

/// Where a client of long polling puts its token, as it is.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-phoenix-authtoken");

/// The token is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the auth token in 'sec-websocket-protocol' must be base64, padded or not")]
pub(crate) struct AuthTokenError;

/// The client offers subprotocols, and none of them is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of the offered subprotocols is spoken here")]
pub(crate) struct NoSubprotocol;

/// Takes the auth token out of the subprotocols of a handshake, if there is exactly one; otherwise
/// they stay as they are. A header from which nothing is left is removed.
pub(super) fn take_bearer(headers: &mut HeaderMap) -> Result<Option<AuthToken>, AuthTokenError> {
    let token = {
        let mut bearers = entries(headers).filter_map(|entry| entry.strip_prefix(BEARER));
        let (Some(encoded), None) = (bearers.next(), bearers.next()) else {
            return Ok(None);
        };
        decode(encoded)?
    };
    let others: Vec<&str> = entries(headers)
        .filter(|entry| !entry.starts_with(BEARER))
        .collect();
    // It is made of what was in a header.
    match HeaderValue::from_str(&others.join(", ")) {
        Ok(others) if !others.is_empty() => {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, others);
        }
        _ => {
            headers.remove(SEC_WEBSOCKET_PROTOCOL);
        }
    }
    Ok(Some(token))
}

/// Takes the auth token of a client of long polling.
pub(super) fn take_token_header(headers: &mut HeaderMap) -> Option<AuthToken> {
    let token = headers.remove(TOKEN_HEADER)?;
    Some(AuthToken::new(token.as_bytes().to_vec()))
}

/// The first of `spoken` that the client offers too. A client that offers none speaks none, and that
/// is fine.
pub(super) fn negotiate(
    headers: &HeaderMap,
    spoken: &[HeaderValue],
) -> Result<Option<HeaderValue>, NoSubprotocol> {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let is_offered = |spoken: &&HeaderValue| entries(headers).any(|entry| **spoken == entry);
    let chosen = spoken.iter().find(is_offered).ok_or(NoSubprotocol)?;
    Ok(Some(chosen.clone()))
}

/// The entries of all lines. RFC 6455, section 11.3.4 lets a client spread them.
fn entries(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|entry| entry.trim_matches([' ', '\t']))
        .filter(|entry| !entry.is_empty())
}

fn decode(encoded: &str) -> Result<AuthToken, AuthTokenError> {
    let engine = if encoded.contains(['-', '_']) {
        URL_SAFE_PAD_INDIFFERENT
    } else {
        STANDARD_PAD_INDIFFERENT
    };
    let token = engine.decode(encoded).map_err(|_| AuthTokenError)?;
    Ok(AuthToken::new(token))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let lines = lines.iter().map(|line| HeaderValue::from_static(line));
        lines.map(|line| (SEC_WEBSOCKET_PROTOCOL, line)).collect()
    }

    #[test]
    fn the_servers_order_decides() {
        let spoken = ["b", "a"].map(HeaderValue::from_static);
        type Case = (
            &'static [&'static str],
            Result<Option<&'static str>, NoSubprotocol>,
        );
        let table: &[Case] = &[
            (&[], Ok(None)),
            (&["x, a, b"], Ok(Some("b"))),
            (&["x,a"], Ok(Some("a"))),
            (&["x", "a"], Ok(Some("a"))),
            (&["\ta\t,"], Ok(Some("a"))),
            (&["x"], Err(NoSubprotocol)),
            (&["A"], Err(NoSubprotocol)),
            (&["ab"], Err(NoSubprotocol)),
            (&["a b"], Err(NoSubprotocol)),
            (&[""], Err(NoSubprotocol)),
        ];
        for (lines, expected) in table {
            let chosen = negotiate(&headers(lines), &spoken);
            let expected = expected.map(|chosen| chosen.map(HeaderValue::from_static));
            assert_eq!(chosen, expected, "{lines:?}");
        }
        assert_eq!(negotiate(&headers(&["a"]), &[]), Err(NoSubprotocol));
    }

    #[test]
    fn exactly_one_token_is_taken() {
        // What the client sends, the token, and what is left.
        type Case = (
            &'static [&'static str],
            Option<&'static [u8]>,
            &'static [&'static str],
        );
        let table: &[Case] = &[
            (&[], None, &[]),
            (&["phoenix"], None, &["phoenix"]),
            (
                &["phoenix, base64url.bearer.phx.aGk"],
                Some(b"hi"),
                &["phoenix"],
            ),
            (
                &["base64url.bearer.phx.aGk=,phoenix,x"],
                Some(b"hi"),
                &["phoenix, x"],
            ),
            (
                &["phoenix", "base64url.bearer.phx.aGk"],
                Some(b"hi"),
                &["phoenix"],
            ),
            (&["base64url.bearer.phx.aGk"], Some(b"hi"), &[]),
            (&["base64url.bearer.phx."], Some(b""), &[]),
            // Both alphabets, for bytes that are no text.
            (&["base64url.bearer.phx.+/8"], Some(b"\xfb\xff"), &[]),
            (&["base64url.bearer.phx.-_8"], Some(b"\xfb\xff"), &[]),
            (
                &["base64url.bearer.phx.aGk, base64url.bearer.phx.aGk"],
                None,
                &["base64url.bearer.phx.aGk, base64url.bearer.phx.aGk"],
            ),
            (
                &["Base64url.bearer.phx.aGk"],
                None,
                &["Base64url.bearer.phx.aGk"],
            ),
        ];
        for (lines, token, left) in table {
            let mut headers = headers(lines);
            let taken = take_bearer(&mut headers).unwrap();
            let taken = taken.as_ref().map(AuthToken::as_bytes);
            assert_eq!(taken, *token, "{lines:?}");
            let after: Vec<_> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
            assert_eq!(after, *left, "{lines:?}");
        }
        for line in [
            "base64url.bearer.phx.a",
            "base64url.bearer.phx.a%3D",
            "base64url.bearer.phx.+_8",
            "base64url.bearer.phx.a Gk",
            "base64url.bearer.phx.aGk===",
        ] {
            assert_eq!(take_bearer(&mut headers(&[line])), Err(AuthTokenError));
        }
    }

    #[test]
    fn long_headers_are_read_in_one_pass() {
        // A list of a million entries, and one entry of a million blanks.
        for line in [
            "a,".repeat(1_000_000),
            format!("a{}b", " ".repeat(1_000_000)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(SEC_WEBSOCKET_PROTOCOL, line.parse().unwrap());
            assert_eq!(take_bearer(&mut headers), Ok(None));
            let spoken = HeaderValue::from_static(PHOENIX);
            assert_eq!(negotiate(&headers, &[spoken]), Err(NoSubprotocol));
        }
    }

    #[test]
    fn the_header_of_long_polling_is_taken_as_it_is() {
        let mut headers = HeaderMap::new();
        headers.append(TOKEN_HEADER, HeaderValue::from_static("a+b="));
        headers.append(TOKEN_HEADER, HeaderValue::from_static("second"));
        let token = take_token_header(&mut headers).unwrap();
        assert_eq!(token.as_bytes(), b"a+b=");
        assert!(headers.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let Ok(line) = HeaderValue::from_bytes(&line) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.insert(SEC_WEBSOCKET_PROTOCOL, line);
            let _ = negotiate(&headers, &[HeaderValue::from_static(PHOENIX)]);
            let _ = take_bearer(&mut headers);
        }

        #[test]
        fn what_the_official_client_encodes_comes_back(token in prop::collection::vec(any::<u8>(), 0..60)) {
            let offer = format!("{PHOENIX}, {BEARER}{}", STANDARD_NO_PAD.encode(&token));
            let mut headers = HeaderMap::new();
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offer.parse().unwrap());
            let taken = take_bearer(&mut headers).unwrap().unwrap();
            prop_assert_eq!(taken.as_bytes(), &*token);
            prop_assert_eq!(&headers[SEC_WEBSOCKET_PROTOCOL], PHOENIX);
        }
    }
}
