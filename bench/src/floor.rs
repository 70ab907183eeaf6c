//! The floor: the least a server can do and still be driven by the load generator. One thread, one epoll, one `recv` per readable
//! socket, one `send` per answer or delivery; what a real server costs more than this is its own doing.
//!
//! It believes its client. It looks for commas instead of parsing JSON, expects whole frames from one `recv`, keeps no queue (a full
//! socket ends the program), and allocates nothing once the connections stand. It answers joins, leaves, heartbeats, `echo` and
//! `shout`, and no other event.

use base64::Engine;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use sha1::{Digest, Sha1};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};

const LISTENER: u64 = u64::MAX;
const BACKLOG: i32 = 4_096;
const EVENTS_MAX: usize = 1_024;
const BUFFER_BYTES: usize = 64 << 10;

/// The program.
#[derive(Debug)]
pub struct Floor {
    epoll: OwnedFd,
    listener: OwnedFd,
    address: SocketAddr,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    topics: HashMap<Vec<u8>, usize>,
    /// The connections that joined, by topic.
    members: Vec<Vec<usize>>,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    is_open: bool,
    topic: Option<usize>,
}

/// The buffers of the loop, made once.
#[derive(Debug)]
struct Buffers {
    input: Vec<u8>,
    answers: Vec<u8>,
    broadcast: Vec<u8>,
}

impl Floor {
    /// Listens on an address; port 0 picks a free one.
    pub fn bind(address: SocketAddrV4) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        rustix::net::bind(&listener, &address)?;
        rustix::net::listen(&listener, BACKLOG)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        let address = SocketAddr::try_from(rustix::net::getsockname(&listener)?)?;
        Ok(Self {
            epoll,
            listener,
            address,
            connections: Vec::new(),
            free: Vec::new(),
            topics: HashMap::new(),
            members: Vec::new(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until something goes wrong that it has no answer to.
    pub fn serve(mut self) -> io::Result<()> {
        let mut events = vec![
            Event {
                flags: EventFlags::empty(),
                data: EventData::new_u64(0)
            };
            EVENTS_MAX
        ];
        let mut buffers = Buffers {
            input: vec![0; BUFFER_BYTES],
            answers: Vec::with_capacity(2 * BUFFER_BYTES),
            broadcast: Vec::with_capacity(BUFFER_BYTES),
        };
        loop {
            let ready = match epoll::wait(&self.epoll, events.as_mut_slice(), None) {
                Ok(ready) => ready,
                Err(Errno::INTR) => 0,
                Err(errno) => return Err(errno.into()),
            };
            for event in &events[..ready] {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    index => self.readable(index as usize, &mut buffers)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match rustix::net::accept_with(
                &self.listener,
                SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            ) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(errno) => return Err(errno.into()),
            };
            sockopt::set_tcp_nodelay(&socket, true)?;
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            epoll::add(
                &self.epoll,
                &socket,
                EventData::new_u64(index as u64),
                EventFlags::IN,
            )?;
            self.connections[index] = Some(Connection {
                socket,
                is_open: false,
                topic: None,
            });
        }
    }

    fn readable(&mut self, index: usize, buffers: &mut Buffers) -> io::Result<()> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        let received = match rustix::net::recv(
            &connection.socket,
            buffers.input.as_mut_slice(),
            RecvFlags::empty(),
        ) {
            Ok((_, received)) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(_) => 0,
        };
        if received == 0 {
            self.forget(index);
            return Ok(());
        }
        buffers.answers.clear();
        let mut ends = false;
        if connection.is_open {
            let mut at = 0;
            while at < received {
                let frame = &mut buffers.input[at..received];
                let (opcode, header, size) =
                    unmask(frame).ok_or_else(|| unsupported("part of a frame"))?;
                at += size;
                let payload = &frame[header..size];
                match opcode {
                    0x1 => {
                        self.message(index, payload, &mut buffers.answers, &mut buffers.broadcast)?;
                    }
                    0x8 => {
                        write_frame(
                            &mut buffers.answers,
                            0x88,
                            &[payload.get(..2).unwrap_or_default()],
                        );
                        ends = true;
                    }
                    // A pong: only a sign of life.
                    0xa => {}
                    _ => return Err(unsupported("a frame that is no text, close or pong")),
                }
            }
        } else {
            connection.is_open = true;
            upgrade(&buffers.input[..received], &mut buffers.answers)?;
        }
        if !buffers.answers.is_empty() {
            self.send(index, &buffers.answers)?;
        }
        if ends {
            self.forget(index);
        }
        Ok(())
    }

    /// One message, its five fields told apart by the first four commas.
    fn message(
        &mut self,
        index: usize,
        text: &[u8],
        answers: &mut Vec<u8>,
        broadcast: &mut Vec<u8>,
    ) -> io::Result<()> {
        let [join_ref, reference, topic, event, payload] =
            fields(text).ok_or_else(|| unsupported("a message of another shape"))?;
        match event {
            br#""echo""# => reply(answers, join_ref, reference, topic, payload),
            br#""shout""# => {
                broadcast.clear();
                write_frame(
                    broadcast,
                    0x81,
                    &[b"[null,null,", topic, b",", event, b",", payload, b"]"],
                );
                let Some(topic) = self.connections[index]
                    .as_ref()
                    .and_then(|connection| connection.topic)
                else {
                    return Err(unsupported("a shout before a join"));
                };
                for member in &self.members[topic] {
                    self.send(*member, broadcast)?;
                }
            }
            br#""phx_join""# => {
                self.join(index, topic);
                reply(answers, join_ref, reference, topic, b"{}");
            }
            br#""phx_leave""# => {
                self.leave(index);
                reply(answers, join_ref, reference, topic, b"{}");
                write_frame(
                    answers,
                    0x81,
                    &[
                        b"[",
                        join_ref,
                        b",",
                        join_ref,
                        b",",
                        topic,
                        br#","phx_close",{}]"#,
                    ],
                );
            }
            br#""heartbeat""# => reply(answers, b"null", reference, topic, b"{}"),
            _ => {
                return Err(unsupported(
                    "an event that is not echo, shout or the protocol's own",
                ));
            }
        }
        Ok(())
    }

    fn join(&mut self, index: usize, topic: &[u8]) {
        let next = self.members.len();
        let topic = *self.topics.entry(topic.to_vec()).or_insert(next);
        if topic == next {
            self.members.push(Vec::new());
        }
        self.members[topic].push(index);
        if let Some(connection) = &mut self.connections[index] {
            connection.topic = Some(topic);
        }
    }

    fn leave(&mut self, index: usize) {
        if let Some(topic) = self.connections[index]
            .as_mut()
            .and_then(|connection| connection.topic.take())
        {
            self.members[topic].retain(|member| *member != index);
        }
    }

    fn forget(&mut self, index: usize) {
        self.leave(index);
        self.connections[index] = None;
        self.free.push(index);
    }

    fn send(&self, index: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(connection) = &self.connections[index] else {
            return Ok(());
        };
        match rustix::net::send(&connection.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            // The client is gone; its end is read in a moment.
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Ok(_) | Err(Errno::AGAIN) => Err(unsupported("a client that does not keep up")),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn unsupported(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("the floor has no answer to {what}"),
    )
}

/// Answers the upgrade request.
fn upgrade(request: &[u8], answers: &mut Vec<u8>) -> io::Result<()> {
    let text = String::from_utf8_lossy(request);
    let key = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| {
            name.eq_ignore_ascii_case("sec-websocket-key")
                .then_some(value.trim())
        })
        .ok_or_else(|| unsupported("a request without a key"))?;
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    answers.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ");
    answers.extend_from_slice(accept.as_bytes());
    answers.extend_from_slice(b"\r\n\r\n");
    Ok(())
}

