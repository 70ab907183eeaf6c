//! JSON Web Tokens: those of the RFCs and of OpenSSL, and what a forger would try.

use std::future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bennu::token::TOKEN_BYTES_MAX;
use bennu::token::jwt::{
    Algorithm, JWKS_BYTES_MAX, JwksError, JwtError, KeyError, KeySet, Verifier, VerifyingKey,
};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

const ALL: &[Algorithm] = &[
    Algorithm::Hs256,
    Algorithm::Hs384,
    Algorithm::Hs512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];

/// RFC 7515 appendices A.1 to A.3: their claims, signed in three ways, and the keys.
const RFC_CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const A1_SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const A1_KEY: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const A2_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A2_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const A3_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

const SECRET: &[u8; 32] = b"a secret of exactly 32 bytes, ok";

/// Signed by HS256 with any secret, whatever the header says.
fn hs256(secret: &[u8], header: &Value, claims: &str) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    let signature = mac.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", b64(signature))
}

fn token(claims: &Value) -> String {
    hs256(SECRET, &json!({"alg": "HS256"}), &claims.to_string())
}

fn verifier() -> Verifier {
    Verifier::new(VerifyingKey::secret(Algorithm::Hs256, SECRET).unwrap())
}

fn file(name: &str) -> &'static str {
    match name {
        "rsa" => include_str!("jwt/openssl/rsa.pem"),
        "rsa-pkcs1" => include_str!("jwt/openssl/rsa-pkcs1.pem"),
        "rsa1024" => include_str!("jwt/openssl/rsa1024.pem"),
        "p256" => include_str!("jwt/openssl/p256.pem"),
        "p384" => include_str!("jwt/openssl/p384.pem"),
        "p521" => include_str!("jwt/openssl/p521.pem"),
        "ed" => include_str!("jwt/openssl/ed.pem"),
        _ => include_str!("jwt/openssl/jwks.json"),
    }
}

/// Tokens that OpenSSL signed: the algorithm, its name, the key's file, the token.
fn openssl_tokens() -> Vec<(Algorithm, &'static str, &'static str)> {
    let lines = include_str!("jwt/openssl/tokens.txt").lines();
    lines
        .map(|line| {
            let (name, token) = line.split_once(' ').unwrap();
            let (algorithm, key) = match name {
                "RS256" => (Algorithm::Rs256, "rsa"),
                "RS384" => (Algorithm::Rs384, "rsa"),
                "RS512" => (Algorithm::Rs512, "rsa"),
                "PS256" => (Algorithm::Ps256, "rsa"),
                "PS384" => (Algorithm::Ps384, "rsa"),
                "PS512" => (Algorithm::Ps512, "rsa"),
                "ES256" => (Algorithm::Es256, "p256"),
                "ES384" => (Algorithm::Es384, "p384"),
                _ => (Algorithm::EdDsa, "ed"),
            };
            (algorithm, key, token)
        })
        .collect()
}

const OPENSSL_NOW: u64 = 1_700_000_000;

#[derive(Debug, PartialEq, Deserialize)]
struct Claims {
    sub: String,
}

fn ada() -> Claims {
    Claims { sub: "ada".into() }
}

