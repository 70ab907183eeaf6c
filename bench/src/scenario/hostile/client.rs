//! One attacking connection: a blocking socket with time limits, on which anything at all may be sent. What the server sends must
//! still be well formed.

use crate::failure::Failure;
use crate::frame::{self, Opcode};
use crate::handshake;
use crate::message::Pen;
use crate::target::Target;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a server may take for an answer that it must give: much more than any verdict allows, so that only a lost one counts.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);
const RECEIVE_BYTES: usize = 64 << 10;

/// What came from the server.
#[derive(Debug)]
pub(super) enum Heard {
    /// A frame that is no close frame.
    Frame(Opcode, Vec<u8>),
    /// A close frame with this code.
    Closed(u16),
    /// The end of TCP, orderly or not.
    Ended,
    /// Nothing, for as long as we waited.
    Nothing,
}

/// How far a send came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Everything is on its way.
    All,
    /// The server takes no more for now.
    Blocked,
    /// The server has ended the connection.
    Ended,
}

/// An attacker's end of a connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    at: usize,
}

impl Client {
    pub(super) fn connect(
        target: &Target,
        source_number: usize,
        receive_bytes: Option<usize>,
    ) -> Result<Self, Failure> {
        let socket = rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(Failure::io("opening a socket"))?;
        sockopt::set_tcp_nodelay(&socket, true).map_err(Failure::io("setting TCP_NODELAY"))?;
        if let Some(bytes) = receive_bytes {
            sockopt::set_socket_recv_buffer_size(&socket, bytes)
                .map_err(Failure::io("setting SO_RCVBUF"))?;
        }
        if let Some(source) = target.source_number(source_number) {
            rustix::net::bind(&socket, &source).map_err(Failure::io("binding a source address"))?;
        }
        rustix::net::connect(&socket, &target.address).map_err(Failure::io("connecting"))?;
        Ok(Self {
            stream: TcpStream::from(socket),
            received: Vec::new(),
            at: 0,
        })
    }

    /// Asks for the upgrade, and waits for it.
    pub(super) fn upgrade(&mut self, target: &Target) -> Result<(), Failure> {
        self.send(&handshake::request(target), ANSWER_MAX)?;
        let until = Instant::now() + ANSWER_MAX;
        while Instant::now() < until {
            let head =
                handshake::read_response(&self.received).map_err(|reason| Failure::Upgrade {
                    connection: 0,
                    reason,
                })?;
            if let Some(length) = head {
                self.at = length;
                return Ok(());
            }
            if self.receive(ANSWER_MAX)? == Some(0) {
                break;
            }
        }
        Err(Failure::Timeout("the answer to an upgrade".to_owned()))
    }

    /// Joins a topic and waits for the ok.
    pub(super) fn join(&mut self, topic: &str) -> Result<(), Failure> {
        let mut pen = Pen::default();
        pen.join(topic);
        self.send(pen.frames(), ANSWER_MAX)?;
        match self.hear(ANSWER_MAX)? {
            Heard::Frame(Opcode::Text, text) if is_ok(&text) => Ok(()),
            other => Err(other.refuse("the reply to a join")),
        }
    }

    /// Sends all of it unless the server takes nothing for `patience`. A frame may then be sent in part.
    pub(super) fn send(&mut self, bytes: &[u8], patience: Duration) -> Result<Sent, Failure> {
        self.stream
            .set_write_timeout(Some(patience))
            .map_err(Failure::io("setting a time limit"))?;
        match self.stream.write_all(bytes) {
            Ok(()) => Ok(Sent::All),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Sent::Blocked),
                kind if has_ended(kind) => Ok(Sent::Ended),
                _ => Err(Failure::io("sending")(error)),
            },
        }
    }

    /// The next frame; waits for it as long as `patience`.
    pub(super) fn hear(&mut self, patience: Duration) -> Result<Heard, Failure> {
        let until = Instant::now() + patience;
        loop {
            let frame = frame::parse(self.received.get(self.at..).unwrap_or_default()).map_err(
                |source| Failure::Frame {
                    connection: 0,
                    source,
                },
            )?;
            if let Some(frame) = frame {
                self.at += frame.size;
                return Ok(match frame.opcode {
                    Opcode::Close => Heard::Closed(frame.close_code()),
                    opcode => Heard::Frame(opcode, frame.payload.to_vec()),
                });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Heard::Nothing);
            }
            match self.receive(left)? {
                None => return Ok(Heard::Nothing),
                Some(0) => return Ok(Heard::Ended),
                Some(_) => {}
            }
        }
    }

    /// Reads everything until the end: the code of the close frame, 0 if there was none. `None` if it does not end.
    pub(super) fn end(&mut self, patience: Duration) -> Result<Option<u16>, Failure> {
        loop {
            match self.hear(patience)? {
                Heard::Closed(code) => return Ok(Some(code)),
                Heard::Ended => return Ok(Some(0)),
                Heard::Nothing => return Ok(None),
                Heard::Frame(..) => {}
            }
        }
    }

    /// Receives once, whatever it is: how many bytes, 0 at the end, `None` if nothing came.
    pub(super) fn receive(&mut self, patience: Duration) -> Result<Option<usize>, Failure> {
        self.received.drain(..self.at);
        self.at = 0;
        self.stream
            .set_read_timeout(Some(patience.max(Duration::from_millis(1))))
            .map_err(Failure::io("setting a time limit"))?;
        let length = self.received.len();
        self.received.resize(length + RECEIVE_BYTES, 0);
        let outcome = self.stream.read(&mut self.received[length..]);
        self.received
            .truncate(length + outcome.as_ref().copied().unwrap_or(0));
        match outcome {
            Ok(received) => Ok(Some(received)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
                kind if has_ended(kind) => Ok(Some(0)),
                _ => Err(Failure::io("receiving")(error)),
            },
        }
    }
}

impl Heard {
    pub(super) fn refuse(&self, expected: &str) -> Failure {
        match self {
            Self::Frame(_, payload) => Failure::unexpected(0, expected, payload),
            other => Failure::unexpected(0, expected, format!("{other:?}").as_bytes()),
        }
    }
}

/// Whether a message says ok.
pub(super) fn is_ok(text: &[u8]) -> bool {
    holds(text, b"phx_reply") && holds(text, br#""status":"ok""#)
}

/// Whether `part` is somewhere in `text`.
pub(super) fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn has_ended(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}
