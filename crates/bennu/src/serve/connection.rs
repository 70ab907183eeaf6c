//! One connection: which protocol it speaks, hyper's connection for it, and the supervisor that ends it
//! when it is slow, idle, or the server stops.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Executor, Read, Write};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::limits::ServeLimits;
use super::permit::Slot;
use super::service::{AppService, BoxError};
use super::telemetry::Rejected;
use crate::driver::deadline_after;
use crate::socket::PeerAddr;

/// How long a connection that was asked to end may go on without a request: for the rest of an answer
/// that the client still reads, or of a request that it still writes.
const LINGER: Duration = Duration::from_secs(2);
/// HTTP/2 begins with this; no method of HTTP/1 does.
const PREFACE: &[u8] = b"PRI ";

/// How far a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It serves.
    Running,
    /// Connections end when their requests have been answered.
    Stopping,
    /// Connections end.
    Ended,
}

/// Learns of the server's phase. While any is there, a task of the server is.
pub(super) type Watch = watch::Receiver<Phase>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// How connections are served: hyper's settings and the limits beside them.
#[derive(Clone)]
pub(super) struct Http {
    http1: http1::Builder,
    http2: http2::Builder<Tasks>,
    limits: ServeLimits,
}

/// What is known of a connection before its first request.
pub(super) struct Established<S> {
    pub(super) app: S,
    pub(super) peer: PeerAddr,
    pub(super) slot: Arc<Slot>,
    pub(super) watch: Watch,
    /// When the header of the first request must be there.
    pub(super) header_deadline: Instant,
}

impl Http {
    pub(super) fn new(limits: &ServeLimits, watch: Watch) -> Self {
        /// The least that hyper accepts.
        const BUFFER_BYTES_MIN: usize = 8192;
        const BUFFER_BYTES: usize = 64 * 1024;
        let u32_max = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let mut http1 = http1::Builder::new();
        // hyper's own timer does not tell an idle connection from a slow one.
        http1
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes_max)
            .max_buf_size(
                limits
                    .header_bytes_max
                    .max(BUFFER_BYTES)
                    .max(BUFFER_BYTES_MIN),
            );
        // Any number but hyper's own moves the fields of each request to the heap.
        if limits.headers_max != 100 {
            http1.max_headers(limits.headers_max);
        }
        let mut http2 = http2::Builder::new(Tasks(watch));
        http2
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_header_list_size(u32_max(limits.header_bytes_max))
            .max_concurrent_streams(limits.http2_streams_max)
            .max_pending_accept_reset_streams(limits.http2_pending_resets_max)
            .max_local_error_reset_streams(limits.http2_error_resets_max)
            .max_send_buf_size(limits.http2_send_buffer_bytes_max.min(u32::MAX as usize))
            .keep_alive_interval(limits.http2_ping_interval)
            .keep_alive_timeout(limits.http2_ping_timeout);
        Self {
            http1,
            http2,
            limits: limits.clone(),
        }
    }

    /// Serves a connection until it ends or becomes something else.
    pub(super) async fn serve<I, S, B>(&self, io: I, version: Version, established: Established<S>)
    where
        I: Read + Write + Unpin + Send + 'static,
        S: tower_service::Service<Request<Incoming>, Response = Response<B>>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let service = AppService {
            app: established.app,
            peer: established.peer,
            slot: Arc::clone(&established.slot),
            headers_max: self.limits.headers_max,
        };
        let supervisor = Supervisor {
            slot: established.slot,
            watch: established.watch,
            header_deadline: established.header_deadline,
            keep_alive_timeout: self.limits.keep_alive_timeout,
            is_stopping: false,
        };
        let result = match version {
            Version::Http1 => {
                let connection = self.http1.serve_connection(io, service).with_upgrades();
                let stop = http1::UpgradeableConnection::graceful_shutdown;
                supervisor.run(pin!(connection), stop).await
            }
            Version::Http2 => {
                let connection = self.http2.serve_connection(io, service);
                let stop = http2::Connection::graceful_shutdown;
                supervisor.run(pin!(connection), stop).await
            }
        };
        if let Some(Err(error)) = result {
            tracing::debug!(%error, "an HTTP connection ended early");
        }
    }
}

