//! Proxies that are trusted, and clients who would like to be.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const PEER: &str = "10.0.0.1";
const CLIENT: &str = "203.0.113.7";

fn proxies(header: ForwardedHeader) -> TrustedProxies {
    TrustedProxies::new(header, ["10.0.0.0/8", "fd00::/8", "192.0.2.1"]).unwrap()
}

fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    for (name, text) in lines {
        headers.append(name, value(text));
    }
    headers
}

fn address(header: ForwardedHeader, lines: &[&str]) -> String {
    let name = match header {
        ForwardedHeader::Forwarded => FORWARDED,
        ForwardedHeader::XForwarded => FOR,
    };
    let lines: Vec<_> = lines.iter().map(|line| (name.clone(), *line)).collect();
    let peer = PEER.parse().unwrap();
    let resolved = proxies(header).resolve(peer, &headers(&lines)).unwrap();
    resolved.address.to_string()
}

#[test]
fn x_forwarded_for_is_read_from_its_end_while_hops_are_trusted() {
    let table: &[(&[&str], &str)] = &[
        (&[], PEER),
        (&["203.0.113.7"], CLIENT),
        (&["203.0.113.7, 10.0.0.9"], CLIENT),
        (&["203.0.113.7", "10.0.0.9, 192.0.2.1"], CLIENT),
        (&["203.0.113.7:4711"], CLIENT),
        (&["203.0.113.7:_hidden"], CLIENT),
        (&["::ffff:203.0.113.7"], CLIENT),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["[2001:db8::1]:80,fd00::1"], "2001:db8::1"),
        (&["\"203.0.113.7, 10.0.0.9"], "10.0.0.9"),
        // All of them trusted: the first.
        (&["10.9.9.9, 10.0.0.9"], "10.9.9.9"),
        // What a client sent stands in front of what the proxy saw.
        (&["1.2.3.4, 203.0.113.7"], CLIENT),
        (&["1.2.3.4", "203.0.113.7"], CLIENT),
        (&["10.0.0.5, 203.0.113.7"], CLIENT),
        (&["unknown, 203.0.113.7"], CLIENT),
        // A proxy that hides its client leaves itself.
        (&["1.2.3.4, unknown"], PEER),
        (&["1.2.3.4, unknown, 10.0.0.9"], "10.0.0.9"),
        (&["_secret"], PEER),
        (&["example.com"], PEER),
        (&["203.0.113.7:99999"], PEER),
        (&["203.0.113.7:"], PEER),
        (&["[2001:db8::1"], PEER),
        (&["[2001:db8::1]x"], PEER),
        (&["[203.0.113.7]"], PEER),
        (&["203.0.113.007"], PEER),
        (&[""], PEER),
        (&["203.0.113.7,"], PEER),
    ];
    for (lines, expected) in table {
        assert_eq!(
            address(ForwardedHeader::XForwarded, lines),
            *expected,
            "{lines:?}"
        );
    }
}

