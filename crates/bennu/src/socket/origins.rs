//! [`Origins`]: which web pages may connect. A browser says in the `origin` header which page opens a
//! connection, and sends the cookies of the server's site with it, whoever the page belongs to: this
//! check is what keeps other people's pages from acting for a user who is logged in.

use std::fmt;
use std::sync::Arc;

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};

use super::RequestUri;
use super::authority::{Authority, default_port, is_host_name};
use crate::channel::runner::contain;

/// Which web pages may connect.
///
/// A request without an `origin` header does not come from a page and is always allowed; whether its
/// sender may connect is for `connect` to say. Where there is a header, it must be one origin as
/// RFC 6454, section 6.2 writes it; one that cannot be read is refused by everything but
/// [`Origins::any`], and so are several of them.
///
/// Hosts are compared exactly, case included. Browsers write them in lower case and other scripts than
/// Latin as Punycode (`xn--…`): write them so.
#[derive(Clone)]
pub struct Origins(Rule);

#[derive(Clone)]
enum Rule {
    Any,
    SameHost,
    Host(Arc<str>),
    List(Arc<[Entry]>),
    Conn,
    Check(Arc<dyn Fn(&Origin) -> bool + Send + Sync>),
}

/// The origin that a browser has sent: scheme, host and port of a page.
///
/// `null`, which browsers send for pages in a sandbox and for some redirects, has none of the three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Option<String>,
    authority: Option<Authority>,
}

/// An entry of a list of origins that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginsError {
    /// Without `//` it cannot be told whether a scheme or a host is meant.
    #[error("an origin is written as `//host`, `//host:port` or `scheme://host`, with its slashes")]
    Slashes,
    /// What stands before `://` is no scheme.
    #[error("the scheme of an origin has lower-case letters, digits, `+`, `-` and `.` only")]
    Scheme,
    /// What follows `//` is no host, or more than a host and a port.
    #[error(
        "after `//`, an origin has a host of letters, digits, `-`, `_` and `.` (or an IPv6 address in \
         brackets) and perhaps a port, and no user, path or query"
    )]
    Host,
    /// A `*` that is not the first label of a host.
    #[error("a `*` in an origin is only allowed as its whole first label: `//*.example.com`")]
    Wildcard,
}

impl Origins {
    /// All pages: the check is off.
    ///
    /// Never where a cookie says who the user is, unless its CSRF token is asked for: any page on the
    /// web could then connect as whoever looks at it.
    #[must_use]
    pub fn any() -> Self {
        Self(Rule::Any)
    }

    /// Pages of the host that the request is addressed to (its `host` header), at the same port. The
    /// default. The scheme is not compared; [`Origins::conn`] does that too.
    ///
    /// Behind a proxy that changes the `host` header, either name the hosts ([`Origins::list`]), or
    /// trust the proxy ([`TrustedProxies`](super::TrustedProxies)) and let it say which host the
    /// client asked for.
    #[must_use]
    pub fn same_host() -> Self {
        Self(Rule::SameHost)
    }

    /// Pages of this host, whatever their scheme and port.
    #[must_use]
    pub fn host(host: &str) -> Self {
        Self(Rule::Host(host.into()))
    }

    /// Pages that match one of the entries:
    ///
    /// | entry | scheme | host | port |
    /// | --- | --- | --- | --- |
    /// | `//example.com` | any | `example.com` | any |
    /// | `//example.com:888` | any | `example.com` | 888 |
    /// | `https://example.com` | `https` | `example.com` | 443 |
    /// | `http://example.com:81` | `http` | `example.com` | 81 |
    /// | `//*.example.com` | any | `example.com`, and any that ends in `.example.com` | any |
    ///
    /// # Panics
    /// If an entry is not one of these. [`Origins::try_list`] returns the error instead.
    #[must_use]
    #[track_caller]
    pub fn list<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Self {
        match Self::try_list(entries) {
            Ok(origins) => origins,
            #[allow(
                clippy::panic,
                reason = "the entries are part of the program, not of its input"
            )]
            Err(error) => panic!("{error}"),
        }
    }

    /// [`Origins::list`] for entries that are data.
    ///
    /// # Errors
    /// [`OriginsError`] says what an entry should look like.
    pub fn try_list<T: AsRef<str>>(
        entries: impl IntoIterator<Item = T>,
    ) -> Result<Self, OriginsError> {
        let entries = entries.into_iter();
        let entries: Result<_, _> = entries.map(|entry| Entry::parse(entry.as_ref())).collect();
        Ok(Self(Rule::List(entries?)))
    }

    /// Pages whose scheme, host and port are those of the request itself. The scheme is `https` if the
    /// server says that the connection is encrypted ([`PeerAddr`](super::PeerAddr)), or if a trusted
    /// proxy says so.
    #[must_use]
    pub fn conn() -> Self {
        Self(Rule::Conn)
    }

    /// Pages for which the function says yes. It is asked for `null` as well. If it panics, that is
    /// logged, and the page is refused.
    ///
    /// Compare whole hosts: an origin that merely ends in, or contains, a name may be anybody's.
    #[must_use]
    pub fn check(check: impl Fn(&Origin) -> bool + Send + Sync + 'static) -> Self {
        Self(Rule::Check(Arc::new(check)))
    }

    pub(crate) fn is_any(&self) -> bool {
        matches!(self.0, Rule::Any)
    }

    /// Whether a request with these headers, to this place, may go on. The error is the origin, if it
    /// could be read.
    pub(crate) fn allow(
        &self,
        headers: &HeaderMap,
        uri: &RequestUri,
    ) -> Result<(), Option<Origin>> {
        if self.is_any() {
            return Ok(());
        }
        let mut lines = headers.get_all(ORIGIN).iter();
        let origin = match (lines.next(), lines.next()) {
            (None, _) => return Ok(()),
            (Some(line), None) => Origin::read(line).ok_or(None)?,
            // Browsers send one. Which of several somebody else goes by cannot be known.
            (Some(_), Some(_)) => return Err(None),
        };
        if self.allows(&origin, uri) {
            Ok(())
        } else {
            Err(Some(origin))
        }
    }

    fn allows(&self, origin: &Origin, uri: &RequestUri) -> bool {
        match &self.0 {
            Rule::Any => true,
            Rule::Host(host) => origin.host() == Some(host),
            Rule::List(entries) => entries.iter().any(|entry| entry.matches(origin)),
            Rule::SameHost => {
                // Whether the connection is encrypted on its way to us says nothing about how the page
                // was loaded, so a port that is not written is that of the page's scheme.
                let port = uri
                    .explicit_port()
                    .or_else(|| default_port(origin.scheme()?));
                origin.host().is_some() && origin.host() == uri.host() && origin.port() == port
            }
            Rule::Conn => {
                origin.host().is_some()
                    && origin.host() == uri.host()
                    && origin.scheme() == Some(uri.scheme())
                    && origin.port() == Some(uri.port())
            }
            Rule::Check(check) => contain(|| check(origin)).unwrap_or(false),
        }
    }
}

