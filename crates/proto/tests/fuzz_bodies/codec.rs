//! Any bytes as a message: reading never panics, agrees with a naive reader, and what was read can be
//! written and read again. Shared by the fuzz target and by tests.

use bennu_proto::codec::{self, DecodeError, Form, Framing, Inbound, client};
use bennu_proto::message::{Field, Incoming, Outgoing, PayloadRef};
use bennu_proto::reference::{REF_BYTES_MAX, Ref};
use bennu_proto::vsn::Vsn;
use serde_json::Value;
use serde_json::value::RawValue;

/// Reads the bytes in every way.
pub(crate) fn run(data: &[u8]) {
    for vsn in [Vsn::V1, Vsn::V2] {
        let binary = codec::decode(vsn, Inbound::Binary(data));
        if let Ok(text) = std::str::from_utf8(data) {
            let message = codec::decode(vsn, Inbound::Text(text));
            agrees_with_naive(vsn, text, &message);
            if vsn == Vsn::V1 {
                assert_eq!(
                    binary, message,
                    "version 1 does not look at the kind of frame"
                );
            }
            message.iter().for_each(answer_is_readable);
            read_by_client(Inbound::Text(text));
        }
        binary.iter().for_each(answer_is_readable);
    }
    read_by_client(Inbound::Binary(data));
}

/// What serde_json makes of the whole message, where it can.
pub(crate) fn agrees_with_naive(vsn: Vsn, text: &str, message: &Result<Incoming<'_>, DecodeError>) {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        // It refuses some JSON for what it cannot hold: depth, large numbers, lone surrogates.
        if message.is_ok() {
            serde_json::from_str::<&RawValue>(text).expect("a message is JSON");
        }
        return;
    };
    let five: Option<[Value; 5]> = match (vsn, value) {
        (Vsn::V1, Value::Object(mut keys)) => {
            let join_ref = keys.remove("join_ref").unwrap_or_default();
            let rest = ["ref", "topic", "event", "payload"].map(|key| keys.remove(key));
            match rest {
                [Some(reference), Some(topic), Some(event), Some(payload)] => {
                    Some([join_ref, reference, topic, event, payload])
                }
                _ => None,
            }
        }
        (Vsn::V2, Value::Array(mut elements)) => {
            elements.truncate(5);
            elements.try_into().ok()
        }
        _ => None,
    };
    let Some([join_ref, reference, topic, event, payload]) = five else {
        assert!(message.is_err(), "{text}");
        return;
    };
    let message = match message {
        Ok(message) => message,
        Err(DecodeError::Ref(_)) => {
            let long = |reference: &Value| reference.to_string().len() > REF_BYTES_MAX;
            assert!(
                text.len() > REF_BYTES_MAX || long(&join_ref) || long(&reference),
                "{text}"
            );
            return;
        }
        Err(error) => panic!("{error}: {text}"),
    };
    assert_eq!(ref_value(message.join_ref.as_ref()), join_ref);
    assert_eq!(ref_value(message.reference.as_ref()), reference);
    assert_eq!(field_value(&message.topic), topic);
    assert_eq!(field_value(&message.event), event);
    match message.payload {
        PayloadRef::Json(json) => assert_eq!(serde_json::from_str::<Value>(json).unwrap(), payload),
        PayloadRef::Binary(_) => panic!("text has no binary payload"),
    }
}

fn ref_value(reference: Option<&Ref>) -> Value {
    reference.map_or(Value::Null, |reference| {
        serde_json::from_slice(reference.as_json()).unwrap()
    })
}

fn field_value(field: &Field<'_>) -> Value {
    match field {
        Field::Text(text) => Value::from(text.as_ref()),
        Field::Other(json) => {
            let value = serde_json::from_str(json).unwrap();
            assert!(!matches!(value, Value::String(_)));
            value
        }
    }
}

/// An answer that names everything that the message said is a message that a client reads.
pub(crate) fn answer_is_readable(message: &Incoming<'_>) {
    for reference in message.join_ref.iter().chain(&message.reference) {
        let json = std::str::from_utf8(reference.as_json()).unwrap();
        assert_eq!(
            Ref::from_json(json).unwrap().as_ref(),
            Some(reference),
            "a spelling is its own spelling"
        );
    }
    let response = message.payload.to_payload();
    let outgoing = Outgoing::Reply {
        join_ref: message.join_ref.as_ref(),
        reference: message.reference.as_ref(),
        topic: &message.topic,
        status: "ok",
        response: &response,
    };
    let v1 = codec::encode(
        Form {
            vsn: Vsn::V1,
            framing: Framing::Bare,
        },
        &outgoing,
    );
    assert_eq!(v1.is_err(), response.is_binary());
    if let Ok(frame) = v1 {
        serde_json::from_slice::<&RawValue>(&frame.bytes).expect("version 1 is JSON");
    }
    let Ok(frame) = codec::encode(
        Form {
            vsn: Vsn::V2,
            framing: Framing::Bare,
        },
        &outgoing,
    ) else {
        assert!(response.is_binary(), "text carries every answer");
        return;
    };
    assert_eq!(frame.binary, response.is_binary());
    let answer = if frame.binary {
        client::decode(Inbound::Binary(&frame.bytes)).unwrap()
    } else {
        client::decode(Inbound::Text(std::str::from_utf8(&frame.bytes).unwrap())).unwrap()
    };
    let topic = match &message.topic {
        Field::Text(text) => text.as_ref(),
        Field::Other(json) => json,
    };
    assert_eq!(
        (&*answer.topic, answer.status.as_deref()),
        (topic, Some("ok"))
    );
    assert_eq!(answer.payload, response);
    if !frame.binary {
        assert_eq!(
            (&answer.join_ref, &answer.reference),
            (&message.join_ref, &message.reference)
        );
    }
}

/// Whatever a client reads, it can say itself; the server then reads the same.
fn read_by_client(inbound: Inbound<'_>) {
    let Ok(message) = client::decode(inbound) else {
        return;
    };
    let Ok((binary, bytes)) = client::encode(&message) else {
        return;
    };
    let inbound = match binary {
        true => Inbound::Binary(&bytes),
        false => Inbound::Text(std::str::from_utf8(&bytes).unwrap()),
    };
    let read = codec::decode(Vsn::V2, inbound).expect("the server reads what a client says");
    assert_eq!(read.topic.as_text(), Some(&*message.topic));
    assert_eq!(read.event.as_text(), Some(&*message.event));
    assert_eq!(read.payload.to_payload(), message.payload);
    let reference = |reference: &Option<Ref>| match (binary, reference) {
        (true, reference) => {
            let text = reference
                .as_ref()
                .map(|r| r.binary_text().into_owned())
                .unwrap_or_default();
            Some(Ref::text(&String::from_utf8(text).unwrap()).unwrap())
        }
        (false, reference) => reference.clone(),
    };
    assert_eq!(read.join_ref, reference(&message.join_ref));
    assert_eq!(read.reference, reference(&message.reference));
}
