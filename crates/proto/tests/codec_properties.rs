//! What holds for the codec, references and events whatever the content.

#![cfg(test)]

use std::borrow::Cow;
use std::collections::BTreeMap;

use bennu_proto::codec::{self, Form, Framing, Inbound, client};
use bennu_proto::event::{from_message, from_payload, to_message, to_payload};
use bennu_proto::message::{Field, Outgoing, PayloadRef};
use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::vsn::Vsn;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[path = "fuzz_bodies/codec.rs"]
mod body;

const V2: Form = Form {
    vsn: Vsn::V2,
    framing: Framing::Bare,
};
const V1: Form = Form {
    vsn: Vsn::V1,
    framing: Framing::Bare,
};

/// Any JSON value, small.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no such number", |n| n.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn object() -> impl Strategy<Value = Payload> {
    btree_map(any::<String>(), value(), 0..4).prop_map(|map| Payload::json(&map).unwrap())
}

fn bytes() -> impl Strategy<Value = Payload> {
    vec(any::<u8>(), 0..64).prop_map(Payload::binary)
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        value().prop_map(|value| Payload::json(&value).unwrap()),
        bytes()
    ]
}

fn reference() -> impl Strategy<Value = Option<Ref>> {
    prop_oneof![
        Just(None),
        "[0-9]{1,4}".prop_map(|text| Some(Ref::text(&text).unwrap())),
        any::<u32>().prop_map(|number| Ref::from_json(&number.to_string()).unwrap()),
        "(?s:.){0,12}".prop_map(|text| Some(Ref::text(&text).unwrap())),
    ]
}

/// Text that binary frames have room for, also what JSON has to escape.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("phx_reply".to_owned()),
        "[a-z:]{0,12}",
        "[\\x00-\\x20\"\\\\/\\x7f-\\x9f]{0,6}",
        any::<String>(),
    ]
    .prop_filter("longer than a binary frame carries", |name| {
        name.len() <= 255
    })
}

fn read(frame: &codec::Frame) -> client::Message {
    let inbound = if frame.binary {
        Inbound::Binary(&frame.bytes)
    } else {
        Inbound::Text(std::str::from_utf8(&frame.bytes).unwrap())
    };
    client::decode(inbound).unwrap()
}

/// What is left of a reference in a binary frame.
fn as_text(reference: Option<Ref>) -> Option<Ref> {
    let text = String::from_utf8(reference?.binary_text().into_owned()).unwrap();
    (!text.is_empty()).then(|| Ref::text(&text).unwrap())
}

fn sent_json(message: &Outgoing<'_>) -> Value {
    let frame = codec::encode(V1, message).unwrap();
    assert!(!frame.binary);
    serde_json::from_slice(&frame.bytes).unwrap()
}

