//! Long polling over HTTP: a GET without a session begins one and a GET with one fetches messages, a
//! POST hands messages in. What is asked of a client that begins is in `admission.rs`; how messages wait
//! and are acknowledged, in `connection/polled.rs`.
//!
//! Every answer is JSON with a `status` of its own, which is what clients look at. The official client
//! throws at a status that it does not know, and never polls again: so what is to be tried again later is
//! a 500 to it, whatever the HTTP status says to proxies.

mod answer;
mod post;
mod token;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bennu_proto::codec::Framing;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use http_body_util::Full;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::admission::{admit, check_origin, note};
use super::peer::Caller;
use crate::connection::{Answer, Begun, Connection, Polled, Writer};
use crate::driver::Io;
use crate::endpoint::{Hub, SessionId, Sessions};
use crate::limits::Limits;
use crate::socket::{LongPollOptions, Mounted, Refused, decode_component};

use token::{Address, SessionTokens};

/// Where newer clients send the session's token, instead of the query.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-phoenix-longpoll-token");

/// What an endpoint has for clients that poll.
#[derive(Debug)]
pub(crate) struct LongPolling {
    options: LongPollOptions,
    limits: Limits,
    sessions: Arc<Sessions>,
    tokens: SessionTokens,
    /// Bytes that bodies may still take, in permits of [`post::PERMIT_BYTES`].
    memory: Arc<Semaphore>,
}

impl LongPolling {
    pub(crate) fn new(options: LongPollOptions, limits: &Limits, node_name: &str) -> Self {
        Self {
            tokens: SessionTokens::new(&options, node_name),
            memory: Arc::new(Semaphore::new(post::permits(limits.posts_total_bytes_max))),
            limits: limits.clone(),
            sessions: Arc::default(),
            options,
        }
    }

    /// After how long without a poll a session ends.
    pub(crate) fn timeout(&self) -> Duration {
        self.options.window.saturating_mul(3) / 2
    }

    /// The session that an address names, if it is on this node.
    fn find(&self, address: &Address) -> Option<Arc<Connection>> {
        self.sessions.find(self.tokens.local(address)?)
    }
}

/// Answers a request at the long-poll path.
pub(super) async fn serve<B>(mount: Arc<dyn Mounted>, request: Request<B>) -> Response<Full<Bytes>>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let (mut parts, body) = request.into_parts();
    let token = take_session_token(&mut parts);
    let hub = Arc::clone(mount.hub());
    let is_http1 = parts.version < Version::HTTP_2;
    let mut answer = answer(mount, parts, token, body).await;
    if hub.is_draining() && is_http1 {
        // The client's next request is for somebody else.
        let headers = answer.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

async fn answer<B>(
    mount: Arc<dyn Mounted>,
    parts: Parts,
    token: Option<String>,
    body: B,
) -> Response<Full<Bytes>>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let hub = Arc::clone(mount.hub());
    let Some(polling) = hub.long_poll() else {
        return super::service::status(StatusCode::NOT_FOUND);
    };
    // Not only of who begins: a page of another origin could post under a token that it has got hold of.
    let caller = Caller::of(&parts, mount.door().proxies.as_ref());
    if let Err(error) = check_origin(&*mount, &parts, &caller) {
        note(&error, hub.telemetry());
        return answer::status(403);
    }
    let would_not_rejoin =
        token.as_deref().is_some_and(SessionTokens::knows) && is_before_1_8(&parts);
    let received = token.and_then(|token| polling.tokens.verify(&token));
    let session =
        received.and_then(|(address, number)| Some((polling.find(&address)?, address, number)));
    match (&parts.method, session) {
        (&Method::OPTIONS, _) => {
            answer::preflight(parts.headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS))
        }
        (&Method::GET, Some((connection, address, number))) => {
            match connection.begin_poll(number) {
                Begun::Ended if would_not_rejoin => answer::ended(),
                Begun::Ended => begin(mount, parts).await,
                begun => poll(&hub, polling, &address, number, begun).await,
            }
        }
        (&Method::GET, None) if would_not_rejoin => answer::ended(),
        (&Method::GET, None) => begin(mount, parts).await,
        (&Method::POST, Some((connection, ..))) => {
            post::receive(polling, &connection, &parts.headers, body).await
        }
        (&Method::POST, None) => answer::status(410),
        _ => answer::bad_method(),
    }
}

