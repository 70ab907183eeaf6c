//! TLS between a connection and its socket, the client's side: rustls without any I/O of its own, fed from the fleet's epoll loop. It
//! knows no frames, and neither does it know whether a socket is ready.
//!
//! TLS 1.3 only, so that two figures never compare two protocols, and no resumption, so that every handshake is a whole one. The
//! server's certificate is verified as by any client; there is no way to leave that out.

use crate::failure::Failure;
use rustix::fd::BorrowedFd;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, IpAddr, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, version};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

/// What the sessions of a run share: whom they trust, and the address that the certificate must name.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// Trusts the certificates in a PEM file, to name a server by its address. A certificate that signed itself may be its own
    /// authority.
    ///
    /// # Errors
    /// If the file cannot be read, or holds nothing that can be trusted.
    pub fn new(authority: &Path, address: Ipv4Addr) -> Result<Self, Failure> {
        let unusable = |reason: &dyn std::fmt::Display| {
            Failure::Setting(format!("--ca {}: {reason}", authority.display()))
        };
        let mut roots = RootCertStore::empty();
        for certificate in
            CertificateDer::pem_file_iter(authority).map_err(|error| unusable(&error))?
        {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        if roots.is_empty() {
            return Err(unusable(&"no certificate in it"));
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(Failure::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        // What a browser offers for a WebSocket.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::IpAddress(IpAddr::from(std::net::IpAddr::V4(address))),
        })
    }
}

/// The TLS of one connection.
#[derive(Debug)]
pub struct Session {
    // Ten times as large as the rest of a connection, and most runs have none.
    connection: Box<ClientConnection>,
}

impl Session {
    /// A session whose handshake has not begun; what is sent meanwhile waits for its end.
    pub fn new(tls: &Tls) -> Result<Self, Failure> {
        let connection = ClientConnection::new(Arc::clone(&tls.config), tls.name.clone());
        let mut connection = connection.map_err(Failure::Tls)?;
        // What a socket does not take is kept without a limit, as it is without TLS.
        connection.set_buffer_limit(None);
        Ok(Self {
            connection: Box::new(connection),
        })
    }

    /// Sends what the socket takes now and keeps the rest. Returns whether a rest remains for the socket.
    pub fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<bool, Failure> {
        self.connection
            .writer()
            .write_all(bytes)
            .map_err(Failure::io("encrypting"))?;
        self.flush(socket)
    }

    /// Whether encrypted bytes wait for the socket.
    pub fn is_sending(&self) -> bool {
        self.connection.wants_write()
    }

