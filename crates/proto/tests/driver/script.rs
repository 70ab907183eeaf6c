//! A tiny driver around the machine, and scripts that it runs: conversations as they stand in a
//! protocol document, compared byte by byte.
//!
//! | line | meaning |
//! | --- | --- |
//! | `>> TEXT`, `>> hex BYTES` | the client sends this frame |
//! | `>< TEXT`, `>< hex BYTES` | the client sends this frame, and it is no message |
//! | `<< TEXT`, `<< hex BYTES` | the next frame of the server |
//! | `-- joins ok PAYLOAD`, `refuse PAYLOAD`, `crash`, `wait` | what the joins that follow come to (at first `ok {}`) |
//! | `-- decide TOPIC ok PAYLOAD` (`refuse`, `crash`) | what a join that waits comes to |
//! | `-- busy TOPIC`, `-- resume TOPIC` | the channel is held up, and goes on |
//! | `-- close TOPIC`, `-- crash TOPIC` | the channel ends |
//! | `-- push TOPIC EVENT PAYLOAD`, `-- broadcast …` | the channel, or anybody, sends |
//! | `-- terminate EVENT` | channels push this event as the last thing they do |
//! | `-- move` | the machine is written down and read again |
//! | `-- count N` | so many channels are joining, joined or leaving |
//!
//! A channel answers every event with `ok` and its own payload, but for `silent` (no answer),
//! `stop` (closes), `crash` (errors), and `stop_reply` and `crash_reply` (answer first).

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use bennu_proto::codec::{self, DecodeError, EncodeError, Form, Framing, Inbound};
use bennu_proto::message::{Field, Outgoing};
use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::server::{Action, ChannelKey, Event, Limits, Machine};
use bennu_proto::topic::{Router, Topic, TopicPattern};
use bennu_proto::vsn::Vsn;

/// Runs a script with the limits of a new socket; `room:*` is routed.
pub(crate) fn run(vsn: Vsn, script: &str) {
    run_with(vsn, Limits::default(), script);
}

/// Runs a script.
pub(crate) fn run_with(vsn: Vsn, limits: Limits, script: &str) {
    let mut driver = Driver::new(vsn, limits);
    for (number, line) in script.lines().enumerate() {
        let line = line.trim();
        let at = format!("line {}: {line}", number + 1);
        let Some((verb, rest)) = line.split_once(' ') else {
            assert!(line.is_empty(), "{at}");
            continue;
        };
        if verb != "<<" {
            assert!(
                driver.sent.is_empty(),
                "{at}\nunexpected before it: {:?}",
                driver.sent
            );
        }
        match verb {
            ">>" => driver.receive(&unit(rest)).expect(&at),
            "><" => assert!(driver.receive(&unit(rest)).is_err(), "{at}"),
            "<<" => assert_eq!(driver.sent.pop_front().expect(&at), unit(rest), "{at}"),
            "--" => driver.direct(rest),
            _ => panic!("{at}"),
        }
    }
    assert!(
        driver.sent.is_empty(),
        "unexpected at the end: {:?}",
        driver.sent
    );
}

/// One message on the wire.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Unit {
    Text(String),
    Binary(Vec<u8>),
}

impl std::fmt::Debug for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Binary(bytes) => {
                f.write_str("hex")?;
                bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
        }
    }
}

/// Text, or `hex` and the bytes.
pub(crate) fn unit(text: &str) -> Unit {
    match text.strip_prefix("hex") {
        Some(bytes) => Unit::Binary(hex(bytes)),
        None => Unit::Text(text.to_owned()),
    }
}

/// Bytes as they are written in documents.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let byte = |byte| u8::from_str_radix(byte, 16).unwrap();
    text.split_whitespace().map(byte).collect()
}

fn payload(text: &str) -> Payload {
    match unit(text) {
        Unit::Text(text) => Payload::from_json_text(text).unwrap(),
        Unit::Binary(bytes) => Payload::binary(bytes),
    }
}

enum JoinAnswer {
    Ok(Payload),
    Refuse(Payload),
    Crash,
    Wait,
}

fn join_answer(text: &str) -> JoinAnswer {
    match text.split_once(' ').unwrap_or((text, "{}")) {
        ("ok", response) => JoinAnswer::Ok(payload(response)),
        ("refuse", response) => JoinAnswer::Refuse(payload(response)),
        ("crash", _) => JoinAnswer::Crash,
        ("wait", _) => JoinAnswer::Wait,
        _ => panic!("{text}"),
    }
}

