//! What cannot be seen from outside: sizes, memory that is given back, and states that only a damaged
//! export, or one made under other limits and routes, can hold.

use super::*;
use crate::codec::{Framing, Inbound, client};
use crate::topic::TopicPattern;
use crate::vsn::Vsn;

const FORM: Form = Form {
    vsn: Vsn::V2,
    framing: Framing::Bare,
};

fn router(pattern: &str) -> Router {
    let mut router = Router::default();
    router.push(TopicPattern::parse(pattern).unwrap());
    router
}

fn send(machine: &mut Machine, router: &Router, text: &str) {
    machine.handle_message(router, codec::decode(Vsn::V2, Inbound::Text(text)).unwrap());
}

fn sent(machine: &mut Machine) -> Vec<String> {
    let frames = std::iter::from_fn(|| machine.poll_transmit());
    frames
        .map(|frame| String::from_utf8(frame.bytes.to_vec()).unwrap())
        .collect()
}

fn actions(machine: &mut Machine) -> Vec<Action> {
    std::iter::from_fn(|| machine.poll_action()).collect()
}

/// A machine with `room:a` joined under key 1 and `room:b` joining under key 2, drained.
fn one_joined_one_joining() -> Machine {
    let mut machine = Machine::new(FORM, Limits::default());
    let router = router("room:*");
    send(&mut machine, &router, r#"["1","1","room:a","phx_join",{}]"#);
    machine.join_ok(ChannelKey(1), &Payload::empty()).unwrap();
    send(&mut machine, &router, r#"["2","2","room:b","phx_join",{}]"#);
    sent(&mut machine);
    actions(&mut machine);
    machine
}

#[test]
fn a_channel_is_small() {
    assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    assert!(size_of::<Machine>() <= 136, "{}", size_of::<Machine>());
}

#[test]
fn drained_queues_hold_no_memory() {
    let machine = one_joined_one_joining();
    assert_eq!(
        (machine.transmits.capacity(), machine.actions.capacity()),
        (0, 0)
    );
}

#[test]
fn keys_that_are_gone_are_ignored() {
    let mut machine = one_joined_one_joining();
    machine.closed(ChannelKey(1));
    assert_eq!(sent(&mut machine).len(), 1);
    for key in [ChannelKey(0), ChannelKey(1), ChannelKey(3)] {
        machine.join_ok(key, &Payload::empty()).unwrap();
        machine.join_refused(key, &Payload::empty()).unwrap();
        machine.join_crashed(key);
        machine.left(key, None, None);
        machine.closed(key);
        machine.errored(key);
    }
    assert!(sent(&mut machine).is_empty() && actions(&mut machine).is_empty());
    assert_eq!(machine.channel_count(), 1);
}

#[test]
fn a_join_is_decided_once() {
    let mut machine = one_joined_one_joining();
    machine.join_ok(ChannelKey(1), &Payload::empty()).unwrap();
    machine
        .join_refused(ChannelKey(1), &Payload::empty())
        .unwrap();
    machine.join_crashed(ChannelKey(1));
    assert!(sent(&mut machine).is_empty());
    assert_eq!(machine.channel_count(), 2);
}

#[test]
fn a_channel_that_ends_before_its_join_was_decided_crashed_in_it() {
    let ends: [fn(&mut Machine, ChannelKey); 3] =
        [Machine::closed, Machine::errored, |machine, key| {
            machine.left(key, None, None);
        }];
    for end in ends {
        let mut machine = one_joined_one_joining();
        end(&mut machine, ChannelKey(2));
        let crashed = r#"["2","2","room:b","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]"#;
        assert_eq!(sent(&mut machine), [crashed]);
        assert_eq!(machine.channel_count(), 1);
    }
}

#[test]
fn a_replaced_channel_is_closed_even_if_the_new_join_is_not_admitted() {
    let rejoin = r#"["3","3","room:a","phx_join",{}]"#;
    let closed = r#"["1","1","room:a","phx_close",{}]"#;
    let cases = [
        (Limits::default(), "other", "null", "unmatched topic"),
        (
            Limits {
                topic_bytes_max: 5,
                ..Limits::default()
            },
            "room:*",
            "\"3\"",
            "topic too long",
        ),
        (
            Limits {
                joins_max: 1,
                ..Limits::default()
            },
            "room:*",
            "\"3\"",
            "too many channels joined",
        ),
    ];
    for (limits, pattern, join_ref, reason) in cases {
        let state = one_joined_one_joining().export();
        let mut machine = Machine::import(FORM, limits, state);
        send(&mut machine, &router(pattern), rejoin);
        assert_eq!(
            actions(&mut machine),
            [Action::Discard { key: ChannelKey(1) }]
        );
        let refused = format!(
            r#"[{join_ref},"3","room:a","phx_reply",{{"status":"error","response":{{"reason":"{reason}"}}}}]"#
        );
        assert_eq!(sent(&mut machine), [&*refused, closed]);
        assert_eq!(machine.channel_count(), 1);
    }
}

#[test]
fn an_import_never_hands_out_a_key_again() {
    let mut state = one_joined_one_joining().export();
    state.next_key = 0;
    state.channels.reverse();
    let mut twice = state.channels[0].clone();
    twice.key = ChannelKey(7);
    state.channels.push(twice);
    let mut machine = Machine::import(FORM, Limits::default(), state);
    assert_eq!(machine.channel_count(), 2, "a topic has one channel");
    send(
        &mut machine,
        &router("room:*"),
        r#"[null,"9","room:c","phx_join",{}]"#,
    );
    let started = actions(&mut machine);
    assert!(
        matches!(
            started[..],
            [Action::Join {
                key: ChannelKey(8),
                ..
            }]
        ),
        "{started:?}"
    );
    // The order was put right: the channels are found by their topics.
    send(
        &mut machine,
        &router("room:*"),
        r#"["1","10","room:a","echo",{}]"#,
    );
    assert!(matches!(
        actions(&mut machine)[..],
        [Action::Deliver {
            key: ChannelKey(1),
            ..
        }]
    ));
}

#[test]
fn every_frame_of_a_websocket_machine_has_its_header() {
    let form = Form {
        framing: Framing::WebSocket,
        ..FORM
    };
    let mut machine = Machine::new(form, Limits::default());
    send(
        &mut machine,
        &router("room:*"),
        r#"[null,"1","phoenix","heartbeat",{}]"#,
    );
    let frame = machine.poll_transmit().unwrap();
    let (header, message) = frame.bytes.split_at(2);
    assert_eq!(header, [0x81, u8::try_from(message.len()).unwrap()]);
    let reply = client::decode(Inbound::Text(std::str::from_utf8(message).unwrap())).unwrap();
    assert_eq!(
        (&*reply.topic, reply.status.as_deref()),
        ("phoenix", Some("ok"))
    );
}
