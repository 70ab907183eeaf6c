//! What tests are made of: an application with sockets, and a server for it that can be stopped.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::routing::{any, get};
use bennu::serve::{Listener, PeerAddr, ServeReport, Server};
use bennu::{
    Channel, Context, Endpoint, Joined, Payload, PubSub, RawEvent, Refused, Rejection, Reply,
    Sockets, Stop,
};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

struct Echo;

impl Channel for Echo {
    type Assigns = ();
    type Params = Payload;
    type In = RawEvent;

    async fn join(_: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        Ok(Echo.into())
    }

    async fn handle_in(
        &mut self,
        _: &mut Context<'_, Self>,
        event: RawEvent,
    ) -> Result<Reply, Stop> {
        Ok(Reply::ok(&event.payload))
    }
}

/// A request that is answered when the test says so.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) entered: Notify,
    pub(crate) open: Notify,
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) gate: Arc<Gate>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<ServeReport>,
}

/// Starts a server for the application on a free port.
pub(crate) async fn start(change: impl FnOnce(Server<Router>) -> Server<Router>) -> Running {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let sockets = Sockets::new(PubSub::local(), async || Ok::<_, Refused>(()));
    let sockets = sockets.channel::<Echo>("echo:*");
    let (endpoint, gate) = (sockets.endpoint(), Arc::new(Gate::default()));
    let app = app(&endpoint, &gate).nest_service("/socket", sockets.into_service());
    let (stop, stopped) = oneshot::channel();
    let server = Server::new(app)
        .with_endpoint(endpoint.clone())
        .with_shutdown(async {
            let _ = stopped.await;
        });
    let served = tokio::spawn(change(server).serve(listener));
    Running {
        addr,
        endpoint,
        gate,
        stop,
        served,
    }
}

impl Running {
    /// Begins the shutdown.
    pub(crate) fn stop(self) -> JoinHandle<ServeReport> {
        self.stop.send(()).unwrap();
        self.served
    }
}

fn app(endpoint: &Endpoint, gate: &Arc<Gate>) -> Router {
    let healthz = async |State(endpoint): State<Endpoint>| {
        if endpoint.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let gate = Arc::clone(gate);
    let wait = async move || {
        gate.entered.notify_one();
        gate.open.notified().await;
        "waited"
    };
    Router::new()
        .route("/healthz", get(healthz))
        .route("/ok", any(async || "ok"))
        .route("/peer", get(peer))
        .route("/wait", get(wait))
        .route("/panic", get(async || -> () { panic!("a handler panics") }))
        .route("/raw", get(raw))
        .with_state(endpoint.clone())
}

async fn peer(request: Request) -> String {
    let extensions = request.extensions();
    let addr = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0);
    let peer = extensions.get::<PeerAddr>().unwrap();
    assert_eq!(addr, peer.addr());
    let addr = addr.map_or("none".to_owned(), |addr| addr.to_string());
    let certificate = peer.certificate().map_or(0, bytes::Bytes::len);
    format!("{addr} tls={} certificate={certificate}", peer.is_tls())
}

/// Upgrades and says whether the plain socket can be had, on that socket.
async fn raw(mut request: Request) -> (StatusCode, [(&'static str, &'static str); 2]) {
    use tokio::io::AsyncWriteExt;

    type Plain = hyper_util::rt::TokioIo<tokio::net::TcpStream>;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = upgrade.await.unwrap();
        match upgraded.downcast::<Plain>() {
            Ok(parts) => parts.io.into_inner().write_all(b"plain").await.unwrap(),
            Err(upgraded) => {
                let mut upgraded = hyper_util::rt::TokioIo::new(upgraded);
                upgraded.write_all(b"wrapped").await.unwrap();
                upgraded.shutdown().await.unwrap();
            }
        }
    });
    let headers = [("connection", "upgrade"), ("upgrade", "raw")];
    (StatusCode::SWITCHING_PROTOCOLS, headers)
}
