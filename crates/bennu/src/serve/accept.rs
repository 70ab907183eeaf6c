//! [`Acceptor`]: from a listener to connections that are served, or refused.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
#[cfg(unix)]
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::{Established, Http, Version, Watch, plain_io, stopped, version_of};
use super::limits::ServeLimits;
use super::listener::{Accepted, Listener, Seldom};
use super::permit::{Permits, Slot};
use super::service::BoxError;
use super::telemetry::Rejected;
use crate::driver::deadline_after;
use crate::socket::PeerAddr;

/// Answers to clients that are refused which are on their way at once.
const REFUSALS_MAX: usize = 64;

/// Takes the connections of listeners. A clone shares everything.
#[derive(Clone)]
pub(super) struct Acceptor<S> {
    app: S,
    http: Arc<Http>,
    http1_only: bool,
    limits: ServeLimits,
    permits: Arc<Permits>,
    refusals: Arc<Semaphore>,
    #[cfg(feature = "tls")]
    handshakes: Option<super::handshake::Handshakes>,
    watch: Watch,
}

impl<S: Clone> Acceptor<S> {
    pub(super) fn new(
        app: S,
        limits: ServeLimits,
        http1_only: bool,
        permits: Arc<Permits>,
        watch: Watch,
    ) -> Self {
        Self {
            app,
            http: Arc::new(Http::new(&limits, watch.clone())),
            http1_only,
            limits,
            permits,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            #[cfg(feature = "tls")]
            handshakes: None,
            watch,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn with_tls(mut self, tls: Option<super::Tls>) -> Self {
        let (limits, http1_only) = (&self.limits, self.http1_only);
        self.handshakes = tls.map(|tls| super::handshake::Handshakes::new(tls, limits, http1_only));
        self
    }

    #[cfg(feature = "tls")]
    fn has_tls(&self) -> bool {
        self.handshakes.is_some()
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self, reason = "with the feature it is used")]
    fn has_tls(&self) -> bool {
        false
    }

    fn admit(&self, peer: Option<SocketAddr>) -> Result<Arc<Slot>, Rejected> {
        let admitted = self.permits.admit(peer.map(|peer| peer.ip()));
        match &admitted {
            Ok(_) => self.permits.telemetry.accepted.increment(1),
            Err(reason) => self.permits.telemetry.reject(*reason),
        }
        admitted
    }

    fn establish(&self, slot: Arc<Slot>, addr: Option<SocketAddr>) -> Established<S> {
        Established {
            app: self.app.clone(),
            peer: addr.map_or_else(PeerAddr::without_address, PeerAddr::new),
            slot,
            watch: self.watch.clone(),
            header_deadline: deadline_after(Instant::now(), self.limits.header_read_timeout),
        }
    }

    /// Answers a client that is not served, if not too many are being answered.
    fn refuse(&self, mut stream: TcpStream, reason: Rejected) {
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        let answer = refusal(reason, fastrand::u8(1..=10));
        let mut watch = self.watch.clone();
        tokio::spawn(async move {
            let answering = pin!(timeout(Duration::from_secs(1), async {
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                // Unread input would take the answer with it when the socket is closed.
                let mut input = [0; 1024];
                for _ in 0..64 {
                    if stream.read(&mut input).await? == 0 {
                        break;
                    }
                }
                std::io::Result::Ok(())
            }));
            select(answering, pin!(stopped(&mut watch))).await;
            drop(place);
        });
    }
}

/// The wait is random, so that those who are refused together do not come back together.
fn refusal(reason: Rejected, retry_after_seconds: u8) -> String {
    let status = if reason == Rejected::Peer {
        "429 Too Many Requests"
    } else {
        "503 Service Unavailable"
    };
    format!(
        "HTTP/1.1 {status}\r\nretry-after: {retry_after_seconds}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
    )
}

impl<S, B> Acceptor<S>
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    /// Takes connections until it is dropped.
    pub(super) async fn run(self, listener: Listener) {
        let mut seldom = Seldom::default();
        loop {
            let accepted = listener.accept(|error| {
                self.permits.telemetry.accept_errors.increment(1);
                if seldom.is_due(Instant::now()) {
                    tracing::error!(%error, "connections cannot be accepted; trying on");
                }
            });
            match accepted.await {
                Accepted::Tcp(stream, peer) => self.begin(stream, peer, listener.is_plain()),
                #[cfg(unix)]
                Accepted::Unix(stream) => self.begin_unix(stream),
            }
        }
    }

