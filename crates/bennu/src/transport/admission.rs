//! Admission: what is asked of every client before it has a socket, whichever transport it comes by.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bennu_proto::codec::{Form, Framing};
use bennu_proto::topic::Topic;
use bennu_proto::vsn::Vsn;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::Instrument;

use super::admit_error::AdmitError;
use super::peer::Caller;
use super::subprotocol;
use super::throttle::{NoSeat, TooOften};
use crate::channel::runner::catch_panic;
use crate::connection::{Arriving, CloseReason, Connection, ID_TOKEN, Writer};
use crate::driver::{Driver, Io, Session};
use crate::endpoint::Hub;
use crate::limits::Limits;
use crate::socket::{AuthToken, ConnectInfo, ConnectParams, Door, Mounted};
use crate::telemetry::{Limit, Telemetry};

/// When somebody who found no place may look again: nobody knows when one will be free.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A client that may connect, before its transport is there.
pub(super) struct Admitted {
    hub: Arc<Hub>,
    form: Form,
    subprotocol: Option<HeaderValue>,
    session: Box<dyn Session>,
    id: Option<Topic>,
    arriving: Arriving,
}

/// Asks everything of a client that may be asked, the cheapest and the most general first, and the
/// application last. What comes of it is counted here, whichever transport asks.
pub(super) async fn admit(
    mount: Arc<dyn Mounted>,
    parts: Parts,
    framing: Framing,
) -> Result<Admitted, AdmitError> {
    let hub = Arc::clone(mount.hub());
    let admitted = try_admit(mount, parts, framing).await;
    match &admitted {
        Ok(_) => hub.telemetry().connects_ok.increment(1),
        Err(error) => note(error, hub.telemetry()),
    }
    admitted
}

async fn try_admit(
    mount: Arc<dyn Mounted>,
    mut parts: Parts,
    framing: Framing,
) -> Result<Admitted, AdmitError> {
    let hub = Arc::clone(mount.hub());
    // Counted before the look at the drain, so that a drain which begins now waits for this one.
    let mut arriving = hub.connections().arriving();
    if hub.is_draining() {
        return Err(AdmitError::Draining);
    }
    check_sizes(hub.limits(), &parts)?;
    let caller = Caller::of(&parts, mount.door().proxies.as_ref());
    find_place(&hub, &caller, &mut arriving)?;
    let query = parts.uri.query().unwrap_or_default();
    let params = ConnectParams::from_query(query)?;
    check_origin(&*mount, &parts, &caller)?;
    let credentials = take_credentials(mount.door(), &mut parts.headers, framing)?;
    let vsn = negotiate_vsn(&params)?;
    tracing::debug!(%vsn, params = %params.filtered(hub.param_filter()), "connecting");
    let cookie = mount.door().session.as_ref();
    let session = cookie.and_then(|cookie| cookie.read(&parts.headers, &params));
    parts.extensions.insert(params);
    let info = ConnectInfo::new(&parts, caller, credentials.auth_token, session);
    parts.extensions.insert(info);
    let crate::socket::Admitted { session, id } = connect(mount, parts).await?;
    Ok(Admitted {
        form: Form { vsn, framing },
        subprotocol: credentials.subprotocol,
        session,
        id: id.map(Topic::from),
        hub,
        arriving,
    })
}

/// Whether the request is small enough to be looked at.
fn check_sizes(limits: &Limits, parts: &Parts) -> Result<(), AdmitError> {
    let headers = &parts.headers;
    let header_bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let query_bytes = parts.uri.query().map_or(0, str::len);
    let sizes = [
        (headers.len(), limits.headers_max, Limit::Headers),
        (header_bytes, limits.header_bytes_max, Limit::HeaderBytes),
        (query_bytes, limits.query_bytes_max, Limit::QueryBytes),
    ];
    match sizes.into_iter().find(|(size, max, _)| size > max) {
        None => Ok(()),
        Some((_, _, limit)) => Err(AdmitError::Limited {
            limit,
            retry_after: None,
        }),
    }
}

