//! [`PeerAddr`]: who is at the other end of a connection, as the server knows it; and [`Caller`], who is
//! behind the proxies that stand there.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::request::Parts;

use super::proxies::TrustedProxies;
use super::throttle::PeerKey;
use crate::socket::RequestUri;

/// The other end of the connection that a request came by. Whoever serves HTTP puts it into the
/// extensions of each request, or axum's `ConnectInfo<SocketAddr>`
/// (`into_make_service_with_connect_info`); without either, nobody's address is known, and limits for
/// each address are not held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddr {
    addr: Option<SocketAddr>,
    is_tls: bool,
    certificate: Option<Bytes>,
}

impl PeerAddr {
    /// A peer over a plain connection.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr: Some(addr),
            ..Self::without_address()
        }
    }

    /// A peer that has no address, at the other end of a Unix socket.
    #[must_use]
    pub fn without_address() -> Self {
        Self {
            addr: None,
            is_tls: false,
            certificate: None,
        }
    }

    /// Says that the connection is encrypted by this server.
    #[must_use]
    pub fn with_tls(self) -> Self {
        Self {
            is_tls: true,
            ..self
        }
    }

    /// Adds the certificate by which the peer proved who it is, in DER.
    #[must_use]
    pub fn with_certificate(self, certificate: Bytes) -> Self {
        Self {
            certificate: Some(certificate),
            ..self
        }
    }

    /// The address and port; `None` for a Unix socket.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Whether the connection is encrypted by this server.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The certificate by which the peer proved who it is, in DER.
    #[must_use]
    pub fn certificate(&self) -> Option<&Bytes> {
        self.certificate.as_ref()
    }

    /// The peer of a request, if the server has said who it is.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let peer = parts.extensions.get::<Self>().cloned();
        peer.or_else(|| axum_peer(parts))
    }
}

#[cfg(feature = "axum")]
fn axum_peer(parts: &Parts) -> Option<PeerAddr> {
    let info = parts
        .extensions
        .get::<axum::extract::ConnectInfo<SocketAddr>>();
    info.map(|info| PeerAddr::new(info.0))
}

#[cfg(not(feature = "axum"))]
fn axum_peer(_: &Parts) -> Option<PeerAddr> {
    None
}

/// Who sends a request, and where to.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: Option<PeerAddr>,
    /// The client behind trusted proxies, or else the peer.
    pub(crate) address: Option<IpAddr>,
    pub(crate) uri: RequestUri,
}

impl Caller {
    pub(crate) fn of(parts: &Parts, proxies: Option<&TrustedProxies>) -> Self {
        let peer = PeerAddr::of(parts);
        let address = peer.as_ref().and_then(PeerAddr::addr);
        let address = address.map(|address| address.ip().to_canonical());
        let is_tls = peer.as_ref().is_some_and(PeerAddr::is_tls);
        let forwarded = proxies
            .zip(address)
            .and_then(|(proxies, address)| proxies.resolve(address, &parts.headers));
        let Some(forwarded) = forwarded else {
            let uri = RequestUri::of(parts, is_tls);
            return Self { peer, address, uri };
        };
        let mut uri = RequestUri::of(parts, forwarded.is_https.unwrap_or(is_tls));
        if let Some(host) = forwarded.host {
            uri = uri.with_authority(host);
        }
        Self {
            peer,
            address: Some(forwarded.address),
            uri,
        }
    }

    /// What limits for each address count by.
    pub(crate) fn key(&self) -> Option<PeerKey> {
        self.address.map(PeerKey::from)
    }
}
