//! The answers of long polling. Every one may be read by pages of other origins; whether they may connect
//! was decided before.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// Messages, each a JSON string already, with the session's token.
pub(super) fn messages(status: u16, messages: &[Bytes], token: &str) -> Response<Full<Bytes>> {
    let len: usize = messages.iter().map(|message| message.len() + 1).sum();
    let mut body = Vec::with_capacity(len + token.len() + 64);
    body.extend_from_slice(b"{\"messages\":[");
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(message);
    }
    // A token is made of characters that need no escapes.
    body.extend_from_slice(format!("],\"status\":{status},\"token\":\"{token}\"}}").as_bytes());
    json(StatusCode::OK, body)
}

/// A status and nothing else.
pub(super) fn status(status: u16) -> Response<Full<Bytes>> {
    json(StatusCode::OK, format!("{{\"status\":{status}}}"))
}

/// What was wrong with a request, under an HTTP status of the same number.
pub(super) fn fault(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "status": status.as_u16(), "reason": reason });
    json(status, body.to_string())
}

/// The request can be tried again later: the HTTP status says so to proxies, a 500 to the client.
pub(super) fn later(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = json(status, "{\"status\":500}");
    let seconds = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

/// The session ended while its client was polling. To every client a 500 means to connect again and to
/// join again, whereas clients before 1.8 take a 410 for a session that goes on.
pub(super) fn ended() -> Response<Full<Bytes>> {
    status(500)
}

/// A method that long polling has no use for.
pub(super) fn bad_method() -> Response<Full<Bytes>> {
    with_cors(StatusCode::BAD_REQUEST, Bytes::new())
}

/// The answer to a CORS preflight: whatever headers the client names are fine.
pub(super) fn preflight<'a>(
    requested: impl IntoIterator<Item = &'a HeaderValue>,
) -> Response<Full<Bytes>> {
    let mut response = with_cors(StatusCode::OK, Bytes::new());
    let lines: Vec<&[u8]> = requested.into_iter().map(HeaderValue::as_bytes).collect();
    let headers = response.headers_mut();
    if let Ok(allowed) = HeaderValue::from_bytes(&lines.join(&b", "[..])) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    let methods = HeaderValue::from_static("get, post, options");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = with_cors(status, body.into());
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn with_cors(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let everybody = HeaderValue::from_static("*");
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, everybody);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
