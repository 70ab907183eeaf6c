//! [`Vsn`]: the version of the wire format, and its negotiation from the `vsn` connect parameter.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of the wire format that a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Vsn {
    /// `~> 1.0.0`: JSON objects, no join references towards the client, no binary.
    V1,
    /// `~> 2.0.0`: JSON arrays of five, and binary frames.
    V2,
}

/// The client asked for a version that is not spoken here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the vsn {vsn:?} is not supported: 1.0.x and 2.0.x are")]
pub struct VsnError {
    /// What the client asked for, cut to 64 characters.
    pub vsn: String,
}

impl Vsn {
    /// Chooses the version for the value of the `vsn` parameter; absent means `1.0.0`.
    ///
    /// # Errors
    /// [`VsnError`] for anything but a semantic version `1.0.x` or `2.0.x` that is no pre-release.
    pub fn negotiate(vsn: Option<&str>) -> Result<Self, VsnError> {
        let Some(text) = vsn else { return Ok(Self::V1) };
        match parse(text) {
            Some((1, 0)) => Ok(Self::V1),
            Some((2, 0)) => Ok(Self::V2),
            _ => Err(VsnError {
                vsn: text.chars().take(64).collect(),
            }),
        }
    }
}

impl fmt::Display for Vsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "1.0.0",
            Self::V2 => "2.0.0",
        })
    }
}

/// Major and minor of a strict `MAJOR.MINOR.PATCH[+BUILD]`; `None` for everything else, also for
/// pre-releases, which no requirement matches.
fn parse(text: &str) -> Option<(u32, u32)> {
    let (core, build) = match text.split_once('+') {
        Some((core, build)) => (core, Some(build)),
        None => (text, None),
    };
    let build_is_valid = build.is_none_or(|build| {
        build.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    });
    let mut parts = core.split('.').map(number);
    let version = (parts.next()??, parts.next()??);
    parts.next()??;
    (build_is_valid && parts.next().is_none()).then_some(version)
}

/// Numbers may be as long as they like; those past `u32` are all the same to us.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (text.len() == 1 || !text.starts_with('0'));
    plain.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_reference_answers_them() {
        let table = [
            (None, Some(Vsn::V1)),
            (Some("1.0.0"), Some(Vsn::V1)),
            (Some("1.0.9"), Some(Vsn::V1)),
            (Some("2.0.0"), Some(Vsn::V2)),
            (Some("2.0.1"), Some(Vsn::V2)),
            (Some("2.0.0+build"), Some(Vsn::V2)),
            (Some("1.1.0"), None),
            (Some("2.1.0"), None),
            (Some("3.0.0"), None),
            (Some("123.1.1"), None),
            (Some("2"), None),
            (Some("2.0"), None),
            (Some("2.0.0.0"), None),
            (Some(""), None),
            (Some("abc"), None),
            (Some("2.0.0-rc.1"), None),
            (Some("02.0.0"), None),
            (Some("2.0.+1"), None),
            (Some("2.0.0+"), None),
            (Some("2.0.99999999999999999999"), Some(Vsn::V2)),
            (Some("99999999999999999999.0.0"), None),
            (Some("2.99999999999999999999.0"), None),
            (Some("2..0"), None),
            (Some("2.0.0+a..b"), None),
            (Some("2.0.0 "), None),
            (Some("2.0.00"), None),
            (Some("2.0.0+build.1-x"), Some(Vsn::V2)),
            (Some("2.0.0-rc.1+build"), None),
        ];
        for (vsn, expected) in table {
            assert_eq!(Vsn::negotiate(vsn).ok(), expected, "{vsn:?}");
        }
    }
}
