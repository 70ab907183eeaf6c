//! [`Connection`]: the part of one client's connection that other threads may touch. Its driver owns
//! the rest. Frames for the client go through `outbound.rs`, messages for its channels through
//! `mailbox.rs`, and the list of all connections is in `connections.rs`.

mod close;
mod connections;
mod mailbox;
mod outbound;
mod polled;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};

use bennu_proto::codec::{Form, Frame, Framing};
use bennu_proto::server::ChannelKey;
use bennu_pubsub::{Broadcast, Gate, Subscriber};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::channel::runner::Contained;
use crate::endpoint::Hub;

pub(crate) use close::CloseReason;
pub(crate) use connections::{Arriving, Connections, Listed};
pub(crate) use mailbox::{Mail, MailError, Message, Schedule};
pub(crate) use outbound::{Class, Flush, OUTBOUND_BURST, Writer};
pub(crate) use polled::{Answer, Begun, HandInError, Polled, Post, PostError, Progress};

use mailbox::Mailbox;
use outbound::Outbound;

/// The token under which a connection subscribes to the topic of its socket id. Channels use their
/// keys, which count up from 1.
pub(crate) const ID_TOKEN: u64 = 0;

/// Shared by the driver, the channels' handles, and every topic that the connection listens to.
pub(crate) struct Connection {
    form: Form,
    hub: Arc<Hub>,
    /// Open while none of this connection's broadcasts to big topics is still being handed out.
    gate: Arc<Gate>,
    /// What its channels have made others do since the driver last looked, in deliveries.
    work: AtomicU32,
    /// Short sections only: queue operations, and system calls that do not block.
    state: Mutex<State>,
}

struct State {
    outbound: Outbound,
    mailbox: Mailbox,
    /// The driver's, while it sleeps.
    waker: Option<Waker>,
    /// Whether the driver is awake, or has been woken and not yet looked.
    notified: bool,
    /// Why the connection is to end, once somebody has decided that.
    closing: Option<CloseReason>,
    /// The driver's task, where it has one of its own.
    task: Option<AbortHandle>,
    /// The driver is gone; nothing is accepted any more.
    ended: bool,
}

impl Connection {
    pub(crate) fn new(form: Form, hub: Arc<Hub>, writer: Writer) -> Self {
        Self {
            form,
            hub,
            gate: Arc::new(Gate::default()),
            work: AtomicU32::new(0),
            state: Mutex::new(State {
                outbound: Outbound::new(writer),
                mailbox: Mailbox::default(),
                waker: None,
                notified: true,
                closing: None,
                task: None,
                ended: false,
            }),
        }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Counts work that a handler has caused, so that its connection's turn can end.
    pub(crate) fn add_work(&self, deliveries: usize) {
        let deliveries = u32::try_from(deliveries).unwrap_or(u32::MAX);
        self.work.fetch_add(deliveries, Ordering::Relaxed);
    }

    /// The work since the last call.
    pub(crate) fn take_work(&self) -> u32 {
        self.work.swap(0, Ordering::Relaxed)
    }

    /// Whether permessage-deflate has been negotiated.
    pub(crate) fn deflates(&self) -> bool {
        self.form.framing == Framing::WebSocketDeflate
    }

    /// The last step of making a frame for this connection's form.
    fn finish(&self, bytes: Bytes) -> Bytes {
        #[cfg(feature = "deflate")]
        if self.deflates()
            && let Some(deflate) = self.hub.deflate()
        {
            return deflate.deflate(bytes);
        }
        bytes
    }

    /// Asks for the end of the connection. The first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        if state.closing.is_none() && !state.ended {
            state.closing = Some(reason);
            state.wake();
        }
    }

    /// Why the connection is to end, if it is.
    pub(crate) fn closing(&self) -> Option<CloseReason> {
        self.state.lock().closing
    }

    /// Tells which task drives the connection.
    pub(crate) fn set_task(&self, task: AbortHandle) {
        let mut state = self.state.lock();
        if !state.ended {
            state.task = Some(task);
        }
    }

    /// Ends the task that drives the connection, without a word to the client.
    pub(crate) fn abort(&self) {
        let task = self.state.lock().task.take();
        if let Some(task) = task {
            task.abort();
        }
    }

    /// The driver begins a turn: from here on it need not be woken.
    pub(crate) fn begin_turn(&self) {
        self.state.lock().notified = true;
    }

    /// The driver is about to sleep. False if something came in meanwhile, so that it has to look
    /// again. `closing` is what the driver has seen of [`Self::closing`].
    pub(crate) fn end_turn(&self, closing: Option<CloseReason>, cx: &mut Context<'_>) -> bool {
        let mut state = self.state.lock();
        let nothing_new =
            state.mailbox.is_empty() && !state.outbound.has_unseen() && state.closing == closing;
        if nothing_new {
            state.notified = false;
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => state.waker = Some(cx.waker().clone()),
            }
        }
        nothing_new
    }

    /// The driver is gone: gives everything back and accepts nothing any more.
    pub(crate) fn end(&self) {
        let (outbound, mailbox);
        {
            let mut state = self.state.lock();
            state.ended = true;
            state.waker = None;
            state.task = None;
            outbound = std::mem::replace(&mut state.outbound, Outbound::new(Writer::None));
            mailbox = std::mem::take(&mut state.mailbox);
        }
        self.hub.budget().release(outbound.queued_bytes());
        // User values are dropped outside the lock.
        drop(outbound);
        Contained::new(mailbox).discard();
    }
}

impl State {
    fn wake(&mut self) {
        if !self.notified {
            self.notified = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }
}

impl Subscriber for Connection {
    fn deliver(&self, token: u64, broadcast: &Arc<Broadcast>) {
        if token == ID_TOKEN {
            if broadcast.event() == crate::endpoint::DISCONNECT {
                self.close(CloseReason::Disconnected);
            }
            return;
        }
        let finish = |frame: Frame| Frame {
            bytes: self.finish(frame.bytes),
            ..frame
        };
        match broadcast.frame_with(self.form, finish) {
            Some(frame) => {
                self.send(frame.bytes.clone(), Class::Broadcast);
            }
            // Bytes, for a client whose version has none.
            None => self.hub.telemetry().dropped_unencodable.increment(1),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// A channel of a connection, as a place to send messages to.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) connection: Arc<Connection>,
    pub(crate) key: ChannelKey,
}
