//! Frames byte for byte as the protocol document has them, typed in from there and never made by our
//! own encoder, in both directions.

#![cfg(test)]

use std::borrow::Cow;

use bennu_proto::codec::{self, EncodeError, Form, Framing, Inbound, client};
use bennu_proto::message::{Field, Outgoing, PayloadRef};
use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::vsn::Vsn::{self, V1, V2};

#[path = "driver/script.rs"]
mod script;

use script::{Unit, hex, unit};

fn reference(json: &str) -> Option<Ref> {
    Ref::from_json(json).unwrap()
}

fn payload(text: &str) -> Payload {
    match unit(text) {
        Unit::Text(text) => Payload::from_json_text(text).unwrap(),
        Unit::Binary(bytes) => Payload::binary(bytes),
    }
}

fn inbound(unit: &Unit) -> Inbound<'_> {
    match unit {
        Unit::Text(text) => Inbound::Text(text),
        Unit::Binary(bytes) => Inbound::Binary(bytes),
    }
}

/// What a client sends: the frame, join_ref, ref, topic, event, payload; all but the frame as JSON,
/// the payload as JSON or `hex`.
const FROM_CLIENT: &[(Vsn, &str, [&str; 5])] = &[
    (
        V2,
        r#"["1","2","room:a","echo",{"a":[1, 2]}]"#,
        [
            r#""1""#,
            r#""2""#,
            r#""room:a""#,
            r#""echo""#,
            r#"{"a":[1, 2]}"#,
        ],
    ),
    (
        V2,
        r#"[null,"1","phoenix","heartbeat",{}]"#,
        ["null", r#""1""#, r#""phoenix""#, r#""heartbeat""#, "{}"],
    ),
    (
        V2,
        r#"[1,2,"room:a","echo",{}]"#,
        ["1", "2", r#""room:a""#, r#""echo""#, "{}"],
    ),
    (
        V2,
        r#"["1","1",5,"phx_join",{}]"#,
        [r#""1""#, r#""1""#, "5", r#""phx_join""#, "{}"],
    ),
    (
        V2,
        r#" [ null , null , "t" , {"e":1} , null , "more", [] ] "#,
        ["null", "null", r#""t""#, r#"{"e":1}"#, "null"],
    ),
    (
        V2,
        r#"["1","1","room:\u0061\"","\u00e9",7]"#,
        [r#""1""#, r#""1""#, r#""room:a\"""#, r#""é""#, "7"],
    ),
    (
        V2,
        "hex 00 01 01 06 03  33 35 72 6f 6f 6d 3a 61 62 69 6e  01 02 ff",
        [
            r#""3""#,
            r#""5""#,
            r#""room:a""#,
            r#""bin""#,
            "hex 01 02 ff",
        ],
    ),
    (
        V2,
        "hex 00 00 00 00 00",
        [r#""""#, r#""""#, r#""""#, r#""""#, "hex"],
    ),
    (
        V2,
        "hex 00 00 01 06 08 31 72 6f 6f 6d 3a 61 70 68 78 5f 6a 6f 69 6e",
        [r#""""#, r#""1""#, r#""room:a""#, r#""phx_join""#, "hex"],
    ),
    (
        V1,
        r#"{"topic":"room:a","event":"phx_join","payload":{},"ref":"1"}"#,
        ["null", r#""1""#, r#""room:a""#, r#""phx_join""#, "{}"],
    ),
    (
        V1,
        r#"{"ref":null,"join_ref":"7","other":{"topic":1},"payload":"text","event":"e","topic":"t"}"#,
        [r#""7""#, "null", r#""t""#, r#""e""#, r#""text""#],
    ),
    // Of equal keys the last counts, also in another spelling.
    (
        V1,
        r#"{"topic":"x","event":"x","payload":0,"ref":0,"topic":"t","\u0065vent":"e","payload":1,"ref":2}"#,
        ["null", "2", r#""t""#, r#""e""#, "1"],
    ),
    // A text message in a binary frame: version 1 does not look at the kind of frame.
    (
        V1,
        "hex 7b 22 74 6f 70 69 63 22 3a 22 74 22 2c 22 65 76 65 6e 74 22 3a 22 65 22 2c \
         22 70 61 79 6c 6f 61 64 22 3a 31 2c 22 72 65 66 22 3a 32 7d",
        ["null", "2", r#""t""#, r#""e""#, "1"],
    ),
];

#[test]
fn what_a_client_sends_is_read() {
    for (vsn, frame, [join_ref, r#ref, topic, event, body]) in FROM_CLIENT {
        let sent = unit(frame);
        let message = codec::decode(*vsn, inbound(&sent)).expect(frame);
        let field = |field: &Field<'_>| match field {
            Field::Text(text) => serde_json::to_string(text).unwrap(),
            Field::Other(json) => (*json).to_owned(),
        };
        assert_eq!(message.join_ref, reference(join_ref), "{frame}");
        assert_eq!(message.reference, reference(r#ref), "{frame}");
        assert_eq!(field(&message.topic), *topic, "{frame}");
        assert_eq!(field(&message.event), *event, "{frame}");
        match unit(body) {
            Unit::Text(json) => assert_eq!(message.payload, PayloadRef::Json(&json), "{frame}"),
            Unit::Binary(bytes) => {
                assert_eq!(message.payload, PayloadRef::Binary(&bytes), "{frame}");
            }
        }
    }
}

/// What a client of ours writes: exactly what the official one does.
#[test]
fn what_a_client_sends_is_written() {
    let table = [
        (
            ["null", r#""1""#, "phoenix", "heartbeat", "{}"],
            r#"[null,"1","phoenix","heartbeat",{}]"#,
        ),
        (
            [r#""3""#, r#""3""#, "room:a", "phx_join", "{}"],
            r#"["3","3","room:a","phx_join",{}]"#,
        ),
        (
            [r#""3""#, r#""5""#, "room:a", "bin", "hex 01 02 ff"],
            "hex 00 01 01 06 03  33 35 72 6f 6f 6d 3a 61 62 69 6e  01 02 ff",
        ),
        (
            ["null", "5", "room:a", "bin", "hex"],
            "hex 00 00 01 06 03  35 72 6f 6f 6d 3a 61 62 69 6e",
        ),
    ];
    for ([join_ref, r#ref, topic, event, body], frame) in table {
        let (binary, bytes) = client::encode(&client::Message {
            join_ref: reference(join_ref),
            reference: reference(r#ref),
            topic: topic.to_owned(),
            event: event.to_owned(),
            status: None,
            payload: payload(body),
        })
        .unwrap();
        let written = match unit(frame) {
            Unit::Text(text) => (false, text.into_bytes()),
            Unit::Binary(bytes) => (true, bytes),
        };
        assert_eq!((binary, bytes.to_vec()), written, "{frame}");
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let table = [
        (V2, r#"["1","1","t","e"]"#),
        (V2, "[]"),
        (V2, r#"{"topic":"t","event":"e","payload":{},"ref":"1"}"#),
        (V2, "\"text\""),
        (V2, ""),
        (V2, "null"),
        (V2, r#"["1","1","t","e",{}"#),
        (V2, r#"["1","1","t","e",{}] x"#),
        (V2, r#"["1","1","t","e",{]}]"#),
        // An empty frame, sizes past the end, kinds that clients do not send.
        (V2, "hex"),
        (V2, "hex 00"),
        (V2, "hex 00 01 01 06"),
        (V2, "hex 00 01 01 06 03  33 35 72 6f 6f 6d 3a 61 62 69"),
        (V2, "hex 00 00 00 00 ff 61"),
        (V2, "hex 01 01 01 06 02  31 34 72 6f 6f 6d 3a 61 6f 6b  44"),
        (
            V2,
            "hex 02 06 05  72 6f 6f 6d 3a 61 62 69 6e 62 63  44 41 54 41",
        ),
        (V2, "hex 5b 5d"),
        (V2, "hex 00 00 00 01 00 ff"),
        (V1, r#"["1","1","t","e",{}]"#),
        (V1, r#"{"event":"e","payload":{},"ref":"1"}"#),
        (V1, r#"{"topic":"t","payload":{},"ref":"1"}"#),
        (V1, r#"{"topic":"t","event":"e","ref":"1"}"#),
        (V1, r#"{"topic":"t","event":"e","payload":{}}"#),
        (V1, "{}"),
        (V1, "1"),
        (V1, "hex"),
        (
            V1,
            "hex 00 01 01 06 03  33 35 72 6f 6f 6d 3a 61 62 69 6e  01 02 ff",
        ),
        (V1, "hex ff"),
    ];
    for (vsn, frame) in table {
        let read = unit(frame);
        assert!(codec::decode(vsn, inbound(&read)).is_err(), "{vsn} {frame}");
    }
}

/// What a server sends: kind, join_ref, ref, topic, event or status, payload, and the frame.
const FROM_SERVER: &[(Vsn, [&str; 6], &str)] = &[
    (
        V2,
        ["push", r#""1""#, "null", "room:a", "ev", r#"{"a":1}"#],
        r#"["1",null,"room:a","ev",{"a":1}]"#,
    ),
    (
        V2,
        ["push", "null", "null", "t", "e", r#"{"m":1}"#],
        r#"[null,null,"t","e",{"m":1}]"#,
    ),
    (
        V2,
        ["reply", r#""1""#, r#""2""#, "room:a", "ok", "{}"],
        r#"["1","2","room:a","phx_reply",{"status":"ok","response":{}}]"#,
    ),
    (
        V2,
        ["reply", "1", "2", "room:a", "error", "[3]"],
        r#"[1,2,"room:a","phx_reply",{"status":"error","response":[3]}]"#,
    ),
    (
        V2,
        ["reply", "null", "null", "t", "later", "null"],
        r#"[null,null,"t","phx_reply",{"status":"later","response":null}]"#,
    ),
    (
        V2,
        ["broadcast", "null", "null", "room:a", "ev", "{}"],
        r#"[null,null,"room:a","ev",{}]"#,
    ),
    (
        V2,
        ["close", r#""1""#, "null", "room:a", "", ""],
        r#"["1","1","room:a","phx_close",{}]"#,
    ),
    (
        V2,
        ["close", "null", "null", "room:a", "", ""],
        r#"[null,null,"room:a","phx_close",{}]"#,
    ),
    (
        V2,
        ["error", r#""1""#, "null", "room:a", "", ""],
        r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#,
    ),
    (
        V2,
        [
            "push",
            r#""1""#,
            "null",
            "room:a",
            "binpush",
            "hex 44 41 54 41",
        ],
        "hex 00 01 06 07  31 72 6f 6f 6d 3a 61 62 69 6e 70 75 73 68  44 41 54 41",
    ),
    (
        V2,
        [
            "reply",
            r#""1""#,
            r#""4""#,
            "room:a",
            "ok",
            "hex 44 41 54 41 21",
        ],
        "hex 01 01 01 06 02  31 34 72 6f 6f 6d 3a 61 6f 6b  44 41 54 41 21",
    ),
    (
        V2,
        [
            "broadcast",
            "null",
            "null",
            "room:a",
            "binbc",
            "hex 44 41 54 41",
        ],
        "hex 02 06 05  72 6f 6f 6d 3a 61 62 69 6e 62 63  44 41 54 41",
    ),
    // No reference has size 0, a number has its decimal text.
    (
        V2,
        ["push", "null", "null", "t", "e", "hex"],
        "hex 00 00 01 01  74 65",
    ),
    (
        V2,
        ["reply", "null", "12", "t", "ok", "hex"],
        "hex 01 00 02 01 02  31 32 74 6f 6b",
    ),
    (
        V1,
        ["push", r#""1""#, "null", "room:a", "ev", r#"{"a":1}"#],
        r#"{"topic":"room:a","event":"ev","payload":{"a":1},"ref":null}"#,
    ),
    (
        V1,
        ["reply", r#""1""#, r#""2""#, "room:a", "ok", "{}"],
        r#"{"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"2"}"#,
    ),
    (
        V1,
        ["broadcast", "null", "null", "room:a", "ev", "{}"],
        r#"{"topic":"room:a","event":"ev","payload":{},"ref":null}"#,
    ),
    (
        V1,
        ["close", "null", "null", "room:a", "", ""],
        r#"{"topic":"room:a","event":"phx_close","payload":{},"ref":null}"#,
    ),
    (
        V1,
        ["error", "null", "null", "room:a", "", ""],
        r#"{"topic":"room:a","event":"phx_error","payload":{"reason":"channel_crash"},"ref":null}"#,
    ),
];

#[test]
fn what_a_server_sends_is_written() {
    for (vsn, message, frame) in FROM_SERVER {
        let (binary, bytes) = match unit(frame) {
            Unit::Text(text) => (false, text.into_bytes()),
            Unit::Binary(bytes) => (true, bytes),
        };
        let bare = encode(*vsn, Framing::Bare, message);
        assert_eq!(
            (bare.binary, bare.bytes.to_vec()),
            (binary, bytes.clone()),
            "{frame}"
        );
        // All are short, so their WebSocket header is FIN with the opcode, and the length.
        let framed = encode(*vsn, Framing::WebSocket, message);
        let mut expected = vec![
            if binary { 0x82 } else { 0x81 },
            u8::try_from(bytes.len()).unwrap(),
        ];
        expected.extend(bytes);
        assert_eq!(
            (framed.binary, framed.bytes.to_vec()),
            (binary, expected),
            "{frame}"
        );
    }
}

fn encode(vsn: Vsn, framing: Framing, message: &[&str; 6]) -> codec::Frame {
    let [kind, join_ref, r#ref, topic, event, body] = *message;
    let (join_ref, reference) = (&reference(join_ref), &reference(r#ref));
    let (join_ref, reference) = (join_ref.as_ref(), reference.as_ref());
    let payload = &payload(if body.is_empty() { "{}" } else { body });
    let field = &Field::Text(Cow::Borrowed(topic));
    let outgoing = match kind {
        "push" => Outgoing::Push {
            join_ref,
            topic,
            event,
            payload,
        },
        "broadcast" => Outgoing::Broadcast {
            topic,
            event,
            payload,
        },
        "close" => Outgoing::Close { join_ref, topic },
        "error" => Outgoing::Error { join_ref, topic },
        _ => Outgoing::Reply {
            join_ref,
            reference,
            topic: field,
            status: event,
            response: payload,
        },
    };
    codec::encode(Form { vsn, framing }, &outgoing).unwrap()
}

#[test]
fn what_a_server_sends_is_read_by_a_client() {
    for (_, message, frame) in FROM_SERVER.iter().filter(|(vsn, ..)| *vsn == V2) {
        let [kind, join_ref, r#ref, topic, event, body] = *message;
        let text_ref = |json: &str| {
            // Binary frames carry references as text.
            let content = json.trim_matches('"');
            (json != "null").then(|| Ref::text(content).unwrap())
        };
        let binary = frame.starts_with("hex");
        let read = if binary { text_ref } else { reference };
        let (r#ref, event, status, body) = match kind {
            "close" => (join_ref, "phx_close", None, "{}"),
            "error" => (join_ref, "phx_error", None, r#"{"reason":"channel_crash"}"#),
            "reply" => (r#ref, "phx_reply", Some(event.to_owned()), body),
            _ => (r#ref, event, None, body),
        };
        let expected = client::Message {
            join_ref: read(join_ref),
            reference: read(r#ref),
            topic: topic.to_owned(),
            event: event.to_owned(),
            status,
            payload: payload(body),
        };
        let sent = unit(frame);
        assert_eq!(
            client::decode(inbound(&sent)).as_ref(),
            Ok(&expected),
            "{frame}"
        );
    }
}

#[test]
fn what_a_version_cannot_carry_is_refused() {
    let long = "x".repeat(256);
    let fits = "x".repeat(255);
    let bytes = Payload::binary(&b"DATA"[..]);
    let form = |vsn| Form {
        vsn,
        framing: Framing::Bare,
    };
    let push = |vsn, join_ref: &str, topic: &str, event: &str, payload: &Payload| {
        let join_ref = Ref::text(join_ref).unwrap();
        let message = Outgoing::Push {
            join_ref: Some(&join_ref),
            topic,
            event,
            payload,
        };
        codec::encode(form(vsn), &message)
            .map(|frame| frame.bytes.len())
            .map_err(|e| e.to_string())
    };
    let too_long = |field| {
        Err(format!(
            "the {field} is 256 bytes long, a binary frame carries at most 255"
        ))
    };
    assert_eq!(push(V2, &fits, &fits, &fits, &bytes), Ok(4 + 3 * 255 + 4));
    assert_eq!(push(V2, &long, "t", "e", &bytes), too_long("join_ref"));
    assert_eq!(push(V2, "1", &long, "e", &bytes), too_long("topic"));
    assert_eq!(push(V2, "1", "t", &long, &bytes), too_long("event"));
    assert!(push(V2, &long, &long, &long, &Payload::empty()).is_ok());
    assert!(
        push(V1, "1", "t", "e", &bytes)
            .unwrap_err()
            .contains("vsn 1.0.0")
    );
    for text in ["1", "null", "[]", "\"x\""] {
        assert!(
            push(V2, "1", "t", "e", &payload(text))
                .unwrap_err()
                .contains("JSON object"),
            "{text}"
        );
    }

    let reply = |vsn, r#ref: &str, status: &str| {
        let reference = Ref::text(r#ref).unwrap();
        let topic = &Field::Text(Cow::Borrowed("t"));
        let reference = Some(&reference);
        let message = Outgoing::Reply {
            join_ref: None,
            reference,
            topic,
            status,
            response: &bytes,
        };
        codec::encode(form(vsn), &message)
            .map(|frame| frame.bytes.len())
            .map_err(|e| e.to_string())
    };
    assert_eq!(reply(V2, &fits, &fits), Ok(5 + 255 + 1 + 255 + 4));
    assert_eq!(reply(V2, &long, "ok"), too_long("ref"));
    assert_eq!(reply(V2, "1", &long), too_long("status"));
    assert!(reply(V1, "1", "ok").unwrap_err().contains("vsn 1.0.0"));
    for (topic, event, field) in [(&*long, "e", "topic"), ("t", &*long, "event")] {
        let message = Outgoing::Broadcast {
            topic,
            event,
            payload: &bytes,
        };
        let error = codec::encode(form(V2), &message).unwrap_err().to_string();
        assert_eq!(Err(error), too_long(field));
    }
}

#[test]
fn lengths_count_bytes_not_characters() {
    let message = Outgoing::Broadcast {
        topic: "ö",
        event: "€",
        payload: &Payload::binary(&b"!"[..]),
    };
    let frame = codec::encode(
        Form {
            vsn: V2,
            framing: Framing::Bare,
        },
        &message,
    )
    .unwrap();
    assert_eq!(frame.bytes.to_vec(), hex("02 02 03  c3 b6  e2 82 ac  21"));
}

#[test]
fn names_are_escaped_as_json_asks_and_no_further() {
    let table = [
        ("room:\u{0}", r#"[null,null,"room:\u0000","\u001f",{}]"#),
        ("a\"b\\c/d", r#"[null,null,"a\"b\\c/d","\u001f",{}]"#),
        (
            "\u{8}\t\n\u{c}\r",
            r#"[null,null,"\b\t\n\f\r","\u001f",{}]"#,
        ),
        ("\u{7f}é€😀", "[null,null,\"\u{7f}é€😀\",\"\\u001f\",{}]"),
    ];
    for (topic, expected) in table {
        let payload = &Payload::empty();
        let message = Outgoing::Broadcast {
            topic,
            event: "\u{1f}",
            payload,
        };
        let form = Form {
            vsn: V2,
            framing: Framing::Bare,
        };
        let frame = codec::encode(form, &message).unwrap();
        assert_eq!(std::str::from_utf8(&frame.bytes), Ok(expected));
    }
}

#[test]
fn routing_of_an_incoming_message() {
    script::run(
        V2,
        r#"
        >> [null,"1","phoenix","heartbeat",{}]
        << [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]
        >> ["9","2","phoenix","heartbeat",{"a":1}]
        << [null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]
        >> [null,"4","phoenix","other",{}]
        << [null,"4","phoenix","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> [null,"6","phoenix","phx_leave",{}]
        << [null,"6","phoenix","phx_reply",{"status":"ok","response":{}}]
        >> ["1","4","room:a","echo",{}]
        << [null,"4","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> ["4","4","nomatch","phx_join",{}]
        << [null,"4","nomatch","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        >> ["1","1",5,"phx_join",{}]
        << [null,"1",5,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        "#,
    );
}

#[test]
fn a_join_with_its_outcomes() {
    script::run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        -- joins ok [1,null]
        >> ["2","2","room:b","phx_join",{}]
        << ["2","2","room:b","phx_reply",{"status":"ok","response":[1,null]}]
        -- joins ok hex 44 41 54 41 21
        >> ["1","4","room:c","phx_join",{}]
        << hex 01 01 01 06 02  31 34 72 6f 6f 6d 3a 63 6f 6b  44 41 54 41 21
        -- joins refuse {"reason":"unauthorized"}
        >> ["5","5","room:d","phx_join",{}]
        << ["5","5","room:d","phx_reply",{"status":"error","response":{"reason":"unauthorized"}}]
        >> ["5","6","room:d","echo",{}]
        << [null,"6","room:d","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        -- joins crash
        >> ["7","7","room:e","phx_join",{}]
        << ["7","7","room:e","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]
        >> ["7","8","room:e","echo",{}]
        << [null,"8","room:e","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        "#,
    );
}

#[test]
fn a_join_without_a_join_ref() {
    script::run(
        V2,
        r#"
        >> [null,"1","room:a","phx_join",{}]
        << [null,"1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> [null,"2","room:a","ev",{}]
        << ["1","2","room:a","phx_reply",{"status":"ok","response":{}}]
        >> [null,"6","room:a","phx_leave",{}]
        << ["1","6","room:a","phx_reply",{"status":"ok","response":{}}]
        << [null,null,"room:a","phx_close",{}]
        "#,
    );
}

#[test]
fn a_leave() {
    script::run(
        V2,
        r#"
        -- terminate bye
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["1","3","room:a","phx_leave",{}]
        << ["1","3","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        << ["1",null,"room:a","bye",{}]
        "#,
    );
}

#[test]
fn a_duplicate_join() {
    script::run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["2","2","room:a","phx_join",{}]
        << ["2","2","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["1","1","room:a","phx_close",{}]
        "#,
    );
}

#[test]
fn a_channel_ends() {
    script::run(
        V2,
        r#"
        >> ["1","1","room:a","phx_join",{}]
        << ["1","1","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["1","2","room:a","stop",{}]
        << ["1","1","room:a","phx_close",{}]
        >> ["3","3","room:a","phx_join",{}]
        << ["3","3","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["3","4","room:a","stop_reply",{"x":1}]
        << ["3","4","room:a","phx_reply",{"status":"ok","response":{"x":1}}]
        << ["3","3","room:a","phx_close",{}]
        >> ["5","5","room:a","phx_join",{}]
        << ["5","5","room:a","phx_reply",{"status":"ok","response":{}}]
        >> ["5","6","room:a","crash",{}]
        << ["5","5","room:a","phx_error",{"reason":"channel_crash"}]
        >> ["7","7","room:a","phx_join",{}]
        << ["7","7","room:a","phx_reply",{"status":"ok","response":{}}]
        -- terminate bye
        >> ["7","8","room:a","crash_reply",{}]
        << ["7","8","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["7",null,"room:a","bye",{}]
        << ["7","7","room:a","phx_error",{"reason":"channel_crash"}]
        >> ["7","9","room:a","echo",{}]
        << [null,"9","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]
        "#,
    );
}

/// What the official client sends when a second channel object joins the same topic.
#[test]
fn a_second_channel_object_of_the_official_client() {
    script::run(
        V2,
        r#"
        >> ["7","7","room:a","phx_join",{}]
        << ["7","7","room:a","phx_reply",{"status":"ok","response":{}}]
        -- busy room:a
        >> ["7","10","room:a","phx_leave",{}]
        >> ["11","11","room:a","phx_join",{}]
        << ["11","11","room:a","phx_reply",{"status":"ok","response":{}}]
        << ["7","7","room:a","phx_close",{}]
        "#,
    );
}

#[test]
fn in_the_answer_to_a_poll_a_message_is_a_json_string() {
    let message = Outgoing::Broadcast {
        topic: "room:a",
        event: "say \"hi\"",
        payload: &Payload::from_json_text(r#"{"b":"ü\n"}"#).unwrap(),
    };
    let form = Form {
        vsn: Vsn::V2,
        framing: Framing::LongPoll,
    };
    let frame = codec::encode(form, &message).unwrap();
    let literal = r#""[null,null,\"room:a\",\"say \\\"hi\\\"\",{\"b\":\"ü\\n\"}]""#;
    assert_eq!(str::from_utf8(&frame.bytes), Ok(literal));
    let binary = Outgoing::Broadcast {
        topic: "room:a",
        event: "say",
        payload: &Payload::binary(vec![1, 2]),
    };
    let error = codec::encode(form, &binary).unwrap_err();
    assert_eq!(error, EncodeError::BinaryOnLongPoll);
}
