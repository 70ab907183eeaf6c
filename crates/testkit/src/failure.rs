//! How an assertion fails, and how payloads are shown and compared.

use std::fmt::Write;
use std::panic::Location;

use bennu::Payload;
use serde::Serialize;
use serde_json::Value;

/// The most that is shown of one payload, in characters.
const SHOWN_MAX: usize = 400;

/// Ends the test. `Location` is where the assertion stands; a panic cannot carry another place than its own
/// out of an async function.
pub(crate) fn fail(at: &Location<'_>, what: &str, arrived: &str) -> ! {
    panic!("{what}\n{arrived}asserted at {at}")
}

/// Makes the payload that a test names.
#[track_caller]
pub(crate) fn payload_of<T: Serialize + ?Sized>(value: &T) -> Payload {
    match bennu::event::to_payload(value) {
        Ok(payload) => payload,
        Err(error) => panic!("this value is not a payload: {error}"),
    }
}

/// JSON is compared by value, bytes by bytes.
pub(crate) fn same(left: &Payload, right: &Payload) -> bool {
    match (json(left), json(right)) {
        (Some(left), Some(right)) => left == right,
        (None, None) => left == right,
        _ => false,
    }
}

/// The JSON value; `None` for bytes.
pub(crate) fn json(payload: &Payload) -> Option<Value> {
    payload.decode().ok()
}

/// The payload for people: JSON as it came, bytes in hexadecimal.
pub(crate) fn shown(payload: &Payload) -> String {
    let text = match (payload.as_json(), payload.as_binary()) {
        (Some(text), _) => String::from_utf8_lossy(text).into_owned(),
        (None, Some(bytes)) => {
            let mut text = String::from("<<");
            for (index, byte) in bytes.iter().take(SHOWN_MAX / 3).enumerate() {
                let space = if index > 0 { " " } else { "" };
                // Writing to a string does not fail.
                let _ = write!(text, "{space}{byte:02x}");
            }
            text + ">>"
        }
        (None, None) => String::new(),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], payload.len()),
        None => text,
    }
}