/// [`Origins::same_host`].
impl Default for Origins {
    fn default() -> Self {
        Self::same_host()
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Rule::Any => f.write_str("any"),
            Rule::SameHost => f.write_str("same_host"),
            Rule::Host(host) => write!(f, "host({host:?})"),
            Rule::List(entries) => f.debug_tuple("list").field(entries).finish(),
            Rule::Conn => f.write_str("conn"),
            Rule::Check(_) => f.write_str("check"),
        }
    }
}

impl Origin {
    /// The scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// The host, as it was sent; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        Some(&self.authority.as_ref()?.host)
    }

    /// The port that was sent, or the one that the scheme means: 80 for `http` and `ws`, 443 for
    /// `https` and `wss`, 21 for `ftp`, none for others.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let port = self.authority.as_ref()?.port;
        port.or_else(|| default_port(self.scheme()?))
    }

    fn read(header: &HeaderValue) -> Option<Self> {
        Self::parse(header.to_str().ok()?)
    }

    /// Reads `scheme://host`, `scheme://host:port`, or what stands for no origin: `null`, the empty
    /// text and `file://`.
    fn parse(text: &str) -> Option<Self> {
        if matches!(text, "" | "null") {
            return Some(Self {
                scheme: None,
                authority: None,
            });
        }
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !is_scheme(&scheme) {
            return None;
        }
        let authority = match rest {
            "" if scheme == "file" => None,
            rest => Some(Authority::parse(rest)?),
        };
        Some(Self {
            scheme: Some(scheme),
            authority,
        })
    }
}

/// An entry of a list.
#[derive(Clone, Debug)]
struct Entry {
    scheme: Option<String>,
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Host {
    Exact(String),
    /// The host itself, or any below it.
    Below(String),
}

impl Entry {
    fn parse(text: &str) -> Result<Self, OriginsError> {
        let (scheme, rest) = text.split_once("//").ok_or(OriginsError::Slashes)?;
        let scheme = match scheme {
            "" => None,
            scheme => {
                let scheme = scheme.strip_suffix(':').ok_or(OriginsError::Slashes)?;
                is_scheme(scheme)
                    .then(|| Some(scheme.to_owned()))
                    .ok_or(OriginsError::Scheme)?
            }
        };
        let (below, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if rest.contains('*') {
            return Err(OriginsError::Wildcard);
        }
        let Authority { host, port } = Authority::parse(rest).ok_or(OriginsError::Host)?;
        if below && !is_host_name(&host) {
            return Err(OriginsError::Wildcard);
        }
        let port = port.or_else(|| default_port(scheme.as_deref()?));
        let host = if below {
            Host::Below(host)
        } else {
            Host::Exact(host)
        };
        Ok(Self { scheme, host, port })
    }

    fn matches(&self, origin: &Origin) -> bool {
        let is_free_or = |own: Option<&str>, theirs| own.is_none_or(|own| Some(own) == theirs);
        let is_host = |theirs: &str| match &self.host {
            Host::Exact(host) => theirs == host,
            Host::Below(host) => theirs
                .strip_suffix(host.as_str())
                .is_some_and(|below| below.is_empty() || below.ends_with('.')),
        };
        origin.host().is_some_and(is_host)
            && is_free_or(self.scheme.as_deref(), origin.scheme())
            && self.port.is_none_or(|port| Some(port) == origin.port())
    }
}

/// RFC 3986, section 3.1, in lower case.
fn is_scheme(text: &str) -> bool {
    let is_first = |b: &u8| b.is_ascii_lowercase();
    let is_rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    text.as_bytes().first().is_some_and(is_first) && text.bytes().all(is_rest)
}

#[cfg(test)]
mod tests;
