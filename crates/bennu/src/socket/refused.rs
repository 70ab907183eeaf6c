//! [`Refused`]: the answer to a client that may not connect.

use std::fmt;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// The application does not let this client connect. The answer is an HTTP response; the official
/// client takes every one of them as a lost connection and tries again, ever more slowly.
#[derive(Debug)]
pub struct Refused(pub(crate) Box<Response<Full<Bytes>>>);

impl Refused {
    /// 403, without a body.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::status(StatusCode::FORBIDDEN)
    }

    /// A status, without a body.
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        Self(Box::new(response))
    }

    /// A status and a text.
    pub(crate) fn text(status: StatusCode, text: String) -> Self {
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        Self::response(response)
    }

    /// Any response, for example a 429 with a text and `retry-after`. A header value cannot hold a line
    /// break ([`http::HeaderValue`] takes none), so nothing that a client sent and that is echoed in one
    /// can end the header and begin something else.
    #[must_use]
    pub fn response(response: Response<Bytes>) -> Self {
        Self(Box::new(response.map(Full::new)))
    }

    /// The answer, for a server with an upgrade of its own
    /// ([`SocketService::serve_stream`](crate::SocketService::serve_stream)).
    #[must_use]
    pub fn into_response(self) -> Response<Full<Bytes>> {
        *self.0
    }
}

impl From<StatusCode> for Refused {
    fn from(status: StatusCode) -> Self {
        Self::status(status)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection was refused with {}", self.0.status())
    }
}

impl std::error::Error for Refused {}
