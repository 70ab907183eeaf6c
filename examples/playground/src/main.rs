//! The playground as a program: options, logs, metrics, the listener, and an orderly end.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bennu::{Endpoint, PubSub};
use clap::Parser;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
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
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    log_to_stderr();
    let metrics = PrometheusBuilder::new().install_recorder()?;
    tokio::spawn(keep_metrics(metrics.clone()));

    let sockets = playground::sockets(PubSub::local(), &options.node.unwrap_or_else(node_name));
    let endpoint = sockets.endpoint();
    let app = playground::http::router(endpoint.clone(), metrics)
        .nest_service("/socket", sockets.into_service());

    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    // Somebody may have asked for port 0 and be waiting for this line.
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;
    let (drained, when_drained) = tokio::sync::oneshot::channel();
    let shutdown = async {
        drain_on_signal(endpoint).await;
        // Nobody listens any more only if the server has ended by itself.
        let _ = drained.send(());
    };
    let serve = axum::serve(listener, app).with_graceful_shutdown(shutdown);
    tokio::select! {
        result = serve => result?,
        // A client that never finishes its request does not keep the process.
        () = async { let _ = when_drained.await; tokio::time::sleep(LAST_REQUESTS).await } => {}
    }
    Ok(())
}

/// How long requests that are not sockets may take once the sockets are gone.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// Ends when the process is asked to end and its sockets have been closed.
async fn drain_on_signal(endpoint: Endpoint) {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be listened to: this process ends only by force");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!(connections = endpoint.connection_count(), "draining");
    let left = endpoint
        .drain(&bennu::endpoint::DrainOptions::default())
        .await;
    tracing::info!(left, "drained");
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
