//! [`shutdown_signal`]: when a program is asked to end.

/// Waits for SIGTERM or SIGINT (Ctrl-C). From the first call on the process no longer ends by these
/// signals of its own accord.
///
/// # Cancel safety
/// Cancel safe; a signal that comes while nobody waits is not kept.
#[cfg(unix)]
pub async fn shutdown_signal() {
    use std::pin::pin;

    use tokio::signal::unix::{SignalKind, signal};

    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be listened to: this process ends only by force");
        return std::future::pending().await;
    };
    futures_util::future::select(pin!(term.recv()), pin!(int.recv())).await;
}

/// Waits for Ctrl-C.
///
/// # Cancel safety
/// Cancel safe; a signal that comes while nobody waits is not kept.
#[cfg(not(unix))]
pub async fn shutdown_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        tracing::error!("signals cannot be listened to: this process ends only by force");
        std::future::pending::<()>().await;
    }
}
