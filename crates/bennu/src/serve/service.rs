//! [`AppService`]: the application as hyper calls it for one connection, with what a request is told
//! about its connection, and a body that knows when it has been sent.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::permit::{ConnectionPermit, Slot};
use crate::socket::PeerAddr;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The application, for the requests of one connection.
#[derive(Clone)]
pub(super) struct AppService<S> {
    pub(super) app: S,
    pub(super) peer: PeerAddr,
    pub(super) slot: Arc<Slot>,
    pub(super) headers_max: usize,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for AppService<S>
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = Response<Sent<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let permit = self.slot.begin_request();
        // HTTP/1.1 has been refused by hyper; HTTP/2 knows a limit in bytes only.
        if request.headers().len() > self.headers_max {
            return Box::pin(std::future::ready(Ok(too_many_headers(permit))));
        }
        let extensions = request.extensions_mut();
        #[cfg(feature = "axum")]
        if let Some(addr) = self.peer.addr() {
            extensions.insert(axum::extract::ConnectInfo(addr));
        }
        extensions.insert(self.peer.clone());
        extensions.insert(permit.clone());
        let mut app = self.app.clone();
        Box::pin(async move {
            poll_fn(|cx| app.poll_ready(cx)).await.map_err(Into::into)?;
            let response = app.call(request).await.map_err(Into::into)?;
            Ok(response.map(|body| Sent {
                body: Some(body),
                _permit: permit,
            }))
        })
    }
}

fn too_many_headers<B>(permit: ConnectionPermit) -> Response<Sent<B>> {
    let mut response = Response::new(Sent {
        body: None,
        _permit: permit,
    });
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

pin_project! {
    /// The body of an answer, which keeps its connection in use until it has been taken.
    pub(super) struct Sent<B> {
        #[pin]
        body: Option<B>,
        _permit: ConnectionPermit,
    }
}

impl<B: Body> Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let empty = SizeHint::with_exact(0);
        self.body.as_ref().map_or(empty, Body::size_hint)
    }
}
