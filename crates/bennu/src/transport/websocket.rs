//! WebSocket: from an HTTP request to a running driver.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bennu_proto::codec::{Form, Framing};
use bennu_proto::topic::Topic;
use bennu_proto::vsn::Vsn;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tracing::Instrument;

use super::handshake::{self, Asked};
use super::permit::{self, Held};
use super::service::status;
use crate::channel::runner::catch_panic;
use crate::connection::{Arriving, CloseReason, Connection, ID_TOKEN};
use crate::driver::{Driver, Io, Session};
use crate::endpoint::Hub;
use crate::socket::{ConnectParams, Mounted, Refused};

/// Answers a request at the WebSocket path.
pub(super) async fn upgrade<B>(
    mount: Arc<dyn Mounted>,
    request: Request<B>,
) -> Response<Full<Bytes>> {
    let (mut parts, _) = request.into_parts();
    // Before `connect`, so that a request that can never become a socket costs the application
    // nothing.
    let accepted = match handshake::asked(&parts) {
        Ok(Asked::Upgrade(accept)) => switching_protocols(accept),
        Ok(Asked::Connect) => connected(),
        Ok(Asked::OtherProtocol) => return status(StatusCode::NOT_IMPLEMENTED),
        Ok(Asked::OtherMethod) => return status(StatusCode::BAD_REQUEST),
        Err(error) => {
            mount.hub().telemetry().connects_invalid.increment(1);
            let mut response = Response::new(Full::from(error.to_string()));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, plain);
            return response;
        }
    };
    let Some(on_upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        tracing::error!("the HTTP server cannot upgrade connections: serve with upgrades");
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let held = permit::take(&mut parts.extensions);
    match admit(mount, parts).await {
        Ok(admitted) => {
            tokio::spawn(run(on_upgrade, admitted, held));
            accepted
        }
        Err(Refused(response)) => *response,
    }
}

fn switching_protocols(accept: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = connected();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The answer of RFC 8441, section 5: the stream is the connection.
fn connected() -> Response<Full<Bytes>> {
    let mut response = status(StatusCode::OK);
    let no_cache = HeaderValue::from_static("max-age=0, private, must-revalidate");
    response.headers_mut().insert(CACHE_CONTROL, no_cache);
    response
}

/// A client that may connect, before its transport is there.
pub(super) struct Admitted {
    hub: Arc<Hub>,
    form: Form,
    session: Box<dyn Session>,
    id: Option<Topic>,
    arriving: Arriving,
}

/// Negotiates the version and asks the application.
pub(super) async fn admit(mount: Arc<dyn Mounted>, mut parts: Parts) -> Result<Admitted, Refused> {
    let hub = Arc::clone(mount.hub());
    // Counted before the look at the drain, so that a drain which begins now waits for this one.
    let arriving = hub.connections().arriving();
    if hub.is_draining() {
        return Err(Refused::status(StatusCode::SERVICE_UNAVAILABLE));
    }
    let query = parts.uri.query().unwrap_or_default();
    if query.len() > hub.limits().query_bytes_max {
        return Err(Refused::status(StatusCode::URI_TOO_LONG));
    }
    let params = ConnectParams::from_query(query)?;
    let vsn = match params.value("vsn") {
        None => Vsn::negotiate(None),
        Some(value) => Vsn::negotiate(Some(value.as_str().unwrap_or("(not text)"))),
    };
    let vsn = vsn.map_err(|error| {
        tracing::warn!(%error, "connection refused");
        hub.telemetry().connects_invalid.increment(1);
        Refused::forbidden()
    })?;
    tracing::debug!(%vsn, params = %params.filtered(hub.param_filter()), "connecting");
    parts.extensions.insert(params);
    let started = Instant::now();
    let connecting = mount
        .connect(parts)
        .instrument(tracing::debug_span!("connect"));
    let connected = catch_panic(connecting).await;
    let (telemetry, duration) = (hub.telemetry(), started.elapsed());
    telemetry.connect_duration.record(duration);
    match connected {
        Ok(Ok(crate::socket::Admitted { session, id })) => {
            telemetry.connects_ok.increment(1);
            tracing::debug!(?duration, "connected");
            let form = Form {
                vsn,
                framing: Framing::WebSocket,
            };
            Ok(Admitted {
                form,
                session,
                id: id.map(Topic::from),
                hub,
                arriving,
            })
        }
        Ok(Err(refused)) => {
            telemetry.connects_refused.increment(1);
            tracing::debug!(status = %refused.0.status(), ?duration, "connection refused");
            Err(refused)
        }
        Err(panic) => {
            tracing::error!(%panic, "connect panicked");
            Err(Refused::status(StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
}

impl Admitted {
    /// The driver over a transport that it alone reads and writes.
    pub(super) fn into_driver_over<T>(
        self,
        transport: T,
    ) -> impl Future<Output = ()> + Send + use<T>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.into_driver(Io::Stream(Box::new(transport)), None, Vec::new())
    }

    fn into_driver(self, io: Io, writer: Option<OwnedWriteHalf>, early_bytes: Vec<u8>) -> Driver {
        let connection = Arc::new(Connection::new(self.form, Arc::clone(&self.hub), writer));
        let id = self.id.map(|id| {
            let subscriber = Arc::clone(&connection);
            self.hub.pubsub().register(&id, subscriber, ID_TOKEN)
        });
        let listed = self.arriving.list(&connection);
        if self.hub.is_draining() {
            connection.close(CloseReason::Draining);
        }
        Driver::new(connection, self.session, io, early_bytes, id, listed)
    }
}

/// Waits for the transport and hands it to a driver of its own task, so that nothing of the handshake
/// stays in memory.
async fn run(on_upgrade: OnUpgrade, admitted: Admitted, held: Held) {
    let upgraded = match on_upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "the client went away during the handshake");
            return;
        }
    };
    let mut driver = match into_socket(upgraded) {
        Ok((socket, early_bytes)) => {
            // Frames are whole messages: waiting for more to send only delays them.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY was not set");
            }
            let (reader, writer) = socket.into_split();
            // A copy: what was read early is a slice of hyper's buffer and would keep all of it.
            admitted.into_driver(Io::Socket(reader), Some(writer), early_bytes.to_vec())
        }
        Err(upgraded) => {
            let stream = Io::Stream(Box::new(TokioIo::new(upgraded)));
            admitted.into_driver(stream, None, Vec::new())
        }
    };
    driver.hold(held);
    let connection = driver.connection();
    let task = tokio::spawn(driver);
    connection.set_task(task.abort_handle());
}

/// The plain socket under an upgraded connection, with what was already read from it, if hyper or
/// hyper-util (and so axum) served it.
fn into_socket(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    use hyper_util::server::conn::auto::upgrade::downcast;

    let upgraded = match downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<TcpStream>>()?;
    Ok((parts.io.into_inner(), parts.read_buf))
}
