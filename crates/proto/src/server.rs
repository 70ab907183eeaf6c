//! The server's side of one socket, as a pure machine: which channels are joined, what an incoming
//! message means for them, and what the client is told. It knows no transport, no user code and no
//! clock; the driver that runs it does.
//!
//! ```text
//!            handle_message              poll_action
//!  frames ──────────────────►  Machine ──────────────► Join, Deliver, Leave, Discard
//!         ◄──────────────────          ◄──────────────
//!            poll_transmit               join_ok, left, closed, …
//! ```
//!
//! Methods come in three kinds. `handle_*` takes what the client did and never fails: whatever it
//! sent has an answer. Commands ([`Machine::join_ok`], [`Machine::left`], …) say what a channel
//! decided; each names the channel by its [`ChannelKey`] and is ignored when that instance is gone.
//! `poll_*` hands out what is to be done; drain both after every call, transmits first.

mod entry;
mod state;

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::codec::{self, EncodeError, Form, Frame};
use crate::message::{self, Field, Incoming, Outgoing};
use crate::payload::Payload;
use crate::reference::Ref;
use crate::topic::{Router, Topic};

use entry::{Entries, Entry, Joining, Phase};
pub use state::{ChannelState, MachineState, PhaseState, Replaced};

/// One instance of a channel on one socket. A rejoin of the same topic gets a new key; keys are
/// never used twice on a socket.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct ChannelKey(pub u64);

/// What one socket may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Channels joined at once, those that are joining or leaving included. Default 100. A join
    /// beyond it is answered with `{"reason":"too many channels joined"}`.
    pub joins_max: usize,
    /// The length of a topic that may be joined, in bytes. Default 1024. A join beyond it is
    /// answered with `{"reason":"topic too long"}`.
    pub topic_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            joins_max: 100,
            topic_bytes_max: 1024,
        }
    }
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a channel. Answer with [`Machine::join_ok`], [`Machine::join_refused`] or
    /// [`Machine::join_crashed`]; other topics go on meanwhile.
    Join {
        /// The new instance.
        key: ChannelKey,
        /// Which pattern of the [`Router`] matched.
        route: usize,
        /// The topic.
        topic: Topic,
        /// The join reference that the channel's own messages carry: that of the join, or its
        /// `ref` where it had none.
        join_ref: Option<Ref>,
        /// The join parameters.
        payload: Payload,
    },
    /// Hand an event to a channel, behind what it has not yet handled.
    Deliver {
        /// The channel.
        key: ChannelKey,
        /// The event.
        event: Event,
        /// Its payload.
        payload: Payload,
        /// What a reply has to name.
        reference: Option<Ref>,
    },
    /// The client leaves: answer with [`Machine::left`] once the channel comes to it.
    Leave {
        /// The channel.
        key: ChannelKey,
        /// What the reply has to name.
        reference: Option<Ref>,
    },
    /// The client asks for its socket to live longer. Answer with [`Machine::answer_refresh`], or with
    /// [`Machine::refresh_unmatched`] where sockets do not expire.
    Refresh {
        /// What it presents.
        payload: Payload,
        /// What the reply has to name.
        reference: Option<Ref>,
    },
    /// A newer join took the topic: end this instance at once, without its `terminate`.
    Discard {
        /// The channel.
        key: ChannelKey,
    },
}

/// The name of an event from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Text, as it should be.
    Name(Box<str>),
    /// Some other JSON value, which no channel can know.
    NotText,
}

impl Event {
    /// The name, if it has one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::NotText => None,
        }
    }
}

/// The machine of one socket. See the [module](self) for how it is run.
///
/// It holds at most [`Limits::joins_max`] channels of bounded size, and produces at most three
/// outputs for each input (four if routes or limits were narrowed under a channel that is being
/// replaced), so that its memory is bounded whatever the client sends, as long as its outputs are
/// drained.
#[derive(Debug)]
pub struct Machine {
    form: Form,
    joins_max: u32,
    topic_bytes_max: u32,
    next_key: u64,
    entries: Entries,
    transmits: VecDeque<Frame>,
    actions: VecDeque<Action>,
    /// Why the last join was refused, until somebody asks.
    refusal: Option<Refusal>,
}

impl Machine {
    /// The machine of a new socket.
    #[must_use]
    pub fn new(form: Form, limits: Limits) -> Self {
        Self {
            form,
            joins_max: saturated(limits.joins_max),
            topic_bytes_max: saturated(limits.topic_bytes_max),
            next_key: 1,
            entries: Entries::default(),
            transmits: VecDeque::new(),
            actions: VecDeque::new(),
            refusal: None,
        }
    }