/// Unmasks the first frame in place; returns its opcode and the lengths of its header and of all of it.
fn unmask(input: &mut [u8]) -> Option<(u8, usize, usize)> {
    let (opcode, short) = (input.first()? & 0x0f, usize::from(input.get(1)? & 0x7f));
    let (header, length) = match short {
        126 => (
            8,
            usize::from(u16::from_be_bytes([*input.get(2)?, *input.get(3)?])),
        ),
        127 => return None,
        short => (6, short),
    };
    let mask: [u8; 4] = input.get(header - 4..header)?.try_into().ok()?;
    let payload = input.get_mut(header..header + length)?;
    let mut chunks = payload.chunks_exact_mut(4);
    for chunk in &mut chunks {
        for (byte, mask) in chunk.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask) {
        *byte ^= mask;
    }
    Some((opcode, header, header + length))
}

fn fields(text: &[u8]) -> Option<[&[u8]; 5]> {
    let mut rest = text.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let mut fields = [rest; 5];
    for field in &mut fields[..4] {
        let comma = rest.iter().position(|byte| *byte == b',')?;
        *field = &rest[..comma];
        rest = &rest[comma + 1..];
    }
    fields[4] = rest;
    Some(fields)
}

fn reply(answers: &mut Vec<u8>, join_ref: &[u8], reference: &[u8], topic: &[u8], response: &[u8]) {
    let status = br#","phx_reply",{"status":"ok","response":"#;
    write_frame(
        answers,
        0x81,
        &[
            b"[", join_ref, b",", reference, b",", topic, status, response, b"}]",
        ],
    );
}

/// Appends a server's frame: no mask, at most 64 KiB.
fn write_frame(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(first);
    if length < 126 {
        out.push(length as u8);
    } else {
        out.push(126);
        out.extend_from_slice(&(length as u16).to_be_bytes());
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, Opcode};
    use crate::message::{Judge, Pen};

    #[test]
    fn unmasks_what_the_pen_writes_and_tells_the_fields_apart() {
        let mut pen = Pen::default();
        pen.push(
            7,
            "room:a",
            "echo",
            format_args!(r#"{{"a":[1,2],"b":"{}"}}"#, "x".repeat(200)),
        );
        let mut framed = pen.frames().to_vec();
        assert!(unmask(&mut framed.clone()[..10]).is_none());
        let (opcode, header, size) = unmask(&mut framed).unwrap();
        assert_eq!((opcode, size), (1, framed.len()));
        let [join_ref, reference, topic, event, payload] = fields(&framed[header..size]).unwrap();
        assert_eq!(
            (join_ref, reference, topic, event),
            (
                &br#""1""#[..],
                &br#""7""#[..],
                &br#""room:a""#[..],
                &br#""echo""#[..]
            )
        );
        assert!(payload.starts_with(br#"{"a":[1,2],"b":"x"#) && payload.ends_with(b"}"));
    }

    #[test]
    fn its_replies_pass_the_judge() {
        let mut answers = Vec::new();
        reply(
            &mut answers,
            br#""1""#,
            br#""7""#,
            br#""room:a""#,
            br#"{"a":1}"#,
        );
        let frame = frame::parse(&answers).unwrap().unwrap();
        assert_eq!((frame.opcode, frame.size), (Opcode::Text, answers.len()));
        Judge::default()
            .reply(0, frame.payload, 7, "room:a", format_args!(r#"{{"a":1}}"#))
            .unwrap();
    }
}
