//! One client connection: a non-blocking socket, and the bytes that wait on either side of it. It knows no frames and no readiness;
//! both are the fleet's. TLS, where it is spoken, is `tls.rs`.

use crate::failure::Failure;
use crate::target::Target;
use crate::tls::Session;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::net::SocketAddrV4;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// TCP is being connected.
    Connecting,
    /// The upgrade request is out, or waits for the end of the TLS handshake.
    Upgrading,
    /// Frames travel.
    Open,
    /// The server's close frame has come; nothing but the end may follow.
    Closed,
}

/// A socket on its way through the phases.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// How far it has come.
    pub phase: Phase,
    /// The beginning of a frame whose rest has not come.
    pub unread: Vec<u8>,
    layer: Layer,
}

/// What is between the frames and the socket.
#[derive(Debug)]
enum Layer {
    /// Nothing but the bytes that the socket did not take.
    Plain { unsent: Vec<u8> },
    /// TLS, which keeps them itself.
    Tls(Session),
}

impl Connection {
    /// Starts to connect, from `source` if there is one.
    pub fn start(target: &Target, source: Option<SocketAddrV4>) -> Result<Self, Failure> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .map_err(Failure::io("opening a socket"))?;
        sockopt::set_tcp_nodelay(&socket, true).map_err(Failure::io("setting TCP_NODELAY"))?;
        if let Some(source) = source {
            // Not SO_REUSEADDR: with it the kernel looks for a port in half of the range first, and slows down as it fills.
            rustix::net::bind(&socket, &source).map_err(Failure::io("binding a source address"))?;
        }
        match rustix::net::connect(&socket, &target.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(Failure::io("connecting")(errno)),
        }
        let layer = match &target.tls {
            Some(tls) => Layer::Tls(Session::new(tls)?),
            None => Layer::Plain { unsent: Vec::new() },
        };
        Ok(Self {
            socket,
            phase: Phase::Connecting,
            unread: Vec::new(),
            layer,
        })
    }

    /// Whether TCP came about, once the socket is writable for the first time.
    pub fn finish_connect(&self) -> Result<(), Failure> {
        sockopt::socket_error(&self.socket)
            .and_then(|outcome| outcome)
            .map_err(Failure::io("connecting"))
    }

    /// Sends what the socket takes now and keeps the rest. Returns whether a rest remains.
    pub fn send(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let socket = self.socket.as_fd();
        let unsent = match &mut self.layer {
            Layer::Plain { unsent } => unsent,
            Layer::Tls(session) => return session.send(socket, bytes),
        };
        let sent = if unsent.is_empty() {
            send_now(socket, bytes)?
        } else {
            0
        };
        unsent.extend_from_slice(&bytes[sent..]);
        Ok(!unsent.is_empty())
    }

    /// Whether something was kept.
    pub fn is_sending(&self) -> bool {
        match &self.layer {
            Layer::Plain { unsent } => !unsent.is_empty(),
            Layer::Tls(session) => session.is_sending(),
        }
    }

    /// Sends what was kept, as far as the socket takes it. Returns whether a rest remains.
    pub fn flush(&mut self) -> Result<bool, Failure> {
        let socket = self.socket.as_fd();
        match &mut self.layer {
            Layer::Plain { unsent } => {
                let sent = send_now(socket, unsent)?;
                unsent.drain(..sent);
                Ok(!unsent.is_empty())
            }
            Layer::Tls(session) => session.flush(socket),
        }
    }

    /// Receives once. `None` if there is nothing now, 0 at the end of the stream. What TLS has to answer is sent, or kept.
    pub fn receive(&mut self, into: &mut [u8]) -> Result<Option<usize>, Failure> {
        let socket = self.socket.as_fd();
        if let Layer::Tls(session) = &mut self.layer {
            return session.receive(socket, into);
        }
        match rustix::net::recv(socket, into, RecvFlags::empty()) {
            Ok((_, received)) => Ok(Some(received)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(Failure::io("receiving")(errno)),
        }
    }
}

fn send_now(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Failure> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(errno) => Err(Failure::io("sending")(errno)),
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
