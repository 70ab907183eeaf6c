//! Any conversation and any driver: the machine does exactly what a naive model of the protocol does, and
//! keeps its promises about memory and keys. Shared by the fuzz target and by tests.

use std::collections::BTreeMap;

use bennu_proto::codec::{self, Form, Framing, Inbound};
use bennu_proto::message::{Field, Incoming};
use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::server::{Action, ChannelKey, Event, Limits, Machine};
use bennu_proto::topic::{Router, Topic, TopicPattern};
use bennu_proto::vsn::Vsn;

pub(crate) const JOINS_MAX: usize = 3;
const TOPIC_BYTES_MAX: usize = 24;
/// The most that one input may lead to.
const OUTPUTS_MAX: usize = 3;

/// Topics as JSON: routed, not routed, too long, not text.
pub(crate) const TOPICS: &[&str] = &[
    r#""room:a""#,
    r#""room:b""#,
    r#""room:c""#,
    r#""room:d""#,
    r#""phoenix""#,
    r#""exact""#,
    r#""nomatch""#,
    r#""room:\"\u00e9\\""#,
    r#""room:0123456789012345678901234567890123456789""#,
    r#""""#,
    "5",
    r#"{"a":[null]}"#,
];

/// References as JSON; some are different spellings of the same.
pub(crate) const REFS: &[&str] = &[
    "null",
    r#""1""#,
    "1",
    r#""2""#,
    r#""\u0031""#,
    r#""""#,
    "1.0",
    "10e-1",
    r#"{"b":1,"a":2}"#,
    r#"{"a":2, "b":1}"#,
    "true",
    r#""a reference that is longer than what fits inline""#,
];

/// Events as JSON.
pub(crate) const EVENTS: &[&str] = &[
    r#""phx_join""#,
    r#""phx_leave""#,
    r#""echo""#,
    r#""heartbeat""#,
    r#""phx_\u006aoin""#,
    r#""phx_close""#,
    r#""phx_reply""#,
    "7",
];

/// Payloads, and what a driver answers a join with; the last is bytes.
const PAYLOADS: &[&str] = &["{}", r#"{"a":[1, 2]}"#, "null", r#""text""#];

/// One input of a machine.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A message by the places of its parts in [`REFS`], [`REFS`], [`TOPICS`], [`EVENTS`] and [`PAYLOADS`].
    Message([u8; 5]),
    Text(String),
    Binary(Vec<u8>),
    /// The first byte of these says which key, counted from the newest.
    JoinOk(u8, u8),
    JoinRefused(u8, u8),
    JoinCrashed(u8),
    Left(u8, u8),
    Closed(u8),
    Errored(u8),
    Undeliverable(u8, u8),
    LeftUnjoined(u8, u8),
    /// The machine is written down and read again.
    Move,
}

/// Runs whatever the bytes say.
#[allow(dead_code)] // not every user starts from bytes
pub(crate) fn run(data: &[u8]) {
    let mut data = data.iter().copied();
    let vsn = if data.next().unwrap_or(0).is_multiple_of(2) {
        Vsn::V2
    } else {
        Vsn::V1
    };
    let mut inputs = Vec::new();
    while let Some(input) = read_input(&mut data) {
        inputs.push(input);
    }
    check(vsn, &inputs);
}

fn read_input(data: &mut impl Iterator<Item = u8>) -> Option<Input> {
    let kind = data.next()?;
    let mut byte = || data.next().unwrap_or(0);
    Some(match kind % 16 {
        0..=4 => Input::Message([byte(), byte(), byte(), byte(), byte()]),
        5 => {
            let len = usize::from(byte());
            let bytes: Vec<u8> = data.take(len).collect();
            match String::from_utf8(bytes) {
                Ok(text) => Input::Text(text),
                Err(error) => Input::Binary(error.into_bytes()),
            }
        }
        6 => {
            let len = usize::from(byte());
            Input::Binary(data.take(len).collect())
        }
        7 | 8 => Input::JoinOk(byte(), byte()),
        9 => Input::JoinRefused(byte(), byte()),
        10 => Input::JoinCrashed(byte()),
        11 => Input::Left(byte(), byte()),
        12 => Input::Closed(byte()),
        13 => Input::Errored(byte()),
        14 => match byte() {
            odd if odd % 2 == 1 => Input::Undeliverable(byte(), byte()),
            _ => Input::LeftUnjoined(byte(), byte()),
        },
        _ => Input::Move,
    })
}

