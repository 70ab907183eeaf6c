//! [`RequestUri`]: where a client wanted to go.

use std::fmt;

use http::header::HOST;
use http::request::Parts;

use super::authority::Authority;

/// The URL of a connect request: what its client asked for, as far as that is known. Behind trusted
/// proxies, scheme and host are those that the client used
/// ([`TrustedProxies`](super::TrustedProxies)).
///
/// The scheme never comes from the request line, where a client could write anything.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestUri {
    is_https: bool,
    authority: Option<Authority>,
    path: String,
    query: Option<String>,
}

impl RequestUri {
    /// From a request over a connection that is encrypted, or not.
    pub(crate) fn of(parts: &Parts, is_https: bool) -> Self {
        let uri = whole_uri(parts);
        Self {
            is_https,
            authority: authority(parts),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
        }
    }

    /// The host that a trusted proxy was asked for.
    pub(crate) fn with_authority(self, authority: Authority) -> Self {
        Self {
            authority: Some(authority),
            ..self
        }
    }

    /// `https` or `http`; also for WebSocket.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    /// The host, as the client wrote it; an IPv6 address without its brackets. `None` if the request
    /// names none, several, or none that can be read.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        Some(&self.authority.as_ref()?.host)
    }

    /// The port that was written, or the one that the scheme means.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = if self.is_https { 443 } else { 80 };
        self.explicit_port().unwrap_or(default)
    }

    /// The port, if one was written.
    pub(crate) fn explicit_port(&self) -> Option<u16> {
        self.authority.as_ref()?.port
    }

    /// The path, that of the mount included where the router tells it (axum does).
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query string as it was sent. It may hold tokens: do not log it.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

/// Without the query, which may hold tokens.
impl fmt::Debug for RequestUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestUri")
            .field("scheme", &self.scheme())
            .field("authority", &self.authority)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The authority of the request line, which RFC 9112, section 3.2.2 places above `Host`, or else the
/// one `Host` header.
fn authority(parts: &Parts) -> Option<Authority> {
    if let Some(authority) = parts.uri.authority() {
        return Authority::parse(authority.as_str());
    }
    let mut lines = parts.headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(host), None) => Authority::parse(host.to_str().ok()?),
        _ => None,
    }
}

/// The URI before a router took the path of the mount away.
#[cfg(feature = "axum")]
fn whole_uri(parts: &Parts) -> &http::Uri {
    let original = parts.extensions.get::<axum::extract::OriginalUri>();
    original.map_or(&parts.uri, |original| &original.0)
}

#[cfg(not(feature = "axum"))]
fn whole_uri(parts: &Parts) -> &http::Uri {
    &parts.uri
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn uri(request: http::request::Builder) -> RequestUri {
        RequestUri::of(&request.body(()).unwrap().into_parts().0, false)
    }

    #[test]
    fn the_host_is_that_of_the_request_line_or_of_one_header() {
        let of_header = uri(Request::get("/a?b=1").header("host", "h.com:4000"));
        assert_eq!(of_header.host(), Some("h.com"));
        assert_eq!((of_header.port(), of_header.scheme()), (4000, "http"));
        assert_eq!((of_header.path(), of_header.query()), ("/a", Some("b=1")));
        let of_line = uri(Request::get("https://line.com/").header("host", "h.com"));
        assert_eq!(of_line.host(), Some("line.com"));
        // The scheme of the line is the client's own invention.
        assert_eq!((of_line.port(), of_line.scheme()), (80, "http"));
        let twice = Request::get("/").header("host", "a").header("host", "b");
        assert_eq!(uri(twice).host(), None);
        assert_eq!(uri(Request::get("/")).host(), None);
        assert_eq!(uri(Request::get("/").header("host", "a@b")).host(), None);
    }

    #[test]
    fn a_query_is_not_printed() {
        let uri = uri(Request::get("/a?token=secret").header("host", "h"));
        assert!(!format!("{uri:?}").contains("secret"));
    }
}
