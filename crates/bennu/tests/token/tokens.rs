//! Signed and encrypted tokens: golden ones, forged ones, rotation, and their age.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bennu::token::term::{DEPTH_MAX, INFLATED_BYTES_MAX, TermDecodeError};
use bennu::token::{
    CLOCK_SKEW, KEY_BYTES_MAX, KeyDigest, KeyError, KeyOptions, Keyring, MaxAge, SignError,
    SignOptions, TOKEN_BYTES_MAX, Term, VerifyError, VerifyOptions,
};
use proptest::prelude::*;

use crate::terms::{atom, list, map, tuple};

pub(crate) fn secret() -> String {
    "abcdefgh".repeat(8)
}

fn keys() -> Keyring {
    static KEYS: LazyLock<Keyring> = LazyLock::new(|| Keyring::new(secret(), "user auth").unwrap());
    KEYS.clone()
}

/// When the golden tokens were signed.
fn signed_at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn signing() -> SignOptions {
    SignOptions::default().with_signed_at(signed_at())
}

fn at(milliseconds_later: u64) -> VerifyOptions {
    VerifyOptions::default().with_now(signed_at() + Duration::from_millis(milliseconds_later))
}

fn forever() -> VerifyOptions {
    VerifyOptions::default().with_max_age(MaxAge::Infinity)
}

/// The bytes of a payload, signed with the key of `keys()`, as only its owner can.
fn signed(payload: &[u8]) -> String {
    signed_for("user auth", payload)
}