    /// Sends what was kept, as far as the socket takes it. Returns whether a rest remains.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<bool, Failure> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Wire(socket)) {
                Ok(_) => {}
                Err(error) if is_for_later(&error) => return Ok(true),
                Err(error) => return Err(Failure::io("sending")(error)),
            }
        }
        Ok(false)
    }

    /// Receives once, takes the handshake a step further if that is what came, and gives out all that could be decrypted. `None` if
    /// there is nothing now, 0 at the end of the stream.
    ///
    /// `into` must hold a whole record and what is received at once, about 20 KB.
    ///
    /// # Errors
    /// If the server breaks the protocol, cannot be trusted, or ends TCP without having said in TLS that this is the end: anybody on
    /// the way could have done that.
    pub fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        into: &mut [u8],
    ) -> Result<Option<usize>, Failure> {
        match self.connection.read_tls(&mut Wire(socket)) {
            Ok(0) => {
                let ended = self.connection.reader().read(into);
                return ended.map(Some).map_err(Failure::io("receiving the end"));
            }
            Ok(_) => {}
            Err(error) if is_for_later(&error) => return Ok(None),
            Err(error) => return Err(Failure::io("receiving")(error)),
        }
        self.connection
            .process_new_packets()
            .map_err(Failure::Tls)?;
        self.flush(socket)?;
        let mut filled = 0;
        while filled < into.len() {
            match self.connection.reader().read(&mut into[filled..]) {
                // That TLS is over counts when TCP is too.
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(Failure::io("decrypting")(error)),
            }
        }
        Ok((filled > 0).then_some(filled))
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The socket as rustls wants to see it.
struct Wire<'a>(BorrowedFd<'a>);

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (_, received) = rustix::net::recv(self.0, into, RecvFlags::empty())?;
        Ok(received)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut nothing = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(
            self.0,
            records,
            &mut nothing,
            SendFlags::NOSIGNAL,
        )?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::certificate::Certificate;
    use rustix::fd::AsFd;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};
    use std::os::unix::net::UnixStream;

    /// Far more than the sockets between both ends hold, and no multiple of a record.
    const LARGE_BYTES: usize = 3_000_001;

    /// A session and a server on the two ends of a pair of sockets.
    struct Ends {
        session: Session,
        socket: UnixStream,
        server: ServerConnection,
        server_socket: UnixStream,
    }

    impl Ends {
        fn new() -> Self {
            let certificate = Certificate::generate().unwrap();
            let tls = Tls::new(&certificate.chain(), Ipv4Addr::LOCALHOST).unwrap();
            let chain = CertificateDer::pem_file_iter(certificate.chain()).unwrap();
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    chain.map(Result::unwrap).collect(),
                    PrivateKeyDer::from_pem_file(certificate.key()).unwrap(),
                )
                .unwrap();
            let (socket, server_socket) = UnixStream::pair().unwrap();
            socket.set_nonblocking(true).unwrap();
            server_socket.set_nonblocking(true).unwrap();
            let mut server = ServerConnection::new(Arc::new(config)).unwrap();
            server.set_buffer_limit(None);
            Self {
                session: Session::new(&tls).unwrap(),
                socket,
                server,
                server_socket,
            }
        }

        /// One turn of the server: sends and receives what it can, and adds what came.
        fn turn_server(&mut self, came: &mut Vec<u8>) {
            while self.server.wants_write()
                && self.server.write_tls(&mut self.server_socket).is_ok()
            {}
            if self.server.read_tls(&mut self.server_socket).is_ok() {
                self.server.process_new_packets().unwrap();
                let mut reader = self.server.reader();
                let mut bytes = [0; 4 << 10];
                while let Ok(read @ 1..) = reader.read(&mut bytes) {
                    came.extend_from_slice(&bytes[..read]);
                }
            }
        }
    }

    fn large() -> Vec<u8> {
        (0..LARGE_BYTES).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn keeps_what_the_socket_does_not_take() {
        let mut ends = Ends::new();
        let (mut came, mut into) = (Vec::new(), vec![0; 64 << 10]);
        // Before the handshake, so that it has to wait for two reasons.
        let large = large();
        ends.session.send(ends.socket.as_fd(), &large).unwrap();
        let mut had_a_rest = false;
        while came.len() < large.len() {
            ends.turn_server(&mut came);
            let nothing = ends.session.receive(ends.socket.as_fd(), &mut into);
            assert_eq!(nothing.unwrap(), None);
            had_a_rest |= ends.session.is_sending();
            let rest = ends.session.flush(ends.socket.as_fd()).unwrap();
            assert_eq!(rest, ends.session.is_sending());
        }
        assert!(had_a_rest && came == large);
    }

    #[test]
    fn gives_out_everything_and_then_the_end() {
        let mut ends = Ends::new();
        let (mut came, mut into) = (Vec::new(), vec![0; 64 << 10]);
        let large = large();
        ends.session.send(ends.socket.as_fd(), b"").unwrap();
        ends.server.writer().write_all(&large).unwrap();
        let mut has_said_the_end = false;
        loop {
            ends.turn_server(&mut Vec::new());
            if !has_said_the_end && came.len() == large.len() {
                ends.server.send_close_notify();
                ends.turn_server(&mut Vec::new());
                ends.server_socket
                    .shutdown(std::net::Shutdown::Write)
                    .unwrap();
                has_said_the_end = true;
            }
            match ends
                .session
                .receive(ends.socket.as_fd(), &mut into)
                .unwrap()
            {
                Some(0) => break,
                Some(received) => came.extend_from_slice(&into[..received]),
                None => {}
            }
        }
        assert!(has_said_the_end && came == large);
    }
}
