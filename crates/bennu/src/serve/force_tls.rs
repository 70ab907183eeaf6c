//! [`ForceTls`]: a layer that sends who comes without TLS to the same place with it, and tells browsers
//! to come with it next time. What Phoenix calls `force_ssl`.

use std::future::{Future, Ready, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use http::header::{HOST, LOCATION, STRICT_TRANSPORT_SECURITY};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use pin_project_lite::pin_project;

use crate::socket::PeerAddr;

/// Redirects plain HTTP to HTTPS, WebSocket handshakes included, and adds `strict-transport-security`
/// to what is answered over HTTPS. A tower layer; put it outermost.
///
/// | request | answer |
/// | --- | --- |
/// | for an excluded host (`localhost` and `127.0.0.1`, unless changed) | the application's |
/// | over TLS | the application's, with `strict-transport-security: max-age=31536000` |
/// | plain, GET or HEAD | 301 to the same path and query |
/// | plain, anything else | 307 likewise |
/// | plain, and no redirect can be made of its host or path | 400 |
///
/// Whether a request came over TLS is what [`PeerAddr`] says, so that it needs
/// [`Server`](super::Server); what a client says of it counts only by way of
/// [`ForceTls::with_rewrite_on`]. The host of the redirect is the request's own without its port, and
/// must be a name or an address, unless one is given by [`ForceTls::with_host`].
#[derive(Clone, Debug)]
pub struct ForceTls {
    rules: Arc<Rules>,
}

/// What a proxy may tell about a request, for [`ForceTls::with_rewrite_on`]. Of several values the
/// last counts, which is the nearest proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forwarded {
    /// `x-forwarded-proto`: `https` is TLS, anything else is not.
    Proto,
    /// `x-forwarded-host`: the host of the request.
    Host,
}

#[derive(Clone)]
struct Rules {
    host: Option<String>,
    excluded: Vec<String>,
    hsts: Option<HeaderValue>,
    rewrite_on: Vec<Forwarded>,
    is_trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

/// A service with [`ForceTls`] before it.
#[derive(Clone, Debug)]
pub struct ForceTlsService<S> {
    inner: S,
    rules: Arc<Rules>,
}

/// What is done with a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passes,
    PassesWithHsts,
    Redirect(HeaderValue),
    Refused,
}

impl Default for ForceTls {
    fn default() -> Self {
        Self {
            rules: Arc::new(Rules {
                host: None,
                excluded: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
                hsts: hsts(Duration::from_secs(31_536_000), false, false),
                rewrite_on: Vec::new(),
                is_trusted: Arc::new(|_| false),
            }),
        }
    }
}

impl ForceTls {
    /// The layer with its defaults, which are Phoenix's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Redirects to this host, `example.com` or `example.com:4443`, whatever host was asked for.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.rules).host = Some(host.into());
        self
    }

    /// Leaves requests for these hosts alone, in place of `localhost` and `127.0.0.1`. Without ports.
    #[must_use]
    pub fn with_excluded_hosts<I>(mut self, hosts: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Arc::make_mut(&mut self.rules).excluded = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Sets for how long browsers shall come with TLS, whether to subdomains as well, and whether the
    /// host may be put on the browsers' preload lists. A year, no and no by default.
    #[must_use]
    pub fn with_hsts(mut self, max_age: Duration, subdomains: bool, preload: bool) -> Self {
        Arc::make_mut(&mut self.rules).hsts = hsts(max_age, subdomains, preload);
        self
    }

    /// Adds no `strict-transport-security`.
    #[must_use]
    pub fn without_hsts(mut self) -> Self {
        Arc::make_mut(&mut self.rules).hsts = None;
        self
    }

    /// Believes what proxies say about a request, those whose address `is_trusted` says yes to. By
    /// default nobody is believed: whoever can reach the server can send these headers. A peer on a
    /// Unix socket has no address and counts as trusted here.
    #[must_use]
    pub fn with_rewrite_on<F>(
        mut self,
        forwarded: impl IntoIterator<Item = Forwarded>,
        is_trusted: F,
    ) -> Self
    where
        F: Fn(IpAddr) -> bool + Send + Sync + 'static,
    {
        let rules = Arc::make_mut(&mut self.rules);
        rules.rewrite_on = forwarded.into_iter().collect();
        rules.is_trusted = Arc::new(is_trusted);
        self
    }
}

fn hsts(max_age: Duration, subdomains: bool, preload: bool) -> Option<HeaderValue> {
    let preload = if preload { "; preload" } else { "" };
    let subdomains = if subdomains {
        "; includeSubDomains"
    } else {
        ""
    };
    let max_age = max_age.as_secs();
    HeaderValue::from_str(&format!("max-age={max_age}{preload}{subdomains}")).ok()
}

