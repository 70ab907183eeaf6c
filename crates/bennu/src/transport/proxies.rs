//! [`TrustedProxies`]: whose word is taken about who is behind a connection.
//!
//! Every proxy adds what it sees at the end of a list that the client may have begun, so the list is
//! read from its end, and only as long as the one who wrote an entry is trusted. Nothing that stands
//! further in front can change what is read, whatever it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::socket::authority::Authority;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// More proxies in a row than anybody has.
const HOPS_MAX: usize = 16;

/// The proxies in front of the server, and the header in which they say who is behind them.
///
/// ```
/// use bennu::socket::{ForwardedHeader, TrustedProxies};
///
/// let proxies = TrustedProxies::new(ForwardedHeader::XForwarded, ["10.0.0.0/8", "fd00::/8"])?;
/// # Ok::<(), bennu::socket::TrustedProxiesError>(())
/// ```
///
/// The header counts only on connections from these networks, and is read from its end for as long as
/// its entries are addresses in them; the first that is not is the client. An entry without an address
/// (`unknown`, a name that hides one, anything unreadable) ends the search: the client is then known by
/// the last address that was found, which is a proxy's.
///
/// Every one of the proxies must write the header: one that passes on what a client sent lets clients
/// say who they are.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    header: ForwardedHeader,
    networks: Vec<IpNet>,
}

/// In which header proxies say who is behind them. The other one is ignored: proxies that do not know
/// it pass on what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `forwarded`, of RFC 7239.
    Forwarded,
    /// `x-forwarded-for`, `x-forwarded-proto` and `x-forwarded-host`. Of several values of the latter
    /// two the last counts.
    XForwarded,
}

/// A network of trusted proxies is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trusted proxy is an address, such as `192.0.2.1`, or a network, such as `fd00::/8`")]
pub struct TrustedProxiesError;

/// What proxies say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    pub(super) address: IpAddr,
    pub(super) is_https: Option<bool>,
    pub(super) host: Option<Authority>,
}

impl TrustedProxies {
    /// Trusts proxies with these addresses, or in these networks.
    ///
    /// # Errors
    /// [`TrustedProxiesError`] for what is neither an address nor a network.
    pub fn new<T: AsRef<str>>(
        header: ForwardedHeader,
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, TrustedProxiesError> {
        let parse = |network: T| {
            let text = network.as_ref();
            let network = text.parse().ok();
            let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
            network.or_else(address).ok_or(TrustedProxiesError)
        };
        let networks: Result<_, _> = networks.into_iter().map(parse).collect();
        let networks = networks?;
        Ok(Self { header, networks })
    }

    /// What is said of a request that came from this address, if that is trusted.
    pub(super) fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Forwarded> {
        self.trusts(peer).then(|| match self.header {
            ForwardedHeader::Forwarded => self.resolve_forwarded(peer, headers),
            ForwardedHeader::XForwarded => self.resolve_x_forwarded(peer, headers),
        })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }

    fn resolve_x_forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> Forwarded {
        let mut address = peer;
        for entry in entries_from_the_end(headers, &FOR).take(HOPS_MAX) {
            let Some(next) = entry.and_then(parse_node) else {
                break;
            };
            address = next;
            if !self.trusts(address) {
                break;
            }
        }
        let last = |name| entries_from_the_end(headers, name).next().flatten();
        Forwarded {
            address,
            is_https: last(&PROTO).and_then(parse_proto),
            host: last(&HOST).and_then(Authority::parse),
        }
    }

    fn resolve_forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> Forwarded {
        let mut forwarded = Forwarded {
            address: peer,
            is_https: None,
            host: None,
        };
        for entry in entries_from_the_end(headers, &FORWARDED).take(HOPS_MAX) {
            let Some(element) = entry.and_then(Element::parse) else {
                break;
            };
            // Scheme and host are what the client used towards the first proxy that is trusted.
            forwarded.is_https = element.proto.as_deref().and_then(parse_proto);
            forwarded.host = element.host.as_deref().and_then(Authority::parse);
            let Some(address) = element.node.as_deref().and_then(parse_node) else {
                break;
            };
            forwarded.address = address;
            if !self.trusts(address) {
                break;
            }
        }
        forwarded
    }
}

/// The entries of a list over all its lines, the last one first; `None` for a line that is no text.
fn entries_from_the_end<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<&'a str>> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line| {
        let mut rest = Some(line.to_str().ok());
        std::iter::from_fn(move || {
            let (before, entry) = match rest? {
                Some(line) => split_last(line),
                None => (None, None),
            };
            rest = before.map(Some);
            Some(entry)
        })
    })
}

/// Splits the last entry off a list. A comma in quotes is none; which quotes belong together is seen
/// from the end, so that one that somebody left open further in front means nothing.
fn split_last(list: &str) -> (Option<&str>, Option<&str>) {
    let bytes = list.as_bytes();
    let mut is_quoted = false;
    for at in (0..bytes.len()).rev() {
        match bytes.get(at) {
            Some(b'"') => {
                let before = bytes.get(..at).unwrap_or_default();
                let escapes = before.iter().rev().take_while(|b| **b == b'\\').count();
                is_quoted ^= escapes % 2 == 0;
            }
            Some(b',') if !is_quoted => {
                let entry = list
                    .get(at + 1..)
                    .map(|entry| entry.trim_matches([' ', '\t']));
                return (list.get(..at), entry);
            }
            _ => {}
        }
    }
    (None, Some(list.trim_matches([' ', '\t'])))
}

/// An address with or without a port, as RFC 7239, section 6 writes it; also an IPv6 address without
/// brackets, as `x-forwarded-for` often has it.
fn parse_node(text: &str) -> Option<IpAddr> {
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        if !(port.is_empty() || is_node_port(port.strip_prefix(':')?)) {
            return None;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        is_node_port(port)
            .then(|| address.parse::<Ipv4Addr>().ok())??
            .into()
    };
    Some(address.to_canonical())
}

/// A number, or a name that hides one.
fn is_node_port(text: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.starts_with('_') || is_digits(text) && text.parse::<u16>().is_ok()
}

fn parse_proto(text: &str) -> Option<bool> {
    let is = |proto: &str| text.eq_ignore_ascii_case(proto);
    match () {
        () if is("https") || is("wss") => Some(true),
        () if is("http") || is("ws") => Some(false),
        () => None,
    }
}

/// One entry of `forwarded`.
#[derive(Debug, Default)]
struct Element {
    node: Option<String>,
    proto: Option<String>,
    host: Option<String>,
}

impl Element {
    /// Reads `name=value;name="value"`. `None` for anything else, and for a name that comes twice.
    fn parse(text: &str) -> Option<Self> {
        let mut element = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = take_value(after)?;
            let place = match name {
                name if name.eq_ignore_ascii_case("for") => Some(&mut element.node),
                name if name.eq_ignore_ascii_case("proto") => Some(&mut element.proto),
                name if name.eq_ignore_ascii_case("host") => Some(&mut element.host),
                _ => None,
            };
            if let Some(place) = place
                && place.replace(value).is_some()
            {
                return None;
            }
            let after = after.trim_start_matches([' ', '\t']);
            rest = match after {
                "" => "",
                after => after.strip_prefix(';')?.trim_start_matches([' ', '\t']),
            };
        }
        Some(element)
    }
}

/// Takes a token or a quoted string, whose escapes are undone.
fn take_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
