//! [`Tls`]: certificates and keys from PEM files, and reading them anew while the server runs. The
//! handshakes are in `handshake.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

pub(super) const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The certificate of a server, for [`Server::with_tls`](super::Server::with_tls). TLS 1.3 and 1.2, by
/// rustls with ring; ALPN offers `h2` and `http/1.1`. A clone shares the certificate: keep one to
/// [reload](Tls::reload) it.
#[derive(Clone, Debug)]
pub struct Tls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    files: Files,
    /// Held for as long as it takes to clone or to replace two pointers.
    configs: RwLock<Configs>,
}

#[derive(Clone, Debug)]
struct Files {
    certificates: PathBuf,
    key: PathBuf,
    clients: Option<Clients>,
}

#[derive(Clone, Debug)]
struct Clients {
    authorities: PathBuf,
    are_required: bool,
}

#[derive(Debug)]
struct Configs {
    all: Arc<ServerConfig>,
    http1_only: Arc<ServerConfig>,
}

/// A certificate was not taken. Each text names the file and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not PEM.
    #[error("{path}: is not well-formed PEM", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
    },
    /// There is no certificate in the file.
    #[error("{path}: holds no certificate; expected PEM with BEGIN CERTIFICATE", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no key in the file.
    #[error(
        "{path}: holds no private key; expected PEM with BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY \
         or BEGIN EC PRIVATE KEY, not encrypted",
        path = path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that cannot be used.
    #[error("{path}: the private key cannot be used; expected RSA, ECDSA P-256 or P-384, or Ed25519", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The certificate belongs to another key.
    #[error("{certificates}: the first certificate does not belong to the private key in {key}",
        certificates = certificates.display(), key = key.display())]
    Mismatch {
        /// The file with the certificate.
        certificates: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// A certificate cannot be understood.
    #[error("{path}: a certificate cannot be used: {source}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The authorities of client certificates cannot be used.
    #[error("{path}: client certificates cannot be verified with it: {source}", path = path.display())]
    Clients {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: VerifierBuilderError,
    },
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its private key. Blocks while it
    /// reads the two files.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn from_pem_files(
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        Self::read(Files {
            certificates: certificates.into(),
            key: key.into(),
            clients: None,
        })
    }

    /// Asks clients for a certificate that one of the authorities in this PEM file has signed. Without
    /// `are_required` a client may have none; one that cannot be verified ends the handshake either
    /// way. The application finds it in [`PeerAddr::certificate`](super::PeerAddr::certificate).
    ///
    /// Returns a value of its own: clones that were made before ask for nothing.
    ///
    /// # Errors
    /// As for [`Tls::from_pem_files`]; all files are read again.
    pub fn with_client_certificates(
        self,
        authorities: impl Into<PathBuf>,
        are_required: bool,
    ) -> Result<Self, TlsError> {
        let mut files = self.shared.files.clone();
        files.clients = Some(Clients {
            authorities: authorities.into(),
            are_required,
        });
        Self::read(files)
    }

    /// Reads the files again. Connections that come from now on see the new certificate, those that
    /// are there keep theirs. Blocks while it reads the files.
    ///
    /// # Errors
    /// As for [`Tls::from_pem_files`]; the certificate stays the one it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let configs = self.shared.files.load()?;
        *self.shared.configs.write() = configs;
        Ok(())
    }

    fn read(files: Files) -> Result<Self, TlsError> {
        let configs = RwLock::new(files.load()?);
        let shared = Arc::new(Shared { files, configs });
        Ok(Self { shared })
    }

    pub(super) fn config(&self, http1_only: bool) -> Arc<ServerConfig> {
        let configs = self.shared.configs.read();
        let config = if http1_only {
            &configs.http1_only
        } else {
            &configs.all
        };
        Arc::clone(config)
    }
}

impl Files {
    fn load(&self) -> Result<Configs, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = read_certificates(&self.certificates)?;
        let key = read_key(&self.key)?;
        // On its own first, so that what is wrong with the key is not blamed on the certificate.
        provider
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|source| TlsError::Key {
                path: self.key.clone(),
                source,
            })?;
        let certificate_error = |source| match source {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
                certificates: self.certificates.clone(),
                key: self.key.clone(),
            },
            source => TlsError::Certificate {
                path: self.certificates.clone(),
                source,
            },
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(certificate_error)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(certificate_error)?;
        // Who comes back after a drain need not shake hands in full, and the server remembers nothing
        // for it. New keys for each load: a ticket does not outlive the rules it was given under.
        config.ticketer = ring::Ticketer::new().map_err(certificate_error)?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        let http1_only = Arc::new(config.clone());
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
        Ok(Configs {
            all: Arc::new(config),
            http1_only,
        })
    }
}

impl Clients {
    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(&self.authorities)? {
            roots
                .add(certificate)
                .map_err(|source| TlsError::Certificate {
                    path: self.authorities.clone(),
                    source,
                })?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if !self.are_required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|source| TlsError::Clients {
            path: self.authorities.clone(),
            source,
        })
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let sections = CertificateDer::pem_file_iter(path).map_err(|error| pem_error(path, error))?;
    let certificates: Vec<_> = sections
        .collect::<Result<_, _>>()
        .map_err(|error| pem_error(path, error))?;
    if certificates.is_empty() {
        let path = path.to_owned();
        return Err(TlsError::NoCertificate { path });
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey {
            path: path.to_owned(),
        },
        error => pem_error(path, error),
    })
}

fn pem_error(path: &Path, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => TlsError::Read { path, source },
        // The rest quotes what is in the file, which may be a key.
        _ => TlsError::Pem { path },
    }
}
