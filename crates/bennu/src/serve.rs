//! [`Server`]: from listeners to the application, with TLS, limits, and an orderly end.
//!
//! It serves HTTP/1.1 and HTTP/2 (also without TLS, to clients that know in advance) with WebSockets
//! over both ([RFC 8441](https://www.rfc-editor.org/rfc/rfc8441) over HTTP/2), to any tower service;
//! an axum router is one. What it may cost is in [`ServeLimits`]. Who would rather use `axum::serve` or
//! another server of hyper's can: Bennu's sockets do not need this one.
//!
//! ```no_run
//! use bennu::serve::{Listener, Server};
//! # async fn example(app: axum::Router, endpoint: bennu::Endpoint) -> std::io::Result<()> {
//! let listener = Listener::bind(([127, 0, 0, 1], 4000).into()).await?;
//! let report = Server::new(app).with_endpoint(endpoint).serve(listener).await;
//! # Ok(()) }
//! ```
//!
//! # What a request is told
//! Its extensions hold a [`PeerAddr`], a [`ConnectionPermit`], and, with the feature `axum` and a peer
//! on the network, `axum::extract::ConnectInfo<SocketAddr>`.
//!
//! # The end
//! When the shutdown begins (see [`Server::with_shutdown`]), one after the other:
//!
//! 1. each [`Endpoint`] says that it is not ready, and waits for its `readiness_delay`;
//! 2. new sockets are refused (503), and those that are there closed with 1012, in batches (see
//!    [`DrainOptions`]); other requests are served as before;
//! 3. the listeners close; idle connections end, HTTP/2 with GOAWAY, and requests that are under way
//!    have the rest of the drain's `timeout`;
//! 4. what is left is dropped, and [`Server::serve`] returns.
//!
//! # Metrics
//! | metric | kind | what it counts |
//! | --- | --- | --- |
//! | `bennu_http_connections` | gauge | open connections, those that have become sockets included |
//! | `bennu_connections_accepted_total` | counter | connections that were not refused at once |
//! | `bennu_connections_rejected_total{reason}` | counter | connections that had no request: `full`, `peer` (too many, of all or of one peer), `tls_timeout`, `tls_busy`, `tls_failed`, `slow_header` |
//! | `bennu_accept_errors_total` | counter | times that the system could not give a connection |

mod accept;
mod connection;
mod force_tls;
#[cfg(feature = "tls")]
mod handshake;
mod limits;
mod listener;
mod permit;
mod service;
mod shutdown;
#[cfg(feature = "systemd")]
pub mod systemd;
mod telemetry;
#[cfg(feature = "tls")]
mod tls;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::Endpoint;
use crate::driver::deadline_after;
use crate::endpoint::{DrainOptions, DrainReport};
use accept::Acceptor;
use connection::Phase;
use permit::Permits;

pub use crate::socket::PeerAddr;
pub use force_tls::{ForceTls, ForceTlsService, Forwarded};
pub use limits::ServeLimits;
pub use listener::Listener;
pub use permit::ConnectionPermit;
pub use shutdown::shutdown_signal;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};

