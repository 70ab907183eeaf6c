//! What is attacked: an application with sockets that poll, compress and have ids, over pipes or behind a
//! server on a loopback port; and what attacks have in common.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bennu::limits::OverflowPolicy;
use bennu::serve::{ForceTls, Listener, ServeLimits, Server};
use bennu::socket::LongPollOptions;
use bennu::{
    Channel, ConnectParams, Context, DeflateOptions, Endpoint, Joined, Limits, Payload, PubSub,
    RawEvent, Refused, Rejection, Reply, Sockets, Stop,
};
use bennu_testkit::{TestEndpoint, TestWire, WireEvent};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What a server that is well is asked, and what it answers.
pub(crate) const BEAT: &str = r#"[null,"7","phoenix","heartbeat",{}]"#;
pub(crate) const BEATEN: &str = r#"[null,"7","phoenix","phx_reply",{"status":"ok","response":{}}]"#;

/// A user, by the name that the client gives itself.
pub(crate) struct User {
    name: Option<String>,
    /// Each `wait` takes one permit.
    gate: Arc<Semaphore>,
}

/// A channel that answers with what it is sent, waits, or panics.
struct Room;

impl Channel for Room {
    type Assigns = User;
    type Params = Payload;
    type In = RawEvent;

    async fn join(cx: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        assert!(!cx.wildcard().contains("panic"), "join panics");
        Ok(Room.into())
    }

    async fn handle_in(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: RawEvent,
    ) -> Result<Reply, Stop> {
        match event.event.as_str() {
            "panic" => panic!("a handler panics"),
            "wait" => cx.assigns().gate.acquire().await?.forget(),
            "shout" => cx.broadcast_raw("shout", event.payload.clone())?,
            _ => {}
        }
        Ok(Reply::ok(&event.payload))
    }
}

/// A channel that reads what it is sent.
struct Reader;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    Tree(Value),
    Number { n: u64 },
    Float { x: f64 },
}

impl Channel for Reader {
    type Assigns = User;
    type Params = Value;
    type In = Read;

    async fn join(_: &mut Context<'_, Self>, _: Value) -> Result<Joined<Self>, Rejection> {
        Ok(Reader.into())
    }

    async fn handle_in(&mut self, _: &mut Context<'_, Self>, event: Read) -> Result<Reply, Stop> {
        Ok(match event {
            Read::Tree(tree) => Reply::ok(&tree),
            Read::Number { n } => Reply::ok(&n),
            Read::Float { x } => Reply::ok(&x),
        })
    }
}

/// Sockets for everybody.
pub(crate) struct Target {
    pub(crate) limits: Limits,
    pub(crate) policy: OverflowPolicy,
    pub(crate) polling: LongPollOptions,
    pub(crate) pubsub: PubSub,
    pub(crate) gate: Arc<Semaphore>,
}

impl Target {
    pub(crate) fn new() -> Self {
        Self {
            limits: Limits::default(),
            policy: OverflowPolicy::default(),
            polling: LongPollOptions::new(),
            pubsub: PubSub::local(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut target = Self::new();
        change(&mut target);
        target
    }

    pub(crate) fn sockets(&self) -> Sockets<User> {
        let gate = Arc::clone(&self.gate);
        let connect = async move |params: ConnectParams| {
            Ok::<_, Refused>(User {
                name: params.get("user").map(str::to_owned),
                gate,
            })
        };
        Sockets::new(self.pubsub.clone(), connect)
            .with_id(|user: &User| Some(format!("user:{}", user.name.as_ref()?)))
            .with_limits(self.limits.clone())
            .with_overflow_policy(self.policy)
            .with_long_poll(self.polling.clone())
            .with_auth_token()
            .with_deflate(DeflateOptions::default())
    }

    /// Behind pipes.
    pub(crate) fn kit(&self) -> TestEndpoint {
        let sockets = self.sockets().channel::<Room>("room:*");
        TestEndpoint::new(sockets.channel::<Reader>("reader:*"))
    }

    /// Behind a server on a free port.
    pub(crate) async fn serve(&self) -> Running {
        self.serve_with(ServeLimits::default()).await
    }

    pub(crate) async fn serve_with(&self, limits: ServeLimits) -> Running {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let sockets = self.sockets().channel::<Room>("room:*");
        let sockets = sockets.channel::<Reader>("reader:*");
        let endpoint = sockets.endpoint();
        let smuggled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&smuggled);
        let app = Router::new()
            .nest_service("/socket", sockets.into_service())
            .route("/ok", any(async || "ok"))
            .route("/echo", any(async |body: Bytes| body))
            .route(
                "/smuggled",
                any(async move || {
                    count.fetch_add(1, Ordering::Relaxed);
                    "smuggled"
                }),
            )
            .route(
                "/tls",
                any(async || "over TLS").layer(ForceTls::new().with_excluded_hosts(["localhost"])),
            );
        let server = Server::new(app).with_endpoint(endpoint.clone());
        let server = server
            .with_limits(limits)
            .with_shutdown(std::future::pending());
        tokio::spawn(server.serve(listener));
        Running {
            addr,
            endpoint,
            smuggled,
        }
    }
}

/// A server that runs until the test ends.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) endpoint: Endpoint,
    smuggled: Arc<AtomicUsize>,
}

impl Running {
    /// How many requests reached the path that nobody asks for openly.
    pub(crate) fn smuggled(&self) -> usize {
        self.smuggled.load(Ordering::Relaxed)
    }
}

/// A connection over a pipe, with nothing between a test and its bytes.
pub(crate) async fn wire(kit: &TestEndpoint) -> TestWire {
    let request = TestEndpoint::request(&[]).body(()).unwrap();
    kit.connect_wire(request).await.unwrap()
}

/// A connection that has joined a topic.
pub(crate) async fn joined(kit: &TestEndpoint, topic: &str) -> TestWire {
    let mut wire = wire(kit).await;
    join(&mut wire, topic).await;
    wire
}

pub(crate) async fn join(wire: &mut TestWire, topic: &str) {
    wire.send_text(&format!(r#"["1","1","{topic}","phx_join",{{}}]"#))
        .await;
    let joined = format!(r#"["1","1","{topic}","phx_reply",{{"status":"ok","response":{{}}}}]"#);
    assert_eq!(wire.next_text().await, joined);
}

/// The server still answers on this connection.
pub(crate) async fn beats(wire: &mut TestWire) {
    wire.send_text(BEAT).await;
    assert_eq!(wire.next_text().await, BEATEN);
}

/// The server closes with this code, whatever it sends before.
pub(crate) async fn closes(wire: &mut TestWire, code: u16) {
    assert_eq!(closing(wire).await, code);
}

/// Everybody else is served as before.
pub(crate) async fn others_are_well(kit: &TestEndpoint) {
    beats(&mut joined(kit, "room:others").await).await;
}

/// The code that the server closes with, whatever it sends before.
pub(crate) async fn closing(wire: &mut TestWire) -> u16 {
    let closing = async {
        loop {
            match wire.next().await {
                Some(WireEvent::Close(code)) => break code.unwrap_or_default(),
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, closing).await.unwrap()
}

/// Everything that is logged, down to the traces of hyper and h2.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// From now on, on this thread.
    pub(crate) fn capture() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(lines.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
