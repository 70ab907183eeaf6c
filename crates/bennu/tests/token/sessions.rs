//! Session cookies and the check against forged requests.

use bennu::token::csrf::{self, CsrfError};
use bennu::token::term::TermDecodeError;
use bennu::token::{
    KeyDigest, KeyError, KeyOptions, Keyring, Session, SessionOptions, SessionStore, SignError,
    SignOptions, TOKEN_BYTES_MAX, Term, VerifyError,
};

use crate::terms::{atom, map};
use crate::tokens::{secret, signed_for};

const VALUE: &str = "ABCDEFGHIJKLMNOPQRSTUVWX";
const REQUEST_TOKEN: &str = "ICAgICAgICAgICAgICAgICAgICAgICAgabcdefghijklmnopqrstuvwx";
const SIGNED: &str = "SFMyNTY.g3QAAAACbQAAAAtfY3NyZl90b2tlbm0AAAAYQUJDREVGR0hJSktMTU5PUFFSU1RVVldYbQAAAAxmcm9tX3Nlc3Npb25tAAAAAzEyMw.fJD3U8fYEQT_15IQYbLOG18tcj_-gddtsaH8yLTY9MQ";
const ENCRYPTED: &str = "XCP.HjVlrjibE3drb-I5-YuFQYwcA2GpWCQR-FwgGTk9O9I9IJpuXjrHzZeonoJTbFKJ_tE6CIaT__rmO_91eRIkdORivONQJvc";

fn signing() -> SessionOptions {
    SessionOptions::new("change_me")
}

fn encrypting() -> SessionOptions {
    signing().with_encryption_salt("enc_salt")
}

fn store(options: &SessionOptions) -> SessionStore {
    SessionStore::new(secret(), options).unwrap()
}

#[test]
fn a_signed_cookie_of_plug_is_read_and_written() {
    let session = store(&signing()).decode(SIGNED).unwrap();
    assert_eq!(
        session.keys().collect::<Vec<_>>(),
        ["_csrf_token", "from_session"]
    );
    assert_eq!(session.get("from_session"), Some("123".to_owned()));
    assert_eq!(session.get::<u64>("from_session"), None, "it is text");
    assert_eq!(session.get::<String>("else"), None);
    assert_eq!(session.term("from_session"), Some(&Term::from("123")));
    assert!(session.verify_csrf(REQUEST_TOKEN));
    assert_eq!(store(&signing()).encode(&session).unwrap(), SIGNED);
}

#[test]
fn an_encrypted_cookie_of_plug_is_read() {
    let store = store(&encrypting());
    let session = store.decode(ENCRYPTED).unwrap();
    assert_eq!(session.get("from_session"), Some("123".to_owned()));
    assert!(
        !session.verify_csrf(REQUEST_TOKEN),
        "it has no value for it"
    );
    let cookie = store.encode(&session).unwrap();
    assert_ne!(cookie, ENCRYPTED);
    assert_eq!(store.decode(&*cookie), Ok(session));
}

#[test]
fn what_is_no_cookie_of_the_store_is_an_error_and_an_empty_session() {
    let (signing, encrypting) = (store(&signing()), store(&encrypting()));
    let stranger = SessionStore::new("x".repeat(64), &SessionOptions::new("change_me")).unwrap();
    let forged = stranger.encode(&Session::default()).unwrap();
    let (payload, signature) = SIGNED.rsplit_once('.').unwrap();
    for cookie in [
        "",
        "a.b.c",
        &SIGNED[1..],
        // Another digit in the session, under the same signature.
        &format!("{}NA.{signature}", payload.strip_suffix("Mw").unwrap()),
        ENCRYPTED,
        &forged,
    ] {
        assert_eq!(
            signing.decode(cookie),
            Err(VerifyError::Invalid),
            "{cookie}"
        );
    }
    assert_eq!(encrypting.decode(SIGNED), Err(VerifyError::Invalid));
    assert_eq!(signing.decode(None), Err(VerifyError::Missing));
    let long = "x".repeat(TOKEN_BYTES_MAX + 1);
    assert_eq!(signing.decode(&*long), Err(VerifyError::TooLong));
    assert!(signing.decode("").unwrap_or_default().is_empty());
}

