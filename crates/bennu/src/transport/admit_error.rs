//! [`AdmitError`]: why a client has no socket. Each transport answers in its own way; the answer that
//! an HTTP request to become a WebSocket gets is here.

use std::time::Duration;

use bennu_proto::vsn::VsnError;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use super::subprotocol::{AuthTokenError, NoSubprotocol};
use crate::socket::{ParamsError, Refused};
use crate::telemetry::Limit;

/// Why a client is not admitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmitError {
    #[error("the server is draining")]
    Draining,
    /// A limit is reached. Where it makes sense to come back, the time says when.
    #[error("{} is reached", limit.name())]
    Limited {
        limit: Limit,
        retry_after: Option<Duration>,
    },
    #[error(transparent)]
    Query(#[from] ParamsError),
    #[error("the origin is not allowed")]
    Origin,
    #[error(transparent)]
    AuthToken(#[from] AuthTokenError),
    #[error(transparent)]
    Subprotocol(#[from] NoSubprotocol),
    #[error(transparent)]
    Vsn(#[from] VsnError),
    /// The application said no.
    #[error(transparent)]
    Refused(Refused),
    #[error("connect panicked")]
    Panicked,
}

impl AdmitError {
    /// The answer as an HTTP response.
    pub(super) fn into_refused(self) -> Refused {
        match self {
            Self::Draining => Refused::status(StatusCode::SERVICE_UNAVAILABLE),
            Self::Limited { limit, retry_after } => limited(limit, retry_after),
            Self::Query(error) => error.into(),
            Self::AuthToken(error) => Refused::text(StatusCode::BAD_REQUEST, error.to_string()),
            Self::Origin | Self::Subprotocol(_) | Self::Vsn(_) => Refused::forbidden(),
            Self::Refused(refused) => refused,
            Self::Panicked => Refused::status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

fn limited(limit: Limit, retry_after: Option<Duration>) -> Refused {
    let mut refused = Refused::status(match limit {
        Limit::QueryBytes => StatusCode::URI_TOO_LONG,
        Limit::Headers | Limit::HeaderBytes => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Limit::Connections | Limit::HandshakesTotal => StatusCode::SERVICE_UNAVAILABLE,
        Limit::ConnectionsPerPeer | Limit::Handshakes | Limit::Messages | Limit::Bytes => {
            StatusCode::TOO_MANY_REQUESTS
        }
    });
    if let Some(retry_after) = retry_after {
        // In whole seconds (RFC 9110, section 10.2.3), and not before the time.
        let seconds = retry_after.as_millis().div_ceil(1000).max(1);
        let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
        refused.0.headers_mut().insert(RETRY_AFTER, seconds);
    }
    refused
}