struct Channel {
    topic: Topic,
    join_ref: Option<Ref>,
    joined: bool,
    busy: bool,
    waiting: VecDeque<Action>,
}

struct Driver {
    machine: Machine,
    limits: Limits,
    router: Router,
    channels: BTreeMap<ChannelKey, Channel>,
    joins: JoinAnswer,
    terminate: Option<String>,
    sent: VecDeque<Unit>,
}

impl Driver {
    fn new(vsn: Vsn, limits: Limits) -> Self {
        let mut router = Router::default();
        router.push(TopicPattern::parse("room:*").unwrap());
        Self {
            machine: Machine::new(
                Form {
                    vsn,
                    framing: Framing::Bare,
                },
                limits,
            ),
            limits,
            router,
            channels: BTreeMap::new(),
            joins: JoinAnswer::Ok(Payload::empty()),
            terminate: None,
            sent: VecDeque::new(),
        }
    }

    fn receive(&mut self, unit: &Unit) -> Result<(), DecodeError> {
        let inbound = match unit {
            Unit::Text(text) => Inbound::Text(text),
            Unit::Binary(bytes) => Inbound::Binary(bytes),
        };
        let message = codec::decode(self.machine.form().vsn, inbound)?;
        self.machine.handle_message(&self.router, message);
        self.drain();
        Ok(())
    }