    fn begin(&self, stream: TcpStream, peer: SocketAddr, is_plain: bool) {
        let is_tls = self.has_tls() && !is_plain;
        match self.admit(Some(peer)) {
            Ok(slot) => {
                let established = self.establish(slot, Some(peer));
                #[cfg(feature = "tls")]
                if let Some(handshakes) = self.handshakes.as_ref().filter(|_| is_tls) {
                    let (http, handshakes) = (Arc::clone(&self.http), handshakes.clone());
                    let limit = self.limits.header_read_timeout;
                    tokio::spawn(serve_tls(stream, http, handshakes, established, limit));
                    return;
                }
                let (http, http1_only) = (Arc::clone(&self.http), self.http1_only);
                tokio::spawn(serve_plain(stream, http, http1_only, established));
            }
            // With TLS a refusal would cost a handshake, which is more than a connection does.
            Err(_) if is_tls => {}
            Err(reason) => self.refuse(stream, reason),
        }
    }

    /// What is in front of a Unix socket speaks HTTP/1.1 to it, and is refused by being hung up on.
    #[cfg(unix)]
    fn begin_unix(&self, stream: tokio::net::UnixStream) {
        if let Ok(slot) = self.admit(None) {
            let established = self.establish(slot, None);
            let http = Arc::clone(&self.http);
            let io = TokioIo::new(stream);
            tokio::spawn(async move { http.serve(io, Version::Http1, established).await });
        }
    }
}

async fn serve_plain<S, B>(
    stream: TcpStream,
    http: Arc<Http>,
    http1_only: bool,
    mut established: Established<S>,
) where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let version = if http1_only {
        Version::Http1
    } else {
        // Nothing of hyper is in memory until the client has said something.
        let looking = pin!(timeout_at(established.header_deadline, version_of(&stream)));
        match select(looking, pin!(stopped(&mut established.watch))).await {
            Either::Left((Ok(Ok(version)), _)) => version,
            Either::Left((Err(_), _)) => return established.slot.reject(Rejected::SlowHeader),
            Either::Left((Ok(Err(_)), _)) | Either::Right(_) => return,
        }
    };
    http.serve(plain_io(stream), version, established).await;
}

#[cfg(feature = "tls")]
async fn serve_tls<S, B>(
    stream: TcpStream,
    http: Arc<Http>,
    handshakes: super::handshake::Handshakes,
    mut established: Established<S>,
    header_read_timeout: Duration,
) where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let handshake = pin!(handshakes.accept(stream));
    let secured = match select(handshake, pin!(stopped(&mut established.watch))).await {
        Either::Left((Ok(secured), _)) => secured,
        Either::Left((Err(reason), _)) => return established.slot.reject(reason),
        Either::Right(_) => return,
    };
    established.peer = established.peer.with_tls();
    if let Some(certificate) = secured.certificate {
        established.peer = established.peer.with_certificate(certificate);
    }
    established.header_deadline = deadline_after(Instant::now(), header_read_timeout);
    http.serve(secured.io, secured.version, established).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let full = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\n\
            content-length: 0\r\nconnection: close\r\n\r\n";
        assert_eq!(refusal(Rejected::Full, 7), full);
        assert!(refusal(Rejected::Peer, 7).starts_with("HTTP/1.1 429 Too Many Requests\r\n"));
    }
}
