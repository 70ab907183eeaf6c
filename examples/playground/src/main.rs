//! The playground as a program: options, logs, metrics, the listener, and an orderly end.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bennu::PubSub;
use bennu::pubsub::Local;
use bennu::serve::{Listener, Server, Tls, shutdown_signal, systemd};
use bennu::socket::Origins;
use clap::Parser;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use playground::Config;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The smallest resident memory of the allocators that were measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One server that shows every behaviour of Bennu.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// Where to listen; port 0 picks a free one.
    #[arg(
        long,
        env = "LISTEN",
        default_value = "127.0.0.1:4100",
        value_name = "ADDR:PORT"
    )]
    listen: SocketAddr,
    /// The name of this node, as `whoami` tells it [default: HOST:PID].
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The `secret_key_base` that tokens are signed and verified with.
    #[arg(long, value_name = "BASE", default_value = playground::DEFAULT_SECRET, hide_default_value = true)]
    secret: String,
    /// Which web pages may connect, separated by commas: `https://example.com`, `//*.example.com`
    /// [default: all].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    check_origin: Option<Vec<String>>,
    /// Compress messages for clients that offer it (permessage-deflate).
    #[arg(long)]
    compress: bool,
    /// Speak TLS with this chain of certificates, in PEM; SIGHUP reads it and the key anew.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    log_to_stderr();
    let passed = systemd::listeners()?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    tokio::spawn(keep_metrics(metrics.clone()));

    let config = Config {
        secret: options.secret,
        origins: match options.check_origin {
            Some(entries) => {
                Origins::try_list(entries).map_err(|error| format!("--check-origin: {error}"))?
            }
            None => Origins::any(),
        },
        compress: options.compress,
        ..Config::new(options.node.unwrap_or_else(node_name))
    };
    let pubsub = PubSub::new(Arc::new(Local::new(config.node.as_str())));
    let sockets =
        playground::sockets(pubsub, &config).map_err(|error| format!("--secret: {error}"))?;
    let endpoint = sockets.endpoint();
    let app = playground::http::router(endpoint.clone(), config.user_tokens()?, metrics)
        .nest_service("/socket", sockets.into_service());

    // Whoever reads that it listens may end it at once.
    let mut server = Server::new(app)
        .with_endpoint(endpoint)
        .with_shutdown(shutdown_signal());
    let mut scheme = "http";
    if let (Some(certificates), Some(key)) = (options.tls_cert, options.tls_key) {
        let tls = Tls::from_pem_files(certificates, key)?;
        tokio::spawn(reload_on_hangup(tls.clone(), signal(SignalKind::hangup())?));
        server = server.with_tls(tls);
        scheme = "https";
    }
    let mut listeners = passed.into_iter();
    let listener = match listeners.next() {
        Some(listener) => listener,
        None => Listener::bind(options.listen)
            .await
            .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?,
    };
    // Somebody may have asked for port 0 and be waiting for this line.
    let mut stdout = std::io::stdout();
    match listener.local_addr() {
        Some(address) => writeln!(stdout, "listening on {scheme}://{address}")?,
        None => writeln!(stdout, "listening on a Unix socket")?,
    }
    stdout.flush()?;
    for other in listeners {
        server = server.with_listener(other);
    }
    server.serve(listener).await;
    Ok(())
}

/// Takes new certificates when it is told that there are some.
async fn reload_on_hangup(tls: Tls, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        match tls.reload() {
            Ok(()) => tracing::info!("certificates were read anew"),
            Err(error) => tracing::error!(%error, "the certificates stay as they are"),
        }
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // The channel that panics is named in a log line of its own; a backtrace for each panic would
    // let one client fill the log and the processor.
    std::panic::set_hook(Box::new(|panic| tracing::debug!(%panic, "panic")));
}

/// Histograms keep every sample until they are looked at.
async fn keep_metrics(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

fn node_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() {
        "localhost"
    } else {
        host.trim()
    };
    format!("{host}:{}", std::process::id())
}
