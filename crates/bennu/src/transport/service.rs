//! [`SocketService`]: the sockets of a mount as a tower service.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bennu_proto::codec::Framing;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncWrite};

use super::admission::admit;
use super::admit_error::AdmitError;
use super::{long_poll, websocket};
use crate::socket::{Mounted, Refused};

/// The sockets of a mount, as a tower service for HTTP requests. It answers at `/websocket` and, if
/// clients may poll, at `/longpoll`, below the path at which it is nested, and with 404 elsewhere. Cheap to clone; always ready.
///
/// The server must be able to upgrade connections: hyper's `serve_connection_with_upgrades`,
/// `axum::serve` and `axum-server` are.
#[derive(Clone)]
pub struct SocketService {
    mount: Arc<dyn Mounted>,
}

impl SocketService {
    pub(crate) fn new(mount: Arc<dyn Mounted>) -> Self {
        Self { mount }
    }

    /// Serves one client over a transport that is already there, as if the request had been upgraded
    /// on it: for tests without a network, and for servers with an upgrade of their own. The transport
    /// carries WebSocket frames. The returned future is the connection: run it, or spawn it.
    ///
    /// # Errors
    /// [`Refused`] when the request is refused; the handshake headers are not looked at.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing has happened but perhaps a part of `connect`. Dropping the
    /// connection it returns ends the socket without a close frame and without `terminate`.
    pub async fn serve_stream<B, T>(
        &self,
        request: Request<B>,
        transport: T,
    ) -> Result<impl Future<Output = ()> + Send + use<B, T>, Refused>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (parts, _) = request.into_parts();
        let admitted = admit(Arc::clone(&self.mount), parts, Framing::WebSocket).await;
        let admitted = admitted.map_err(AdmitError::into_refused)?;
        Ok(admitted.into_driver_over(transport))
    }
}

impl<B> tower_service::Service<Request<B>> for SocketService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mount = Arc::clone(&self.mount);
        Box::pin(async move {
            let mut segments = request
                .uri()
                .path()
                .split('/')
                .filter(|segment| !segment.is_empty());
            let response = match (segments.next(), segments.next()) {
                (Some("websocket"), None) => websocket::upgrade(mount, request).await,
                (Some("longpoll"), None) => long_poll::serve(mount, request).await,
                _ => status(StatusCode::NOT_FOUND),
            };
            Ok(response)
        })
    }
}

impl std::fmt::Debug for SocketService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketService").finish_non_exhaustive()
    }
}

pub(super) fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