#[test]
fn what_plug_would_not_have_signed_is_no_session() {
    let decode = |payload: &[u8]| store(&signing()).decode(&*signed_for("change_me", payload));
    for term in [
        Term::from(1),
        map([(atom("a"), Term::from(1))]),
        map([(Term::Binary(vec![0xff]), Term::from(1))]),
    ] {
        assert_eq!(decode(&term.encode().unwrap()), Err(VerifyError::Shape));
    }
    assert_eq!(
        decode(&[131, 103]),
        Err(VerifyError::Term(TermDecodeError::Refused("pids")))
    );
    let empty = map([]).encode().unwrap();
    assert_eq!(decode(&empty), Ok(Session::default()));
    // A token of the same key has an envelope, and is no session.
    let keys = Keyring::new(secret(), "change_me").unwrap();
    let token = keys.sign_term(map([]), &SignOptions::default()).unwrap();
    assert_eq!(store(&signing()).decode(&*token), Err(VerifyError::Shape));
}

#[test]
fn sessions_survive_a_rotation() {
    let old_salt = store(&SessionOptions::new("old_salt"));
    let old_secret = SessionStore::new("x".repeat(64), &signing()).unwrap();
    let old_kind = store(&encrypting());
    let rotated = store(&signing())
        .with_previous(&old_salt)
        .with_previous(&old_secret.clone().with_previous(&old_kind));
    let mut session = Session::default();
    session.insert("user_id", &7).unwrap();
    for old in [&store(&signing()), &old_salt, &old_secret, &old_kind] {
        let cookie = old.encode(&session).unwrap();
        assert_eq!(rotated.decode(&*cookie), Ok(session.clone()));
    }
    let cookie = rotated.encode(&session).unwrap();
    assert_eq!(store(&signing()).decode(&*cookie), Ok(session));
}

#[test]
fn keys_are_derived_as_the_options_say() {
    let options = KeyOptions::default()
        .with_iterations(2)
        .with_length(64)
        .with_digest(KeyDigest::Sha512);
    let long = store(&signing().with_key_options(options.clone()));
    let cookie = long.encode(&Session::default()).unwrap();
    assert_eq!(long.decode(&*cookie), Ok(Session::default()));
    assert_eq!(
        store(&signing()).decode(&*cookie),
        Err(VerifyError::Invalid)
    );
    let encrypting = store(&encrypting().with_key_options(options));
    assert_eq!(
        encrypting.encode(&Session::default()),
        Err(SignError::KeyLength)
    );
    assert_eq!(encrypting.decode(ENCRYPTED), Err(VerifyError::Invalid));
    let short = SessionStore::new("x".repeat(63), &signing()).unwrap_err();
    assert_eq!(short, KeyError::Secret { min: 64 });
}

#[test]
fn debug_output_holds_keys_and_no_values() {
    let session = store(&signing()).decode(SIGNED).unwrap();
    assert_eq!(format!("{session:?}"), r#"{"_csrf_token", "from_session"}"#);
    let shown = format!("{:?}", store(&encrypting()));
    assert_eq!(shown, "SessionStore { keys: 1, .. }");
}

#[test]
fn a_request_token_belongs_to_its_session() {
    assert!(csrf::verify(VALUE, REQUEST_TOKEN));
    let token = csrf::mask(VALUE).unwrap();
    assert_eq!(token.len(), 56);
    assert!(csrf::verify(VALUE, &token));
    assert_ne!(token, csrf::mask(VALUE).unwrap());
    let value = csrf::generate().unwrap();
    assert!(csrf::verify(&value, &csrf::mask(&value).unwrap()));
    assert!(!csrf::verify(&value, &token));
    for value in ["", "short", &VALUE.repeat(2)] {
        assert_eq!(csrf::mask(value), Err(CsrfError::SessionValue));
    }
}

#[test]
fn other_request_tokens_do_not() {
    let (masked, mask) = REQUEST_TOKEN.split_at(32);
    for token in [
        "",
        VALUE,
        masked,
        mask,
        &REQUEST_TOKEN[1..],
        &REQUEST_TOKEN[..55],
        &format!("{REQUEST_TOKEN}a"),
        &format!("{REQUEST_TOKEN}="),
        &format!("{mask}{masked}"),
        &format!("{}={mask}", &masked[..31]),
        &format!("{}+{mask}", &masked[..31]),
        &format!("{}é{mask}", &masked[..30]),
        &REQUEST_TOKEN.to_uppercase(),
    ] {
        assert!(!csrf::verify(VALUE, token), "{token}");
    }
    for value in [
        "",
        "A",
        &VALUE[1..],
        &VALUE.to_lowercase(),
        &format!("{VALUE}X"),
    ] {
        assert!(!csrf::verify(value, REQUEST_TOKEN), "{value}");
    }
    for place in 0..REQUEST_TOKEN.len() {
        let mut token = REQUEST_TOKEN.as_bytes().to_vec();
        token[place] = if token[place] == b'Z' { b'Y' } else { b'Z' };
        let token = String::from_utf8(token).unwrap();
        assert!(!csrf::verify(VALUE, &token), "{token}");
    }
}
