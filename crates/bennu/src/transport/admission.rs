//! Admission: what is asked of every client before it has a socket, whichever transport it comes by.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bennu_proto::codec::{Form, Framing};
use bennu_proto::topic::Topic;
use bennu_proto::vsn::Vsn;
use http::StatusCode;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::Instrument;

use crate::channel::runner::catch_panic;
use crate::connection::{Arriving, CloseReason, Connection, ID_TOKEN, Writer};
use crate::driver::{Driver, Io, Session};
use crate::endpoint::Hub;
use crate::socket::{ConnectParams, Mounted, Refused};

/// A client that may connect, before its transport is there.
pub(super) struct Admitted {
    hub: Arc<Hub>,
    form: Form,
    session: Box<dyn Session>,
    id: Option<Topic>,
    arriving: Arriving,
}

/// Negotiates the version and asks the application.
pub(super) async fn admit(
    mount: Arc<dyn Mounted>,
    mut parts: Parts,
    framing: Framing,
) -> Result<Admitted, Refused> {
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
            Ok(Admitted {
                form: Form { vsn, framing },
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
        self.into_driver(Writer::None, Vec::new(), |_| {
            Io::Stream(Box::new(transport))
        })
    }

    /// The driver over a transport, of which `writer` is the part that others may write to.
    pub(super) fn into_driver(
        self,
        writer: Writer,
        early_bytes: Vec<u8>,
        io: impl FnOnce(&Arc<Connection>) -> Io,
    ) -> Driver {
        let connection = Arc::new(Connection::new(self.form, Arc::clone(&self.hub), writer));
        let id = self.id.map(|id| {
            let subscriber = Arc::clone(&connection);
            self.hub.pubsub().register(&id, subscriber, ID_TOKEN)
        });
        let io = io(&connection);
        let listed = self.arriving.list(&connection);
        if self.hub.is_draining() {
            connection.close(CloseReason::Draining);
        }
        Driver::new(connection, self.session, io, early_bytes, id, listed)
    }
}
