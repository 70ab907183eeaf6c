//! Any bytes as a term and as a token: reading never panics and stays within its limits, what was read
//! can be written and read again, and nothing but our own key makes a valid token. Shared by the fuzz
//! target and by tests.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use bennu::token::term::{ATOM_CHARS_MAX, DEPTH_MAX, INFLATED_BYTES_MAX, INTEGER_BYTES_MAX};
use bennu::token::{
    Keyring, MaxAge, SignError, SignOptions, TOKEN_BYTES_MAX, Term, VerifyError, VerifyOptions,
};
use serde::Deserialize;
use serde_json::Value;

static KEYS: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::new("abcdefgh".repeat(8), "user auth").unwrap());
static STRANGER: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::new("12345678".repeat(8), "user auth").unwrap());

/// Reads the bytes in every way.
pub(crate) fn run(data: &[u8]) {
    let mut plain = vec![131];
    plain.extend(data);
    for bytes in [data, &plain] {
        if let Ok(term) = Term::decode(bytes) {
            let levels = measure(&term, bytes.len().max(INFLATED_BYTES_MAX));
            assert!(levels <= DEPTH_MAX);
            comes_back(&term);
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        as_a_token(text);
    }
}

/// Every part has its place in the bytes, so none can be larger than they are.
fn measure(term: &Term, bytes: usize) -> usize {
    let deepest = |parts: &mut dyn Iterator<Item = &Term>| {
        let deepest = parts.map(|part| measure(part, bytes)).max();
        1 + deepest.unwrap_or(0)
    };
    match term {
        Term::Atom(atom) => {
            assert!(atom.as_str().chars().count() <= ATOM_CHARS_MAX);
            0
        }
        Term::BigInteger(integer) => {
            assert!((16..=INTEGER_BYTES_MAX).contains(&integer.magnitude().len()));
            0
        }
        Term::Float(float) => {
            assert!(float.is_finite());
            0
        }
        Term::Binary(binary) => {
            assert!(binary.len() <= bytes);
            0
        }
        Term::List(elements) if elements.is_empty() => 0,
        Term::Tuple(elements) | Term::List(elements) => {
            assert!(elements.len() <= bytes);
            deepest(&mut elements.iter())
        }
        Term::Map(pairs) => {
            assert!(pairs.len() <= bytes);
            deepest(&mut pairs.iter().flat_map(|(key, value)| [key, value]))
        }
        _ => 0,
    }
}

/// Written, signed, encrypted, and as data.
fn comes_back(term: &Term) {
    let bytes = term.encode().expect("what was read can be written");
    assert_eq!(Term::decode(&bytes).as_ref(), Ok(term));
    let forever = SignOptions::default().with_max_age(MaxAge::Infinity);
    let options = VerifyOptions::default();
    let signed = KEYS.sign_term(term.clone(), &forever);
    match &signed {
        Ok(token) => {
            let verified = KEYS.verify_term(token.as_str(), &options);
            assert_eq!(verified.as_ref(), Ok(term));
            let stranger = STRANGER.verify_term(token.as_str(), &options);
            assert_eq!(stranger, Err(VerifyError::Invalid));
        }
        // The envelope is one level more.
        Err(SignError::Term(_)) => assert!(measure(term, usize::MAX) >= DEPTH_MAX),
        Err(error) => assert_eq!(error, &SignError::TooLong),
    }
    if let Ok(token) = KEYS.encrypt_term(term.clone(), &forever) {
        let decrypted = KEYS.decrypt_term(token.as_str(), &options);
        assert_eq!(decrypted.as_ref(), Ok(term));
        let stranger = STRANGER.decrypt_term(token.as_str(), &options);
        assert_eq!(stranger, Err(VerifyError::Invalid));
    }
    into_anything(term);
    as_an_envelope(&bytes);
}

/// Of whatever type is asked for, it is an error or data that becomes the same term again.
fn into_anything(term: &Term) {
    #[derive(Debug, PartialEq, Deserialize, serde::Serialize)]
    enum Shape {
        Unit,
        New(u64),
        Pair(i128, String),
        Named { a: Option<u8>, b: Vec<f64> },
    }

    let _ = term.clone().into_data::<Value>();
    let _ = term.clone().into_data::<(u8, Option<String>, bool)>();
    let _ = term.clone().into_data::<Vec<bennu::token::Atom>>();
    if let Ok(shape) = term.clone().into_data::<Shape>() {
        let again = Term::from_data(&shape).unwrap().into_data::<Shape>();
        assert_eq!(again.as_ref(), Ok(&shape));
    }
}

/// The signed bytes are any term, at any time: never a panic, and never valid both before and after.
fn as_an_envelope(bytes: &[u8]) {
    // Whoever holds the key may have signed anything.
    let token = signed(bytes);
    let at = |seconds| {
        VerifyOptions::default().with_now(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    };
    for options in [
        at(0),
        at(1_700_000_000),
        at(1 << 40),
        at(1_700_000_000).with_max_age(Duration::from_millis(1)),
        at(1_700_000_000).with_max_age(MaxAge::Infinity),
    ] {
        let verified = KEYS.verify_term(token.as_str(), &options);
        assert_ne!(verified, Err(VerifyError::Missing));
        if token.len() <= TOKEN_BYTES_MAX {
            assert_ne!(verified, Err(VerifyError::TooLong));
        }
    }
}

/// What a signer of any bytes would send.
fn signed(bytes: &[u8]) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{Hmac, KeyInit, Mac};
    static MAC: LazyLock<Hmac<sha2::Sha256>> = LazyLock::new(|| {
        let mut key = [0; 32];
        let secret = "abcdefgh".repeat(8);
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(secret.as_bytes(), b"user auth", 1000, &mut key);
        Hmac::new_from_slice(&key).unwrap()
    });
    let message = format!("SFMyNTY.{}", URL_SAFE_NO_PAD.encode(bytes));
    let signature = MAC.clone().chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Text from anywhere. What verifies has a signature that only its holder can have made, which here
/// means that it is one of the seeds.
fn as_a_token(text: &str) {
    let forever = VerifyOptions::default().with_max_age(MaxAge::Infinity);
    for verified in [
        KEYS.verify_term(text, &forever),
        KEYS.decrypt_term(text, &forever),
    ] {
        match verified {
            Ok(term) => comes_back(&term),
            Err(VerifyError::Invalid | VerifyError::TooLong) => {}
            Err(error) => panic!("{error}: {text}"),
        }
    }
    let stranger = STRANGER.verify_term(text, &forever);
    assert!(matches!(
        stranger,
        Err(VerifyError::Invalid | VerifyError::TooLong)
    ));
}
