//! What holds for the machine whatever a client sends and whatever a driver answers.

#![cfg(test)]

use std::collections::BTreeMap;

use bennu_proto::codec::{self, Form, Framing, Inbound, client};
use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::server::{Action, ChannelKey, Machine};
use bennu_proto::vsn::Vsn;
use proptest::collection::vec;
use proptest::prelude::*;

#[path = "fuzz_bodies/machine.rs"]
mod body;

use body::{Input, JOINS_MAX, TOPICS, check, limits, router};

fn vsn() -> impl Strategy<Value = Vsn> {
    prop_oneof![3 => Just(Vsn::V2), 1 => Just(Vsn::V1)]
}

fn input() -> impl Strategy<Value = Input> {
    // Mostly the first few topics, references and events: what is rare never meets itself.
    let message = [0..12_u8, 0..12, 0..24, 0..16, 0..4].prop_map(
        |[join_ref, reference, topic, event, body]| {
            let topic = if topic >= 12 { topic % 3 } else { topic };
            let event = if event >= 8 { event % 3 } else { event };
            Input::Message([join_ref, reference, topic, event, body])
        },
    );
    let (key, byte) = (0..6_u8, any::<u8>());
    prop_oneof![
        16 => message,
        1 => any::<String>().prop_map(Input::Text),
        1 => vec(byte, 0..40).prop_map(Input::Binary),
        2 => binary_push().prop_map(Input::Binary),
        6 => (key.clone(), byte).prop_map(|(key, response)| Input::JoinOk(key, response)),
        2 => (key.clone(), byte).prop_map(|(key, response)| Input::JoinRefused(key, response)),
        1 => key.clone().prop_map(Input::JoinCrashed),
        3 => (key.clone(), byte).prop_map(|(key, reference)| Input::Left(key, reference)),
        1 => key.clone().prop_map(Input::Closed),
        1 => key.prop_map(Input::Errored),
        1 => (byte, byte).prop_map(|(topic, reference)| Input::Undeliverable(topic, reference)),
        1 => (byte, byte).prop_map(|(topic, reference)| Input::LeftUnjoined(topic, reference)),
        1 => Just(Input::Move),
    ]
}

/// A binary message that is one.
fn binary_push() -> impl Strategy<Value = Vec<u8>> {
    (
        "[12]?",
        "[12]?",
        "room:[abc]|phoenix",
        "phx_join|phx_leave|echo|heartbeat",
        vec(any::<u8>(), 0..4),
    )
        .prop_map(|(join_ref, reference, topic, event, payload)| {
            let fields = [join_ref, reference, topic, event];
            let mut frame = vec![0];
            frame.extend(
                fields
                    .iter()
                    .map(|field| u8::try_from(field.len()).unwrap()),
            );
            frame.extend(fields.concat().into_bytes());
            frame.extend(payload);
            frame
        })
}

/// What happens around a machine in which every message has a reference of its own.
#[derive(Clone, Debug)]
enum Step {
    Send {
        topic: usize,
        event: &'static str,
        join_ref: Option<u8>,
    },
    /// The oldest, second oldest, … undecided join.
    Decide {
        nth: usize,
        ok: bool,
    },
    Left {
        nth: usize,
    },
    Closed {
        nth: usize,
    },
    Errored {
        nth: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let topic = 0..TOPICS.len().min(5);
    let event = prop_oneof![3 => Just("phx_join"), 2 => Just("phx_leave"), 3 => Just("echo")];
    let join_ref = proptest::option::weighted(0.3, 0..20_u8);
    let nth = 0..3_usize;
    prop_oneof![
        8 => (topic, event, join_ref).prop_map(|(topic, event, join_ref)| Step::Send { topic, event, join_ref }),
        4 => (nth.clone(), any::<bool>()).prop_map(|(nth, ok)| Step::Decide { nth, ok }),
        2 => nth.clone().prop_map(|nth| Step::Left { nth }),
        1 => nth.clone().prop_map(|nth| Step::Closed { nth }),
        1 => nth.prop_map(|nth| Step::Errored { nth }),
    ]
}

/// A driver that only counts.
struct Ledger {
    machine: Machine,
    undecided: Vec<ChannelKey>,
    joined: Vec<ChannelKey>,
    /// By the key, the reference of the last message that was handed over.
    last_delivered: BTreeMap<ChannelKey, u64>,
    keys: Vec<ChannelKey>,
    joins: Vec<u64>,
    /// By the reference, how many replies there were.
    replies: BTreeMap<u64, usize>,
}

impl Ledger {
    fn new() -> Self {
        Self {
            machine: Machine::new(
                Form {
                    vsn: Vsn::V2,
                    framing: Framing::Bare,
                },
                limits(),
            ),
            undecided: Vec::new(),
            joined: Vec::new(),
            last_delivered: BTreeMap::new(),
            keys: Vec::new(),
            joins: Vec::new(),
            replies: BTreeMap::new(),
        }
    }

