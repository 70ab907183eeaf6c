//! WebSocket: from an HTTP request to a running driver.

use std::sync::Arc;

use bennu_proto::codec::Framing;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::admission::{Admitted, admit};
use super::handshake;
use super::service::status;
use crate::driver::Io;
use crate::socket::{Mounted, Refused};

/// Answers a request at the WebSocket path.
pub(super) async fn upgrade<B>(
    mount: Arc<dyn Mounted>,
    request: Request<B>,
) -> Response<Full<Bytes>> {
    let (mut parts, _) = request.into_parts();
    if parts.method != Method::GET {
        return status(StatusCode::BAD_REQUEST);
    }
    // Before `connect`, so that a request that can never become a socket costs the application
    // nothing.
    let accept = match handshake::accept(parts.version, &parts.headers) {
        Ok(accept) => accept,
        Err(error) => {
            mount.hub().telemetry().connects_invalid.increment(1);
            return Refused::text(StatusCode::BAD_REQUEST, error.to_string()).into_response();
        }
    };
    let Some(on_upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        tracing::error!("the HTTP server cannot upgrade connections: serve with upgrades");
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    match admit(mount, parts, Framing::WebSocket).await {
        Ok(admitted) => {
            let subprotocol = admitted.subprotocol().cloned();
            tokio::spawn(run(on_upgrade, admitted));
            switching_protocols(accept, subprotocol)
        }
        Err(error) => error.into_refused().into_response(),
    }
}

fn switching_protocols(
    accept: HeaderValue,
    subprotocol: Option<HeaderValue>,
) -> Response<Full<Bytes>> {
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    let no_cache = HeaderValue::from_static("max-age=0, private, must-revalidate");
    headers.insert(CACHE_CONTROL, no_cache);
    response
}

/// Waits for the transport and hands it to a driver of its own task, so that nothing of the handshake
/// stays in memory.
async fn run(on_upgrade: OnUpgrade, admitted: Admitted) {
    let upgraded = match on_upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "the client went away during the handshake");
            return;
        }
    };
    let driver = match into_socket(upgraded) {
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
