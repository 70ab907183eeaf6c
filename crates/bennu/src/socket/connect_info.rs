//! [`ConnectInfo`]: what is known of a connect request beside its parameters.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::{AnySession, AuthToken, PeerAddr, RequestUri};
use crate::transport::peer::Caller;

/// What is known of a connect request beside its parameters: an argument of `connect`, and in the
/// extensions of the request.
///
/// What comes from headers is what the client sent, bounded in length by
/// [`Limits::header_bytes_max`](crate::Limits::header_bytes_max) and not checked in any other way. For
/// information of your own, let the `connect` closure capture it.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct ConnectInfo(Arc<Inner>);

struct Inner {
    caller: Caller,
    headers: Vec<(HeaderName, HeaderValue)>,
    auth_token: Option<AuthToken>,
    session: Option<AnySession>,
}

impl ConnectInfo {
    pub(crate) fn new(
        parts: &Parts,
        caller: Caller,
        auth_token: Option<AuthToken>,
        session: Option<AnySession>,
    ) -> Self {
        let headers = parts.headers.iter();
        let headers = headers.filter(|(name, _)| is_kept(name));
        Self(Arc::new(Inner {
            caller,
            headers: headers
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            auth_token,
            session,
        }))
    }

    /// The client's address: that of the TCP peer, or what trusted proxies say
    /// ([`Sockets::with_trusted_proxies`](crate::Sockets::with_trusted_proxies)). `None` if the server
    /// does not tell ([`PeerAddr`]).
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.caller.address
    }

    /// The TCP peer, which may be a proxy.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerAddr> {
        self.0.caller.peer.as_ref()
    }

    /// Where the client wanted to go.
    #[must_use]
    pub fn uri(&self) -> &RequestUri {
        &self.0.caller.uri
    }

    /// The first `user-agent` header.
    #[must_use]
    pub fn user_agent(&self) -> Option<&HeaderValue> {
        let mut headers = self.0.headers.iter();
        headers
            .find(|(name, _)| name == USER_AGENT)
            .map(|(_, value)| value)
    }

    /// All headers whose name starts with `x-`, in the order of the request; those of the same name
    /// stand together, where the first of them stood. Those that proxies write are among them, whoever
    /// wrote them.
    pub fn x_headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.named(|name| name.starts_with("x-"))
    }

    /// All headers whose name starts with `sec-websocket-`, the same way. An auth token that was taken
    /// is not among them.
    pub fn sec_websocket_headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.named(|name| name.starts_with("sec-websocket-"))
    }

    /// The headers `traceparent` and `tracestate` of W3C Trace Context.
    pub fn trace_context(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.named(|name| matches!(name, "traceparent" | "tracestate"))
    }

    /// The token that the client sent beside the URL, where the mount takes them
    /// ([`Sockets::with_auth_token`](crate::Sockets::with_auth_token)). Nobody has verified it.
    #[must_use]
    pub fn auth_token(&self) -> Option<&AuthToken> {
        self.0.auth_token.as_ref()
    }

    /// The session of the browser, of the type that the mount's [`SessionCookie`](super::SessionCookie)
    /// reads: if the cookie is there and good, and if the page has shown that it is one of the
    /// application's own.
    #[must_use]
    pub fn session<S: 'static>(&self) -> Option<&S> {
        self.0.session.as_ref()?.downcast_ref()
    }

    fn named(
        &self,
        is_named: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let headers = self.0.headers.iter();
        headers
            .filter(move |(name, _)| is_named(name.as_str()))
            .map(|(name, value)| (name, value))
    }
}

/// Whether a header is part of the information; the others, cookies among them, are not copied.
fn is_kept(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("x-")
        || text.starts_with("sec-websocket-")
        || matches!(text, "user-agent" | "traceparent" | "tracestate")
}

/// Without headers, tokens and the query.
impl fmt::Debug for ConnectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectInfo")
            .field("address", &self.address())
            .field("uri", self.uri())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for ConnectInfo {
    type Rejection = http::StatusCode;

    /// There is one in every request that a mount asks `connect` about, and in no other.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, http::StatusCode> {
        let info = parts.extensions.get::<Self>().cloned();
        info.ok_or(http::StatusCode::INTERNAL_SERVER_ERROR)
    }
}
