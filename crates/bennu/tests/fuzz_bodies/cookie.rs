//! Any text as a session cookie, and any pair of texts for the check against forged requests: never a
//! panic, and what was read can be written and read again. Shared by the fuzz target and by tests.

use std::sync::LazyLock;

use bennu::token::{Session, SessionOptions, SessionStore, VerifyError, csrf};

static SIGNED: LazyLock<SessionStore> = LazyLock::new(|| store(&SessionOptions::new("change_me")));
static ENCRYPTED: LazyLock<SessionStore> =
    LazyLock::new(|| store(&SessionOptions::new("change_me").with_encryption_salt("enc_salt")));
static BOTH: LazyLock<SessionStore> = LazyLock::new(|| SIGNED.clone().with_previous(&ENCRYPTED));

fn store(options: &SessionOptions) -> SessionStore {
    SessionStore::new("abcdefgh".repeat(8), options).unwrap()
}

/// Reads the bytes in every way.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = [&*SIGNED, &ENCRYPTED].map(|store| match store.decode(&*text) {
        Ok(session) => Some(session),
        Err(VerifyError::Invalid | VerifyError::TooLong) => None,
        Err(error) => panic!("{error}: {text}"),
    });
    let read: Vec<Session> = read.into_iter().flatten().collect();
    assert!(read.len() < 2, "a cookie is signed or encrypted, not both");
    assert_eq!(BOTH.decode(&*text).ok().as_ref(), read.first());
    for session in &read {
        comes_back(session);
    }
    as_values(&text);
    as_a_request(&text);
}

fn comes_back(session: &Session) {
    for store in [&*SIGNED, &ENCRYPTED] {
        let cookie = store.encode(session).unwrap();
        assert_eq!(store.decode(cookie.as_str()).as_ref(), Ok(session));
        assert_eq!(BOTH.decode(cookie.as_str()).as_ref(), Ok(session));
    }
}

/// Text in a session comes out as it went in.
fn as_values(text: &str) {
    let mut session = Session::default();
    for (count, part) in text.split('.').enumerate().take(8) {
        session.insert(part, &(count, part)).unwrap();
    }
    for (count, part) in text.split('.').enumerate().take(8) {
        let (place, value): (usize, String) = session.get(part).unwrap();
        assert!(place >= count, "the last of the same key stays");
        assert_eq!(value, part);
    }
    if text.len() < 4096 {
        comes_back(&session);
    }
}

/// A token that was masked for a value is right for that value, and for no other.
fn as_a_request(text: &str) {
    let value = "ABCDEFGHIJKLMNOPQRSTUVWX";
    if csrf::verify(value, text) {
        assert_eq!(text.len(), 56);
        assert!(!csrf::verify("abcdefghijklmnopqrstuvwx", text));
    }
    let front = text
        .char_indices()
        .nth(24)
        .map_or(text, |(end, _)| &text[..end]);
    match csrf::mask(front) {
        Ok(token) => {
            assert_eq!(front.len(), 24);
            assert!(csrf::verify(front, &token));
            assert_eq!(csrf::verify(value, &token), value == front);
        }
        Err(_) => assert_ne!(front.len(), 24),
    }
}
