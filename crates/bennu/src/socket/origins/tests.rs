//! Origins, rule by rule.

use http::Request;
use http::request::Parts;
use proptest::prelude::*;

use super::*;

/// A request to `host` with these origins.
fn request(host: &str, origins: &[&[u8]]) -> Parts {
    let mut request = Request::get("/websocket").header("host", host);
    for origin in origins {
        request = request.header("origin", HeaderValue::from_bytes(origin).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn passes(origins: &Origins, host: &str, is_https: bool, origin: &str) -> bool {
    let parts = request(host, &[origin.as_bytes()]);
    let uri = RequestUri::of(&parts, is_https);
    origins.allow(&parts.headers, &uri).is_ok()
}

/// What no setting but `any` lets in, though it looks like `http://example.com`.
const FORGERIES: &[&str] = &[
    "http://a@example.com",
    "http://example.com@evil.com",
    "http://example.com:a@evil.com",
    "http://evil.com#.example.com",
    "http://evil.com?.example.com",
    "http://evil.com/.example.com",
    "http://evil.com\\.example.com",
    "http://evil.com\\@example.com",
    "http://example.com\\@evil.com",
    "http://example.com.evil.com",
    "http://evilexample.com",
    "http://evil-example.com",
    "http://.example.com",
    "http://evil.com:80:80",
    "http://example.com:80:80",
    "http://example.com:",
    "http://example.com:0x50",
    "http://example.com:080",
    "http://example.com:99999999999999999999",
    "http://example.com/",
    "http://example.com ",
    " http://example.com",
    "\thttp://example.com",
    "http:// example.com",
    "http://exam\tple.com",
    "http://example.com\t.evil.com",
    "http:/example.com",
    "http:///example.com",
    "http:\\\\example.com",
    "//example.com",
    "example.com",
    "http://EXAMPLE.com",
    "http://example.com.",
    "http://example%2ecom",
    "http://*.example.com",
    "http://*",
    "*",
    "http://",
    "://example.com",
    "1http://example.com",
    "ht tp://example.com",
    "http://[example.com]",
    "http://[::1",
    "http://example.com, http://evil.com",
    "http://evil.com http://example.com",
    "file://",
    "null",
    "NULL",
    "",
];

#[test]
fn forged_origins_pass_nothing_but_any() {
    let settings = [
        Origins::default(),
        Origins::same_host(),
        Origins::host("example.com"),
        Origins::list(["//example.com", "//*.example.com", "http://example.com:80"]),
        Origins::conn(),
        Origins::check(|origin| origin.host() == Some("example.com")),
    ];
    for origin in FORGERIES {
        for setting in &settings {
            let is_passed = passes(setting, "example.com", false, origin);
            assert!(!is_passed, "{origin:?} passes {setting:?}");
        }
        assert!(passes(&Origins::any(), "example.com", false, origin));
    }
    for setting in &settings {
        assert!(passes(setting, "example.com", false, "http://example.com"));
    }
}

#[test]
fn without_an_origin_everything_is_allowed_and_with_several_nothing_is() {
    let none = request("h", &[]);
    let several = request("h", &[b"http://h", b"http://h"]);
    let no_text = request("h", &[b"http://h\xff"]);
    let refusing = [
        Origins::default(),
        Origins::conn(),
        Origins::list::<&str>([]),
        Origins::check(|_| false),
    ];
    for setting in refusing {
        let uri = RequestUri::of(&none, false);
        assert_eq!(setting.allow(&none.headers, &uri), Ok(()));
    }
    let uri = RequestUri::of(&several, false);
    for setting in [Origins::default(), Origins::check(|_| true)] {
        assert_eq!(setting.allow(&several.headers, &uri), Err(None));
        assert_eq!(setting.allow(&no_text.headers, &uri), Err(None));
    }
    assert_eq!(Origins::any().allow(&several.headers, &uri), Ok(()));
}

#[test]
fn same_host_compares_host_and_port_and_not_the_scheme() {
    let table = [
        ("example.com", "http://example.com", true),
        ("example.com", "https://example.com", true),
        ("example.com:4000", "http://example.com:4000", true),
        ("example.com:443", "https://example.com", true),
        ("example.com:80", "http://example.com", true),
        ("[::1]:4000", "http://[::1]:4000", true),
        ("example.com:80", "https://example.com", false),
        ("example.com", "http://example.com:4000", false),
        ("example.com:4000", "http://example.com", false),
        ("example.com", "http://other.com", false),
        ("example.com", "http://www.example.com", false),
        ("www.example.com", "http://example.com", false),
        ("a@b", "http://a@b", false),
        ("", "null", false),
        ("", "", false),
    ];
    for (host, origin, expected) in table {
        let is_passed = passes(&Origins::same_host(), host, false, origin);
        assert_eq!(is_passed, expected, "{origin} to {host}");
    }
    // A request to nowhere has no own pages.
    let nowhere = Request::get("/").header("origin", "http://h").body(());
    let nowhere = nowhere.unwrap().into_parts().0;
    let uri = RequestUri::of(&nowhere, false);
    assert!(Origins::same_host().allow(&nowhere.headers, &uri).is_err());
}

#[test]
fn a_configured_host_is_compared_alone() {
    let host = Origins::host("example.com");
    for origin in ["http://example.com", "https://example.com:8443"] {
        assert!(passes(&host, "elsewhere", false, origin), "{origin}");
    }
    for origin in ["null", "http://elsewhere", "http://a.example.com"] {
        assert!(!passes(&host, "elsewhere", false, origin), "{origin}");
    }
}

#[test]
fn conn_compares_scheme_host_and_port() {
    // Is the request encrypted, its host, the origin, is it let in?
    let table = [
        (false, "example.com", "http://example.com", true),
        (false, "example.com:80", "http://example.com", true),
        (true, "example.com", "https://example.com", true),
        (true, "example.com:4040", "https://example.com:4040", true),
        (true, "example.com", "http://example.com", false),
        (false, "example.com", "https://example.com", false),
        (false, "example.com", "ws://example.com", false),
        (true, "example.com", "https://example.com:4040", false),
        (false, "example.com", "http://example.org", false),
    ];
    for (is_https, host, origin, expected) in table {
        let is_passed = passes(&Origins::conn(), host, is_https, origin);
        assert_eq!(is_passed, expected, "{origin} to {host}");
    }
}

#[test]
fn entries_of_a_list_match_what_they_say() {
    let table: &[(&str, &[&str], &[&str])] = &[
        (
            "//example.com",
            &[
                "http://example.com",
                "https://example.com:81",
                "x://example.com",
            ],
            &["http://www.example.com", "null"],
        ),
        (
            "//example.com:888",
            &["http://example.com:888", "https://example.com:888"],
            &["http://example.com"],
        ),
        (
            "https://example.com",
            &[
                "https://example.com",
                "https://example.com:443",
                "HTTPS://example.com",
            ],
            &[
                "http://example.com",
                "https://example.com:444",
                "http://example.com:443",
            ],
        ),
        (
            "http://example.com:81",
            &["http://example.com:81"],
            &["http://example.com", "https://example.com:81"],
        ),
        (
            "//*.example.com",
            &[
                "http://example.com",
                "http://a.example.com",
                "https://a.b.example.com:1",
            ],
            &[
                "http://a.prefix-example.com",
                "http://example.com.evil.com",
                "http://example.co",
            ],
        ),
        (
            "https://*.example.com",
            &["https://a.example.com"],
            &["http://a.example.com", "https://a.example.com:444"],
        ),
        ("ftp://a", &["ftp://a:21"], &["ftp://a:22"]),
        (
            "tauri://localhost",
            &["tauri://localhost"],
            &["http://localhost"],
        ),
        ("//[::1]:4000", &["http://[::1]:4000"], &["http://[::1]"]),
    ];
    for (entry, matching, others) in table {
        let list = Origins::list(["//unrelated.org", entry]);
        for origin in *matching {
            assert!(passes(&list, "h", false, origin), "{entry} {origin}");
        }
        for origin in *others {
            assert!(!passes(&list, "h", false, origin), "{entry} {origin}");
        }
    }
}

#[test]
fn entries_that_are_no_origins_are_errors() {
    let table = [
        ("example.com", OriginsError::Slashes),
        ("", OriginsError::Slashes),
        ("a//example.com", OriginsError::Slashes),
        ("HTTP://example.com", OriginsError::Scheme),
        ("h_p://example.com", OriginsError::Scheme),
        ("//", OriginsError::Host),
        ("//example.com/", OriginsError::Host),
        ("https://example.com/path", OriginsError::Host),
        ("//user@example.com", OriginsError::Host),
        ("//example.com:0", OriginsError::Host),
        ("//*.", OriginsError::Host),
        ("//*", OriginsError::Wildcard),
        ("//*example.com", OriginsError::Wildcard),
        ("//a.*.example.com", OriginsError::Wildcard),
        ("//*.*.example.com", OriginsError::Wildcard),
        ("//*.[::1]", OriginsError::Wildcard),
    ];
    for (entry, expected) in table {
        let error = Origins::try_list(["//good.com", entry]).unwrap_err();
        assert_eq!(error, expected, "{entry}");
    }
}

#[test]
fn a_function_sees_the_parts_and_may_panic() {
    let check = Origins::check(|origin| match origin.host() {
        Some("panic.com") => panic!("a mistake of the application"),
        Some(_) => origin.scheme() == Some("https") && origin.port() == Some(443),
        None => true,
    });
    assert!(passes(&check, "h", false, "HTTPS://example.com"));
    assert!(passes(&check, "h", false, "null"));
    assert!(passes(&check, "h", false, "file://"));
    assert!(!passes(&check, "h", false, "http://example.com"));
    assert!(!passes(&check, "h", false, "http://panic.com"));
}

/// Whether an origin is one of `example.com` or below it, found out in the plainest way: take away
/// what may stand around the host and look at the labels.
fn oracle(origin: &str) -> bool {
    // Any scheme will do; dots are legal in one (RFC 3986, section 3.1).
    let Some((scheme, host)) = origin.split_once("://") else {
        return false;
    };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(is_scheme) {
        return false;
    }
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let labels: Vec<&str> = host.split('.').collect();
    labels.ends_with(&["example", "com"])
        && labels.iter().all(|label| {
            !label.is_empty()
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        })
}

/// Pieces that confuse parsers, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("http://"),
        Just("https://"),
        Just("example.com"),
        Just("example"),
        Just(".com"),
        Just("evil.com"),
        Just("."),
        Just("@"),
        Just(":80"),
        Just(":"),
        Just("#"),
        Just("/"),
        Just("\\"),
        Just("\t"),
        Just("%2e"),
        Just("*"),
        Just("["),
        Just("]"),
        Just("a"),
        Just(" "),
        Just(","),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_but_the_host_and_what_is_below_it_passes(origin in pieces()) {
        let list = Origins::list(["http://*.example.com", "//*.example.com"]);
        if passes(&list, "h", false, &origin) {
            prop_assert!(oracle(&origin), "{origin:?}");
        }
    }

    #[test]
    fn what_is_below_the_host_passes(
        labels in prop::collection::vec("[a-z0-9_-]{1,9}", 0..4),
        port in prop::option::of(1..=u16::MAX),
    ) {
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let below: String = labels.iter().map(|label| format!("{label}.")).collect();
        let origin = format!("https://{below}example.com{port}");
        prop_assert!(oracle(&origin));
        prop_assert!(passes(&Origins::list(["//*.example.com"]), "h", false, &origin));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        origin in prop::collection::vec(any::<u8>(), 0..200),
        host in ".{0,50}",
    ) {
        let Ok(origin) = HeaderValue::from_bytes(&origin) else { return Ok(()) };
        let parts = request("h", &[origin.as_bytes()]);
        let uri = RequestUri::of(&parts, true);
        for setting in [Origins::default(), Origins::conn(), Origins::host(&host)] {
            let _ = setting.allow(&parts.headers, &uri);
        }
        let _ = Origins::try_list([host]);
    }
}
