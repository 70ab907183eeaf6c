//! The same over TLS: a program that speaks it stands before the floor or before the proxy, and may break TLS itself. Its TLS is rustls
//! too; what is under test is the load generator's part around it.

use super::proxy::{Fault, proxy};
use super::{all_pass, at, caught, clean, floor, play_churn, play_echo, play_fanout, play_idle};
use bennu_bench::suite::certificate::Certificate;
use bennu_bench::target::Target;
use rustix::event::{PollFd, PollFlags, poll};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, version};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// What goes wrong below the frames, on the third connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    Nothing,
    /// The end of TCP comes without the end of TLS.
    NoCloseNotify,
    /// A bit of the third record after the handshake is flipped.
    FlippedBit,
    /// Every byte travels alone, in the handshake too.
    BytePerByte,
}

/// A server with TLS before `upstream`, and the way to it. The certificate must live as long as the way is in the making.
fn speaks_tls(upstream: SocketAddr, certificate: &Certificate, trouble: Trouble) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(certificate.chain()).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let front = Front {
                tls: ServerConnection::new(Arc::clone(&config)).unwrap(),
                client,
                upstream: TcpStream::connect(upstream).unwrap(),
                trouble: if number == 2 {
                    trouble
                } else {
                    Trouble::Nothing
                },
                sent: 0,
            };
            // A client that hangs up is nothing to report.
            std::thread::spawn(move || front.serve());
        }
    });
    address
}

/// One connection of it.
struct Front {
    tls: ServerConnection,
    client: TcpStream,
    upstream: TcpStream,
    trouble: Trouble,
    /// How often something was sent after the handshake.
    sent: usize,
}

impl Front {
    fn serve(mut self) -> io::Result<()> {
        let mut bytes = [0; 16 << 10];
        loop {
            let [client, upstream] = self.wait()?;
            if client {
                if self.tls.read_tls(&mut self.client)? == 0 {
                    return Ok(());
                }
                let outcome = self.tls.process_new_packets();
                self.flush()?;
                outcome.map_err(io::Error::other)?;
                match self.tls.reader().read(&mut bytes) {
                    Ok(received) => self.upstream.write_all(&bytes[..received])?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            if upstream {
                let received = self.upstream.read(&mut bytes)?;
                if received > 0 {
                    self.tls.writer().write_all(&bytes[..received])?;
                    self.flush()?;
                    continue;
                }
                if self.trouble != Trouble::NoCloseNotify {
                    self.tls.send_close_notify();
                    self.flush()?;
                }
                return self.client.shutdown(Shutdown::Write);
            }
        }
    }

    fn wait(&self) -> io::Result<[bool; 2]> {
        let mut ready = [
            PollFd::new(&self.client, PollFlags::IN),
            PollFd::new(&self.upstream, PollFlags::IN),
        ];
        poll(&mut ready, None)?;
        Ok(ready.map(|ready| !ready.revents().is_empty()))
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes)?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.tls.is_handshaking() {
            self.sent += 1;
        }
        match self.trouble {
            Trouble::FlippedBit if self.sent == 3 => {
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
            }
            Trouble::BytePerByte => {
                self.client.set_nodelay(true)?;
                return bytes
                    .chunks(1)
                    .try_for_each(|byte| self.client.write_all(byte));
            }
            _ => {}
        }
        self.client.write_all(&bytes)
    }
}

fn trusting(address: SocketAddr, certificate: &Certificate) -> Target {
    let url = format!("wss://{address}/socket/websocket?vsn=2.0.0");
    Target::parse_tls(&url, &certificate.chain()).unwrap()
}

fn target(upstream: SocketAddr, trouble: Trouble) -> Target {
    let certificate = Certificate::generate().unwrap();
    trusting(speaks_tls(upstream, &certificate, trouble), &certificate)
}

/// The floor, behind a proxy that spoils a frame, behind TLS.
fn spoiled(position: usize, fault: Fault) -> Target {
    target(proxy(floor(), position, fault), Trouble::Nothing)
}

#[test]
fn every_scenario_passes() {
    all_pass(&|| target(floor(), Trouble::Nothing));
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    clean(play_echo(target(floor(), Trouble::BytePerByte), None));
    clean(play_churn(target(floor(), Trouble::BytePerByte)));
}

#[test]
fn what_is_lost_doubled_swapped_or_altered_is_noticed() {
    caught(
        play_fanout(spoiled(7, Fault::Lose), 1),
        "stream 2: 7 published, the last to come was number 5",
    );
    caught(
        play_fanout(spoiled(23, Fault::Double), 1),
        "stream 2: message 22 came again",
    );
    caught(
        play_fanout(spoiled(7, Fault::SwapWithNext), 5),
        "stream 2: message 6 came after message 7",
    );
    caught(
        play_fanout(spoiled(7, Fault::Alter("xxx", "xyx")), 1),
        "expected",
    );
    caught(play_echo(spoiled(4, Fault::Lose), None), "expected");
    caught(
        play_fanout(spoiled(7, Fault::Cut), 1),
        "connection 2: expected a broadcast, got Ended",
    );
    caught(
        play_churn(spoiled(3, Fault::Double)),
        "nothing after the close frame",
    );
}

#[test]
fn the_end_of_tcp_is_not_the_end_of_tls() {
    caught(
        play_churn(target(floor(), Trouble::NoCloseNotify)),
        "receiving the end: peer closed connection without sending TLS close_notify",
    );
}

#[test]
fn a_flipped_bit_is_noticed() {
    caught(
        play_echo(target(floor(), Trouble::FlippedBit), None),
        "TLS: ",
    );
}

#[test]
fn only_the_right_certificate_will_do() {
    let (own, other) = (
        Certificate::generate().unwrap(),
        Certificate::generate().unwrap(),
    );
    let address = speaks_tls(floor(), &own, Trouble::Nothing);
    caught(
        play_idle(trusting(address, &other)),
        "TLS: invalid peer certificate",
    );
    clean(play_idle(trusting(address, &own)));
    // The certificate is for 127.0.0.1; the server is the same.
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let elsewhere = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut upstream = TcpStream::connect(address).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || io::copy(&mut from, &mut to));
            std::thread::spawn(move || io::copy(&mut upstream, &mut &client));
        }
    });
    caught(
        play_idle(trusting(elsewhere, &own)),
        "TLS: invalid peer certificate",
    );
}

#[test]
fn who_does_not_speak_tls_is_not_taken_for_somebody_who_does() {
    let certificate = Certificate::generate().unwrap();
    let address = speaks_tls(floor(), &certificate, Trouble::Nothing);
    // The floor itself would end at a request that it does not know.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            let _ = (&client).write_all(answer);
        }
    });
    caught(play_idle(trusting(plain, &certificate)), "TLS: ");
    assert!(play_idle(at(address)).is_err());
}
