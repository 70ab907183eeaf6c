//! The certificate of a server that the suite starts with TLS: made for the occasion, its own authority, gone with the suite.

use std::error::Error;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A certificate for 127.0.0.1 and its key, as files in a directory that nobody else can read, for as long as this value lives.
#[derive(Debug)]
pub struct Certificate {
    directory: PathBuf,
}

impl Certificate {
    /// Makes both: ECDSA on P-256, which is what most servers have.
    pub fn generate() -> Result<Self, Box<dyn Error>> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let certificate = Self {
            directory: fresh_directory()?,
        };
        fs::write(certificate.chain(), made.cert.pem())?;
        fs::write(certificate.key(), made.signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// The certificate, which is also the authority to trust.
    pub fn chain(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    /// Its private key.
    pub fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // What cannot be removed is worthless to whoever finds it.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A directory that was not there before. Tests make several in one process.
fn fresh_directory() -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let name = format!("bennu-bench-tls-{}-{number}", std::process::id());
        let directory: &Path = &std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            outcome => return outcome.map(|()| directory.to_path_buf()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tls;

    #[test]
    fn can_be_trusted_and_leaves_nothing_behind() {
        let certificate = Certificate::generate().unwrap();
        let address = "127.0.0.1".parse().unwrap();
        Tls::new(&certificate.chain(), address).unwrap();
        let error = Tls::new(&certificate.key(), address).unwrap_err();
        assert!(
            error.to_string().contains("no certificate in it"),
            "{error}"
        );
        let other = Certificate::generate().unwrap();
        assert_ne!(certificate.chain(), other.chain());
        let directory = certificate.directory.clone();
        drop(certificate);
        assert!(!directory.exists() && other.key().exists());
    }
}