/// The JSON text of a message by the places of its parts.
pub(crate) fn message_text(vsn: Vsn, parts: [u8; 5]) -> String {
    let pick = |from: &[&'static str], place: u8| from[usize::from(place) % from.len()];
    let [join_ref, reference, topic, event, payload] = [
        pick(REFS, parts[0]),
        pick(REFS, parts[1]),
        pick(TOPICS, parts[2]),
        pick(EVENTS, parts[3]),
        pick(PAYLOADS, parts[4]),
    ];
    match vsn {
        Vsn::V1 => format!(
            r#"{{"join_ref":{join_ref},"ref":{reference},"topic":{topic},"event":{event},"payload":{payload}}}"#
        ),
        _ => format!("[{join_ref},{reference},{topic},{event},{payload}]"),
    }
}

fn a_ref(place: u8) -> Option<Ref> {
    Ref::from_json(REFS[usize::from(place) % REFS.len()]).unwrap()
}

fn a_response(place: u8) -> Payload {
    match PAYLOADS.get(usize::from(place) % (PAYLOADS.len() + 1)) {
        Some(json) => Payload::from_json_text(*json).unwrap(),
        None => Payload::binary(&b"DATA"[..]),
    }
}

pub(crate) fn router() -> Router {
    let mut router = Router::default();
    for pattern in ["exact", "room:*"] {
        router.push(TopicPattern::parse(pattern).unwrap());
    }
    router
}

pub(crate) fn limits() -> Limits {
    Limits {
        joins_max: JOINS_MAX,
        topic_bytes_max: TOPIC_BYTES_MAX,
    }
}

/// Runs machine and model side by side.
pub(crate) fn check(vsn: Vsn, inputs: &[Input]) {
    let form = Form {
        vsn,
        framing: Framing::Bare,
    };
    let router = router();
    let mut machine = Machine::new(form, limits());
    let mut model = Model {
        vsn,
        next_key: 1,
        channels: BTreeMap::new(),
        outputs: Outputs::default(),
    };
    for input in inputs {
        step(&mut machine, &mut model, &router, input);
        let outputs = drain(&mut machine);
        assert!(
            outputs.transmits.len() + outputs.actions.len() <= OUTPUTS_MAX,
            "{outputs:?}"
        );
        assert_eq!(
            outputs,
            std::mem::take(&mut model.outputs),
            "after {input:?}"
        );
        assert_eq!(machine.channel_count(), model.channels.len());
        assert!(machine.channel_count() <= JOINS_MAX);
    }
}

fn step(machine: &mut Machine, model: &mut Model, router: &Router, input: &Input) {
    let vsn = model.vsn;
    match input {
        Input::Message(parts) => {
            let text = message_text(vsn, *parts);
            receive(
                machine,
                model,
                router,
                codec::decode(vsn, Inbound::Text(&text)).unwrap(),
            );
        }
        Input::Text(text) => {
            if let Ok(message) = codec::decode(vsn, Inbound::Text(text)) {
                receive(machine, model, router, message);
            }
        }
        Input::Binary(bytes) => {
            if let Ok(message) = codec::decode(vsn, Inbound::Binary(bytes)) {
                receive(machine, model, router, message);
            }
        }
        Input::Move => {
            let written = serde_json::to_string(&machine.export()).unwrap();
            let read = serde_json::from_str(&written).unwrap();
            *machine = Machine::import(machine.form(), limits(), read);
            assert_eq!(serde_json::to_string(&machine.export()).unwrap(), written);
        }
        command => obey(machine, model, command),
    }
}

/// What a driver says.
fn obey(machine: &mut Machine, model: &mut Model, command: &Input) {
    let key =
        |model: &Model, place: u8| ChannelKey(model.next_key.saturating_sub(u64::from(place)));
    match command {
        Input::JoinOk(place, response) => {
            let (key, response) = (key(model, *place), a_response(*response));
            assert_eq!(
                machine.join_ok(key, &response).is_ok(),
                model.decide(key, "ok", &response)
            );
        }
        Input::JoinRefused(place, response) => {
            let (key, response) = (key(model, *place), a_response(*response));
            assert_eq!(
                machine.join_refused(key, &response).is_ok(),
                model.decide(key, "error", &response)
            );
        }
        Input::JoinCrashed(place) => {
            let key = key(model, *place);
            machine.join_crashed(key);
            model.decide(key, "error", &reason("join crashed"));
        }
        Input::Left(place, reference) => {
            let (key, reference) = (key(model, *place), a_ref(*reference));
            machine.left(key, reference.as_ref(), reference.as_ref());
            model.end(key, Some((&reference, &reference)), "phx_close", "{}");
        }
        Input::Closed(place) => {
            let key = key(model, *place);
            machine.closed(key);
            model.end(key, None, "phx_close", "{}");
        }
        Input::Errored(place) => {
            let key = key(model, *place);
            machine.errored(key);
            model.end(key, None, "phx_error", r#"{"reason":"channel_crash"}"#);
        }
        Input::Undeliverable(topic, reference) => {
            let (topic, reference) = (a_topic(*topic), a_ref(*reference));
            machine.undeliverable(&Topic::from(&*topic), reference.as_ref());
            model.reply(
                &None,
                &reference,
                &json(&topic),
                "error",
                &reason("unmatched topic"),
            );
        }
        Input::LeftUnjoined(topic, reference) => {
            let (topic, reference) = (a_topic(*topic), a_ref(*reference));
            machine.left_unjoined(
                &Topic::from(&*topic),
                reference.as_ref(),
                reference.as_ref(),
            );
            model.reply(
                &reference,
                &reference,
                &json(&topic),
                "ok",
                &Payload::empty(),
            );
        }
        Input::Message(_) | Input::Text(_) | Input::Binary(_) | Input::Move => {}
    }
}

fn receive(machine: &mut Machine, model: &mut Model, router: &Router, message: Incoming<'_>) {
    model.receive(&message);
    machine.handle_message(router, message);
}

fn a_topic(place: u8) -> String {
    TOPICS[usize::from(place) % TOPICS.len()].to_owned()
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn reason(text: &str) -> Payload {
    Payload::from_json_text(format!(r#"{{"reason":"{text}"}}"#)).unwrap()
}

/// What came out: frames as (binary, bytes), and actions.
#[derive(Debug, Default, PartialEq)]
struct Outputs {
    transmits: Vec<(bool, Vec<u8>)>,
    actions: Vec<Action>,
}

fn drain(machine: &mut Machine) -> Outputs {
    let mut outputs = Outputs::default();
    while let Some(frame) = machine.poll_transmit() {
        if machine.form().vsn == Vsn::V2 {
            let inbound = match frame.binary {
                true => Inbound::Binary(&frame.bytes),
                false => Inbound::Text(std::str::from_utf8(&frame.bytes).unwrap()),
            };
            codec::client::decode(inbound).expect("a client can read every frame");
        }
        outputs.transmits.push((frame.binary, frame.bytes.to_vec()));
    }
    while let Some(action) = machine.poll_action() {
        outputs.actions.push(action);
    }
    outputs
}

/// The protocol, as plainly as it can be said: one map, and frames put together from text.
struct Model {
    vsn: Vsn,
    next_key: u64,
    channels: BTreeMap<String, Channel>,
    outputs: Outputs,
}

struct Channel {
    key: ChannelKey,
    join_ref: Option<Ref>,
    /// The join's own ref and the join_ref of the channel that it replaces, until it is decided.
    undecided: Option<(Option<Ref>, Option<Option<Ref>>)>,
}

impl Model {
    fn receive(&mut self, message: &Incoming<'_>) {
        let (topic, topic_json) = match &message.topic {
            Field::Text(text) => (Some(text.as_ref()), json(text)),
            Field::Other(raw) => (None, (*raw).to_owned()),
        };
        let event = message.event.as_text().unwrap_or("not text");
        let (join_ref, reference) = (&message.join_ref, &message.reference);
        let joined = topic.and_then(|topic| self.channels.get(topic));
        match (topic, event, joined) {
            (Some("phoenix"), "heartbeat", _) => {
                self.reply(&None, reference, &topic_json, "ok", &Payload::empty());
            }
            (_, "phx_join", _) => self.join(message, topic, &topic_json),
            (_, "phx_leave", None) => {
                self.reply(join_ref, reference, &topic_json, "ok", &Payload::empty());
            }
            (_, _, None) => self.reply(
                &None,
                reference,
                &topic_json,
                "error",
                &reason("unmatched topic"),
            ),
            (_, _, Some(channel)) => {
                if join_ref.is_some() && *join_ref != channel.join_ref {
                    return;
                }
                let (key, reference) = (channel.key, reference.clone());
                self.outputs.actions.push(if event == "phx_leave" {
                    Action::Leave { key, reference }
                } else {
                    let event = message
                        .event
                        .as_text()
                        .map_or(Event::NotText, |name| Event::Name(name.into()));
                    Action::Deliver {
                        key,
                        event,
                        payload: message.payload.to_payload(),
                        reference,
                    }
                });
            }
        }
    }

    fn join(&mut self, message: &Incoming<'_>, topic: Option<&str>, topic_json: &str) {
        let (join_ref, reference) = (&message.join_ref, &message.reference);
        let mut replaced = None;
        if let Some(old) = topic.and_then(|topic| self.channels.remove(topic)) {
            self.outputs.actions.push(Action::Discard { key: old.key });
            replaced = match old.undecided {
                None => Some(old.join_ref),
                Some((its_ref, its_replaced)) => {
                    let newer = reason("replaced by a newer join");
                    self.reply(&old.join_ref, &its_ref, topic_json, "error", &newer);
                    its_replaced
                }
            };
        }
        let route = match topic {
            Some("exact") => 0,
            Some(topic) if topic.starts_with("room:") => 1,
            _ => {
                return self.reply(
                    &None,
                    reference,
                    topic_json,
                    "error",
                    &reason("unmatched topic"),
                );
            }
        };
        let topic = topic.unwrap();
        if topic.len() > TOPIC_BYTES_MAX {
            return self.reply(
                join_ref,
                reference,
                topic_json,
                "error",
                &reason("topic too long"),
            );
        }
        if self.channels.len() == JOINS_MAX {
            let full = reason("too many channels joined");
            return self.reply(join_ref, reference, topic_json, "error", &full);
        }
        let key = ChannelKey(self.next_key);
        self.next_key += 1;
        self.outputs.actions.push(Action::Join {
            key,
            route,
            topic: Topic::from(topic),
            join_ref: join_ref.as_ref().or(reference.as_ref()).cloned(),
            payload: message.payload.to_payload(),
        });
        let undecided = Some((reference.clone(), replaced));
        self.channels.insert(
            topic.to_owned(),
            Channel {
                key,
                join_ref: join_ref.clone(),
                undecided,
            },
        );
    }

    fn topic_of(&self, key: ChannelKey) -> Option<String> {
        let mut channels = self.channels.iter();
        channels
            .find(|(_, channel)| channel.key == key)
            .map(|(topic, _)| topic.clone())
    }

    /// Whether the answer could be written.
    fn decide(&mut self, key: ChannelKey, status: &str, response: &Payload) -> bool {
        let Some(topic) = self.topic_of(key) else {
            return true;
        };
        let channel = &self.channels[&topic];
        let join_ref = channel.join_ref.clone();
        let Some((reference, replaced)) = channel.undecided.clone() else {
            return true;
        };
        let fields = [
            text_of(&join_ref),
            text_of(&reference),
            topic.clone().into_bytes(),
        ];
        let fits = self.vsn == Vsn::V2 && fields.iter().all(|field| field.len() <= 255);
        if response.is_binary() && !fits {
            return false;
        }
        self.reply(&join_ref, &reference, &json(&topic), status, response);
        if let Some(join_ref) = replaced {
            self.transmit(&join_ref, &join_ref, &json(&topic), "phx_close", "{}");
        }
        if status == "ok" {
            self.channels.get_mut(&topic).unwrap().undecided = None;
        } else {
            self.channels.remove(&topic);
        }
        true
    }

    fn end(
        &mut self,
        key: ChannelKey,
        leave: Option<(&Option<Ref>, &Option<Ref>)>,
        event: &str,
        body: &str,
    ) {
        let Some(topic) = self.topic_of(key) else {
            return;
        };
        if self.channels[&topic].undecided.is_some() {
            self.decide(key, "error", &reason("join crashed"));
            return;
        }
        let channel = self.channels.remove(&topic).unwrap();
        if let Some((join_ref, reference)) = leave {
            self.reply(join_ref, reference, &json(&topic), "ok", &Payload::empty());
        }
        self.transmit(
            &channel.join_ref,
            &channel.join_ref,
            &json(&topic),
            event,
            body,
        );
    }

    fn reply(
        &mut self,
        join_ref: &Option<Ref>,
        reference: &Option<Ref>,
        topic: &str,
        status: &str,
        response: &Payload,
    ) {
        if let Some(bytes) = response.as_binary() {
            let topic: String = serde_json::from_str(topic).unwrap();
            let fields = [
                text_of(join_ref),
                text_of(reference),
                topic.into_bytes(),
                status.into(),
            ];
            let mut frame = vec![1];
            frame.extend(
                fields
                    .iter()
                    .map(|field| u8::try_from(field.len()).unwrap()),
            );
            frame.extend(fields.concat());
            frame.extend(bytes);
            self.outputs.transmits.push((true, frame));
            return;
        }
        let response = std::str::from_utf8(response.as_json().unwrap()).unwrap();
        let body = format!(r#"{{"status":"{status}","response":{response}}}"#);
        self.transmit(join_ref, reference, topic, "phx_reply", &body);
    }

    fn transmit(
        &mut self,
        join_ref: &Option<Ref>,
        reference: &Option<Ref>,
        topic: &str,
        event: &str,
        body: &str,
    ) {
        let text = |reference: &Option<Ref>| match reference {
            Some(reference) => String::from_utf8(reference.as_json().to_vec()).unwrap(),
            None => "null".to_owned(),
        };
        let (join_ref, reference) = (text(join_ref), text(reference));
        let frame = match self.vsn {
            Vsn::V1 => {
                format!(
                    r#"{{"topic":{topic},"event":"{event}","payload":{body},"ref":{reference}}}"#
                )
            }
            _ => format!(r#"[{join_ref},{reference},{topic},"{event}",{body}]"#),
        };
        self.outputs.transmits.push((false, frame.into_bytes()));
    }
}

/// What a binary frame carries of a reference.
fn text_of(reference: &Option<Ref>) -> Vec<u8> {
    let Some(reference) = reference else {
        return Vec::new();
    };
    match serde_json::from_slice(reference.as_json()).unwrap() {
        serde_json::Value::String(content) => content.into_bytes(),
        _ => reference.as_json().to_vec(),
    }
}
