//! Enums as events, in both directions.

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Chat {
    Typing,
    NewMsg { body: String, urgent: Option<bool> },
    Echo(Payload),
    Sized(Size),
    Pair(u8, u8),
    Blob(Vec<u8>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Size {
    bytes: usize,
}

fn json(text: &str) -> Payload {
    Payload::from_json_text(text.to_owned()).unwrap()
}

fn read(event: &str, payload: &str) -> Result<Chat, FromMessageError> {
    from_message(event, &json(payload))
}

#[test]
fn the_variant_is_the_event() {
    assert_eq!(read("typing", "{\"any\":[1]}"), Ok(Chat::Typing));
    let message = Chat::NewMsg {
        body: "hi".into(),
        urgent: None,
    };
    assert_eq!(read("new_msg", r#"{"body":"hi","extra":1}"#), Ok(message));
    assert_eq!(
        read("sized", r#"{"bytes":3}"#),
        Ok(Chat::Sized(Size { bytes: 3 }))
    );
    assert_eq!(read("pair", "[1,2]"), Ok(Chat::Pair(1, 2)));
    assert_eq!(
        from_message("typing", &Payload::binary(&b"x"[..])),
        Ok(Chat::Typing)
    );
}

#[test]
fn unknown_events_and_unfit_payloads_are_told_apart() {
    assert_eq!(read("new-msg", "{}"), Err(FromMessageError::UnknownEvent));
    for payload in ["{}", "[]", "null", r#"{"body":1}"#, "\"x\""] {
        let error = read("new_msg", payload).unwrap_err();
        assert!(
            matches!(error, FromMessageError::InvalidPayload(_)),
            "{payload}: {error:?}"
        );
    }
    let binary: Result<Chat, _> = from_message("new_msg", &Payload::binary(&b"x"[..]));
    assert!(matches!(binary, Err(FromMessageError::InvalidPayload(_))));
}

#[test]
fn an_unknown_variant_inside_a_payload_is_an_unfit_payload() {
    #[derive(Debug, Deserialize)]
    enum Outer {
        #[serde(rename = "set")]
        Set { _mode: Mode },
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Fast,
    }
    let error = from_message::<Outer>("set", &json(r#"{"_mode":"slow"}"#)).unwrap_err();
    assert!(
        matches!(error, FromMessageError::InvalidPayload(_)),
        "{error:?}"
    );
    let _ = Mode::Fast;
}

#[test]
fn an_unknown_name_inside_a_binary_payload_is_an_unfit_payload() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(variant_identifier, rename_all = "snake_case")]
    enum Mode {
        Fast,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Outer {
        Set(Mode),
    }
    let read = |bytes: &'static [u8]| from_message::<Outer>("set", &Payload::binary(bytes));
    assert_eq!(read(b"fast"), Ok(Outer::Set(Mode::Fast)));
    assert!(matches!(
        read(b"slow"),
        Err(FromMessageError::InvalidPayload(_))
    ));
    assert!(from_payload::<Mode>(&Payload::binary(&b"slow"[..])).is_err());
}

#[test]
fn a_payload_variant_carries_anything_losslessly_both_ways() {
    for payload in [
        json("{ \"n\" : 1.0 }"),
        json("3"),
        Payload::binary(&b"\x00\xff"[..]),
    ] {
        let event: Chat = from_message("echo", &payload).unwrap();
        assert_eq!(event, Chat::Echo(payload.clone()));
        assert_eq!(to_message(&event), Ok(("echo", payload.clone())));
        assert_eq!(to_payload(&payload), Ok(payload.clone()));
        assert_eq!(from_payload::<Payload>(&payload), Ok(payload));
    }
}

#[test]
fn bytes_fit_a_newtype_variant() {
    let event: Chat = from_message("blob", &Payload::binary(&b"abc"[..])).unwrap();
    assert_eq!(event, Chat::Blob(b"abc".to_vec()));
}

#[test]
fn what_an_enum_writes() {
    let table = [
        (Chat::Typing, "typing", "{}"),
        (
            Chat::NewMsg {
                body: "a\"b".into(),
                urgent: Some(true),
            },
            "new_msg",
            r#"{"body":"a\"b","urgent":true}"#,
        ),
        (Chat::Sized(Size { bytes: 9 }), "sized", r#"{"bytes":9}"#),
        (Chat::Pair(1, 2), "pair", "[1,2]"),
    ];
    for (value, event, payload) in table {
        assert_eq!(to_message(&value), Ok((event, json(payload))));
    }
}

#[test]
fn what_is_no_enum_says_so() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        A { _a: u8 },
    }
    let value = Untagged::A { _a: 1 };
    assert_eq!(to_message(&value), Err(ToMessageError::NotAnEvent));
    assert_eq!(to_message("text"), Err(ToMessageError::NotAnEvent));
    let read = from_message::<Untagged>("a", &Payload::empty());
    assert!(read.is_err());
    let number = from_message::<u8>("a", &Payload::empty()).unwrap_err();
    assert!(matches!(number, FromMessageError::UnsupportedType(_)));
}

#[test]
fn a_raw_event_takes_every_event() {
    let payload = Payload::binary(&b"x"[..]);
    let raw: RawEvent = from_message("anything at all", &payload).unwrap();
    assert_eq!(
        raw,
        RawEvent {
            event: "anything at all".into(),
            payload
        }
    );
}

#[test]
fn serde_other_catches_the_rest() {
    #[derive(Debug, PartialEq, Deserialize)]
    enum Known {
        A,
        #[serde(other)]
        Rest,
    }
    assert_eq!(from_message("A", &Payload::empty()), Ok(Known::A));
    assert_eq!(from_message("B", &Payload::empty()), Ok(Known::Rest));
}

#[test]
fn a_value_without_a_json_form_is_an_error() {
    let map = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert!(to_payload(&map).is_err());
}
