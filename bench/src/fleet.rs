//! All client connections of a run on one epoll: opens them, turns bytes into frames and frames into [`Incoming`], sends. What the
//! messages mean and what follows from them is the scenario's business; it implements [`Listener`].

use crate::connection::{Connection, Phase};
use crate::failure::Failure;
use crate::frame::{self, Opcode};
use crate::handshake;
use crate::target::Target;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// Connections that are looked at in one turn.
const EVENTS_MAX: usize = 1_024;
/// Bytes that are received at once.
const RECEIVE_BYTES: usize = 64 << 10;

/// What happened on a connection.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// The upgrade came about; messages may be sent.
    Open,
    /// A text message came.
    Text(&'a [u8]),
    /// The server's close frame came, with this code.
    Closed(u16),
    /// The server closed TCP.
    Ended,
}

impl Incoming<'_> {
    /// The failure that this was not what the scenario waited for.
    pub fn refuse(&self, connection: usize, expected: &str) -> Failure {
        match self {
            Self::Text(text) => Failure::unexpected(connection, expected, text),
            other => Failure::unexpected(connection, expected, format!("{other:?}").as_bytes()),
        }
    }
}

/// Who hears what happens.
pub trait Listener {
    /// Something happened on the connection at `index`.
    fn incoming(
        &mut self,
        fleet: &mut Fleet,
        index: usize,
        incoming: Incoming<'_>,
    ) -> Result<(), Failure>;
}

/// The buffers of a turn; kept apart from the fleet so that a listener can send while it reads.
pub struct Scratch {
    events: Vec<Event>,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        let none = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        Self {
            events: vec![none; EVENTS_MAX],
            bytes: vec![0; RECEIVE_BYTES],
        }
    }
}

/// The connections of a run.
#[derive(Debug)]
pub struct Fleet {
    epoll: OwnedFd,
    target: Target,
    request: Vec<u8>,
    connections: Vec<Option<Connection>>,
    deadline: Instant,
}