/// Looks at the first bytes of a client, and leaves them there.
pub(super) async fn version_of(stream: &TcpStream) -> std::io::Result<Version> {
    /// There is no event for "more than before": who sends the preface byte by byte waits for this.
    const AGAIN: Duration = Duration::from_millis(20);
    let mut head = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut head).await?;
        let seen = head.get(..seen).unwrap_or_default();
        if seen.is_empty() || !PREFACE.starts_with(seen) {
            return Ok(Version::Http1);
        }
        if seen == PREFACE {
            return Ok(Version::Http2);
        }
        sleep(AGAIN).await;
    }
}

/// A plain connection as hyper reads it. The type is what a WebSocket looks for to have the socket
/// itself: nothing may be wrapped around it.
pub(super) fn plain_io(stream: TcpStream) -> TokioIo<TcpStream> {
    TokioIo::new(stream)
}

/// Waits until the server no longer runs. Cancel safe.
pub(super) async fn stopped(watch: &mut Watch) {
    // An error means that the server is gone.
    let _ = watch.wait_for(|phase| *phase != Phase::Running).await;
}

/// Ends a connection in time.
struct Supervisor {
    slot: Arc<Slot>,
    watch: Watch,
    header_deadline: Instant,
    keep_alive_timeout: Duration,
    is_stopping: bool,
}

enum Happened<T> {
    Ended(T),
    Timer,
    Phase(Phase),
}

enum Verdict {
    /// To be looked at again then.
    GoesOn(Instant),
    /// It is asked to end.
    Stops,
    /// It is dropped.
    Ends,
}

impl Supervisor {
    /// `None` if the connection was dropped. There is one timer, and it is only moved when it has
    /// fired: a request costs it nothing.
    async fn run<C: Future>(
        mut self,
        mut connection: Pin<&mut C>,
        stop: fn(Pin<&mut C>),
    ) -> Option<C::Output> {
        let idle = deadline_after(Instant::now(), self.keep_alive_timeout);
        let mut timer = pin!(sleep_until(self.header_deadline.min(idle)));
        let mut watch = self.watch.clone();
        // Whoever comes now has missed the change.
        watch.mark_changed();
        loop {
            let mut changed = pin!(watch.changed());
            let happened = poll_fn(|cx| {
                if let Poll::Ready(output) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Happened::Ended(output));
                }
                if timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Happened::Timer);
                }
                changed.as_mut().poll(cx).map(|result| {
                    // Without a server there is nobody to wait for.
                    let gone = result.is_err();
                    Happened::Phase(if gone {
                        Phase::Ended
                    } else {
                        *self.watch.borrow()
                    })
                })
            })
            .await;
            let verdict = match happened {
                Happened::Ended(output) => return Some(output),
                Happened::Timer => self.look(Instant::now()),
                Happened::Phase(Phase::Running) => continue,
                Happened::Phase(Phase::Stopping) => Verdict::Stops,
                Happened::Phase(Phase::Ended) => Verdict::Ends,
            };
            match verdict {
                Verdict::GoesOn(next) => timer.as_mut().reset(next),
                Verdict::Stops => {
                    self.is_stopping = true;
                    stop(connection.as_mut());
                    timer.as_mut().reset(Instant::now() + LINGER);
                }
                Verdict::Ends => return None,
            }
        }
    }

    fn look(&self, now: Instant) -> Verdict {
        let patience = if self.is_stopping {
            LINGER
        } else {
            self.keep_alive_timeout
        };
        let Some(idle_since) = self.slot.idle_since() else {
            return Verdict::GoesOn(deadline_after(now, patience));
        };
        if !self.slot.has_requested() && !self.is_stopping {
            if now < self.header_deadline {
                return Verdict::GoesOn(self.header_deadline);
            }
            self.slot.reject(Rejected::SlowHeader);
            return Verdict::Ends;
        }
        let deadline = deadline_after(idle_since, patience);
        if now < deadline {
            Verdict::GoesOn(deadline)
        } else if self.is_stopping {
            Verdict::Ends
        } else {
            Verdict::Stops
        }
    }
}

/// Runs what hyper spawns for the streams of an HTTP/2 connection, no longer than the server.
#[derive(Clone)]
pub(super) struct Tasks(Watch);

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let mut watch = self.0.clone();
        tokio::spawn(async move {
            let ended = pin!(watch.wait_for(|phase| *phase == Phase::Ended));
            futures_util::future::select(pin!(future), ended).await;
        });
    }
}