impl Rules {
    fn judge(&self, request: &Parts) -> Verdict {
        let peer = request.extensions.get::<PeerAddr>();
        let forwarded = |which, name| {
            let believed = self.rewrite_on.contains(&which) && self.trusts(peer);
            believed
                .then(|| last_value(&request.headers, name))
                .flatten()
        };
        let host = forwarded(Forwarded::Host, "x-forwarded-host")
            .or_else(|| request.uri.authority().map(Authority::as_str))
            .or_else(|| request.headers.get(HOST)?.to_str().ok())
            .and_then(valid_host);
        let is_tls = match forwarded(Forwarded::Proto, "x-forwarded-proto") {
            Some(scheme) => scheme.eq_ignore_ascii_case("https"),
            // The scheme that an HTTP/2 client names is its own choice.
            None => peer.is_some_and(PeerAddr::is_tls),
        };
        let is = |excluded: &String| host.is_some_and(|host| host.eq_ignore_ascii_case(excluded));
        if self.excluded.iter().any(is) {
            return Verdict::Passes;
        }
        if is_tls {
            return Verdict::PassesWithHsts;
        }
        let location = self.host.as_deref().or(host).and_then(|host| {
            let target = request
                .uri
                .path_and_query()
                .map_or("/", |target| target.as_str());
            // What is no path (`*`, or the authority of a CONNECT) would become a part of the host.
            let is_path = target.starts_with('/');
            let location = is_path.then(|| format!("https://{host}{target}"))?;
            HeaderValue::from_str(&location).ok()
        });
        location.map_or(Verdict::Refused, Verdict::Redirect)
    }

    fn trusts(&self, peer: Option<&PeerAddr>) -> bool {
        peer.is_some_and(|peer| {
            peer.addr()
                .is_none_or(|addr| (self.is_trusted)(addr.ip().to_canonical()))
        })
    }
}

fn last_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let last = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next().map(str::trim)
}

/// The host of `host[:port]`, if it is a name or an address and nothing else.
fn valid_host(host: &str) -> Option<&str> {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            rest.get(..end)?.parse::<std::net::Ipv6Addr>().ok()?;
            host.get(..end + 2)?
        }
        None => host.split(':').next()?,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_valid = name.starts_with('[') || (!name.is_empty() && name.bytes().all(is_name));
    let port = host.get(name.len()..)?;
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()));
    (is_valid && is_port && name.len() <= 255).then_some(name)
}

impl<S> tower_layer::Layer<S> for ForceTls {
    type Service = ForceTlsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ForceTlsService {
            inner,
            rules: Arc::clone(&self.rules),
        }
    }
}

impl<S, A, B> tower_service::Service<Request<A>> for ForceTlsService<S>
where
    S: tower_service::Service<Request<A>, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<B>, S::Error>>, WithHsts<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let hsts = match self.rules.judge(&parts) {
            Verdict::Passes => None,
            Verdict::PassesWithHsts => self.rules.hsts.clone(),
            Verdict::Redirect(location) => {
                let mut response = Response::new(B::default());
                *response.status_mut() = match parts.method {
                    Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
                    _ => StatusCode::TEMPORARY_REDIRECT,
                };
                response.headers_mut().insert(LOCATION, location);
                return Either::Left(ready(Ok(response)));
            }
            Verdict::Refused => {
                let mut response = Response::new(B::default());
                *response.status_mut() = StatusCode::BAD_REQUEST;
                return Either::Left(ready(Ok(response)));
            }
        };
        let inner = self.inner.call(Request::from_parts(parts, body));
        Either::Right(WithHsts { inner, hsts })
    }
}

pin_project! {
    /// The answer of the application, with what is added to it.
    #[derive(Debug)]
    pub struct WithHsts<F> {
        #[pin]
        inner: F,
        hsts: Option<HeaderValue>,
    }
}

