//! One client connection: a non-blocking socket, and the bytes that wait on either side of it. It knows no frames and no readiness;
//! both are the fleet's.

use crate::failure::Failure;
use crate::target::Target;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::net::SocketAddrV4;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// TCP is being connected.
    Connecting,
    /// The upgrade request is out.
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
    unsent: Vec<u8>,
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
        Ok(Self {
            socket,
            phase: Phase::Connecting,
            unread: Vec::new(),
            unsent: Vec::new(),
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
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(true);
        }
        let sent = self.send_now(bytes)?;
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(!self.unsent.is_empty())
    }

    /// Whether something was kept.
    pub fn is_sending(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends what was kept, as far as the socket takes it. Returns whether a rest remains.
    pub fn flush(&mut self) -> Result<bool, Failure> {
        let unsent = std::mem::take(&mut self.unsent);
        let sent = self.send_now(&unsent)?;
        self.unsent.extend_from_slice(&unsent[sent..]);
        Ok(!self.unsent.is_empty())
    }

    /// Receives once. `None` if there is nothing now, 0 at the end of the stream.
    pub fn receive(&mut self, into: &mut [u8]) -> Result<Option<usize>, Failure> {
        match rustix::net::recv(&self.socket, into, RecvFlags::empty()) {
            Ok((_, received)) => Ok(Some(received)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(Failure::io("receiving")(errno)),
        }
    }

    fn send_now(&self, bytes: &[u8]) -> Result<usize, Failure> {
        match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => Err(Failure::io("sending")(errno)),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