    fn direct(&mut self, directive: &str) {
        let (verb, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        let words: Vec<&str> = rest.splitn(3, ' ').collect();
        match (verb, &words[..]) {
            ("joins", _) => self.joins = join_answer(rest),
            ("decide", [topic, ..]) => {
                let answer = rest.strip_prefix(topic).unwrap().trim_start();
                self.decide(self.key(topic), &join_answer(answer));
            }
            ("busy", [topic]) => self.channel(topic).busy = true,
            ("resume", [topic]) => {
                self.channel(topic).busy = false;
                self.work(self.key(topic));
            }
            ("close", [topic]) => self.end(self.key(topic), true),
            ("crash", [topic]) => self.end(self.key(topic), false),
            ("push", [topic, event, body]) => {
                let join_ref = self.channel(topic).join_ref.clone();
                let (join_ref, payload) = (join_ref.as_ref(), &payload(body));
                self.send(&Outgoing::Push {
                    join_ref,
                    topic,
                    event,
                    payload,
                })
                .unwrap();
            }
            ("broadcast", [topic, event, body]) => {
                let payload = &payload(body);
                self.send(&Outgoing::Broadcast {
                    topic,
                    event,
                    payload,
                })
                .unwrap();
            }
            ("terminate", [event]) => self.terminate = Some((*event).to_owned()),
            ("move", _) => self.move_machine(),
            ("count", [count]) => assert_eq!(self.machine.channel_count().to_string(), **count),
            _ => panic!("{directive}"),
        }
        self.drain();
    }

    fn key(&self, topic: &str) -> ChannelKey {
        let mut channels = self.channels.iter().rev();
        let found = channels.find(|(_, channel)| &*channel.topic == topic);
        *found.expect(topic).0
    }

    fn channel(&mut self, topic: &str) -> &mut Channel {
        let key = self.key(topic);
        self.channels.get_mut(&key).unwrap()
    }

    fn move_machine(&mut self) {
        let written = serde_json::to_string(&self.machine.export()).unwrap();
        let read = serde_json::from_str(&written).unwrap();
        self.machine = Machine::import(self.machine.form(), self.limits, read);
        assert_eq!(
            serde_json::to_string(&self.machine.export()).unwrap(),
            written
        );
    }

    fn drain(&mut self) {
        loop {
            while let Some(frame) = self.machine.poll_transmit() {
                self.sent.push_back(read(&frame));
            }
            let Some(action) = self.machine.poll_action() else {
                return;
            };
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Join {
                key,
                route,
                topic,
                join_ref,
                ..
            } => {
                assert_eq!(route, 0);
                let waiting = VecDeque::new();
                let channel = Channel {
                    topic,
                    join_ref,
                    joined: false,
                    busy: false,
                    waiting,
                };
                assert!(
                    self.channels.insert(key, channel).is_none(),
                    "a key came twice"
                );
                let answer = std::mem::replace(&mut self.joins, JoinAnswer::Wait);
                self.decide(key, &answer);
                self.joins = answer;
            }
            Action::Deliver { key, .. } | Action::Leave { key, .. } => {
                let channel = self.channels.get_mut(&key).expect("the channel is there");
                channel.waiting.push_back(action);
                self.work(key);
            }
            Action::Refresh { reference, .. } => self.machine.refresh_unmatched(reference.as_ref()),
            Action::Discard { key } => {
                self.channels.remove(&key).expect("the channel is there");
            }
        }
    }

    fn decide(&mut self, key: ChannelKey, answer: &JoinAnswer) {
        let refused = match answer {
            JoinAnswer::Ok(response) => self.machine.join_ok(key, response),
            JoinAnswer::Refuse(response) => self.machine.join_refused(key, response),
            JoinAnswer::Crash => {
                self.machine.join_crashed(key);
                Ok(())
            }
            JoinAnswer::Wait => return,
        };
        let is_joined = refused.is_ok() && matches!(answer, JoinAnswer::Ok(_));
        if refused.is_err() {
            self.machine.join_crashed(key);
        }
        if is_joined {
            self.channels.get_mut(&key).unwrap().joined = true;
            self.drain();
            self.work(key);
        } else {
            self.give_up(key);
        }
    }

    /// The join failed: what waited for it is answered.
    fn give_up(&mut self, key: ChannelKey) {
        let channel = self.channels.remove(&key).unwrap();
        for action in channel.waiting {
            match action {
                Action::Deliver { reference, .. } => {
                    self.machine
                        .undeliverable(&channel.topic, reference.as_ref());
                }
                Action::Leave { reference, .. } => {
                    let join_ref = channel.join_ref.as_ref();
                    self.machine
                        .left_unjoined(&channel.topic, join_ref, reference.as_ref());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn work(&mut self, key: ChannelKey) {
        while let Some(channel) = self.channels.get_mut(&key) {
            if !channel.joined || channel.busy {
                return;
            }
            let Some(action) = channel.waiting.pop_front() else {
                return;
            };
            let join_ref = channel.join_ref.clone();
            match action {
                Action::Deliver {
                    event,
                    payload,
                    reference,
                    ..
                } => {
                    self.handle_in(key, &event, &payload, reference.as_ref());
                }
                Action::Leave { reference, .. } => {
                    self.machine
                        .left(key, join_ref.as_ref(), reference.as_ref());
                    self.terminated(key);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn handle_in(
        &mut self,
        key: ChannelKey,
        event: &Event,
        payload: &Payload,
        reference: Option<&Ref>,
    ) {
        let name = event.as_text();
        if !matches!(name, Some("silent" | "stop" | "crash")) {
            let channel = &self.channels[&key];
            let topic = Field::Text(Cow::Owned(channel.topic.to_string()));
            let join_ref = channel.join_ref.clone();
            let unknown = Payload::from_json_text(r#"{"reason":"unknown event"}"#).unwrap();
            let (status, response) = match name {
                Some(_) => ("ok", payload),
                None => ("error", &unknown),
            };
            let (topic, join_ref) = (&topic, join_ref.as_ref());
            let reply = Outgoing::Reply {
                join_ref,
                reference,
                topic,
                status,
                response,
            };
            if self.send(&reply).is_err() {
                return self.end(key, false);
            }
        }
        match name {
            Some("stop" | "stop_reply") => self.end(key, true),
            Some("crash" | "crash_reply") => self.end(key, false),
            _ => {}
        }
    }

    fn end(&mut self, key: ChannelKey, gracefully: bool) {
        if gracefully {
            self.machine.closed(key);
            self.terminated(key);
        } else {
            // What a crashed channel says last comes before the client hears of the crash.
            self.terminated(key);
            self.machine.errored(key);
        }
        self.drain();
    }

    fn terminated(&mut self, key: ChannelKey) {
        self.drain();
        let channel = self.channels.remove(&key).unwrap();
        if let Some(event) = self.terminate.clone() {
            let (topic, join_ref, payload) = (
                &*channel.topic,
                channel.join_ref.as_ref(),
                &Payload::empty(),
            );
            self.send(&Outgoing::Push {
                join_ref,
                topic,
                event: &event,
                payload,
            })
            .unwrap();
        }
    }

    fn send(&mut self, message: &Outgoing<'_>) -> Result<(), EncodeError> {
        let frame = codec::encode(self.machine.form(), message)?;
        self.sent.push_back(read(&frame));
        Ok(())
    }
}

fn read(frame: &codec::Frame) -> Unit {
    if frame.binary {
        Unit::Binary(frame.bytes.to_vec())
    } else {
        Unit::Text(String::from_utf8(frame.bytes.to_vec()).unwrap())
    }
}
