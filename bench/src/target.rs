//! Where the server under test listens, and from where to reach it.

use crate::failure::Failure;
use crate::tls::Tls;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

/// Connections from one source address, at most: well under the 28,000 ephemeral ports that Linux has by default.
const CONNECTIONS_PER_ADDRESS: usize = 10_000;
/// Source addresses that one process may use.
const ADDRESSES: u32 = 512;

/// A server's WebSocket endpoint.
#[derive(Debug, Clone)]
pub struct Target {
    /// Address and port.
    pub address: SocketAddrV4,
    /// Path and query.
    pub path: String,
    /// Whom to trust, if it speaks TLS.
    pub tls: Option<Tls>,
    sources: u32,
}

impl Target {
    /// Reads `ws://ADDRESS:PORT/PATH`. The address is IPv4, in numbers: no name is looked up here.
    pub fn parse(url: &str) -> Result<Self, Failure> {
        Self::read(url, "ws://").ok_or_else(|| {
            Failure::Setting(format!(
                "{url:?} is not ws://IPV4:PORT/PATH; wss:// takes --ca FILE with it"
            ))
        })
    }

    /// Reads `wss://ADDRESS:PORT/PATH`; the server's certificate must name the address and be signed by one of the authorities in
    /// this PEM file, or be in it itself.
    pub fn parse_tls(url: &str, authority: &Path) -> Result<Self, Failure> {
        let target = Self::read(url, "wss://").ok_or_else(|| {
            Failure::Setting(format!(
                "{url:?} is not wss://IPV4:PORT/PATH, which --ca is for"
            ))
        })?;
        Ok(Self {
            tls: Some(Tls::new(authority, *target.address.ip())?),
            ..target
        })
    }

    fn read(url: &str, scheme: &str) -> Option<Self> {
        let (address, path) = url.strip_prefix(scheme)?.split_once('/')?;
        // Every process has addresses of its own, so that the ports which an earlier one left in TIME_WAIT are not in the way: the
        // kernel looks for a free port one by one.
        let sources = 2 + (1 + std::process::id() % 32_000) * ADDRESSES;
        Some(Self {
            address: address.parse().ok()?,
            path: format!("/{path}"),
            tls: None,
            sources,
        })
    }

    /// The source address of the connection at `index`: somewhere in 127.0.0.0/8, the next one after every 10,000 connections.
    /// `None` if the server is not on this machine; the system chooses then.
    pub fn source(&self, index: usize) -> Option<SocketAddrV4> {
        self.source_number(index / CONNECTIONS_PER_ADDRESS)
    }

    /// The source address with a number of its own, for connections that come and go: their ports rest a while after use.
    pub fn source_number(&self, number: usize) -> Option<SocketAddrV4> {
        if !self.address.ip().is_loopback() {
            return None;
        }
        let offset = self.sources + number as u32 % ADDRESSES;
        Some(SocketAddrV4::new(
            Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 0)) + offset),
            0,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls() {
        let target = Target::parse("ws://127.0.0.1:4100/socket/websocket?vsn=2.0.0").unwrap();
        assert_eq!(target.address.to_string(), "127.0.0.1:4100");
        assert_eq!(target.path, "/socket/websocket?vsn=2.0.0");
        for wrong in [
            "http://127.0.0.1:1/",
            "ws://127.0.0.1/",
            "ws://localhost:1/",
            "ws://127.0.0.1:1",
            "wss://127.0.0.1:1/",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spreads_over_source_addresses() {
        let target = Target::parse("ws://127.0.0.1:4100/").unwrap();
        let address = |index| {
            target
                .source(index)
                .map(|source| u32::from(*source.ip()))
                .unwrap()
        };
        assert!(target.source(0).unwrap().ip().is_loopback());
        assert_eq!(address(9_999), address(0));
        assert_eq!(address(10_000), address(0) + 1);
        assert_eq!(Target::parse("ws://192.0.2.1:1/").unwrap().source(0), None);
    }
}
