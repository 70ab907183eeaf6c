//! [`Handshakes`]: the TLS handshakes of a server, a bounded number at once and each in a bounded time.
//! The certificates are in `tls.rs`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::Version;
use super::limits::ServeLimits;
use super::telemetry::Rejected;
use super::tls::{HTTP_2, Tls};
use crate::driver::deadline_after;

/// A clone shares the places.
#[derive(Clone)]
pub(super) struct Handshakes {
    tls: Tls,
    http1_only: bool,
    places: Arc<Semaphore>,
    timeout: Duration,
}

/// A connection after its handshake.
pub(super) struct Secured {
    pub(super) io: TokioIo<TlsStream<TcpStream>>,
    pub(super) version: Version,
    /// The client's, in DER.
    pub(super) certificate: Option<Bytes>,
}

impl Handshakes {
    pub(super) fn new(tls: Tls, limits: &ServeLimits, http1_only: bool) -> Self {
        let places = limits.tls_handshakes_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            tls,
            http1_only,
            places: Arc::new(Semaphore::new(places)),
            timeout: limits.tls_handshake_timeout,
        }
    }

    /// Shakes hands. Cancel safe in that the connection is dropped.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<Secured, Rejected> {
        let deadline = deadline_after(Instant::now(), self.timeout);
        // Who says nothing takes no place. A look at the first byte, since a mere wait for readiness may
        // end without there being anything to read.
        let said = timeout_at(deadline, stream.peek(&mut [0])).await;
        said.map_err(|_| Rejected::TlsTimeout)?
            .map_err(|_| Rejected::TlsFailed)?;
        let place = timeout_at(deadline, self.places.acquire()).await;
        let _place = place
            .map_err(|_| Rejected::TlsBusy)?
            .map_err(|_| Rejected::TlsBusy)?;
        let acceptor = TlsAcceptor::from(self.tls.config(self.http1_only));
        let accepted = timeout_at(deadline, acceptor.accept(stream)).await;
        let stream = accepted
            .map_err(|_| Rejected::TlsTimeout)?
            .map_err(|error| {
                tracing::debug!(%error, "a TLS handshake failed");
                Rejected::TlsFailed
            })?;
        let (_, session) = stream.get_ref();
        let version = match session.alpn_protocol() {
            Some(HTTP_2) => Version::Http2,
            _ => Version::Http1,
        };
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.map(|der| Bytes::copy_from_slice(der));
        Ok(Secured {
            io: TokioIo::new(stream),
            version,
            certificate,
        })
    }
}