/// Whether there is room for one more, and one more of this address. How often somebody comes is looked
/// at first, so that those who come too often find out nothing else.
fn find_place(hub: &Hub, caller: &Caller, arriving: &mut Arriving) -> Result<(), AdmitError> {
    let limited = |limit, retry_after| {
        Err(AdmitError::Limited {
            limit,
            retry_after: Some(retry_after),
        })
    };
    match hub.throttle().handshake(caller.key()) {
        Err(TooOften::Peer(retry_after)) => return limited(Limit::Handshakes, retry_after),
        Err(TooOften::Total(retry_after)) => return limited(Limit::HandshakesTotal, retry_after),
        Ok(()) => {}
    }
    if hub.connections().count() > hub.limits().connections_max {
        return limited(Limit::Connections, RETRY_AFTER);
    }
    match hub.throttle().seat(caller.key()) {
        Err(NoSeat) => return limited(Limit::ConnectionsPerPeer, RETRY_AFTER),
        Ok(Some(seat)) => arriving.sit(seat),
        Ok(None) => {}
    }
    Ok(())
}

/// Whether the page that the request comes from, if it comes from one, may connect.
pub(super) fn check_origin(
    mount: &dyn Mounted,
    parts: &Parts,
    caller: &Caller,
) -> Result<(), AdmitError> {
    let origins = &mount.door().origins;
    let Err(origin) = origins.allow(&parts.headers, &caller.uri) else {
        return Ok(());
    };
    if let Some(left_out) = mount.hub().telemetry().origin_pace.next() {
        tracing::warn!(
            ?origin,
            left_out,
            "connection refused: its origin may not connect; `Sockets::with_origins` says which may"
        );
    }
    Err(AdmitError::Origin)
}

/// What a client shows of itself in headers.
struct Credentials {
    /// What is spoken on a WebSocket, if something was agreed upon.
    subprotocol: Option<HeaderValue>,
    auth_token: Option<AuthToken>,
}

/// Takes the token out of the headers, so that nobody finds it there by accident, and agrees upon a
/// subprotocol.
fn take_credentials(
    door: &Door,
    headers: &mut HeaderMap,
    framing: Framing,
) -> Result<Credentials, AdmitError> {
    let is_websocket = framing != Framing::LongPoll;
    let auth_token = match (door.takes_auth_token, is_websocket) {
        (false, _) => None,
        (true, true) => subprotocol::take_bearer(headers)?,
        (true, false) => subprotocol::take_token_header(headers),
    };
    let subprotocol = match door.subprotocols() {
        Some(spoken) if is_websocket => subprotocol::negotiate(headers, spoken)?,
        _ => None,
    };
    Ok(Credentials {
        subprotocol,
        auth_token,
    })
}

fn negotiate_vsn(params: &ConnectParams) -> Result<Vsn, AdmitError> {
    let vsn = params.value("vsn");
    let vsn = vsn.map(|value| value.as_str().unwrap_or("(not text)"));
    Ok(Vsn::negotiate(vsn)?)
}

/// Asks the application.
async fn connect(
    mount: Arc<dyn Mounted>,
    parts: Parts,
) -> Result<crate::socket::Admitted, AdmitError> {
    let hub = Arc::clone(mount.hub());
    let started = Instant::now();
    let connecting = mount
        .connect(parts)
        .instrument(tracing::debug_span!("connect"));
    let connected = catch_panic(connecting).await;
    let duration = started.elapsed();
    hub.telemetry().connect_duration.record(duration);
    match connected {
        Ok(Ok(admitted)) => {
            tracing::debug!(?duration, "connected");
            Ok(admitted)
        }
        Ok(Err(refused)) => {
            tracing::debug!(status = %refused.0.status(), ?duration, "connection refused");
            Err(AdmitError::Refused(refused))
        }
        Err(panic) => {
            tracing::error!(%panic, "connect panicked");
            Err(AdmitError::Panicked)
        }
    }
}

/// Counts a client that was not admitted.
pub(super) fn note(error: &AdmitError, telemetry: &Telemetry) {
    let counter = match error {
        AdmitError::Draining => &telemetry.connects_draining,
        AdmitError::Origin => &telemetry.connects_origin,
        AdmitError::Limited { limit, .. } => {
            telemetry.limited(*limit);
            &telemetry.connects_limited
        }
        AdmitError::Query(_)
        | AdmitError::AuthToken(_)
        | AdmitError::Subprotocol(_)
        | AdmitError::Vsn(_) => {
            if let Some(left_out) = telemetry.invalid_pace.next() {
                tracing::warn!(%error, left_out, "connection refused");
            }
            &telemetry.connects_invalid
        }
        AdmitError::Refused(_) => &telemetry.connects_refused,
        AdmitError::Panicked => &telemetry.connects_crashed,
    };
    counter.increment(1);
}

impl Admitted {
    /// The subprotocol that a WebSocket handshake is answered with.
    pub(super) fn subprotocol(&self) -> Option<&HeaderValue> {
        self.subprotocol.as_ref()
    }

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