impl<F, B, E> Future for WithHsts<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let hsts = this.hsts;
        this.inner.poll(cx).map_ok(|mut response| {
            if let Some(hsts) = hsts.take() {
                response
                    .headers_mut()
                    .insert(STRICT_TRANSPORT_SECURITY, hsts);
            }
            response
        })
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("host", &self.host)
            .field("excluded", &self.excluded)
            .field("hsts", &self.hsts)
            .field("rewrite_on", &self.rewrite_on)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(addr: &str, tls: bool) -> PeerAddr {
        let peer = PeerAddr::new(addr.parse().unwrap());
        if tls { peer.with_tls() } else { peer }
    }

    fn judge(rules: &ForceTls, uri: &str, headers: &[(&str, &str)], peer: PeerAddr) -> Verdict {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(peer);
        rules.rules.judge(&parts)
    }

    fn redirect(to: &str) -> Verdict {
        Verdict::Redirect(HeaderValue::from_str(to).unwrap())
    }

    #[test]
    fn plain_requests_go_to_the_same_place_with_tls() {
        let table = [
            (
                "/a?b=c",
                "example.com",
                redirect("https://example.com/a?b=c"),
            ),
            ("/", "example.com:4000", redirect("https://example.com/")),
            ("/", "[2001:db8::1]:80", redirect("https://[2001:db8::1]/")),
            (
                "//evil.example/",
                "example.com",
                redirect("https://example.com//evil.example/"),
            ),
            (
                "http://h2.example/x",
                "ignored",
                redirect("https://h2.example/x"),
            ),
            ("/", "localhost:4000", Verdict::Passes),
            ("/", "LOCALHOST", Verdict::Passes),
            ("/", "127.0.0.1", Verdict::Passes),
            (
                "/",
                "localhost.evil.example",
                redirect("https://localhost.evil.example/"),
            ),
            ("*", "example.com", Verdict::Refused),
            ("/", "a@b", Verdict::Refused),
            ("/", "example.com/x", Verdict::Refused),
            ("/", "example.com\\x", Verdict::Refused),
            ("/", "example.com#", Verdict::Refused),
            ("/", "example.com:x", Verdict::Refused),
            ("/", "[::1", Verdict::Refused),
            ("/", "[evil]", Verdict::Refused),
            ("/", "", Verdict::Refused),
        ];
        for (uri, host, expected) in table {
            let headers = [("host", host)];
            let verdict = judge(&ForceTls::new(), uri, &headers, peer("10.0.0.1:1", false));
            assert_eq!(verdict, expected, "{uri} at {host:?}");
        }
        let rules = ForceTls::new().with_host("example.com:4443");
        for host in ["a.example", "a@b"] {
            let verdict = judge(&rules, "/x", &[("host", host)], peer("10.0.0.1:1", false));
            assert_eq!(verdict, redirect("https://example.com:4443/x"));
        }
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let secure = [("host", "a.example"), ("x-forwarded-proto", "https")];
        let rules = ForceTls::new().with_rewrite_on([Forwarded::Proto, Forwarded::Host], |proxy| {
            proxy == IpAddr::from([10, 0, 0, 1])
        });
        let table = [
            ("10.0.0.1:1", Verdict::PassesWithHsts),
            ("[::ffff:10.0.0.1]:1", Verdict::PassesWithHsts),
            ("10.0.0.2:1", redirect("https://a.example/")),
        ];
        for (addr, expected) in table {
            let verdict = judge(&rules, "/", &secure, peer(addr, false));
            assert_eq!(verdict, expected, "{addr}");
            // And nobody by default.
            let verdict = judge(&ForceTls::new(), "/", &secure, peer(addr, false));
            assert_eq!(verdict, redirect("https://a.example/"));
        }
        let chain = [
            ("host", "inside"),
            ("x-forwarded-host", "evil.example, a.example"),
            ("x-forwarded-proto", "https,http"),
        ];
        let verdict = judge(&rules, "/", &chain, peer("10.0.0.1:1", true));
        assert_eq!(
            verdict,
            redirect("https://a.example/"),
            "the nearest counts"
        );
    }

    #[test]
    fn the_scheme_of_an_http2_client_is_not_believed() {
        let verdict = judge(
            &ForceTls::new(),
            "https://a.example/",
            &[],
            peer("10.0.0.1:1", false),
        );
        assert_eq!(verdict, redirect("https://a.example/"));
        let verdict = judge(
            &ForceTls::new(),
            "http://a.example/",
            &[],
            peer("10.0.0.1:1", true),
        );
        assert_eq!(verdict, Verdict::PassesWithHsts);
    }

    #[tokio::test]
    async fn answers_carry_the_header_and_methods_their_status() {
        use tower::{Layer, ServiceExt, service_fn};
        let inner = service_fn(async |_: Request<()>| Ok::<_, ()>(Response::new(())));
        let year = Duration::from_secs(31_536_000);
        let service = ForceTls::new().with_hsts(year, true, true).layer(inner);
        let ask = async |method: Method, tls| {
            let mut request = Request::builder().method(method).uri("http://a.example/");
            request = request.extension(peer("10.0.0.1:1", tls));
            let request = request.body(()).unwrap();
            service.clone().oneshot(request).await.unwrap()
        };
        assert_eq!(ask(Method::GET, false).await.status(), 301);
        assert_eq!(ask(Method::HEAD, false).await.status(), 301);
        assert_eq!(ask(Method::POST, false).await.status(), 307);
        let secure = ask(Method::GET, true).await;
        assert_eq!(
            secure.headers()["strict-transport-security"],
            "max-age=31536000; preload; includeSubDomains"
        );
    }
}