    fn step(&mut self, number: u64, step: &Step) {
        match *step {
            Step::Send {
                topic,
                event,
                join_ref,
            } => self.send(number, TOPICS[topic], event, join_ref),
            Step::Decide { nth, ok } => {
                if let Some(&key) = self.undecided.get(nth) {
                    self.decide(key, ok);
                }
            }
            Step::Left { nth } => {
                if let Some(key) = self.take_joined(nth) {
                    self.machine.left(key, None, None);
                }
            }
            Step::Closed { nth } => {
                if let Some(key) = self.take_joined(nth) {
                    self.machine.closed(key);
                }
            }
            Step::Errored { nth } => {
                if let Some(key) = self.take_joined(nth) {
                    self.machine.errored(key);
                }
            }
        }
        self.drain();
        assert_eq!(
            self.machine.channel_count(),
            self.undecided.len() + self.joined.len()
        );
        assert!(self.machine.channel_count() <= JOINS_MAX);
    }

    fn take_joined(&mut self, nth: usize) -> Option<ChannelKey> {
        (nth < self.joined.len()).then(|| self.joined.remove(nth))
    }

    fn send(&mut self, number: u64, topic: &str, event: &str, join_ref: Option<u8>) {
        let join_ref = join_ref.map_or("null".to_owned(), |join_ref| join_ref.to_string());
        let text = format!(r#"[{join_ref},{number},{topic},"{event}",{{}}]"#);
        if event == "phx_join" {
            self.joins.push(number);
        }
        let message = codec::decode(Vsn::V2, Inbound::Text(&text)).unwrap();
        self.machine.handle_message(&router(), message);
    }

    fn decide(&mut self, key: ChannelKey, ok: bool) {
        self.undecided.retain(|undecided| *undecided != key);
        if ok {
            self.joined.push(key);
            self.machine.join_ok(key, &Payload::empty()).unwrap();
        } else {
            self.machine.join_refused(key, &Payload::empty()).unwrap();
        }
    }

    fn drain(&mut self) {
        while let Some(frame) = self.machine.poll_transmit() {
            let text = std::str::from_utf8(&frame.bytes).unwrap();
            let message = client::decode(Inbound::Text(text)).unwrap();
            if let (Some(_), Some(reference)) = (&message.status, &message.reference) {
                *self.replies.entry(number_of(reference)).or_default() += 1;
            }
        }
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Join { key, .. } => {
                    assert!(self.keys.iter().all(|used| *used < key), "keys grow");
                    self.keys.push(key);
                    self.undecided.push(key);
                }
                Action::Deliver { key, reference, .. } | Action::Leave { key, reference } => {
                    assert!(
                        self.undecided.contains(&key) || self.joined.contains(&key),
                        "{key:?} lives"
                    );
                    let reference = number_of(&reference.unwrap());
                    let before = self.last_delivered.insert(key, reference);
                    assert!(before < Some(reference), "in the order in which they came");
                }
                Action::Refresh { reference, .. } => {
                    self.machine.refresh_unmatched(reference.as_ref());
                }
                Action::Discard { key } => {
                    assert!(
                        self.undecided.contains(&key) || self.joined.contains(&key),
                        "{key:?} lives"
                    );
                    self.undecided.retain(|other| *other != key);
                    self.joined.retain(|other| *other != key);
                }
            }
        }
    }
}

fn number_of(reference: &Ref) -> u64 {
    serde_json::from_slice(reference.as_json()).unwrap()
}

