//! TLS: both versions of HTTP, WebSockets over both, certificates that are replaced or wrong, and
//! handshakes that do not come to an end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bennu::serve::{Listener, ServeLimits, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::{Http2, Plain, UPGRADE, closed, echo, heartbeat};
use crate::support::start;

/// An authority, and files in a folder of the test's own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new() -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("bennu-tls-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self { issuer, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// A fresh certificate for `localhost`: what is in the two files, and the certificate in DER.
    fn certify(&self) -> (String, KeyPair, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key, certificate.der().clone())
    }

    /// The same, written to where [`Authority::tls`] reads it.
    fn renew(&self) -> CertificateDer<'static> {
        let (pem, key, der) = self.certify();
        self.write("cert.pem", &pem);
        self.write("key.pem", &key.serialize_pem());
        der
    }

    fn tls(&self) -> Tls {
        self.renew();
        Tls::from_pem_files(self.path("cert.pem"), self.path("key.pem")).unwrap()
    }

    fn client(&self, alpn: &[&str], with_certificate: bool) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = if with_certificate {
            let (_, key, certificate) = self.certify();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            config
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        } else {
            config.with_no_client_auth()
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(&self, addr: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(addr).await.unwrap();
        let name = "localhost".try_into().unwrap();
        self.client(alpn, false)
            .connect(name, stream)
            .await
            .unwrap()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates.first().unwrap().clone().into_owned()
}

#[tokio::test]
async fn both_versions_carry_sockets_and_see_1012_at_the_end() {
    let authority = Authority::new();
    let tls = authority.tls();
    let plain = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let plain_addr = plain.local_addr().unwrap();
    let plain = plain.without_tls();
    let server = start(|server| server.with_tls(tls).with_listener(plain)).await;

    let mut http1 = Plain(authority.connect(server.addr, &["http/1.1"]).await);
    let (_, body) = http1.get("/peer").await;
    assert!(body.ends_with("tls=true certificate=0"), "{body}");
    let mut over_http1 = http1.upgrade().await;
    heartbeat(&mut over_http1).await;
    echo(&mut over_http1).await;

    let stream = authority.connect(server.addr, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut http2 = Http2::over(stream).await;
    let mut over_http2 = http2.websocket().await;
    heartbeat(&mut over_http2).await;
    echo(&mut over_http2).await;

    let (_, body) = Plain::connect(plain_addr).await.get("/peer").await;
    assert!(body.ends_with("tls=false certificate=0"), "{body}");

    let mut without_alpn = Plain(authority.connect(server.addr, &[]).await);
    assert_eq!(without_alpn.get("/ok").await.1, "ok");

    let served = server.stop();
    closed(&mut over_http1, 1012).await;
    closed(&mut over_http2, 1012).await;
    assert_eq!(served.await.unwrap().sockets_closed, 2);
    http2.ended().await;
}

/// RFC 8446, 6.1: without `close_notify` a client cannot tell the end from one that was forced on it.
#[tokio::test]
async fn a_socket_that_is_closed_ends_tls_before_tcp() {
    let authority = Authority::new();
    let tls = authority.tls();
    let server = start(|server| server.with_tls(tls)).await;
    let stream = authority.connect(server.addr, &["http/1.1"]).await;
    let mut client = Plain(stream);
    client.send(UPGRADE).await;
    assert!(client.head().await.starts_with("http/1.1 101 "));
    // A close frame with code 1000, its mask all zeros; the answer has none.
    client.send([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await;
    let mut rest = Vec::new();
    // An end without `close_notify` is an error of rustls.
    client.0.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, [0x88, 0x02, 0x03, 0xe8]);
}

#[tokio::test]
async fn without_http2_it_is_not_offered() {
    let authority = Authority::new();
    let tls = authority.tls();
    let server = start(|server| server.with_tls(tls).with_http1_only()).await;
    let stream = authority.connect(server.addr, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_reload_changes_what_new_connections_see_and_bad_files_change_nothing() {
    let authority = Authority::new();
    let tls = authority.tls();
    let before = authority.renew();
    tls.reload().unwrap();
    let reloaded = tls.clone();
    let server = start(|server| server.with_tls(tls)).await;
    let old = authority.connect(server.addr, &["http/1.1"]).await;
    assert_eq!(shown(&old), before);

    let after = authority.renew();
    assert_eq!(shown(&authority.connect(server.addr, &[]).await), before);
    reloaded.reload().unwrap();
    assert_eq!(shown(&authority.connect(server.addr, &[]).await), after);
    assert_eq!(Plain(old).get("/ok").await.1, "ok", "the old one goes on");

    authority.write("cert.pem", "half a certifi");
    reloaded.reload().unwrap_err();
    assert_eq!(shown(&authority.connect(server.addr, &[]).await), after);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let authority = Authority::new();
    let (pem, key, _) = authority.certify();
    let key = key.serialize_pem();
    let (_, other_key, _) = authority.certify();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let nonsense_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_base64 = "-----BEGIN CERTIFICATE-----\n!!secret!!\n-----END CERTIFICATE-----\n";
    let table = [
        (Some(""), Some(&*key), "c.pem: holds no certificate"),
        (Some(&*key), Some(&*key), "c.pem: holds no certificate"),
        (None, Some(&*key), "c.pem: cannot be read: No such file"),
        (
            Some(not_base64),
            Some(&*key),
            "c.pem: is not well-formed PEM",
        ),
        (
            Some(nonsense),
            Some(&*key),
            "c.pem: a certificate cannot be used",
        ),
        (Some(&*pem), None, "k.pem: cannot be read: No such file"),
        (Some(&*pem), Some(&*pem), "k.pem: holds no private key"),
        (Some(&*pem), Some(encrypted), "k.pem: holds no private key"),
        (
            Some(&*pem),
            Some(nonsense_key),
            "k.pem: the private key cannot be used",
        ),
        (
            Some(&*pem),
            Some(&*other_key.serialize_pem()),
            "c.pem: the first certificate does not belong to the private key in ",
        ),
    ];
    for (certificates, key, expected) in table {
        let file = |name, text: Option<&str>| match text {
            Some(text) => authority.write(name, text),
            None => {
                let _ = std::fs::remove_file(authority.path(name));
                authority.path(name)
            }
        };
        let (certificates, key) = (file("c.pem", certificates), file("k.pem", key));
        let error = Tls::from_pem_files(certificates, key)
            .unwrap_err()
            .to_string();
        let found = error.replace(&format!("{}/", authority.folder.display()), "");
        assert!(
            found.starts_with(expected),
            "{found:?} instead of {expected:?}"
        );
        assert!(!found.contains("secret"), "{found}");
    }
}

#[tokio::test]
async fn clients_can_be_asked_for_certificates() {
    let authority = Authority::new();
    let ca = authority.write("ca.pem", &authority.issuer.pem());
    let ask = async |are_required, with_certificate| {
        let tls = authority.tls().with_client_certificates(&ca, are_required);
        let server = start(|server| server.with_tls(tls.unwrap())).await;
        let stream = TcpStream::connect(server.addr).await.unwrap();
        let client = authority.client(&["http/1.1"], with_certificate);
        let stream = client
            .connect("localhost".try_into().unwrap(), stream)
            .await;
        let mut client = Plain(stream.unwrap());
        use tokio::io::AsyncWriteExt;
        let request = b"GET /peer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let _ = client.0.write_all(request).await;
        String::from_utf8(client.rest().await).unwrap()
    };
    assert!(ask(false, false).await.ends_with("certificate=0"));
    let known = ask(true, true).await;
    assert!(
        known.contains("tls=true") && !known.ends_with("certificate=0"),
        "{known}"
    );
    assert_eq!(ask(true, false).await, "");
    // One that cannot be verified is refused even where none is required.
    let stranger = Authority::new();
    let tls = authority
        .tls()
        .with_client_certificates(stranger_ca(&stranger), false);
    let server = start(|server| server.with_tls(tls.unwrap())).await;
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let client = authority.client(&["http/1.1"], true);
    if let Ok(stream) = client
        .connect("localhost".try_into().unwrap(), stream)
        .await
    {
        assert_eq!(Plain(stream).rest().await, b"");
    }
}

fn stranger_ca(stranger: &Authority) -> PathBuf {
    stranger.write("ca.pem", &stranger.issuer.pem())
}

async fn limited(authority: &Authority, change: impl FnOnce(&mut ServeLimits)) -> SocketAddr {
    let mut limits = ServeLimits::default();
    change(&mut limits);
    let tls = authority.tls();
    let server = start(|server| server.with_tls(tls).with_limits(limits)).await;
    let addr = server.addr;
    // It runs as long as the test does.
    std::mem::forget(server);
    addr
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut() {
    let authority = Authority::new();
    let addr = limited(&authority, |limits| {
        limits.tls_handshake_timeout = Duration::from_millis(100);
        limits.header_read_timeout = Duration::from_millis(200);
    })
    .await;
    for beginning in ["", "\x16", "\x16\x03\x01\x02\0", "GET / HTTP/1.1\r\n\r\n"] {
        let mut client = Plain::connect(addr).await;
        client.send(beginning).await;
        let rest = client.rest().await;
        assert!(!rest.starts_with(b"HTTP"), "{beginning:?}");
    }
    // One that does, and says nothing afterwards.
    let mut silent = Plain(authority.connect(addr, &["http/1.1"]).await);
    assert_eq!(silent.rest().await, b"");
    let mut silent = Plain(authority.connect(addr, &["h2"]).await);
    silent.rest().await;
}

#[tokio::test]
async fn handshakes_wait_for_a_place_and_the_silent_take_none() {
    let authority = Authority::new();
    let addr = limited(&authority, |limits| limits.tls_handshakes_max = 1).await;
    let _silent = Plain::connect(addr).await;
    let mut first = Plain(authority.connect(addr, &["http/1.1"]).await);
    assert_eq!(first.get("/ok").await.1, "ok");
    // This one takes the place as soon as the server has looked.
    let mut stalled = Plain::connect(addr).await;
    stalled.send("\x16\x03\x01\x02\0").await;
    let moment = Duration::from_millis(100);
    let waiting = loop {
        let mut connecting = Box::pin(authority.connect(addr, &["http/1.1"]));
        if tokio::time::timeout(moment, &mut connecting).await.is_err() {
            break connecting;
        }
    };
    drop(stalled);
    assert_eq!(Plain(waiting.await).get("/ok").await.1, "ok");
}

#[tokio::test]
async fn with_tls_too_many_are_hung_up_on() {
    let authority = Authority::new();
    let addr = limited(&authority, |limits| limits.connections_max = 1).await;
    let mut client = Plain(authority.connect(addr, &["http/1.1"]).await);
    assert_eq!(client.get("/ok").await.1, "ok");
    assert_eq!(Plain::connect(addr).await.rest().await, b"");
}
