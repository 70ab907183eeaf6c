//! [`Authority`]: the host and port of a URL, read strictly. What browsers, proxies and HTTP libraries
//! disagree about (user names, escapes, odd characters) is not an authority here, so that nothing that
//! one of them reads differently can pass a comparison.

use std::net::Ipv6Addr;

/// A host name has at most 253 bytes (RFC 1035, section 3.1, without its root), and perhaps a dot at
/// its end.
const HOST_BYTES_MAX: usize = 254;

/// A host, with a port if one was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// As it was written, an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`, and nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':')?),
            };
            (host, port)
        } else {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            is_host_name(host).then_some((host, port))?
        };
        let port = match port {
            Some(port) => Some(parse_port(port)?),
            None => None,
        };
        let host = host.to_owned();
        Some(Self { host, port })
    }
}

/// Labels of letters, digits, `-` and `_`, with dots between them and perhaps one at the end. Other
/// scripts travel as Punycode, so this is all that a client sends.
pub(crate) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        !label.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let labels = text.strip_suffix('.').unwrap_or(text);
    text.len() <= HOST_BYTES_MAX && labels.split('.').all(is_label)
}

/// A port as URLs are written: 1 to 65,535 without leading zeros.
fn parse_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok())?
}

/// The port that a URL without one means.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        "ftp" => Some(21),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read_strictly() {
        let table = [
            ("example.com", Some(("example.com", None))),
            ("Example.COM:80", Some(("Example.COM", Some(80)))),
            ("localhost:65535", Some(("localhost", Some(65535)))),
            ("my_host.", Some(("my_host.", None))),
            ("127.0.0.1:4000", Some(("127.0.0.1", Some(4000)))),
            ("[::1]", Some(("::1", None))),
            ("[2001:db8::1]:4000", Some(("2001:db8::1", Some(4000)))),
            ("", None),
            (".", None),
            (".example.com", None),
            ("example..com", None),
            ("example.com..", None),
            ("a@b", None),
            ("a b", None),
            ("a/b", None),
            ("a\\b", None),
            ("a#b", None),
            ("a?b", None),
            ("a%2eb", None),
            ("a*b", None),
            ("é.com", None),
            ("a:", None),
            ("a:0", None),
            ("a:080", None),
            ("a:+80", None),
            ("a:65536", None),
            ("a:80:80", None),
            ("a:80 ", None),
            (":80", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]80", None),
            ("[::1%25eth0]", None),
            ("[example.com]", None),
        ];
        for (text, expected) in table {
            let read = Authority::parse(text);
            let read = read.as_ref().map(|read| (read.host.as_str(), read.port));
            assert_eq!(read, expected, "{text:?}");
        }
        assert!(is_host_name(&"a".repeat(254)));
        assert!(!is_host_name(&"a".repeat(255)));
    }
}
