//! What a broadcast accepts, and the frames it becomes.

use std::sync::{Arc, Barrier};
use std::thread;

use bennu_proto::codec::{EncodeError, Form, Frame, Framing};
use bennu_proto::payload::Payload;
use bennu_proto::vsn::Vsn;
use bennu_proto::websocket::deflate::Deflater;
use bennu_pubsub::Broadcast;

fn form(vsn: Vsn, framing: Framing) -> Form {
    Form { vsn, framing }
}

#[test]
fn a_bad_payload_shows_where_the_broadcast_is_made() {
    for text in ["1", "[]", "null", "\"x\""] {
        let payload = Payload::from_json_text(text).unwrap();
        assert_eq!(
            Broadcast::new("a", "e", payload).unwrap_err(),
            EncodeError::NotAnObject
        );
    }
    let long = "x".repeat(256);
    let error = Broadcast::new(&*long, "e", Payload::binary(&b"x"[..])).unwrap_err();
    assert_eq!(
        error,
        EncodeError::FieldTooLong {
            field: "topic",
            len: 256
        }
    );
    assert!(Broadcast::new(&*long, "e", Payload::empty()).is_ok());
}

#[test]
fn a_frame_is_made_once_per_form_and_shared() {
    let broadcast = Broadcast::new("a", "e", Payload::empty()).unwrap();
    let bare = broadcast.frame(form(Vsn::V2, Framing::Bare)).unwrap();
    assert_eq!(bare.bytes, r#"[null,null,"a","e",{}]"#.as_bytes());
    let again = broadcast.frame(form(Vsn::V2, Framing::Bare)).unwrap();
    assert_eq!(bare.bytes.as_ptr(), again.bytes.as_ptr());
    let framed = broadcast.frame(form(Vsn::V2, Framing::WebSocket)).unwrap();
    assert_eq!(framed.bytes[2..], bare.bytes[..]);
    let old = broadcast.frame(form(Vsn::V1, Framing::Bare)).unwrap();
    assert_ne!(old.bytes, bare.bytes);
}

#[test]
fn one_compression_serves_everybody_of_a_form() {
    let payload = Payload::from_json_text(format!(r#"{{"a":"{}"}}"#, "a".repeat(500))).unwrap();
    let broadcast = Broadcast::new("a", "e", payload).unwrap();
    let plain = broadcast.frame(form(Vsn::V2, Framing::WebSocket)).unwrap();
    let mut compressions = 0;
    let mut deflater = Deflater::new(2);
    let mut pointers = Vec::new();
    for _ in 0..100 {
        let frame = broadcast.frame_with(form(Vsn::V2, Framing::WebSocketDeflate), |frame| {
            compressions += 1;
            assert_eq!(frame.bytes.as_ptr(), plain.bytes.as_ptr(), "encoded once");
            let bytes = deflater.deflate_frame(&frame.bytes).unwrap();
            Frame { bytes, ..frame }
        });
        pointers.push(frame.unwrap().bytes.as_ptr());
    }
    assert_eq!(compressions, 1);
    assert!(pointers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_ne!(pointers[0], plain.bytes.as_ptr());
    // Another form is another frame, and what is not worth it is shared with those who have no extension.
    let old = form(Vsn::V1, Framing::WebSocketDeflate);
    let old = broadcast.frame_with(old, |frame| frame).unwrap();
    let old_plain = broadcast.frame(form(Vsn::V1, Framing::WebSocket)).unwrap();
    assert_eq!(old.bytes.as_ptr(), old_plain.bytes.as_ptr());
}

#[cfg(target_pointer_width = "64")]
#[test]
fn a_broadcast_is_small_whatever_the_number_of_forms() {
    assert!(size_of::<Broadcast>() <= 160, "{}", size_of::<Broadcast>());
}

#[test]
fn bytes_have_no_frame_for_version_1() {
    let broadcast = Broadcast::new("a", "e", Payload::binary(&b"x"[..])).unwrap();
    assert!(broadcast.frame(form(Vsn::V1, Framing::WebSocket)).is_none());
    assert!(
        broadcast
            .frame(form(Vsn::V2, Framing::WebSocket))
            .unwrap()
            .binary
    );
}

#[test]
fn threads_that_race_for_a_frame_get_the_same_one() {
    for _ in 0..50 {
        let broadcast = Arc::new(Broadcast::new("a", "e", Payload::empty()).unwrap());
        let barrier = Arc::new(Barrier::new(4));
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let (broadcast, barrier) = (Arc::clone(&broadcast), Arc::clone(&barrier));
                thread::spawn(move || {
                    barrier.wait();
                    let frame = broadcast.frame(form(Vsn::V2, Framing::WebSocket)).unwrap();
                    frame.bytes.as_ptr() as usize
                })
            })
            .collect();
        let pointers: Vec<usize> = racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect();
        assert!(pointers.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn the_offset_is_kept() {
    let broadcast = Broadcast::new("a", "e", Payload::empty()).unwrap();
    assert_eq!(broadcast.offset(), None);
    assert_eq!(broadcast.with_offset(7).offset(), Some(7));
}