/// A server for an application. Nothing happens until [`Server::serve`].
#[must_use = "a server does nothing until it is told to serve"]
pub struct Server<S> {
    app: S,
    listeners: Vec<Listener>,
    endpoints: Vec<Endpoint>,
    limits: ServeLimits,
    drain: DrainOptions,
    shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    http1_only: bool,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeReport {
    /// Sockets that were closed with 1012 and ended.
    pub sockets_closed: usize,
    /// Sockets that had not ended in time and were dropped.
    pub sockets_dropped: usize,
    /// Connections that had not ended in time and were dropped: their requests were not answered.
    pub connections_dropped: usize,
    /// From the begin of the shutdown to the end.
    pub duration: Duration,
}

impl<S> Server<S> {
    /// A server for a tower service.
    pub fn new(app: S) -> Self {
        Self {
            app,
            listeners: Vec::new(),
            endpoints: Vec::new(),
            limits: ServeLimits::default(),
            drain: DrainOptions::default(),
            shutdown: None,
            http1_only: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Drains this endpoint when the server ends. To be said once for each endpoint whose sockets the
    /// application holds: the sockets of others are cut off.
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Takes connections from this listener as well.
    pub fn with_listener(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// Sets what connections may cost.
    pub fn with_limits(mut self, limits: ServeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how sockets are closed when the server ends, and how long that may take.
    pub fn with_drain(mut self, drain: DrainOptions) -> Self {
        self.drain = drain;
        self
    }

    /// Begins to end when this future is ready, in place of [`shutdown_signal`].
    pub fn with_shutdown(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }

    /// Speaks no HTTP/2, with or without TLS.
    pub fn with_http1_only(mut self) -> Self {
        self.http1_only = true;
        self
    }

    /// Speaks TLS on every TCP listener that does not say [`Listener::without_tls`].
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Serves until the shutdown is over. A request that panics ends its connection (its stream, with
    /// HTTP/2) and nothing else.
    ///
    /// # Cancel safety
    /// Dropped, it closes the listeners and drops all connections that are not sockets, at once.
    pub async fn serve<B>(mut self, listener: impl Into<Listener>) -> ServeReport
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<B>>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.listeners.push(listener.into());
        tracing::debug!(limits = ?self.limits, drain = ?self.drain, "limits of the server in force");
        // From here on a signal is not lost: whoever is told that the server is ready may send one.
        let shutdown = self.shutdown.unwrap_or_else(|| Box::pin(shutdown_signal()));
        let permits = Arc::new(Permits::new(&self.limits));
        let (phase, watch) = watch::channel(Phase::Running);
        let acceptor = Acceptor::new(
            self.app,
            self.limits,
            self.http1_only,
            Arc::clone(&permits),
            watch,
        );
        #[cfg(feature = "tls")]
        let acceptor = acceptor.with_tls(self.tls);
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(acceptor.clone().run(listener));
        }
        drop(acceptor);
        #[cfg(feature = "systemd")]
        systemd::notify_ready();
        shutdown.await;
        #[cfg(feature = "systemd")]
        systemd::notify_stopping();
        stop(&self.endpoints, &self.drain, accepting, &permits, phase).await
    }
}

/// Ends what runs, in the order that the documentation of this module tells.
async fn stop(
    endpoints: &[Endpoint],
    drain: &DrainOptions,
    mut accepting: JoinSet<()>,
    permits: &Permits,
    phase: watch::Sender<Phase>,
) -> ServeReport {
    /// What idle connections have to end even if the sockets have used up the time.
    const LAST_CALL: Duration = Duration::from_millis(500);
    let started = Instant::now();
    tracing::info!(connections = permits.open(), "the server ends");
    let deadline = deadline_after(started, drain.readiness_delay.saturating_add(drain.timeout));
    let drains = endpoints.iter().map(|endpoint| endpoint.drain(drain));
    let sockets: DrainReport = join_all(drains).await.into_iter().sum();

    accepting.shutdown().await;
    phase.send_replace(Phase::Stopping);
    let deadline = deadline.max(Instant::now() + LAST_CALL);
    let emptied = timeout_at(deadline, permits.emptied()).await;
    let connections_dropped = if emptied.is_ok() { 0 } else { permits.open() };
    phase.send_replace(Phase::Ended);
    // They have been told, and need only be run once more.
    let _ = timeout(LAST_CALL, phase.closed()).await;
    let report = ServeReport {
        sockets_closed: sockets.closed,
        sockets_dropped: sockets.dropped,
        connections_dropped,
        duration: started.elapsed(),
    };
    tracing::info!(?report, "the server has ended");
    report
}

impl<S> std::fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.listeners)
            .field("limits", &self.limits)
            .field("drain", &self.drain)
            .field("http1_only", &self.http1_only)
            .finish_non_exhaustive()
    }
}