impl Fleet {
    /// A fleet with no connections, which gives up at `deadline`.
    pub fn new(target: Target, deadline: Instant) -> Result<Self, Failure> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(Failure::io("opening an epoll"))?;
        Ok(Self {
            epoll,
            request: handshake::request(&target),
            target,
            connections: Vec::new(),
            deadline,
        })
    }

    /// Starts to open the connection at `index`, from the source address that belongs to it.
    pub fn open(&mut self, index: usize) -> Result<(), Failure> {
        let source = self.target.source(index);
        self.open_from(index, source)
    }

    /// Starts to open the connection at `index`, from the source address with this number, see [`Target::source_number`].
    pub fn open_numbered(&mut self, index: usize, source_number: usize) -> Result<(), Failure> {
        let source = self.target.source_number(source_number);
        self.open_from(index, source)
    }

    fn open_from(&mut self, index: usize, source: Option<SocketAddrV4>) -> Result<(), Failure> {
        let connection = Connection::start(&self.target, source)?;
        epoll::add(
            &self.epoll,
            &connection,
            EventData::new_u64(index as u64),
            EventFlags::OUT,
        )
        .map_err(Failure::io("watching a socket"))?;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        self.connections[index] = Some(connection);
        Ok(())
    }

    /// Sends frames on an open connection.
    pub fn send(&mut self, index: usize, frames: &[u8]) -> Result<(), Failure> {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return Err(Failure::Setting(format!("connection {index} is not open")));
        };
        let rest = connection.send(frames)?;
        if rest {
            self.watch(index, EventFlags::IN | EventFlags::OUT)
        } else {
            Ok(())
        }
    }

    /// Whether the server's close frame has come.
    pub fn is_closed(&self, index: usize) -> bool {
        self.connections
            .get(index)
            .and_then(Option::as_ref)
            .is_some_and(|connection| connection.phase == Phase::Closed)
    }

    /// Lets the kernel keep only so many bytes on their way out of an open connection.
    pub fn limit_send_buffer(&self, index: usize, bytes: usize) -> Result<(), Failure> {
        let Some(connection) = self.connections.get(index).and_then(Option::as_ref) else {
            return Err(Failure::Setting(format!("connection {index} is not open")));
        };
        sockopt::set_socket_send_buffer_size(connection, bytes)
            .map_err(Failure::io("setting SO_SNDBUF"))
    }

    /// Whether something that was to be sent on the connection still waits for its socket.
    pub fn is_sending(&self, index: usize) -> bool {
        self.connections
            .get(index)
            .and_then(Option::as_ref)
            .is_some_and(Connection::is_sending)
    }

    /// Closes TCP without a word.
    pub fn drop_connection(&mut self, index: usize) {
        if let Some(connection) = self.connections.get_mut(index) {
            *connection = None;
        }
    }

    /// Waits for something to happen, at most `wait`, and tells the listener.
    pub fn turn(
        &mut self,
        scratch: &mut Scratch,
        wait: Duration,
        listener: &mut dyn Listener,
    ) -> Result<(), Failure> {
        if Instant::now() >= self.deadline {
            return Err(Failure::Timeout("the whole run, see --timeout".to_owned()));
        }
        let wait = wait.min(Duration::from_secs(1));
        let wait = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let ready = match epoll::wait(&self.epoll, scratch.events.as_mut_slice(), Some(&wait)) {
            Ok(ready) => ready,
            Err(Errno::INTR) => 0,
            Err(errno) => return Err(Failure::io("waiting for sockets")(errno)),
        };
        for at in 0..ready {
            let Event { flags, data } = scratch.events[at];
            self.ready(data.u64() as usize, flags, &mut scratch.bytes, listener)?;
        }
        Ok(())
    }

    fn ready(
        &mut self,
        index: usize,
        flags: EventFlags,
        bytes: &mut [u8],
        listener: &mut dyn Listener,
    ) -> Result<(), Failure> {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return Ok(());
        };
        if connection.phase == Phase::Connecting {
            connection.finish_connect()?;
            connection.phase = Phase::Upgrading;
            connection.send(&self.request)?;
            return self.watch(index, EventFlags::IN);
        }
        if flags.contains(EventFlags::OUT) && !connection.flush()? {
            self.watch(index, EventFlags::IN)?;
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read(index, bytes, listener)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        index: usize,
        bytes: &mut [u8],
        listener: &mut dyn Listener,
    ) -> Result<(), Failure> {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return Ok(());
        };
        let received = connection.receive(bytes)?;
        // TLS may have had an answer of its own to give which the socket did not take.
        if connection.is_sending() {
            self.watch(index, EventFlags::IN | EventFlags::OUT)?;
        }
        let Some(received) = received else {
            return Ok(());
        };
        if received == 0 {
            return listener.incoming(self, index, Incoming::Ended);
        }
        let received = &bytes[..received];
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return Ok(());
        };
        if connection.unread.is_empty() {
            let digested = self.digest(index, received, listener)?;
            return self.keep(index, &received[digested..]);
        }
        let mut unread = std::mem::take(&mut connection.unread);
        unread.extend_from_slice(received);
        let digested = self.digest(index, &unread, listener)?;
        self.keep(index, &unread[digested..])
    }

    fn keep(&mut self, index: usize, rest: &[u8]) -> Result<(), Failure> {
        if let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut)
            && !rest.is_empty()
        {
            if connection.phase == Phase::Closed {
                return Err(Failure::unexpected(
                    index,
                    "nothing after the close frame",
                    rest,
                ));
            }
            connection.unread.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Takes whole frames off the front of `input`; returns how many bytes they were.
    fn digest(
        &mut self,
        index: usize,
        input: &[u8],
        listener: &mut dyn Listener,
    ) -> Result<usize, Failure> {
        let mut at = 0;
        while let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) {
            let rest = &input[at..];
            match connection.phase {
                Phase::Upgrading => {
                    let head =
                        handshake::read_response(rest).map_err(|reason| Failure::Upgrade {
                            connection: index,
                            reason,
                        })?;
                    let Some(length) = head else { break };
                    at += length;
                    connection.phase = Phase::Open;
                    listener.incoming(self, index, Incoming::Open)?;
                }
                Phase::Open => {
                    let frame = frame::parse(rest).map_err(|source| Failure::Frame {
                        connection: index,
                        source,
                    })?;
                    let Some(frame) = frame else { break };
                    at += frame.size;
                    if frame.opcode == Opcode::Close {
                        connection.phase = Phase::Closed;
                    }
                    self.take(index, &frame, listener)?;
                }
                Phase::Connecting | Phase::Closed => break,
            }
        }
        Ok(at)
    }

    fn take(
        &mut self,
        index: usize,
        frame: &frame::Frame<'_>,
        listener: &mut dyn Listener,
    ) -> Result<(), Failure> {
        match frame.opcode {
            Opcode::Text => listener.incoming(self, index, Incoming::Text(frame.payload)),
            Opcode::Close => listener.incoming(self, index, Incoming::Closed(frame.close_code())),
            Opcode::Ping => {
                let mut pong = Vec::new();
                frame::write_pong(&mut pong, frame.payload);
                self.send(index, &pong)
            }
            Opcode::Binary | Opcode::Pong => {
                Err(Failure::unexpected(index, "a text message", frame.payload))
            }
        }
    }

    fn watch(&self, index: usize, flags: EventFlags) -> Result<(), Failure> {
        let Some(connection) = self.connections.get(index).and_then(Option::as_ref) else {
            return Ok(());
        };
        epoll::modify(
            &self.epoll,
            connection,
            EventData::new_u64(index as u64),
            flags,
        )
        .map_err(Failure::io("watching a socket"))
    }
}
