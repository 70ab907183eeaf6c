//! Cookies of a request (RFC 6265, section 4.2), as far as one of them is looked for.

use http::HeaderMap;
use http::header::COOKIE;

/// The value of a cookie. The first one counts, in all lines together: HTTP/2 clients send a line for
/// each cookie (RFC 9113, section 8.2.3), and Plug takes the first of a line too.
///
/// What is no pair is passed over, as is a value with a control character in it. Quotes around a value
/// are taken away; otherwise it is as it was sent.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, value)| trim(key) == name && !value.contains('\t'))
        .map(|(_, value)| unquote(trim(value)))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn unquote(value: &str) -> &str {
    let inner = value.strip_prefix('"');
    inner
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|line| (COOKIE, HeaderValue::from_bytes(line).unwrap()))
            .collect()
    }

    #[test]
    fn one_cookie_is_found_among_others() {
        let table: &[(&[&[u8]], Option<&str>)] = &[
            (&[], None),
            (&[b""], None),
            (&[b"key=value"], Some("value")),
            (&[b"a=1; key=value; b=2"], Some("value")),
            (&[b"a=1;key=value;b=2"], Some("value")),
            (&[b"  key=value  "], Some("value")),
            (&[b"a=1", b"key=value"], Some("value")),
            (&[b"key=\"value\""], Some("value")),
            (&[b"key=\""], Some("\"")),
            (&[b"key=a=b=="], Some("a=b==")),
            (&[b"key="], Some("")),
            (&[b"key=a b, c"], Some("a b, c")),
            // The first one.
            (&[b"key=1; key=2"], Some("1")),
            (&[b"key=1", b"key=2"], Some("1")),
            (&[b"key=1\t2; key=3"], Some("3")),
            // Other names, and what is no cookie.
            (&[b"key"], None),
            (&[b"=key"], None),
            (&[b"Key=1; akey=2; keya=3; $key=4"], None),
            (&[b"key a=1; a key=2"], None),
            (&[b"a=\"; key=value\""], Some("value\"")),
            (&[b"key=\xff; key=1"], None),
            (&[b"key=\xff", b"key=1"], Some("1")),
        ];
        for (lines, expected) in table {
            assert_eq!(find(&headers(lines), "key"), *expected, "{lines:?}");
        }
    }

    #[test]
    fn endless_cookies_are_read_in_one_pass() {
        for piece in ["a=;", ";", "=", "\"", "key", " ", "key=\t;"] {
            let line = piece.repeat(1_000_000 / piece.len());
            assert_eq!(find(&headers(&[line.as_bytes()]), "key"), None);
        }
    }

    proptest! {
        #[test]
        fn a_cookie_among_any_others_is_found(
            before in prop::collection::vec("[a-j]{1,5}=[!-:<-~]{0,9}", 0..5),
            value in "[!#-:<-~]{0,20}",
        ) {
            let line = format!("{}; key={value}; key=other", before.join("; "));
            let line = line.trim_start_matches("; ");
            let headers = headers(&[line.as_bytes()]);
            prop_assert_eq!(find(&headers, "key"), Some(&*value));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let Ok(line) = HeaderValue::from_bytes(&line) else { return Ok(()) };
            find(&headers(&[line.as_bytes()]), "key");
        }
    }
}