    /// The form of the frames that it makes.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// How many channels are joining, joined or leaving.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.entries.len()
    }

    /// Takes one message of the client.
    pub fn handle_message(&mut self, router: &Router, message: Incoming<'_>) {
        let (topic, event) = (message.topic.as_text(), message.event.as_text());
        if topic == Some(message::PHOENIX_TOPIC) && event == Some(message::HEARTBEAT) {
            // Whatever join_ref it carried: a heartbeat belongs to the socket.
            return self.answer(
                None,
                message.reference.as_ref(),
                &message.topic,
                "ok",
                &Payload::empty(),
            );
        }
        let Some(entry) = topic.and_then(|topic| self.entries.get(topic)) else {
            return match event {
                Some(message::JOIN) => self.join(router, message, None),
                Some(message::LEAVE) => {
                    let join_ref = message.join_ref.as_ref();
                    self.answer(
                        join_ref,
                        message.reference.as_ref(),
                        &message.topic,
                        "ok",
                        &Payload::empty(),
                    );
                }
                Some(message::REFRESH) if topic == Some(message::PHOENIX_TOPIC) => {
                    self.actions.push_back(Action::Refresh {
                        payload: message.payload.to_payload(),
                        reference: message.reference,
                    });
                }
                _ => self.unmatched(&message.topic, message.reference.as_ref()),
            };
        };
        if event == Some(message::JOIN) {
            let key = entry.key;
            return self.rejoin(router, key, message);
        }
        // None means "whatever is joined"; a stale reference is dropped in silence.
        if message.join_ref.is_some() && message.join_ref != entry.join_ref {
            return;
        }
        self.deliver(message);
    }

    /// Hands a message to the channel of its topic, which exists.
    fn deliver(&mut self, message: Incoming<'_>) {
        let Some(entry) = message
            .topic
            .as_text()
            .and_then(|topic| self.entries.get_mut(topic))
        else {
            return;
        };
        let key = entry.key;
        let reference = message.reference;
        let action = match message.event {
            Field::Text(event) if event == message::LEAVE => {
                if matches!(entry.phase, Phase::Joined) {
                    entry.phase = Phase::Leaving;
                }
                Action::Leave { key, reference }
            }
            event => Action::Deliver {
                key,
                event: match event {
                    Field::Text(name) => Event::Name(name.into()),
                    Field::Other(_) => Event::NotText,
                },
                payload: message.payload.to_payload(),
                reference,
            },
        };
        self.actions.push_back(action);
    }

    /// A join of a topic that has a channel: the new one replaces the old one, whatever the join
    /// references are. The old one's `phx_close` follows the new one's reply.
    fn rejoin(&mut self, router: &Router, old: ChannelKey, message: Incoming<'_>) {
        let Some(entry) = self.entries.remove(old) else {
            return;
        };
        self.actions.push_back(Action::Discard { key: old });
        let replaced = match entry.phase {
            Phase::Joining(joining) => {
                // Each join is answered once; this one will not be decided any more.
                let (join_ref, reference) = (entry.join_ref.as_ref(), joining.reference.as_ref());
                self.answer(
                    join_ref,
                    reference,
                    &message.topic,
                    "error",
                    &reason("replaced by a newer join"),
                );
                joining.replaced
            }
            Phase::Joined | Phase::Leaving => Some(entry.join_ref),
        };
        self.join(router, message, replaced);
    }

    fn join(&mut self, router: &Router, message: Incoming<'_>, replaced: Option<Option<Ref>>) {
        let (topic, route) = match self.admit(router, &message.topic) {
            Ok(admitted) => admitted,
            Err(why) => {
                self.refusal = Some(why);
                // Where no route leads, no channel is there to be named.
                let join_ref = message
                    .join_ref
                    .as_ref()
                    .filter(|_| why != Refusal::Unmatched);
                let reference = message.reference.as_ref();
                self.answer(
                    join_ref,
                    reference,
                    &message.topic,
                    "error",
                    &reason(why.text()),
                );
                if let (Some(join_ref), Some(topic)) = (replaced, message.topic.as_text()) {
                    self.transmit(&Outgoing::Close {
                        join_ref: join_ref.as_ref(),
                        topic,
                    });
                }
                return;
            }
        };
        let key = ChannelKey(self.next_key);
        self.next_key += 1;
        self.actions.push_back(Action::Join {
            key,
            route,
            topic: topic.clone(),
            join_ref: message
                .join_ref
                .clone()
                .or_else(|| message.reference.clone()),
            payload: message.payload.to_payload(),
        });
        self.entries.insert(Entry {
            topic,
            join_ref: message.join_ref,
            key,
            phase: Phase::Joining(Box::new(Joining {
                reference: message.reference,
                replaced,
            })),
        });
    }

    /// The route of a topic that may be joined, or the reason that the client is told.
    fn admit(&self, router: &Router, topic: &Field<'_>) -> Result<(Topic, usize), Refusal> {
        let topic = topic.as_text().ok_or(Refusal::Unmatched)?;
        let route = router.route(topic).ok_or(Refusal::Unmatched)?;
        if saturated(topic.len()) > self.topic_bytes_max {
            return Err(Refusal::TopicTooLong);
        }
        if saturated(self.entries.len()) >= self.joins_max {
            return Err(Refusal::TooManyChannels);
        }
        Ok((Topic::from(topic), route))
    }

    /// The channel said yes. Its reply is the first frame of the channel, before anything that is
    /// pushed or broadcast from now on.
    ///
    /// # Errors
    /// [`EncodeError`] when the client's version cannot carry the response; nothing was sent and
    /// the channel is still joining, so that the driver can call [`Machine::join_crashed`].
    pub fn join_ok(&mut self, key: ChannelKey, response: &Payload) -> Result<(), EncodeError> {
        if !self.answer_join(key, "ok", response)? {
            return Ok(());
        }
        if let Some(entry) = self.entries.get_key_mut(key) {
            let phase = std::mem::replace(&mut entry.phase, Phase::Joined);
            let topic = entry.topic.clone();
            self.close_replaced(phase, &topic);
        }
        Ok(())
    }

    /// The channel refused the join with this response; the topic stays unjoined.
    ///
    /// # Errors
    /// [`EncodeError`] as for [`Machine::join_ok`].
    pub fn join_refused(&mut self, key: ChannelKey, response: &Payload) -> Result<(), EncodeError> {
        if !self.answer_join(key, "error", response)? {
            return Ok(());
        }
        if let Some(entry) = self.entries.remove(key) {
            self.close_replaced(entry.phase, &entry.topic);
        }
        Ok(())
    }

    /// Sends the reply to a join. False if that channel is not joining.
    fn answer_join(
        &mut self,
        key: ChannelKey,
        status: &str,
        response: &Payload,
    ) -> Result<bool, EncodeError> {
        let Some(entry) = self.entries.get_key_mut(key) else {
            return Ok(false);
        };
        let Phase::Joining(joining) = &entry.phase else {
            return Ok(false);
        };
        let reply = Outgoing::Reply {
            join_ref: entry.join_ref.as_ref(),
            reference: joining.reference.as_ref(),
            topic: &Field::Text(Cow::Borrowed(&entry.topic)),
            status,
            response,
        };
        self.transmits.push_back(codec::encode(self.form, &reply)?);
        Ok(true)
    }

    /// The join failed for a reason that the client is not told.
    pub fn join_crashed(&mut self, key: ChannelKey) {
        let refused = self.join_refused(key, &reason("join crashed"));
        debug_assert!(refused.is_ok(), "an object fits every version");
    }

    /// A message that waited for a join which then failed: nobody is there to take it.
    pub fn undeliverable(&mut self, topic: &Topic, reference: Option<&Ref>) {
        self.unmatched(&Field::Text(Cow::Borrowed(topic)), reference);
    }

    /// A leave that waited for a join which then failed: there is nothing to leave, which is fine.
    pub fn left_unjoined(
        &mut self,
        topic: &Topic,
        join_ref: Option<&Ref>,
        reference: Option<&Ref>,
    ) {
        let topic = Field::Text(Cow::Borrowed(&**topic));
        self.answer(join_ref, reference, &topic, "ok", &Payload::empty());
    }

    /// The channel came to the client's leave: it is answered, then closed. The join reference is
    /// the one that the channel's own messages carry.
    pub fn left(&mut self, key: ChannelKey, join_ref: Option<&Ref>, reference: Option<&Ref>) {
        if let Some(entry) = self.end(key) {
            let topic = Field::Text(Cow::Borrowed(&*entry.topic));
            self.answer(join_ref, reference, &topic, "ok", &Payload::empty());
            self.transmit(&Outgoing::Close {
                join_ref: entry.join_ref.as_ref(),
                topic: &entry.topic,
            });
        }
    }

    /// The channel ended as intended: the client hears `phx_close` and does not rejoin.
    pub fn closed(&mut self, key: ChannelKey) {
        if let Some(entry) = self.end(key) {
            self.transmit(&Outgoing::Close {
                join_ref: entry.join_ref.as_ref(),
                topic: &entry.topic,
            });
        }
    }

    /// The channel crashed: the client hears `phx_error` and rejoins.
    pub fn errored(&mut self, key: ChannelKey) {
        if let Some(entry) = self.end(key) {
            self.transmit(&Outgoing::Error {
                join_ref: entry.join_ref.as_ref(),
                topic: &entry.topic,
            });
        }
    }

    /// Removes a channel that has been joined. One that ends before its join was decided has
    /// crashed in it: every join is answered, and only what was joined is closed.
    fn end(&mut self, key: ChannelKey) -> Option<Entry> {
        let entry = self.entries.get_key_mut(key)?;
        if let Phase::Joining(_) = entry.phase {
            self.join_crashed(key);
        }
        self.entries.remove(key)
    }

    /// The next frame for the client, oldest first.
    pub fn poll_transmit(&mut self) -> Option<Frame> {
        poll(&mut self.transmits)
    }

    /// The next thing to do, oldest first.
    pub fn poll_action(&mut self) -> Option<Action> {
        poll(&mut self.actions)
    }

    /// Why a join was refused since the last call, if one was, without asking a channel: for logs and
    /// metrics. The client has been answered.
    pub fn take_refusal(&mut self) -> Option<&'static str> {
        self.refusal.take().map(Refusal::text)
    }

    /// The state as plain data. Outputs are not part of it: drain them before.
    #[must_use]
    pub fn export(&self) -> MachineState {
        debug_assert!(self.transmits.is_empty() && self.actions.is_empty());
        state::export(self.form.vsn, self.next_key, &self.entries)
    }

    /// A machine that goes on where the exported one stopped.
    #[must_use]
    pub fn import(form: Form, limits: Limits, state: MachineState) -> Self {
        let (next_key, entries) = state::import(state);
        Self {
            next_key,
            entries,
            ..Self::new(form, limits)
        }
    }

    fn close_replaced(&mut self, phase: Phase, topic: &Topic) {
        let Phase::Joining(joining) = phase else {
            return;
        };
        if let Some(join_ref) = joining.replaced {
            self.transmit(&Outgoing::Close {
                join_ref: join_ref.as_ref(),
                topic,
            });
        }
    }

    /// Answers a request to live longer.
    pub fn answer_refresh(&mut self, reference: Option<&Ref>, status: &str, response: &Payload) {
        let topic = Field::Text(message::PHOENIX_TOPIC.into());
        self.answer(None, reference, &topic, status, response);
    }

    /// Answers a request to live longer as one to a topic that nobody has joined.
    pub fn refresh_unmatched(&mut self, reference: Option<&Ref>) {
        self.unmatched(&Field::Text(message::PHOENIX_TOPIC.into()), reference);
    }

    fn unmatched(&mut self, topic: &Field<'_>, reference: Option<&Ref>) {
        self.answer(
            None,
            reference,
            topic,
            "error",
            &reason(Refusal::Unmatched.text()),
        );
    }

    fn answer(
        &mut self,
        join_ref: Option<&Ref>,
        reference: Option<&Ref>,
        topic: &Field<'_>,
        status: &str,
        response: &Payload,
    ) {
        self.transmit(&Outgoing::Reply {
            join_ref,
            reference,
            topic,
            status,
            response,
        });
    }

    /// Sends a message of our own making, which every version can carry.
    fn transmit(&mut self, message: &Outgoing<'_>) {
        match codec::encode(self.form, message) {
            Ok(frame) => self.transmits.push_back(frame),
            Err(error) => debug_assert!(false, "{error}"),
        }
    }
}

/// There is a machine for each socket, so its limits are stored small; more than four billion of anything is
/// no limit.
fn saturated(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// Why a join is refused before anybody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Nobody answers for the topic, or nobody is joined to it.
    Unmatched,
    TopicTooLong,
    TooManyChannels,
}

impl Refusal {
    /// What the client is told.
    fn text(self) -> &'static str {
        match self {
            Self::Unmatched => "unmatched topic",
            Self::TopicTooLong => "topic too long",
            Self::TooManyChannels => "too many channels joined",
        }
    }
}

/// `{"reason": TEXT}`, for texts without anything to escape.
fn reason(text: &'static str) -> Payload {
    Payload::from_valid_json(format!("{{\"reason\":\"{text}\"}}").into())
}

/// Takes the oldest; an empty queue gives its memory back, so that an idle socket holds none.
fn poll<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let item = queue.pop_front();
    if item.is_none() && queue.capacity() > 0 {
        *queue = VecDeque::new();
    }
    item
}

#[cfg(test)]
mod tests;
