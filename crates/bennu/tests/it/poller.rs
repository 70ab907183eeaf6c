//! [`Poller`]: a client that polls, request by request, without a network.

use bennu::SocketService;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The status in the body.
    pub(crate) fn status(&self) -> u64 {
        self.body["status"].as_u64().unwrap()
    }

    /// The messages, as they would be on a WebSocket.
    pub(crate) fn messages(&self) -> Vec<String> {
        let messages = self.body["messages"].as_array().unwrap();
        let texts = messages
            .iter()
            .map(|text| text.as_str().unwrap().to_owned());
        texts.collect()
    }

    pub(crate) fn token(&self) -> String {
        self.body["token"].as_str().unwrap().to_owned()
    }
}

/// Sends a request to the long-poll path.
pub(crate) async fn request(
    service: &SocketService,
    method: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/longpoll?{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    assert_eq!(parts.headers["access-control-allow-origin"], "*");
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        http: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }
}

/// A client with a session.
#[derive(Clone)]
pub(crate) struct Poller {
    service: SocketService,
    /// What it connected with.
    query: String,
    pub(crate) token: String,
}

impl Poller {
    pub(crate) async fn begin(service: SocketService, query: &str) -> Self {
        let query = format!("{query}&vsn=2.0.0");
        let answer = request(&service, "GET", &format!("{query}&"), &[], "").await;
        assert_eq!((answer.http, answer.status()), (StatusCode::OK, 410));
        assert_eq!(answer.messages(), Vec::<String>::new());
        Self {
            service,
            query,
            token: answer.token(),
        }
    }

    /// Polls; what was received before is acknowledged by that.
    pub(crate) async fn poll(&mut self) -> Answer {
        let answer = self.poll_and_lose().await;
        if let Some(token) = answer.body["token"].as_str() {
            token.clone_into(&mut self.token);
        }
        answer
    }

    /// Polls, and the answer does not arrive.
    pub(crate) async fn poll_and_lose(&self) -> Answer {
        request(&self.service, "GET", &self.query(), &[], "").await
    }

    /// Posts messages, one on each line.
    pub(crate) async fn post(&self, lines: &[&str]) -> Answer {
        self.post_body("application/x-ndjson", lines.join("\n"))
            .await
    }

    pub(crate) async fn post_body(&self, kind: &str, body: impl Into<Bytes>) -> Answer {
        let headers = [("content-type", kind)];
        request(&self.service, "POST", &self.query(), &headers, body).await
    }

    fn query(&self) -> String {
        format!("{}&token={}", self.query, self.token)
    }
}