/// The same, for another salt.
pub(crate) fn signed_for(salt: &str, payload: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(secret().as_bytes(), salt.as_bytes(), 1000, &mut key);
    let message = format!("SFMyNTY.{}", URL_SAFE_NO_PAD.encode(payload));
    let mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    let signature = mac.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

const ONE: &str = "SFMyNTY.g2gDYQFuBgAAaOXPiwFiAAFRgA.diBgyKSmNpVMWDnPJFIm6gU1GNeFN7vZbnSzVobkIDQ";
const INFINITE: &str =
    "SFMyNTY.g2gDYQFuBgAAaOXPiwFkAAhpbmZpbml0eQ.e5Vre8npHLnP4ngKN88rQ77ggAZZY09iEgVE3eHoU-8";
const ENCRYPTED: &str = "XCP._UeU40HqEiuBwbWOPqmdTAyNu5p2E-5jOX7DU_Lf7pJ_cW5y__kE5BXXeQc-m3O5_P66fGOO_WsXTVdPUJk1dd4D318j";

#[test]
fn golden_tokens_are_made_and_verified() {
    let table = [
        (Term::from(1), ONE),
        (
            Term::from(-5),
            "SFMyNTY.g2gDYv____tuBgAAaOXPiwFiAAFRgA.tl2jnE13-dF2CSaRPJVpHrCDDm_S3oiKeRZ8lQgs1ds",
        ),
        (
            Term::from("user:42"),
            "SFMyNTY.g2gDbQAAAAd1c2VyOjQybgYAAGjlz4sBYgABUYA.3_cewmUBxBB_gUyl4xQV3mnxrX1oomSfZRKfnaigefI",
        ),
        (
            tuple([
                atom("a"),
                list([
                    Term::from(1),
                    Term::from(2.5),
                    Term::nil(),
                    Term::from(true),
                ]),
                list([97, 98, 99].map(Term::from)),
            ]),
            "SFMyNTY.g2gDaANkAAFhbAAAAARhAUZABAAAAAAAAGQAA25pbGQABHRydWVqawADYWJjbgYAAGjlz4sBYgABUYA.4539th6KF-fgFHssZ5Iou77Bc0J9IiOwoWUYjr93cOU",
        ),
        (
            map([
                (Term::from("id"), Term::from(7)),
                (atom("role"), atom("admin")),
            ]),
            "SFMyNTY.g2gDdAAAAAJkAARyb2xlZAAFYWRtaW5tAAAAAmlkYQduBgAAaOXPiwFiAAFRgA.aUy9mFKPmpXyRoy39w5462V35FqawMHgZJxXvg1KsRg",
        ),
        (
            Term::from(123_456_789_012_345_678_901_234_567_890_i128),
            "SFMyNTY.g2gDbg0A0go_Tu7gc8P2D-mOAW4GAABo5c-LAWIAAVGA.COwYXC-fLJlz2WmaSvlg0-gdzKvyFZ4E6wugdqcPVbQ",
        ),
    ];
    for (data, token) in table {
        assert_eq!(keys().sign_term(data.clone(), &signing()).unwrap(), token);
        assert_eq!(keys().verify_term(token, &forever()).unwrap(), data);
        assert_eq!(keys().verify_term(token, &at(0)).unwrap(), data);
        assert_eq!(
            keys().verify_term(token, &VerifyOptions::default()),
            Err(VerifyError::Expired)
        );
    }
    assert_eq!(keys().sign_with(&1_u8, &signing()).unwrap(), ONE);
    let for_ever = signing().with_max_age(MaxAge::Infinity);
    assert_eq!(keys().sign_with(&1_u8, &for_ever).unwrap(), INFINITE);
}

#[test]
fn every_digest_is_verified() {
    for token in [
        INFINITE,
        "SFMzODQ.g2gDYQFuBgAAaOXPiwFkAAhpbmZpbml0eQ.zzWGK5JMKZVVB5SUq3OpRi7sot7mlqxxx51TPdiOVD0U32nbeiA4vjO14EsQ6wHb",
        "SFM1MTI.g2gDYQFuBgAAaOXPiwFkAAhpbmZpbml0eQ.yVN9H3caeKnRO6fnckQMeZXDib_aMmMThPEjauCREthS5RaJeQcnkBmSw-HTOYKcYr9kG4YI0FvZqIeIjPVPXg",
    ] {
        assert_eq!(keys().verify(token), Ok(1_u8), "{token}");
    }
}

#[test]
fn an_encrypted_token_of_the_reference_is_decrypted() {
    assert_eq!(
        keys().decrypt_with(ENCRYPTED, &forever()),
        Ok("secret!".to_owned())
    );
    assert_eq!(
        keys().decrypt::<String>(ENCRYPTED),
        Err(VerifyError::Expired)
    );
}

/// Unused bits of the last character, and padding, are nobody's business.
#[test]
fn what_the_reference_lets_pass_passes() {
    let stem = INFINITE.strip_suffix('8').unwrap();
    for end in ["8", "9", "-", "_", "8="] {
        assert_eq!(keys().verify(&*format!("{stem}{end}")), Ok(1_u8), "{end}");
    }
    assert_eq!(
        keys().verify::<u8>(&*format!("{stem}7")),
        Err(VerifyError::Invalid)
    );
}

#[test]
fn what_is_no_token_of_ours_is_invalid() {
    let (message, signature) = INFINITE.rsplit_once('.').unwrap();
    let (_, payload) = message.split_once('.').unwrap();
    let broken = [
        String::new(),
        "a.b".into(),
        ".".into(),
        "..".into(),
        "...".into(),
        "SFMyNTY..".into(),
        "XCP.".into(),
        "QTEyOEdDTQ.".into(),
        "QTEyOEdDTQ.....".into(),
        message.into(),
        format!("{message}."),
        format!("{INFINITE}."),
        format!(".{INFINITE}"),
        format!("{INFINITE}.{signature}"),
        // The signature names its digest.
        format!("SFMzODQ.{payload}.{signature}"),
        format!("SFM1MTI.{payload}.{signature}"),
        format!("bm9uZQ.{payload}.{signature}"),
        format!("SFMyNTY.{payload}.{}", &signature[..20]),
        format!("SFMyNTY.{payload}.{}", &ONE[ONE.len() - 43..]),
        format!("SFMyNTY.{payload}=.{signature}"),
        INFINITE.replace('.', " ."),
        INFINITE.replace('-', "+"),
        INFINITE.to_lowercase(),
    ];
    for token in &broken {
        assert_eq!(
            keys().verify::<u8>(token.as_str()),
            Err(VerifyError::Invalid),
            "{token}"
        );
        assert_eq!(
            keys().decrypt::<u8>(token.as_str()),
            Err(VerifyError::Invalid),
            "{token}"
        );
    }
    assert_eq!(keys().decrypt::<u8>(INFINITE), Err(VerifyError::Invalid));
    assert_eq!(keys().verify::<u8>(ENCRYPTED), Err(VerifyError::Invalid));
    assert_eq!(keys().verify::<u8>(None), Err(VerifyError::Missing));
    assert_eq!(keys().decrypt::<u8>(None), Err(VerifyError::Missing));
}

#[test]
fn every_changed_character_but_the_last_is_noticed() {
    let keys = keys();
    for (token, signed) in [(INFINITE, true), (ENCRYPTED, false)] {
        for place in 0..token.len() - 1 {
            let mut changed = token.as_bytes().to_vec();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let term = if signed {
                keys.verify_term(changed.as_str(), &forever())
            } else {
                keys.decrypt_term(changed.as_str(), &forever())
            };
            assert_eq!(term, Err(VerifyError::Invalid), "{changed}");
        }
    }
}

/// What is only decoded after verification is not decoded before: a term that is refused, under a
/// signature that is not ours, is just invalid.
#[test]
fn nothing_is_read_before_the_signature() {
    let function = [131, 112, 0];
    let forged = signed(&function).replace('A', "B");
    assert_eq!(
        keys().verify::<u8>(forged.as_str()),
        Err(VerifyError::Invalid)
    );
    assert_eq!(
        keys().verify::<u8>(signed(&function).as_str()),
        Err(VerifyError::Term(TermDecodeError::Refused("functions")))
    );
}

#[test]
fn what_our_own_key_signed_is_still_bounded() {
    let deep = [&[131][..], &[104, 1].repeat(20_000), &[106]].concat();
    assert_eq!(
        keys().verify::<u8>(signed(&deep).as_str()),
        Err(VerifyError::Term(TermDecodeError::Depth))
    );
    let bomb = [131, 80, 0xff, 0xff, 0xff, 0xff];
    assert!(INFLATED_BYTES_MAX < u32::MAX as usize);
    assert_eq!(
        keys().verify::<u8>(signed(&bomb).as_str()),
        Err(VerifyError::Term(TermDecodeError::Compressed))
    );
    for shape in [
        Term::from(1),
        tuple([]),
        tuple([Term::from(1)]),
        tuple([1, 2, 3, 4].map(Term::from)),
        tuple([Term::from(1), Term::from("when"), Term::from(1)]),
        tuple([Term::from(1), Term::from(1), Term::nil()]),
        map([(atom("data"), Term::from(1))]),
        map([
            (Term::from("data"), Term::from(1)),
            (Term::from("signed"), Term::from(1)),
        ]),
    ] {
        let token = signed(&shape.encode().unwrap());
        assert_eq!(
            keys().verify::<u8>(token.as_str()),
            Err(VerifyError::Shape),
            "{shape:?}"
        );
    }
}

#[test]
fn forms_that_older_versions_wrote_are_valid_for_a_day() {
    let now = 1_700_000_000_000_u64;
    for shape in [
        tuple([Term::from(1), Term::from(now)]),
        map([
            (atom("data"), Term::from(1)),
            (atom("signed"), Term::from(now)),
        ]),
    ] {
        let token = signed(&shape.encode().unwrap());
        let day = 86_400_000;
        assert_eq!(keys().verify_with(token.as_str(), &at(day)), Ok(1_u8));
        assert_eq!(
            keys().verify_with::<u8>(token.as_str(), &at(day + 1)),
            Err(VerifyError::Expired)
        );
    }
}

#[test]
fn tokens_are_valid_up_to_the_millisecond() {
    let second = Duration::from_secs(1);
    let with_age = |age: MaxAge| {
        keys()
            .sign_with(&1_u8, &signing().with_max_age(age))
            .unwrap()
    };
    let embedded =
        |later, age| keys().verify_with::<u8>(with_age(MaxAge::Within(age)).as_str(), &at(later));
    assert_eq!(embedded(1000, second), Ok(1));
    assert_eq!(embedded(1001, second), Err(VerifyError::Expired));
    assert_eq!(embedded(500, second / 2), Ok(1));
    assert_eq!(embedded(501, second / 2), Err(VerifyError::Expired));
    assert_eq!(embedded(0, Duration::ZERO), Err(VerifyError::Expired));
    assert_eq!(embedded(u64::MAX / 1000, Duration::MAX), Ok(1));
    // The verifier has the last word.
    let own = |token: &str, later, age: MaxAge| {
        keys().verify_with::<u8>(token, &at(later).with_max_age(age))
    };
    let infinite = with_age(MaxAge::Infinity);
    assert_eq!(
        own(&infinite, 1001, second.into()),
        Err(VerifyError::Expired)
    );
    assert_eq!(own(&infinite, 1000, second.into()), Ok(1));
    assert_eq!(
        own(&infinite, 0, Duration::ZERO.into()),
        Err(VerifyError::Expired)
    );
    let short = with_age(second.into());
    assert_eq!(own(&short, 1001, (2 * second).into()), Ok(1));
    assert_eq!(own(&short, 1001, MaxAge::Infinity), Ok(1));
    // What Elixir may have embedded.
    for (age, later, expected) in [
        (Term::from(-1), 0, Err(VerifyError::Expired)),
        (Term::from(-0.5), 0, Err(VerifyError::Expired)),
        (Term::from(0.0), 0, Err(VerifyError::Expired)),
        (Term::from(0.0004), 0, Ok(1)),
        (Term::from(0.0004), 1, Err(VerifyError::Expired)),
        (Term::from(1.0e300), 1, Ok(1)),
        (Term::from(i128::MAX), 1, Ok(1)),
        (Term::integer(false, &[1; 17]), 1, Err(VerifyError::Shape)),
    ] {
        let envelope = tuple([Term::from(1), Term::from(1_700_000_000_000_u64), age]);
        let token = signed(&envelope.encode().unwrap());
        assert_eq!(
            keys().verify_with(token.as_str(), &at(later)),
            expected,
            "{envelope:?}"
        );
    }
}

#[test]
fn tokens_from_the_future_are_refused_beyond_the_clocks_skew() {
    let ahead = |by: Duration| signing().with_signed_at(signed_at() + by);
    let verify = |options: &SignOptions, verifying: &VerifyOptions| {
        let token = keys().sign_with(&1_u8, options).unwrap();
        keys().verify_with::<u8>(token.as_str(), verifying)
    };
    let step = Duration::from_millis(1);
    assert_eq!(verify(&ahead(CLOCK_SKEW), &at(0)), Ok(1));
    assert_eq!(
        verify(&ahead(CLOCK_SKEW + step), &at(0)),
        Err(VerifyError::Invalid)
    );
    let strict = at(0).with_clock_skew(Duration::ZERO);
    assert_eq!(verify(&ahead(Duration::ZERO), &strict), Ok(1));
    assert_eq!(verify(&ahead(step), &strict), Err(VerifyError::Invalid));
    let far = ahead(Duration::from_secs(1 << 33));
    assert_eq!(verify(&far, &at(0).with_clock_skew(Duration::MAX)), Ok(1));
    assert_eq!(verify(&far, &at(0).with_max_age(MaxAge::Infinity)), Ok(1));
    assert_eq!(
        verify(&far, &at(0).with_max_age(Duration::ZERO)),
        Err(VerifyError::Expired)
    );
    let before_1970 = signing().with_signed_at(SystemTime::UNIX_EPOCH - step);
    assert_eq!(verify(&before_1970, &at(0)), Err(VerifyError::Expired));
    assert_eq!(verify(&before_1970, &forever()), Ok(1));
}

#[test]
fn secrets_and_salts_are_rotated() {
    let old_secret = "the secret of last year";
    let old = Keyring::new(old_secret, "user auth").unwrap();
    let other_salt = Keyring::new(secret(), "user").unwrap();
    let stranger = Keyring::new("the secret of a stranger", "user auth").unwrap();
    let rotated = keys()
        .with_previous_secret(old_secret)
        .unwrap()
        .with_previous(&other_salt);
    for keys in [&keys(), &old, &other_salt] {
        let (signed, encrypted) = (keys.sign("a").unwrap(), keys.encrypt("a").unwrap());
        assert_eq!(rotated.verify(&*signed), Ok("a".to_owned()));
        assert_eq!(rotated.decrypt(&*encrypted), Ok("a".to_owned()));
    }
    let (signed, encrypted) = (stranger.sign("a").unwrap(), stranger.encrypt("a").unwrap());
    assert_eq!(
        rotated.verify::<String>(&*signed),
        Err(VerifyError::Invalid)
    );
    assert_eq!(
        rotated.decrypt::<String>(&*encrypted),
        Err(VerifyError::Invalid)
    );
    let made = rotated.sign("a").unwrap();
    assert_eq!(keys().verify(&*made), Ok("a".to_owned()));
    assert_eq!(old.verify::<String>(&*made), Err(VerifyError::Invalid));
}

#[test]
fn encrypted_tokens_differ_and_hide() {
    let (one, two) = (keys().encrypt("a").unwrap(), keys().encrypt("a").unwrap());
    assert_ne!(one, two);
    assert_eq!(keys().decrypt(&*one), Ok("a".to_owned()));
    let stale = keys().encrypt_with("a", &signing()).unwrap();
    assert_eq!(keys().decrypt::<String>(&*stale), Err(VerifyError::Expired));
    assert_eq!(keys().decrypt_with(&*stale, &at(0)), Ok("a".to_owned()));
}

#[test]
fn keys_are_derived_within_bounds() {
    let derive = |secret: &str, options| Keyring::with_key_options(secret, "salt", options);
    let default = KeyOptions::default;
    let twenty = "x".repeat(20);
    assert!(derive(&twenty, default()).is_ok());
    let refused = [
        (
            derive(&twenty[1..], default()),
            KeyError::Secret { min: 20 },
        ),
        (
            derive(&twenty, default().with_iterations(0)),
            KeyError::Iterations,
        ),
        (derive(&twenty, default().with_length(15)), KeyError::Length),
        (
            derive(&twenty, default().with_length(KEY_BYTES_MAX + 1)),
            KeyError::Length,
        ),
        (
            keys().with_previous_secret("short"),
            KeyError::Secret { min: 20 },
        ),
    ];
    for (keys, error) in refused {
        assert_eq!(keys.unwrap_err(), error);
    }
    let long = derive(
        &twenty,
        default().with_length(64).with_digest(KeyDigest::Sha512),
    )
    .unwrap();
    let token = long.sign(&1).unwrap();
    assert_eq!(long.verify(&*token), Ok(1));
    assert_eq!(long.encrypt(&1), Err(SignError::KeyLength));
    assert_eq!(long.decrypt::<u8>(ENCRYPTED), Err(VerifyError::Invalid));
}

#[test]
fn what_is_too_long_is_neither_made_nor_looked_at() {
    let long = "x".repeat(TOKEN_BYTES_MAX);
    assert_eq!(keys().sign(&long), Err(SignError::TooLong));
    assert_eq!(keys().encrypt(&long), Err(SignError::TooLong));
    let token = signed(&Term::from(long.as_str()).encode().unwrap());
    assert_eq!(keys().verify::<u8>(&*token), Err(VerifyError::TooLong));
    assert_eq!(
        keys().decrypt::<u8>(&*format!("XCP.{long}")),
        Err(VerifyError::TooLong)
    );
    let fits = "x".repeat(TOKEN_BYTES_MAX / 4 * 3 - 100);
    let token = keys().sign(&fits).unwrap();
    assert_eq!(keys().verify(&*token), Ok(fits));
}

#[test]
fn data_that_has_no_term_is_not_signed() {
    assert!(matches!(keys().sign(&f64::NAN), Err(SignError::Term(_))));
    let deep = (0..DEPTH_MAX).fold(Term::from(1), |inner, _| tuple([inner]));
    assert!(matches!(
        keys().sign_term(deep, &SignOptions::default()),
        Err(SignError::Term(_))
    ));
    assert!(matches!(keys().verify_with::<u8>(ONE, &forever()), Ok(1)));
    let wrong = keys().verify_with::<String>(ONE, &forever()).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "the data of the token does not fit: found an integer, expected a string"
    );
}

#[test]
fn debug_output_holds_no_secret() {
    let shown = format!("{:?}", keys());
    assert!(shown.starts_with("Keyring { keys: 1"), "{shown}");
    assert!(
        !shown.contains("abcdefgh") && !shown.contains("42, 206"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn any_data_comes_back(data: (String, Option<i128>, Vec<u8>, bool)) {
        let token = keys().sign(&data).unwrap();
        prop_assert_eq!(keys().verify(&*token), Ok(data.clone()));
        let token = keys().encrypt(&data).unwrap();
        prop_assert_eq!(keys().decrypt(&*token), Ok(data));
    }
}