#[test]
fn tokens_of_the_rfcs_are_verified() {
    let secret = URL_SAFE_NO_PAD.decode(A1_KEY).unwrap();
    let jwks = json!({"keys": [
        {"kty": "RSA", "n": A2_MODULUS, "e": "AQAB"},
        {"kty": "EC", "crv": "P-256",
         "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
         "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ]});
    let published = Verifier::new(KeySet::from_jwks(&jwks.to_string(), ALL).unwrap());
    let shared = Verifier::new(VerifyingKey::secret(Algorithm::Hs256, &secret).unwrap());
    for (verifier, header, signature) in [
        (
            &shared,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            A1_SIGNATURE,
        ),
        (&published, "eyJhbGciOiJSUzI1NiJ9", A2_SIGNATURE),
        (&published, "eyJhbGciOiJFUzI1NiJ9", A3_SIGNATURE),
    ] {
        let token = format!("{header}.{RFC_CLAIMS}.{signature}");
        let verifier = verifier.clone().with_issuer("joe");
        let claims: Value = verifier
            .verify_at(&*token, at(1_300_819_379))
            .expect(header);
        assert_eq!(claims["http://example.com/is_root"], true);
        assert_eq!(verifier.verify::<Value>(&*token), Err(JwtError::Expired));
    }
    // RFC 8037 appendix A.4 signs text that is no JSON.
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(published.verify::<Value>(token), Err(JwtError::Claims));
    let changed = token.replace("RXhh", "SXhh");
    assert_eq!(
        published.verify::<Value>(&*changed),
        Err(JwtError::Signature)
    );
}

#[test]
fn what_openssl_signed_is_verified_by_its_key_and_algorithm_alone() {
    let published = Verifier::new(KeySet::from_jwks(file("jwks"), ALL).unwrap());
    for (algorithm, name, token) in openssl_tokens() {
        assert_eq!(
            published.verify_at(token, at(OPENSSL_NOW)),
            Ok(ada()),
            "{algorithm:?}"
        );
        for &other in ALL {
            let Ok(key) = VerifyingKey::pem(other, file(name)) else {
                assert_ne!(other, algorithm);
                continue;
            };
            let expected = match other == algorithm {
                true => Ok(ada()),
                false => Err(JwtError::Key),
            };
            let verifier = Verifier::new(key);
            assert_eq!(
                verifier.verify_at(token, at(OPENSSL_NOW)),
                expected,
                "{algorithm:?} {other:?}"
            );
        }
        let (front, signature) = token.rsplit_once('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for forged in [
            front.to_owned() + ".",
            format!("{front}.{}", b64(&signature[1..])),
            format!("{front}.{}", b64([&*signature, &[0]].concat())),
            format!("{front}.{}", b64(vec![0; signature.len()])),
            {
                signature[20] ^= 1;
                format!("{front}.{}", b64(&signature))
            },
        ] {
            assert_eq!(
                published.verify_at::<Claims>(&*forged, at(OPENSSL_NOW)),
                Err(JwtError::Signature)
            );
        }
    }
    let pkcs1 = VerifyingKey::pem(Algorithm::Rs256, file("rsa-pkcs1")).unwrap();
    let (.., token) = openssl_tokens()[0];
    assert_eq!(
        Verifier::new(pkcs1).verify_at(token, at(OPENSSL_NOW)),
        Ok(ada())
    );
}

/// A public key is known to all. Nobody may sign with it by calling it a secret.
#[test]
fn a_public_key_never_becomes_a_secret() {
    let claims = r#"{"sub":"mallory","exp":9999999999}"#;
    let public = Verifier::new(VerifyingKey::pem(Algorithm::Rs256, file("rsa")).unwrap());
    let published = Verifier::new(KeySet::from_jwks(file("jwks"), ALL).unwrap());
    let jwks: Value = serde_json::from_str(file("jwks")).unwrap();
    let modulus = jwks["keys"][0]["n"].as_str().unwrap();
    for secret in [
        file("rsa").as_bytes(),
        file("rsa").trim().as_bytes(),
        modulus.as_bytes(),
        &URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        b"",
    ] {
        for header in [
            json!({"alg": "HS256"}),
            json!({"alg": "HS256", "kid": "rsa"}),
            json!({"alg": "HS256", "kid": "../../dev/null"}),
        ] {
            let token = hs256(secret, &header, claims);
            for verifier in [&public, &published] {
                assert_eq!(verifier.verify::<Claims>(&*token), Err(JwtError::Key));
            }
        }
        let token = hs256(secret, &json!({"alg": "RS256", "kid": "rsa"}), claims);
        for verifier in [&public, &published] {
            assert_eq!(verifier.verify::<Claims>(&*token), Err(JwtError::Signature));
        }
    }
    let secret = VerifyingKey::secret(Algorithm::Hs256, file("rsa").as_bytes());
    assert_eq!(secret.unwrap_err(), KeyError::PublicSecret);
    let oct = json!({"keys": [{"kty": "oct", "k": A1_KEY, "alg": "HS256"}]});
    assert_eq!(
        KeySet::from_jwks(&oct.to_string(), ALL).unwrap_err(),
        JwksError::Empty
    );
}

#[test]
fn tokens_choose_neither_their_algorithm_nor_their_key() {
    let claims = r#"{"sub":"mallory","exp":9999999999}"#;
    for name in [
        "none", "None", "NONE", "", "hs256", "HS256 ", "HS1", "ES512", "dir",
    ] {
        let unsigned = format!("{}.{}.", b64(json!({"alg": name}).to_string()), b64(claims));
        let signed = hs256(SECRET, &json!({"alg": name}), claims);
        for token in [unsigned, signed] {
            assert_eq!(
                verifier().verify::<Claims>(&*token),
                Err(JwtError::Algorithm)
            );
        }
    }
    // A key that comes along, or an address of one, is nobody's.
    let other = b"another secret of exactly 32 byt";
    let header = json!({
        "alg": "HS256",
        "jwk": {"kty": "oct", "k": b64(other)},
        "jku": "https://mallory.example/jwks.json",
        "x5u": "https://mallory.example/cert.pem",
        "x5c": ["MIIB"],
        "kid": "https://mallory.example/jwks.json",
    });
    assert_eq!(
        verifier().verify::<Claims>(&*hs256(other, &header, claims)),
        Err(JwtError::Signature)
    );
    assert!(
        verifier()
            .verify::<Claims>(&*hs256(SECRET, &header, claims))
            .is_ok()
    );
}

#[test]
fn a_key_id_only_chooses_among_the_keys() {
    let claims = r#"{"sub":"ada","exp":9999999999}"#;
    let other = b"another secret of exactly 32 byt";
    let key = |secret| VerifyingKey::secret(Algorithm::Hs256, secret).unwrap();
    let named = Verifier::new(KeySet::new([
        key(SECRET).with_id("a"),
        key(other).with_id("b"),
    ]));
    let with = |kid: &str| json!({"alg": "HS256", "kid": kid});
    let verify =
        |header: &Value, secret: &[u8; 32]| named.verify::<Claims>(&*hs256(secret, header, claims));
    assert_eq!(verify(&with("a"), SECRET), Ok(ada()));
    assert_eq!(verify(&with("b"), other), Ok(ada()));
    assert_eq!(verify(&with("b"), SECRET), Err(JwtError::Signature));
    assert_eq!(verify(&with("c"), SECRET), Err(JwtError::Key));
    assert_eq!(verify(&with(""), SECRET), Err(JwtError::Key));
    assert_eq!(verify(&json!({"alg": "HS256"}), other), Ok(ada()));
    // Keys without a name are tried for all.
    assert!(
        verifier()
            .verify::<Claims>(&*hs256(SECRET, &with("a"), claims))
            .is_ok()
    );
}

#[test]
fn what_is_no_token_is_refused() {
    let good = token(&json!({"sub": "ada", "exp": 9_999_999_999_u64}));
    assert_eq!(verifier().verify(&*good), Ok(ada()));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let headed = |header: &str| format!("{}.{payload}.{signature}", b64(header));
    for (broken, error) in [
        (String::new(), JwtError::Malformed),
        ("a".into(), JwtError::Malformed),
        (message.into(), JwtError::Malformed),
        (format!("{header}.{payload}="), JwtError::Malformed),
        (
            format!("{header}=.{payload}.{signature}"),
            JwtError::Malformed,
        ),
        (format!("{message}.{signature}="), JwtError::Malformed),
        (format!("{good}."), JwtError::Malformed),
        (format!("{good}.{signature}"), JwtError::Malformed),
        (headed(""), JwtError::Malformed),
        (headed("null"), JwtError::Malformed),
        (headed("{}"), JwtError::Malformed),
        (headed(r#"{"alg":null}"#), JwtError::Malformed),
        (headed(r#"{"alg":["HS256"]}"#), JwtError::Malformed),
        (
            headed(r#"{"alg":"none","alg":"HS256"}"#),
            JwtError::Malformed,
        ),
        (
            headed(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#),
            JwtError::Malformed,
        ),
        (headed(&"[".repeat(10_000)), JwtError::Malformed),
        (headed(r#"{"alg":"HS256","typ":"x"}"#), JwtError::Signature),
        (good.replace('.', ".A"), JwtError::Signature),
        ("x".repeat(TOKEN_BYTES_MAX + 1), JwtError::TooLong),
    ] {
        let result = verifier().verify::<Claims>(&*broken);
        assert_eq!(result, Err(error), "{broken:.80}");
    }
    assert_eq!(verifier().verify::<Claims>(None), Err(JwtError::Missing));
}

/// What is not verified is not looked at: a token that has expired, by a stranger, is a stranger's.
#[test]
fn claims_are_read_after_the_signature() {
    for claims in [
        r#"{"exp":1}"#,
        r#"{"exp":"soon"}"#,
        "not json",
        r#"{"iss":"x"}"#,
    ] {
        let forged = hs256(b"a stranger", &json!({"alg": "HS256"}), claims);
        assert_eq!(
            verifier().verify::<Value>(&*forged),
            Err(JwtError::Signature)
        );
    }
}

#[test]
fn times_issuers_and_audiences_are_checked() {
    let now = 1_000_000;
    let base = || verifier().with_leeway(Duration::from_secs(10));
    let check = |verifier: &Verifier, claims: &str| {
        let token = hs256(SECRET, &json!({"alg": "HS256"}), claims);
        verifier.verify_at::<Value>(&*token, at(now)).map(|_| ())
    };
    let plain = base();
    let optional = base().with_optional_expiry();
    let picky = base()
        .with_issuer("a")
        .with_issuer("b")
        .with_audience("chat")
        .with_audience("app");
    for (verifier, claims, expected) in [
        (&plain, r#"{"exp":999991}"#, Ok(())),
        (&plain, r#"{"exp":999990.5}"#, Ok(())),
        (&plain, r#"{"exp":999990}"#, Err(JwtError::Expired)),
        (&plain, r#"{"exp":-1}"#, Err(JwtError::Expired)),
        (&plain, r#"{"exp":1e300}"#, Ok(())),
        (&plain, "{}", Err(JwtError::Expiry)),
        (&plain, r#"{"exp":null}"#, Err(JwtError::Expiry)),
        (&optional, "{}", Ok(())),
        (&optional, r#"{"exp":1}"#, Err(JwtError::Expired)),
        (&optional, r#"{"nbf":1000010}"#, Ok(())),
        (&optional, r#"{"nbf":1000011}"#, Err(JwtError::Immature)),
        (&plain, r#"{"exp":"999991"}"#, Err(JwtError::Claims)),
        (&plain, r#"{"exp":1e999}"#, Err(JwtError::Claims)),
        (&plain, r#"{"exp":1,"exp":2000000}"#, Err(JwtError::Claims)),
        (&plain, r#"[{"exp":2000000}]"#, Err(JwtError::Claims)),
        (&optional, r#"{"iss":"anybody"}"#, Ok(())),
        (&optional, r#"{"aud":"chat"}"#, Err(JwtError::Audience)),
        (&optional, r#"{"aud":[]}"#, Err(JwtError::Audience)),
        (&picky, r#"{"exp":2e6,"iss":"b","aud":"app"}"#, Ok(())),
        (
            &picky,
            r#"{"exp":2e6,"iss":"a","aud":["x","chat"]}"#,
            Ok(()),
        ),
        (&picky, r#"{"exp":2e6,"aud":"chat"}"#, Err(JwtError::Issuer)),
        (
            &picky,
            r#"{"exp":2e6,"iss":"A","aud":"chat"}"#,
            Err(JwtError::Issuer),
        ),
        (
            &picky,
            r#"{"exp":2e6,"iss":["a"],"aud":"chat"}"#,
            Err(JwtError::Claims),
        ),
        (&picky, r#"{"exp":2e6,"iss":"a"}"#, Err(JwtError::Audience)),
        (
            &picky,
            r#"{"exp":2e6,"iss":"a","aud":"chatter"}"#,
            Err(JwtError::Audience),
        ),
        (
            &picky,
            r#"{"exp":2e6,"iss":"a","aud":["x"]}"#,
            Err(JwtError::Audience),
        ),
        (
            &picky,
            r#"{"exp":2e6,"iss":"a","aud":[1]}"#,
            Err(JwtError::Claims),
        ),
    ] {
        assert_eq!(check(verifier, claims), expected, "{claims}");
    }
    let other = token(&json!({"exp": 9_999_999_999_u64, "sub": 1}));
    assert_eq!(verifier().verify::<Claims>(&*other), Err(JwtError::Claims));
}

#[test]
fn keys_must_fit_what_they_are_for() {
    use Algorithm as A;
    let secret = |algorithm, length| VerifyingKey::secret(algorithm, &vec![1; length]).map(|_| ());
    for (algorithm, least) in [(A::Hs256, 32), (A::Hs384, 48), (A::Hs512, 64)] {
        assert_eq!(secret(algorithm, least), Ok(()));
        assert_eq!(secret(algorithm, least - 1), Err(KeyError::Secret));
    }
    assert_eq!(secret(A::Rs256, 64), Err(KeyError::Algorithm));
    let pem = |algorithm, text: &str| VerifyingKey::pem(algorithm, text).map(|_| ());
    for (algorithm, name, expected) in [
        (A::Rs256, "rsa", Ok(())),
        (A::Ps512, "rsa", Ok(())),
        (A::Hs256, "rsa", Err(KeyError::Algorithm)),
        (A::Es256, "rsa", Err(KeyError::Algorithm)),
        (A::Rs256, "rsa1024", Err(KeyError::Length)),
        (A::Es256, "p256", Ok(())),
        (A::Es384, "p256", Err(KeyError::Algorithm)),
        (A::Es384, "p384", Ok(())),
        (A::Es256, "p384", Err(KeyError::Algorithm)),
        (A::Es256, "p521", Err(KeyError::Kind)),
        (A::EdDsa, "ed", Ok(())),
        (A::EdDsa, "p256", Err(KeyError::Algorithm)),
        (A::Rs256, "jwks", Err(KeyError::Pem)),
    ] {
        assert_eq!(pem(algorithm, file(name)), expected, "{algorithm:?} {name}");
    }
    for text in [
        String::new(),
        file("rsa").replace("PUBLIC", "PRIVATE"),
        file("ed").replace("MCow", "MCox"),
        file("rsa-pkcs1").replace("RSA PUBLIC", "PUBLIC"),
        file("rsa").replace("PUBLIC KEY", "RSA PUBLIC KEY"),
    ] {
        assert_eq!(pem(A::Rs256, &text), Err(KeyError::Pem), "{text}");
    }
    let shown = format!("{:?}", verifier());
    assert!(!shown.contains("secret of"), "{shown}");
}

#[test]
fn key_sets_are_read_with_care() {
    let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    let ec = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
    let with = |name: &str, value: Value| {
        let mut key = ec.clone();
        key[name] = value;
        key
    };
    let load = |keys: Value, algorithms| {
        KeySet::from_jwks(&json!({"keys": keys}).to_string(), algorithms).map(|_| ())
    };
    for useful in [
        ec.clone(),
        with("alg", json!("ES256")),
        with("use", json!("sig")),
        with("key_ops", json!(["sign", "verify"])),
        with("x5u", json!("https://mallory.example")),
    ] {
        assert_eq!(load(json!([useful]), ALL), Ok(()), "{useful}");
    }
    for useless in [
        with("alg", json!("ES384")),
        with("alg", json!("RS256")),
        with("alg", json!("ECDH-ES")),
        with("alg", json!(7)),
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("crv", json!("P-384")),
        with("crv", json!("P-521")),
        with("kty", json!("RSA")),
        with("kty", json!("oct")),
        with("kty", Value::Null),
        with("x", json!(&x[1..])),
        with("x", json!(format!("{x}="))),
        with("x", json!(format!("AA{x}"))),
        with("y", Value::Null),
        json!({}),
        json!(1),
        json!({"kty": "OKP", "crv": "Ed448", "x": x}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": &x[4..]}),
        json!({"kty": "RSA", "n": x, "e": "AQAB"}),
        json!({"kty": "RSA", "n": A2_MODULUS, "e": ""}),
    ] {
        assert_eq!(
            load(json!([useless]), ALL),
            Err(JwksError::Empty),
            "{useless}"
        );
        assert_eq!(load(json!([useless, ec]), ALL), Ok(()), "{useless}");
    }
    assert_eq!(
        load(json!([ec]), &[Algorithm::Rs256]),
        Err(JwksError::Empty)
    );
    assert_eq!(load(json!([ec]), &[]), Err(JwksError::Empty));
    assert_eq!(load(json!([]), ALL), Err(JwksError::Empty));
}

#[test]
fn key_sets_are_bounded() {
    let load = |count| {
        let jwks: Value = serde_json::from_str(file("jwks")).unwrap();
        let keys = json!({"keys": vec![&jwks["keys"][1]; count]});
        KeySet::from_jwks(&keys.to_string(), ALL).map(|_| ())
    };
    assert_eq!(load(64), Ok(()));
    assert_eq!(load(65), Err(JwksError::TooLong));
    for text in [
        "",
        "{}",
        "[]",
        r#"{"keys":{}}"#,
        "{\"keys\":[",
        &"[".repeat(10_000),
    ] {
        let keys = KeySet::from_jwks(text, ALL);
        assert_eq!(keys.unwrap_err(), JwksError::Malformed, "{text:.20}");
    }
    let long = " ".repeat(JWKS_BYTES_MAX + 1);
    assert_eq!(
        KeySet::from_jwks(&long, ALL).unwrap_err(),
        JwksError::TooLong
    );
}

#[test]
fn reloaded_keys_replace_the_old_ones() {
    let (.., token) = openssl_tokens()[6];
    let keys = KeySet::empty(&[Algorithm::Es256]);
    let verifier = Verifier::new(keys.clone());
    let verify = || verifier.verify_at::<Claims>(token, at(OPENSSL_NOW));
    assert_eq!(verify(), Err(JwtError::Key));
    keys.reload(file("jwks")).unwrap();
    assert_eq!(verify(), Ok(ada()));
    for bad in ["", r#"{"keys":[]}"#] {
        assert!(keys.reload(bad).is_err());
        assert_eq!(verify(), Ok(ada()), "the keys stay");
    }
    let other = file("jwks").replace(r#""kid": "p256""#, r#""kid": "new""#);
    keys.reload(&other).unwrap();
    assert_eq!(verify(), Err(JwtError::Key));
    let fixed = KeySet::from(VerifyingKey::secret(Algorithm::Hs256, SECRET).unwrap());
    assert_eq!(fixed.reload(file("jwks")), Err(JwksError::Empty));
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_and_again() {
    let (.., token) = openssl_tokens()[6];
    let keys = KeySet::empty(&[Algorithm::Es256]);
    let verifier = Verifier::new(keys.clone());
    let fetches = AtomicU32::new(0);
    let start = tokio::time::Instant::now();
    let fresh = keys.keep_fresh(Duration::from_secs(300), || {
        let count = fetches.fetch_add(1, Ordering::Relaxed);
        async move {
            match count {
                0 => Err("the issuer is away"),
                1 => Ok("not a key set".to_owned()),
                2 => future::pending().await,
                _ => Ok(file("jwks").to_owned()),
            }
        }
    });
    // Each of the first three fails: at once, at once, and after 300 s.
    assert!(
        tokio::time::timeout(Duration::from_secs(389), fresh)
            .await
            .is_err()
    );
    assert_eq!(fetches.load(Ordering::Relaxed), 3);
    assert_eq!(
        verifier.verify_at::<Claims>(token, at(OPENSSL_NOW)),
        Err(JwtError::Key)
    );
    let fresh = keys.keep_fresh(Duration::ZERO, || {
        fetches.fetch_add(1, Ordering::Relaxed);
        future::ready(Ok::<_, String>(file("jwks").to_owned()))
    });
    let ten = tokio::time::timeout(Duration::from_millis(9500), fresh);
    assert!(ten.await.is_err());
    assert_eq!(fetches.load(Ordering::Relaxed), 13, "once a second at most");
    assert_eq!(verifier.verify_at(token, at(OPENSSL_NOW)), Ok(ada()));
    assert_eq!(start.elapsed().as_secs(), 398);
}
