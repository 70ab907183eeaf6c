//! [`Listener`]: where a server takes connections from, and how it goes on when that fails.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep};

/// A socket that a server takes connections from. Made of a listener of tokio or of the standard
/// library; a TCP listener of tokio's own making has `SO_REUSEADDR` set, so that a server can be
/// started again at once.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    is_plain: bool,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A connection that has just come.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    /// What the system says, for example that the address is in use.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::from)
    }

    /// Takes no TLS here, whatever the server does elsewhere: for a port that only redirects.
    #[must_use]
    pub fn without_tls(mut self) -> Self {
        self.is_plain = true;
        self
    }

    /// The address, if it is one of the network.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Kind::Unix(_) => None,
        }
    }

    /// Whether clients speak plain HTTP although others speak TLS. Always so on a Unix socket, which
    /// does not leave the machine.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Waits for a connection, whatever happens meanwhile; `failed` is told of what does. Cancel safe.
    pub(super) async fn accept(&self, mut failed: impl FnMut(&io::Error)) -> Accepted {
        /// With no file descriptor left, trying again at once would only burn the processor.
        const PAUSE: Duration = Duration::from_millis(100);
        loop {
            match self.try_accept().await {
                Ok(accepted) => return accepted,
                Err(error) if concerns_one_client(&error) => {}
                Err(error) => {
                    failed(&error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<Accepted> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Frames are whole messages: waiting for more to send only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY was not set");
                }
                Ok(Accepted::Tcp(stream, peer))
            }
            #[cfg(unix)]
            Kind::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Unix(stream))
            }
        }
    }
}

/// The client went away before it was its turn.
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Lets something happen once in a while.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
}

impl Seldom {
    /// True if the last time was a minute ago.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        const PAUSE: Duration = Duration::from_secs(60);
        let due = self.last.is_none_or(|last| now - last >= PAUSE);
        if due {
            self.last = Some(now);
        }
        due
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self {
            kind: Kind::Tcp(listener),
            is_plain: false,
        }
    }
}

/// Fails outside of a runtime, and where the system refuses to make it non-blocking.
impl TryFrom<std::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self::from)
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self {
            kind: Kind::Unix(listener),
            is_plain: true,
        }
    }
}

/// As for the TCP listener.
#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failing_listener_is_logged_once_a_minute() {
        let mut seldom = Seldom::default();
        let mut logged = 0;
        for _ in 0..1800 {
            logged += usize::from(seldom.is_due(Instant::now()));
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(logged, 3);
    }
}