/// All outputs, in words.
fn outputs(machine: &mut Machine) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(frame) = machine.poll_transmit() {
        all.push(format!("{frame:?}"));
    }
    while let Some(action) = machine.poll_action() {
        all.push(format!("{action:?}"));
    }
    all
}

fn send_parts(machine: &mut Machine, parts: [u8; 5]) {
    let vsn = machine.form().vsn;
    let text = body::message_text(vsn, parts);
    machine.handle_message(&router(), codec::decode(vsn, Inbound::Text(&text)).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn does_what_a_naive_model_does(vsn in vsn(), inputs in vec(input(), 0..80)) {
        check(vsn, &inputs);
    }

    #[test]
    fn raw_bytes_drive_it_too(data in vec(any::<u8>(), 0..400)) {
        body::run(&data);
    }

    #[test]
    fn every_join_is_answered_exactly_once(steps in vec(step(), 0..80)) {
        let mut ledger = Ledger::new();
        for (number, step) in steps.iter().enumerate() {
            ledger.step(u64::try_from(number).unwrap(), step);
        }
        for key in ledger.undecided.clone() {
            ledger.decide(key, key.0.is_multiple_of(2));
        }
        ledger.drain();
        for join in &ledger.joins {
            prop_assert_eq!(ledger.replies.get(join), Some(&1), "join {}", join);
        }
        prop_assert!(ledger.replies.values().all(|count| *count == 1));
    }

    #[test]
    fn immediate_answers_keep_the_order_of_what_they_answer(steps in vec(step(), 0..80)) {
        let mut machine = Machine::new(Form { vsn: Vsn::V2, framing: Framing::Bare }, limits());
        for (number, step) in steps.iter().enumerate() {
            let Step::Send { topic, .. } = step else { continue };
            // Nothing is joined, so that all are answered at once; nothing is drained between.
            let text = format!(r#"[null,{number},{},"echo",{{}}]"#, TOPICS[*topic]);
            machine.handle_message(&router(), codec::decode(Vsn::V2, Inbound::Text(&text)).unwrap());
        }
        let mut before = None;
        while let Some(frame) = machine.poll_transmit() {
            let text = std::str::from_utf8(&frame.bytes).unwrap();
            let reference = client::decode(Inbound::Text(text)).unwrap().reference.as_ref().map(number_of);
            prop_assert!(before < reference);
            before = reference;
        }
    }

    #[test]
    fn a_machine_that_was_written_down_has_the_same_future(
        vsn in vsn(),
        past in vec((0..12_u8, 0..12_u8, 0..6_u8, 0..3_u8, any::<bool>()), 0..30),
        future in vec((0..12_u8, 0..12_u8, 0..6_u8, 0..8_u8, 0..8_u8), 0..30),
    ) {
        let mut machine = Machine::new(Form { vsn, framing: Framing::WebSocket }, limits());
        let mut keys = 0;
        for (join_ref, reference, topic, event, ok) in past {
            send_parts(&mut machine, [join_ref, reference, topic, event, 0]);
            while let Some(action) = machine.poll_action() {
                if let Action::Join { key, .. } = action {
                    keys = key.0;
                    if ok {
                        machine.join_ok(key, &Payload::empty()).unwrap();
                    }
                }
            }
            outputs(&mut machine);
        }
        let written = serde_json::to_vec(&machine.export()).unwrap();
        let mut moved = Machine::import(machine.form(), limits(), serde_json::from_slice(&written).unwrap());
        prop_assert_eq!(moved.export(), machine.export());
        for (join_ref, reference, topic, event, end) in future {
            for machine in [&mut machine, &mut moved] {
                send_parts(machine, [join_ref, reference, topic, event, 0]);
                let key = ChannelKey((keys + 2).saturating_sub(u64::from(end)));
                match end {
                    0..=3 => machine.join_ok(key, &Payload::empty()).unwrap(),
                    4 | 5 => machine.left(key, None, None),
                    6 => machine.errored(key),
                    _ => machine.join_crashed(key),
                }
            }
            prop_assert_eq!(outputs(&mut machine), outputs(&mut moved));
        }
        prop_assert_eq!(moved.export(), machine.export());
    }
}
