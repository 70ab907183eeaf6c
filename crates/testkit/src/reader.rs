//! The task that reads for a client: it fills the mailbox, answers pings, and says goodbye.

use std::fmt;
use std::sync::Arc;

use bennu_proto::codec::{Inbound, client};
use bennu_proto::websocket::Opcode;
use tokio::sync::{Mutex, watch};

use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::wire::{WireEvent, WireReader, WireWriter};

/// How a connection ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server sent a close frame.
    Closed(Option<u16>),
    /// The transport ended without one.
    Lost,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(Some(code)) => write!(f, "the server closed the connection with {code}"),
            Self::Closed(None) => f.write_str("the server closed the connection without a code"),
            Self::Lost => f.write_str("the connection ended without a close frame"),
        }
    }
}

pub(crate) type Inbox = Mailbox<Message, End>;

/// The write half; gone once the connection is.
pub(crate) type Writer = Arc<Mutex<Option<WireWriter>>>;

/// Reads until the connection ends.
pub(crate) async fn read(
    mut reader: WireReader,
    writer: Writer,
    inbox: Arc<Inbox>,
    mut reading: watch::Receiver<bool>,
) {
    let end = loop {
        let event = tokio::select! {
            biased;
            _ = reading.wait_for(|reading| !reading) => None,
            event = reader.next() => Some(event),
        };
        let Some(event) = event else {
            // Fails only when the socket is dropped, and then this task is, too.
            drop(reading.wait_for(|reading| *reading).await);
            continue;
        };
        let message = match event {
            None => break End::Lost,
            Some(WireEvent::Close(code)) => {
                let body = code.map(u16::to_be_bytes);
                send(
                    &writer,
                    Opcode::Close,
                    body.as_ref().map_or(&[], |body| &body[..]),
                )
                .await;
                break End::Closed(code);
            }
            Some(WireEvent::Ping(bytes)) => {
                send(&writer, Opcode::Pong, &bytes).await;
                continue;
            }
            Some(WireEvent::Pong(_)) => continue,
            Some(WireEvent::Text(text)) => client::decode(Inbound::Text(&text)),
            Some(WireEvent::Binary(bytes)) => client::decode(Inbound::Binary(&bytes)),
        };
        match message {
            Ok(message) => {
                inbox.has_room().await;
                inbox.put(Message::new(message));
            }
            Err(error) => panic!("the server sent something that is no message: {error}"),
        }
    };
    inbox.end(end);
    *writer.lock().await = None;
}

async fn send(writer: &Writer, opcode: Opcode, payload: &[u8]) {
    if let Some(writer) = writer.lock().await.as_mut() {
        writer.send(opcode, payload).await;
    }
}
