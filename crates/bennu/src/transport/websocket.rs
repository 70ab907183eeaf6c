//! WebSocket: from an HTTP request to a running driver.

use std::sync::Arc;

use bennu_proto::codec::Framing;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::admission::{Admitted, admit};
use super::handshake::{self, Asked};
use super::permit::{self, Held};
use super::service::status;
use crate::connection::Writer;
use crate::driver::Io;
use crate::socket::{Mounted, Refused};

/// Answers a request at the WebSocket path.
pub(super) async fn upgrade<B>(
    mount: Arc<dyn Mounted>,
    request: Request<B>,
) -> Response<Full<Bytes>> {
    let (mut parts, _) = request.into_parts();
    // Before `connect`, so that a request that can never become a socket costs the application
    // nothing.
    let mut accepted = match handshake::asked(&parts) {
        Ok(Asked::Upgrade(accept)) => switching_protocols(accept),
        Ok(Asked::Connect) => connected(),
        Ok(Asked::OtherProtocol) => return status(StatusCode::NOT_IMPLEMENTED),
        Ok(Asked::OtherMethod) => return status(StatusCode::BAD_REQUEST),
        Err(error) => {
            mount.hub().telemetry().connects_invalid.increment(1);
            return Refused::text(StatusCode::BAD_REQUEST, error.to_string()).into_response();
        }
    };
    let Some(on_upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        tracing::error!("the HTTP server cannot upgrade connections: serve with upgrades");
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let extensions = handshake::extensions(mount.hub(), &parts.headers);
    let framing = match extensions {
        Some(_) => Framing::WebSocketDeflate,
        None => Framing::WebSocket,
    };
    let held = permit::take(&mut parts.extensions);
    match admit(mount, parts, framing).await {
        Ok(admitted) => {
            let headers = accepted.headers_mut();
            if let Some(extensions) = extensions {
                headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
            }
            if let Some(subprotocol) = admitted.subprotocol() {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol.clone());
            }
            tokio::spawn(run(on_upgrade, admitted, held));
            accepted
        }
        Err(error) => error.into_refused().into_response(),
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
            let early_bytes = early_bytes.to_vec();
            admitted.into_driver(Writer::Socket(writer), early_bytes, |_| Io::Socket(reader))
        }
        Err(upgraded) => {
            let stream = Box::new(TokioIo::new(upgraded));
            admitted.into_driver(Writer::None, Vec::new(), |_| Io::Stream(stream))
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
