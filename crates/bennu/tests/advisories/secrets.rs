//! Tokens, sessions, and what logs show of them. Tables of what a token must not be stand in
//! `tests/token`; here is what they do at the door.

use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bennu::socket::{ConnectInfo, SessionCookie};
use bennu::token::{Keyring, Session, SessionOptions, SessionStore, SignOptions, Term, csrf};
use bennu::{PubSub, Refused, Sockets};
use bennu_testkit::TestEndpoint;

use crate::client::{Plain, UPGRADE};
use crate::poller::request;
use crate::target::{Lines, Target};

const SECRET: &str = "abcdefghabcdefghabcdefghabcdefghabcdefghabcdefghabcdefghabcdefgh";

fn keys() -> Keyring {
    Keyring::new(SECRET, "user auth").unwrap()
}

/// Sockets for whoever has a token of ours.
fn kit() -> TestEndpoint {
    let connect = async |info: ConnectInfo| {
        let token = info.auth_token().and_then(|token| token.as_str());
        let user: u64 = keys().verify(token).map_err(|_| Refused::forbidden())?;
        Ok::<_, Refused>(user)
    };
    TestEndpoint::new(Sockets::new(PubSub::local(), connect).with_auth_token())
}

async fn connects(kit: &TestEndpoint, token: &str) -> bool {
    let bearer = format!(
        "phoenix, base64url.bearer.phx.{}",
        STANDARD_NO_PAD.encode(token)
    );
    let request = TestEndpoint::request(&[]).header("sec-websocket-protocol", bearer);
    kit.connect_with(request.body(()).unwrap()).await.is_ok()
}