/// Whether an official client from before 1.8 asks: it alone says of which type the body of a GET is, which
/// has none. It takes the 410 of a session that is lost for one that goes on, and never joins again, where a
/// newer one connects and joins anew.
fn is_before_1_8(parts: &Parts) -> bool {
    parts.headers.contains_key(CONTENT_TYPE)
}

/// Begins a session.
async fn begin(mount: Arc<dyn Mounted>, parts: Parts) -> Response<Full<Bytes>> {
    let hub = Arc::clone(mount.hub());
    let Some(polling) = hub.long_poll() else {
        return super::service::status(StatusCode::NOT_FOUND);
    };
    let admitted = match admit(mount, parts, Framing::LongPoll).await {
        Ok(admitted) => admitted,
        Err(error) => return refusal(&error.into_refused()),
    };
    let mut id = [0; 16];
    if let Err(error) = getrandom::fill(&mut id) {
        tracing::error!(%error, "there are no random bytes for the id of a session");
        return answer::later(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let id = SessionId(id);
    let Some(address) = polling.tokens.address(id) else {
        return answer::later(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let writer = Writer::Poll(Box::new(Polled::new()));
    let driver = admitted.into_driver(writer, Vec::new(), |connection| Io::Polled {
        _entered: Box::new(polling.sessions.enter(id, Arc::clone(connection))),
    });
    let connection = driver.connection();
    connection.set_task(tokio::spawn(driver).abort_handle());
    answer::messages(410, &[], &address.token(0))
}

/// The answer to a client that may not connect.
fn refusal(refused: &Refused) -> Response<Full<Bytes>> {
    let status = refused.0.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let mut answer = answer::later(status);
        if let Some(retry_after) = refused.0.headers().get(RETRY_AFTER) {
            let headers = answer.headers_mut();
            headers.insert(RETRY_AFTER, retry_after.clone());
        }
        answer
    } else {
        answer::status(403)
    }
}

/// Waits for messages.
async fn poll(
    hub: &Hub,
    polling: &LongPolling,
    address: &Address,
    received: u32,
    begun: Begun,
) -> Response<Full<Bytes>> {
    let (telemetry, window) = (hub.telemetry(), polling.options.window);
    let nothing = || {
        telemetry.polls_empty.increment(1);
        answer::messages(204, &[], &address.token(received))
    };
    let answer = match begun {
        Begun::Waiting(ticket) => {
            let answered = poll_fn(|cx| ticket.poll_answer(cx));
            match timeout(window, answered).await {
                Ok(answer) => answer,
                Err(_) => return nothing(),
            }
        }
        Begun::Again { number, messages } => {
            telemetry.polls_again.increment(1);
            return answer::messages(200, &messages, &address.token(number));
        }
        Begun::Stale => {
            // At once, it would come again at once.
            tokio::time::sleep(window).await;
            return nothing();
        }
        Begun::TooMany => return answer::later(StatusCode::TOO_MANY_REQUESTS),
        Begun::Ended => Answer::Ended,
    };
    match answer {
        Answer::Messages { number, messages } => {
            telemetry.polls_messages.increment(1);
            answer::messages(200, &messages, &address.token(number))
        }
        Answer::Ended => {
            telemetry.polls_ended.increment(1);
            answer::ended()
        }
    }
}

/// Takes the session's token out of a request, so that nobody takes it for the application's own parameter
/// of the same name; nor what stands for none: `token=` and `token=null`. The header goes before the
/// query; of several in the query, the last counts.
fn take_session_token(parts: &mut Parts) -> Option<String> {
    let header = parts.headers.remove(TOKEN_HEADER);
    let header = header.and_then(|value| value.to_str().map(str::to_owned).ok());
    let query = parts.uri.query().unwrap_or_default();
    let is_ours = |value: &str| value.is_empty() || value == "null" || SessionTokens::knows(value);
    let (mut rest, mut token) = (Vec::new(), None);
    for pair in query.split('&') {
        let value = pair.strip_prefix("token=").map(decode_component);
        match value.and_then(Result::ok).filter(|value| is_ours(value)) {
            Some(value) => token = Some(value),
            None => rest.push(pair),
        }
    }
    if token.is_some() {
        let rest = rest.join("&");
        parts.uri = with_query(&parts.uri, &rest).unwrap_or_default();
    }
    header.or(token)
}

fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let path_and_query = format!("{}?{query}", uri.path());
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}