fn parsed(reference: Option<&Ref>) -> Value {
    reference.map_or(Value::Null, |reference| {
        serde_json::from_slice(reference.as_json()).unwrap()
    })
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Typing,
    NewMsg {
        body: String,
        tags: Vec<i64>,
        at: Option<f64>,
    },
    Sized(BTreeMap<String, u32>),
    Pair(u8, String),
    Raw(Payload),
    #[serde(rename = "an event with \"quotes\"")]
    Named {
        inner: Inner,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Inner {
    Unit,
    Newtype(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let at = proptest::option::of(any::<f64>().prop_filter("finite", |n| n.is_finite()));
    prop_oneof![
        Just(Event::Typing),
        (any::<String>(), vec(any::<i64>(), 0..3), at).prop_map(|(body, tags, at)| Event::NewMsg {
            body,
            tags,
            at
        }),
        btree_map(any::<String>(), any::<u32>(), 0..3).prop_map(Event::Sized),
        (any::<u8>(), any::<String>()).prop_map(|(a, b)| Event::Pair(a, b)),
        any_payload().prop_map(Event::Raw),
        prop_oneof![Just(Inner::Unit), any::<bool>().prop_map(Inner::Newtype)]
            .prop_map(|inner| Event::Named { inner }),
    ]
}

proptest! {
    #[test]
    fn a_push_comes_back(
        join_ref in reference(),
        topic in name(),
        event in name(),
        payload in prop_oneof![object(), bytes()],
    ) {
        let message = Outgoing::Push { join_ref: join_ref.as_ref(), topic: &topic, event: &event, payload: &payload };
        let frame = codec::encode(V2, &message).unwrap();
        prop_assert_eq!(frame.binary, payload.is_binary());
        let sent = read(&frame);
        let join_ref = if frame.binary { as_text(join_ref) } else { join_ref };
        // An object under the name of a reply may look like one.
        prop_assume!(sent.status.is_none());
        prop_assert_eq!(sent, client::Message { join_ref, reference: None, topic, event, status: None, payload });
    }

    #[test]
    fn a_broadcast_comes_back(topic in name(), event in name(), payload in prop_oneof![object(), bytes()]) {
        let message = Outgoing::Broadcast { topic: &topic, event: &event, payload: &payload };
        let sent = read(&codec::encode(V2, &message).unwrap());
        prop_assume!(sent.status.is_none());
        let expected = client::Message { join_ref: None, reference: None, topic, event, status: None, payload };
        prop_assert_eq!(sent, expected);
    }

    #[test]
    fn a_reply_comes_back(
        join_ref in reference(),
        reference in reference(),
        topic in name(),
        status in name(),
        payload in any_payload(),
    ) {
        let field = Field::Text(Cow::Borrowed(&*topic));
        let message = Outgoing::Reply {
            join_ref: join_ref.as_ref(),
            reference: reference.as_ref(),
            topic: &field,
            status: &status,
            response: &payload,
        };
        let frame = codec::encode(V2, &message).unwrap();
        let refs = if frame.binary {
            (as_text(join_ref), as_text(reference))
        } else {
            (join_ref, reference)
        };
        let event = "phx_reply".to_owned();
        let (join_ref, reference) = refs;
        let expected = client::Message { join_ref, reference, topic: topic.clone(), event, status: Some(status), payload };
        prop_assert_eq!(read(&frame), expected);
    }

    #[test]
    fn version_1_is_an_object_of_four_keys(
        join_ref in reference(),
        reference in reference(),
        topic in name(),
        event in name(),
        body in btree_map(any::<String>(), value(), 0..4),
        response in value(),
    ) {
        let payload = &Payload::json(&body).unwrap();
        let (join_ref, topic, event) = (join_ref.as_ref(), &*topic, &*event);
        let expected = json!({"topic": topic, "event": event, "payload": body, "ref": null});
        prop_assert_eq!(&sent_json(&Outgoing::Push { join_ref, topic, event, payload }), &expected);
        prop_assert_eq!(sent_json(&Outgoing::Broadcast { topic, event, payload }), expected);
        let reply = Outgoing::Reply {
            join_ref,
            reference: reference.as_ref(),
            topic: &Field::Text(Cow::Borrowed(topic)),
            status: event,
            response: &Payload::json(&response).unwrap(),
        };
        let body = json!({"status": event, "response": response});
        let expected = json!({"topic": topic, "event": "phx_reply", "payload": body, "ref": parsed(reference.as_ref())});
        prop_assert_eq!(sent_json(&reply), expected);
        let join_ref_json = parsed(join_ref);
        let expected = json!({"topic": topic, "event": "phx_close", "payload": {}, "ref": join_ref_json});
        prop_assert_eq!(sent_json(&Outgoing::Close { join_ref, topic }), expected);
        let reason = json!({"reason": "channel_crash"});
        let expected = json!({"topic": topic, "event": "phx_error", "payload": reason, "ref": join_ref_json});
        prop_assert_eq!(sent_json(&Outgoing::Error { join_ref, topic }), expected);
    }

    #[test]
    fn a_frame_is_the_bare_message_behind_a_header(
        topic in name(),
        event in name(),
        payload in prop_oneof![object(), vec(any::<u8>(), 0..70_000).prop_map(Payload::binary)],
    ) {
        let message = Outgoing::Broadcast { topic: &topic, event: &event, payload: &payload };
        let bare = codec::encode(V2, &message).unwrap();
        let framed = codec::encode(Form { framing: Framing::WebSocket, ..V2 }, &message).unwrap();
        let header = match bare.bytes.len() {
            0..=125 => 2,
            126..=65_535 => 4,
            _ => 10,
        };
        prop_assert_eq!(&framed.bytes[header..], &bare.bytes[..]);
    }

    #[test]
    fn what_a_client_says_is_heard(
        join_ref in reference(),
        reference in reference(),
        topic in name(),
        event in name(),
        payload in any_payload(),
    ) {
        let message = client::Message { join_ref, reference, topic, event, status: None, payload };
        let (binary, bytes) = client::encode(&message).unwrap();
        let inbound = match binary {
            true => Inbound::Binary(&bytes),
            false => Inbound::Text(std::str::from_utf8(&bytes).unwrap()),
        };
        let heard = codec::decode(Vsn::V2, inbound).unwrap();
        // In a binary message, none is the empty text.
        let of = |reference: Option<Ref>| match binary {
            true => as_text(reference).or_else(|| Ref::text("").ok()),
            false => reference,
        };
        prop_assert_eq!(heard.join_ref, of(message.join_ref));
        prop_assert_eq!(heard.reference, of(message.reference));
        prop_assert_eq!(heard.topic.as_text(), Some(&*message.topic));
        prop_assert_eq!(heard.event.as_text(), Some(&*message.event));
        prop_assert_eq!(heard.payload.to_payload(), message.payload);
    }

    #[test]
    fn version_1_reads_an_object_whatever_the_order_of_its_keys(
        parts in [value(), value(), value(), value()],
        join_ref in proptest::option::of("[0-9]{1,3}"),
        other in value(),
        order in Just(vec![0, 1, 2, 3, 4, 5]).prop_shuffle(),
    ) {
        let names = ["ref", "topic", "event", "payload", "join_ref", "other"];
        let [reference, topic, event, payload] = parts;
        let values = [reference, topic, event, payload, json!(join_ref), other];
        let pairs: Vec<String> =
            order.iter().map(|&i: &usize| format!("{}:{}", json!(names[i]), values[i])).collect();
        let text = format!("{{{}}}", pairs.join(" , "));
        let message = codec::decode(Vsn::V1, Inbound::Text(&text));
        body::agrees_with_naive(Vsn::V1, &text, &message);
        if let Ok(message) = &message {
            let is_json = matches!(message.payload, PayloadRef::Json(_));
            prop_assert!(is_json);
        }
        body::run(text.as_bytes());
    }

    #[test]
    fn version_2_reads_what_a_naive_reader_reads(
        elements in vec(value(), 0..8),
        spaces in "[ \n\t]{0,2}",
        cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let elements: Vec<String> = elements.iter().map(Value::to_string).collect();
        let mut text = format!("{spaces}[{}]{spaces}", elements.join(&format!("{spaces},{spaces}")));
        if let Some(cut) = cut {
            text.truncate(text.floor_char_boundary(cut.index(text.len() + 1)));
        }
        body::run(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(data in vec(any::<u8>(), 0..200)) {
        body::run(&data);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>(), json in r#"[\[\]{}",:0-9a-f\\ ntu.e+-]{0,60}"#) {
        body::run(text.as_bytes());
        body::run(json.as_bytes());
    }

    #[test]
    fn sizes_of_a_binary_message_are_believed_only_if_they_fit(
        kind in 0..4_u8,
        sizes in any::<[u8; 4]>(),
        small in any::<bool>(),
        rest in vec(any::<u8>(), 0..64),
    ) {
        let sizes = sizes.map(|size| if small { size % 17 } else { size });
        let total: usize = sizes.iter().copied().map(usize::from).sum();
        let frame = [&[kind], &sizes[..], &rest].concat();
        let message = codec::decode(Vsn::V2, Inbound::Binary(&frame));
        prop_assert!(message.is_err() || (kind == 0 && total <= rest.len()));
        if let Ok(message) = message {
            prop_assert_eq!(message.payload, PayloadRef::Binary(&rest[total..]));
        }
        body::run(&frame);
    }

    #[test]
    fn a_reference_has_one_spelling(value in value()) {
        let text = value.to_string();
        let Ok(Some(reference)) = Ref::from_json(&text) else {
            prop_assert!(value.is_null() || text.len() > 1000, "{}", text);
            return Ok(());
        };
        let canonical = String::from_utf8(reference.as_json().to_vec()).unwrap();
        prop_assert_eq!(Ref::from_json(&canonical).unwrap(), Some(reference.clone()));
        prop_assert_eq!(&parsed(Some(&reference)), &value);
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        if let Ok(same) = Ref::from_json(&pretty) {
            prop_assert_eq!(same, Some(reference.clone()));
        }
        let written = serde_json::to_string(&reference).unwrap();
        prop_assert_eq!(serde_json::from_str::<Ref>(&written).unwrap(), reference);
    }

    #[test]
    fn a_number_has_one_spelling_however_it_is_written(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?") {
        let reference = Ref::from_json(&text).unwrap().unwrap();
        let canonical = String::from_utf8(reference.as_json().to_vec()).unwrap();
        prop_assert_eq!(&Ref::from_json(&canonical).unwrap().unwrap(), &reference);
        prop_assert_ne!(&Ref::text(&text).unwrap(), &reference);
        if !text.contains(['.', 'e', 'E']) && text != "-0" {
            prop_assert_eq!(reference.as_json(), text.as_bytes(), "integers are echoed as they came");
        }
    }

    #[test]
    fn a_string_is_the_same_with_and_without_escapes(content in prop_oneof![name(), any::<String>()]) {
        let escaped: String = content.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        prop_assume!(escaped.len() < 1000);
        let reference = Ref::text(&content).unwrap();
        prop_assert_eq!(&Ref::from_json(&format!("\"{escaped}\"")).unwrap().unwrap(), &reference);
        prop_assert_eq!(reference.binary_text(), content.as_bytes());
    }

    #[test]
    fn arbitrary_text_is_a_reference_only_if_it_is_json(text in r#"["\\a0-9\[\]{}:,.\- \n]{0,12}"#) {
        if Ref::from_json(&text).is_ok() {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{:?}", text);
        }
    }

    #[test]
    fn an_event_comes_back(event in event()) {
        let (name, payload) = to_message(&event).unwrap();
        prop_assert_eq!(from_message::<Event>(name, &payload).unwrap(), event);
    }

    #[test]
    fn an_event_of_any_name_and_payload_is_read_without_a_panic(
        name in prop_oneof![any::<String>(), Just("new_msg".to_owned()), Just("sized".to_owned()), Just("pair".to_owned())],
        payload in any_payload(),
    ) {
        let _ = from_message::<Event>(&name, &payload);
        prop_assert_eq!(from_message::<Event>("raw", &payload).unwrap(), Event::Raw(payload.clone()));
        prop_assert_eq!(&to_payload(&payload).unwrap(), &payload);
        prop_assert_eq!(from_payload::<Payload>(&payload).unwrap(), payload);
    }
}