/// Bytes, signed with our key, as nobody else can.
fn signed(payload: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(SECRET.as_bytes(), b"user auth", 1000, &mut key);
    let message = format!("SFMyNTY.{}", URL_SAFE_NO_PAD.encode(payload));
    let mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    let signature = mac.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// CVE-2026-55735 (guardian acts on a token before it is verified) and the whole class: no signature, another
/// one, another algorithm's name, other salts and secrets, the past and the future.
#[tokio::test]
async fn forged_and_stale_tokens() {
    let kit = kit();
    let good = keys().sign(&1_u64).unwrap();
    assert!(connects(&kit, &good).await);
    let at = |signed_at| {
        let options = SignOptions::default().with_signed_at(signed_at);
        keys().sign_with(&1_u64, &options).unwrap()
    };
    let (now, year) = (SystemTime::now(), Duration::from_secs(365 * 86_400));
    let parts: Vec<&str> = good.split('.').collect();
    let (payload, signature) = (parts[1], parts[2]);
    let bad = [
        String::new(),
        "null".to_owned(),
        "..".to_owned(),
        payload.to_owned(),
        format!("SFMyNTY.{payload}"),
        format!("SFMyNTY.{payload}."),
        format!("SFMyNTY.{payload}.{}", "A".repeat(43)),
        format!("SFMyNTY.{payload}.{signature}.{signature}"),
        format!("bm9uZQ.{payload}.{signature}"),
        format!("bm9uZQ.{payload}."),
        format!("SFM1MTI.{payload}.{signature}"),
        format!("sfmynty.{payload}.{signature}"),
        format!("SFMyNTY.{payload}A.{signature}"),
        format!("SFMyNTY.g2gDYQJuBgA.{signature}"),
        good[..good.len() - 1].to_owned(),
        good[1..].to_owned(),
        format!(" {good}"),
        format!("{good}\0"),
        Keyring::new(SECRET, "other").unwrap().sign(&1_u64).unwrap(),
        Keyring::new(SECRET.to_uppercase(), "user auth")
            .unwrap()
            .sign(&1_u64)
            .unwrap(),
        keys().encrypt(&1_u64).unwrap(),
        keys().sign("1").unwrap(),
        at(now - year),
        at(now + year),
        at(SystemTime::UNIX_EPOCH),
    ];
    for token in bad {
        assert!(!connects(&kit, &token).await, "{token}");
    }
    // Any one character changed.
    for place in (0..good.len() - 1).step_by(3) {
        let mut forged = good.clone().into_bytes();
        forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
        assert!(
            !connects(&kit, &String::from_utf8(forged).unwrap()).await,
            "{place}"
        );
    }
}

/// CVE-2026-54890, CVE-2026-55737 and CVE-2026-48853 (decoders of Erlang's external term format), CVE-2026-8469
/// (atoms): even under our own signature a term is data, bounded in depth and size, and never code.
#[tokio::test]
async fn term_bombs() {
    let kit = kit();
    let bombs: [(&str, Vec<u8>); 10] = [
        (
            "deep",
            [&[131][..], &[104, 1].repeat(20_000), &[106]].concat(),
        ),
        (
            "deep lists",
            [&[131][..], &[108, 0, 0, 0, 1].repeat(5000)].concat(),
        ),
        ("announced list", vec![131, 108, 0xff, 0xff, 0xff, 0xff]),
        ("announced binary", vec![131, 109, 0xff, 0xff, 0xff, 0xff]),
        ("announced tuple", vec![131, 105, 0xff, 0xff, 0xff, 0xff]),
        ("announced map", vec![131, 116, 0xff, 0xff, 0xff, 0xff]),
        (
            "announced integer",
            vec![131, 111, 0xff, 0xff, 0xff, 0xff, 0],
        ),
        (
            "announced inflation",
            vec![131, 80, 0xff, 0xff, 0xff, 0xff, 0x78, 0x9c],
        ),
        ("function", vec![131, 112, 0, 0, 0, 4]),
        (
            "export",
            vec![
                131, 113, 100, 0, 2, b'o', b's', 100, 0, 3, b'c', b'm', b'd', 97, 1,
            ],
        ),
    ];
    for (name, bytes) in bombs {
        let started = Instant::now();
        let memory = allocation_counter::measure(|| {
            assert!(Term::decode(&bytes).is_err(), "{name}");
        });
        assert!(memory.bytes_max < 1 << 20, "{name}: {memory:?}");
        assert!(!connects(&kit, &signed(&bytes)).await, "{name}");
        assert!(started.elapsed() < Duration::from_secs(5), "{name}");
    }
}

/// CVE-2025-4754 and every forged session: a cookie that was not signed by us, and a page that does not know
/// the CSRF token of the session it rides on.
#[tokio::test]
async fn forged_sessions() {
    let options = SessionOptions::new("salt");
    let store = SessionStore::new(SECRET, &options).unwrap();
    let connect = async |info: ConnectInfo| {
        let session = info.session::<Session>().ok_or(Refused::forbidden())?;
        let user: u64 = session.get("user").ok_or(Refused::forbidden())?;
        Ok::<_, Refused>(user)
    };
    let cookie = SessionCookie::of_phoenix("_key", store.clone());
    let sockets = Sockets::new(PubSub::local(), connect).with_session(cookie);
    let kit = TestEndpoint::new(sockets);
    let connects = async |cookie: &str, csrf_token: &str| {
        let params = [("_csrf_token", csrf_token)];
        let request = TestEndpoint::request(&params).header("cookie", format!("_key={cookie}"));
        kit.connect_with(request.body(()).unwrap()).await.is_ok()
    };
    let session = |value: &str| {
        let mut session = Session::default();
        session.insert("user", &1_u64).unwrap();
        session.insert("_csrf_token", value).unwrap();
        session
    };
    let value = csrf::generate().unwrap();
    let ours = store.encode(&session(&value)).unwrap();
    let masked = csrf::mask(&value).unwrap();
    assert!(connects(&ours, &masked).await);
    let other = SessionStore::new(SECRET.to_uppercase(), &options).unwrap();
    let other_salt = SessionStore::new(SECRET, &SessionOptions::new("other")).unwrap();
    let forged = [
        other.encode(&session(&value)).unwrap(),
        other_salt.encode(&session(&value)).unwrap(),
        ours[..ours.len() - 2].to_owned(),
        ours.replacen("SFMyNTY", "bm9uZQ", 1),
        ours.split('.').take(2).collect::<Vec<_>>().join("."),
        String::new(),
    ];
    for cookie in forged {
        assert!(!connects(&cookie, &masked).await, "{cookie}");
    }
    let another = csrf::mask(&csrf::generate().unwrap()).unwrap();
    for token in [
        "",
        &another,
        &masked[1..],
        "null",
        &"A".repeat(56),
        &"A".repeat(60_000),
    ] {
        assert!(!connects(&ours, token).await, "{token}");
    }
}

/// CWE-532: tokens in logs. With everything logged that anybody logs, hyper and h2 included, a token shows
/// up neither from the query, nor the subprotocol, nor a header, nor params, and in nothing that prints itself.
#[tokio::test]
async fn tokens_in_logs() {
    let (lines, _guard) = Lines::capture();
    // As it is, in the encodings in which it travels, and its beginning in each.
    let secret = "hunter2-hunter2-hunter2";
    let encoded = STANDARD_NO_PAD.encode(secret);
    let target = Target::new();
    let server = target.serve().await;
    let offer = format!("Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.{encoded}\r\n\r\n");
    let mut client = Plain::connect(server.addr).await;
    client
        .send(UPGRADE.trim_end().to_owned() + "\r\n" + &offer)
        .await;
    assert!(client.head().await.starts_with("http/1.1 101"));
    let query = UPGRADE.replace("vsn=2.0.0", &format!("vsn=2.0.0&token={secret}"));
    let mut client = Plain::connect(server.addr).await;
    client.send(query).await;
    let mut wire = bennu_testkit::TestWire::over({
        assert!(client.head().await.starts_with("http/1.1 101"));
        client.0
    });
    wire.send_text(&format!(
        r#"["1","1","room:1","phx_join",{{"token":"{secret}"}}]"#
    ))
    .await;
    wire.next_text().await;
    for event in ["say", "panic"] {
        let push = format!(r#"["1","2","room:1","{event}",{{"a":{{"password":"{secret}"}}}}]"#);
        wire.send_text(&push).await;
        wire.next_text().await;
    }
    // A token that cannot be read, and one of a session that is none.
    let offer = offer.replace(&encoded, &format!("{encoded}!"));
    let mut client = Plain::connect(server.addr).await;
    client
        .send(UPGRADE.trim_end().to_owned() + "\r\n" + &offer)
        .await;
    assert!(client.head().await.starts_with("http/1.1 400"));
    let service = target.kit().service();
    let headers = [
        ("x-phoenix-authtoken", secret),
        ("x-phoenix-longpoll-token", secret),
        ("authorization", secret),
        ("cookie", secret),
    ];
    let query = format!("vsn=2.0.0&token=lp1.0.{secret}");
    for method in ["GET", "POST"] {
        request(&service, method, &query, &headers, "").await;
    }
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(String::new()));
    let told = std::sync::Arc::clone(&seen);
    let sockets = Sockets::new(PubSub::local(), async move |info: ConnectInfo| {
        *told.lock() = format!("{info:?} {:?}", info.auth_token());
        Ok::<_, Refused>(())
    });
    let kit = TestEndpoint::new(sockets.with_auth_token());
    let bearer = format!("phoenix, base64url.bearer.phx.{encoded}");
    let asked =
        TestEndpoint::request(&[("token", secret)]).header("sec-websocket-protocol", bearer);
    kit.connect_with(asked.body(()).unwrap()).await.unwrap();
    let log = lines.take() + &seen.lock();
    assert!(log.contains("DEBUG bennu"), "everything is logged");
    assert!(log.contains("[FILTERED]"));
    for shown in [secret, "hunter2-hun", &encoded, &encoded[..12]] {
        let line = log.lines().find(|line| line.contains(shown));
        assert_eq!(line, None, "{shown}");
    }
}