#[test]
fn forwarded_is_read_from_its_end_while_hops_are_trusted() {
    let table: &[(&[&str], &str)] = &[
        (&["for=203.0.113.7"], CLIENT),
        (
            &["For=\"203.0.113.7:4711\";proto=https;by=10.0.0.1"],
            CLIENT,
        ),
        (&["for=203.0.113.7, for=10.0.0.9"], CLIENT),
        (&["for=203.0.113.7", "for=\"[fd00::1]:80\""], CLIENT),
        (&["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
        (&["by=\"a,b\\\",c\" ; for=203.0.113.7"], CLIENT),
        (&["for=\"\\2\\0\\3.0.113.7\""], CLIENT),
        // What a client sent stands in front of what the proxy saw, well-formed or not.
        (&["for=1.2.3.4, for=203.0.113.7"], CLIENT),
        (&["for=\", for=203.0.113.7"], CLIENT),
        (&["for=\"1.2.3.4, for=203.0.113.7;by=\"a,b\""], CLIENT),
        (&["for=1.2.3.4;by=\"", "for=203.0.113.7"], CLIENT),
        (&["for=\\\", for=203.0.113.7"], CLIENT),
        // A proxy that hides its client leaves itself.
        (&["for=1.2.3.4, for=unknown"], PEER),
        (&["for=1.2.3.4, for=_hidden, for=10.0.0.9"], "10.0.0.9"),
        (&["for=1.2.3.4, proto=https"], PEER),
        (&["for=1.2.3.4;for=203.0.113.7"], PEER),
        (&["for=203.0.113.7 proto=https"], PEER),
        (&["for=\"203.0.113.7"], PEER),
        (&["for"], PEER),
        (&[""], PEER),
    ];
    for (lines, expected) in table {
        assert_eq!(
            address(ForwardedHeader::Forwarded, lines),
            *expected,
            "{lines:?}"
        );
    }
}

#[test]
fn scheme_and_host_are_those_of_the_client() {
    let resolve = |header, lines: &[(HeaderName, &str)]| {
        let peer = PEER.parse().unwrap();
        let resolved = proxies(header).resolve(peer, &headers(lines)).unwrap();
        let host = resolved.host.map(|host| (host.host, host.port));
        (resolved.is_https, host)
    };
    let host = |host: &str, port| Some((host.to_owned(), port));
    let forwarded = |line| resolve(ForwardedHeader::Forwarded, &[(FORWARDED, line)]);
    assert_eq!(
        forwarded(
            "for=203.0.113.7;proto=HTTPS;host=\"example.com:81\", for=10.0.0.9;proto=http;host=inner"
        ),
        (Some(true), host("example.com", Some(81)))
    );
    assert_eq!(
        forwarded("for=1.1.1.1;proto=https;host=evil.com, for=203.0.113.7"),
        (None, None)
    );
    assert_eq!(forwarded("for=unknown;proto=wss"), (Some(true), None));
    let x = |proto, name| resolve(ForwardedHeader::XForwarded, &[(PROTO, proto), (HOST, name)]);
    assert_eq!(
        x("https", "example.com"),
        (Some(true), host("example.com", None))
    );
    assert_eq!(
        x("https, http", "evil.com, h:80"),
        (Some(false), host("h", Some(80)))
    );
    assert_eq!(x("gopher", "a@b"), (None, None));
    // The other header means nothing.
    assert_eq!(
        resolve(ForwardedHeader::Forwarded, &[(PROTO, "https")]),
        (None, None)
    );
}

#[test]
fn a_peer_that_is_not_trusted_is_not_believed() {
    for header in [ForwardedHeader::Forwarded, ForwardedHeader::XForwarded] {
        let lines = [
            (FOR, "1.2.3.4"),
            (FORWARDED, "for=1.2.3.4"),
            (PROTO, "https"),
        ];
        let resolved = proxies(header).resolve(CLIENT.parse().unwrap(), &headers(&lines));
        assert_eq!(resolved, None);
    }
}

#[test]
fn networks_are_read_and_others_are_errors() {
    for network in [
        "10.0.0.0/33",
        "10.0.0",
        "example.com",
        "",
        "::/129",
        "10.0.0.1-10.0.0.9",
    ] {
        let error = TrustedProxies::new(ForwardedHeader::Forwarded, [network]);
        assert_eq!(error.unwrap_err(), TrustedProxiesError, "{network}");
    }
}

#[test]
fn endless_lists_are_read_in_one_pass_and_not_far() {
    let lists = [
        "10.0.0.1,".repeat(200_000),
        "\"".repeat(1_000_001),
        "\\".repeat(1_000_001),
        "\\\"".repeat(500_001),
        ",".repeat(1_000_001),
    ];
    for list in lists {
        for header in [ForwardedHeader::Forwarded, ForwardedHeader::XForwarded] {
            address(header, &[&list, "10.0.0.9"]);
            address(header, &[&format!("for={list}")]);
        }
    }
    // No more hops than anybody has.
    let hops = format!("203.0.113.7{}", ", 10.0.0.9".repeat(HOPS_MAX));
    assert_eq!(address(ForwardedHeader::XForwarded, &[&hops]), "10.0.0.9");
}

proptest! {
    /// Whatever a client sends, in the same line or in lines of its own, the address that the trusted
    /// proxy saw is what is found.
    #[test]
    fn a_client_cannot_say_who_it_is(
        spoofed in prop::collection::vec("[ -~]{0,40}|(for=)?\"?[0-9.]{7,12}\"?[,;\\\\\"]?", 0..4),
        is_one_line in any::<bool>(),
        hops in 0_usize..3,
    ) {
        for (header, entry, hop) in [
            (ForwardedHeader::XForwarded, CLIENT.to_owned(), "10.0.0.9"),
            (ForwardedHeader::Forwarded, format!("for={CLIENT};proto=http"), "for=10.0.0.9"),
        ] {
            let mut lines = spoofed.clone();
            let mut seen = entry;
            for _ in 0..hops {
                seen = format!("{seen}, {hop}");
            }
            match lines.last_mut() {
                Some(last) if is_one_line => *last = format!("{last}, {seen}"),
                _ => lines.push(seen),
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(address(header, &lines), CLIENT);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        for header in [ForwardedHeader::Forwarded, ForwardedHeader::XForwarded] {
            let mut headers = HeaderMap::new();
            for name in [FOR, FORWARDED, PROTO, HOST] {
                headers.append(name, value.clone());
            }
            proxies(header).resolve(PEER.parse().unwrap(), &headers);
        }
    }
}
