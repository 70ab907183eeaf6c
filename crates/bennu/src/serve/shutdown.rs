//! [`shutdown_signal`]: when a program is asked to end.

use std::future::Future;

/// A future that is ready once the process gets SIGTERM or SIGINT (Ctrl-C). They count from the call
/// on, not only while somebody waits, and from then on no longer end the process of their own accord.
///
/// # Panics
/// Outside of a runtime.
#[cfg(unix)]
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    use std::pin::pin;

    use tokio::signal::unix::{SignalKind, signal};

    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    async move {
        let (Ok(mut term), Ok(mut int)) = signals else {
            tracing::error!("signals cannot be listened to: this process ends only by force");
            return std::future::pending().await;
        };
        futures_util::future::select(pin!(term.recv()), pin!(int.recv())).await;
    }
}

/// A future that is ready once the process gets Ctrl-C, counted from when it is first polled.
#[cfg(not(unix))]
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    async {
        if tokio::signal::ctrl_c().await.is_err() {
            tracing::error!("signals cannot be listened to: this process ends only by force");
            std::future::pending::<()>().await;
        }
    }
}
