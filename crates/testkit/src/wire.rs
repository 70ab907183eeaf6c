//! [`TestWire`]: a client's side of a connection, frame by frame.

use bennu_proto::websocket::{Decoder, Event, Limits, Opcode, Role, masked_frame};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

/// The mask of all our frames: the one of RFC 6455, section 5.7.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client that speaks WebSocket and knows nothing of channels, for tests of what a
/// [`TestSocket`](crate::TestSocket) never does: other versions of the protocol, broken frames, a client that
/// does not read. Nothing is answered and nothing is read unless the test does it.
#[derive(Debug)]
pub struct TestWire {
    pub(crate) reader: WireReader,
    pub(crate) writer: WireWriter,
}

/// What came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireEvent {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
    /// A ping.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
}

impl TestWire {
    /// Speaks over a transport whose handshake is done.
    pub fn over<T: AsyncRead + AsyncWrite + Send + 'static>(transport: T) -> Self {
        let (reader, writer) = split(transport);
        Self {
            reader: WireReader {
                io: Box::new(reader),
                decoder: Decoder::new(Role::Client),
                buffer: BytesMut::new(),
            },
            writer: WireWriter {
                io: Box::new(writer),
            },
        }
    }

    /// Sends a text message.
    pub async fn send_text(&mut self, text: &str) {
        self.writer.send(Opcode::Text, text.as_bytes()).await;
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.writer.send(Opcode::Binary, bytes).await;
    }

    /// Sends a finished frame of any kind.
    pub async fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.writer.send(opcode, payload).await;
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.writer.send_bytes(bytes).await;
    }

    /// Waits for what the server sends next; `None` once it has ended the transport.
    ///
    /// # Panics
    /// If the server breaks RFC 6455.
    pub async fn next(&mut self) -> Option<WireEvent> {
        self.reader.next().await
    }

    /// Waits for a text message.
    ///
    /// # Panics
    /// If something else comes.
    pub async fn next_text(&mut self) -> String {
        match self.next().await {
            Some(WireEvent::Text(text)) => text,
            other => panic!("a text message was expected, but there came {other:?}"),
        }
    }
}

pub(crate) struct WireReader {
    io: Box<dyn AsyncRead + Send + Unpin>,
    decoder: Decoder,
    /// What was read and not yet decoded.
    buffer: BytesMut,
}

impl WireReader {
    /// Cancel safe: nothing that was read is lost.
    pub(crate) async fn next(&mut self) -> Option<WireEvent> {
        loop {
            if let Some(event) = self.decode() {
                return Some(event);
            }
            // An error of a pipe or a socket is its end.
            let read = self.io.read_buf(&mut self.buffer).await;
            if read.unwrap_or_default() == 0 {
                return None;
            }
        }
    }

    fn decode(&mut self) -> Option<WireEvent> {
        let limits = Limits {
            message_bytes_max: usize::MAX,
            ..Limits::default()
        };
        if self.buffer.is_empty() {
            return None;
        }
        let decoded = match self.decoder.decode(&limits, &mut self.buffer) {
            Ok(decoded) => decoded,
            Err(error) => panic!("the server broke the WebSocket protocol: {error}"),
        };
        let event = decoded.event.map(|event| match event {
            Event::Text(text) => WireEvent::Text(text.to_owned()),
            Event::Binary(bytes) => WireEvent::Binary(Bytes::copy_from_slice(bytes)),
            Event::Ping(bytes) => WireEvent::Ping(Bytes::copy_from_slice(bytes)),
            Event::Pong(bytes) => WireEvent::Pong(Bytes::copy_from_slice(bytes)),
            Event::Close(close) => WireEvent::Close(close.map(|(code, _)| code)),
            Event::Deflated(_) => panic!("the server compressed what nobody asked it to"),
        });
        let consumed = decoded.consumed;
        drop(self.buffer.split_to(consumed));
        event
    }
}

impl std::fmt::Debug for WireReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireReader").finish_non_exhaustive()
    }
}

pub(crate) struct WireWriter {
    io: Box<dyn AsyncWrite + Send + Unpin>,
}

impl WireWriter {
    pub(crate) async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let frame = masked_frame(true, opcode, MASK, payload);
        self.send_bytes(&frame).await;
    }

    /// A server that is gone takes it in silence, as a network would.
    async fn send_bytes(&mut self, bytes: &[u8]) {
        if self.io.write_all(bytes).await.is_ok() {
            // A failure shows in what is read.
            drop(self.io.flush().await);
        }
    }
}

impl std::fmt::Debug for WireWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireWriter").finish_non_exhaustive()
    }
}
