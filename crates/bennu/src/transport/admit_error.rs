//! [`AdmitError`]: why a client has no socket. Each transport answers in its own way; the answer that
//! an HTTP request to become a WebSocket gets is here.

use bennu_proto::vsn::VsnError;
use http::StatusCode;

use super::subprotocol::{AuthTokenError, NoSubprotocol};
use crate::socket::{ParamsError, Refused};

/// Why a client is not admitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmitError {
    #[error("the server is draining")]
    Draining,
    #[error("the query string is too long")]
    QueryTooLong,
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
            Self::QueryTooLong => Refused::status(StatusCode::URI_TOO_LONG),
            Self::Query(error) => error.into(),
            Self::AuthToken(error) => Refused::text(StatusCode::BAD_REQUEST, error.to_string()),
            Self::Origin | Self::Subprotocol(_) | Self::Vsn(_) => Refused::forbidden(),
            Self::Refused(refused) => refused,
            Self::Panicked => Refused::status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}
