//! What a token says about itself (RFC 7519 section 4.1), held against what is expected.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::JwtError;

/// How far the clock of an issuer may be from ours where nothing else is said.
pub const LEEWAY: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) issuers: Vec<String>,
    pub(super) audiences: Vec<String>,
    pub(super) leeway: Duration,
    pub(super) expiry_required: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: LEEWAY,
            expiry_required: true,
        }
    }
}

/// What is read of the claims, whatever else there is. A claim that is there twice is an error.
#[derive(Deserialize)]
struct Registered {
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Rules {
    /// Checks a payload whose signature is verified.
    pub(super) fn check(&self, payload: &[u8], now: SystemTime) -> Result<(), JwtError> {
        let claims: Registered = serde_json::from_slice(payload).map_err(|_| JwtError::Claims)?;
        let now = unix_seconds(now);
        let leeway = self.leeway.as_secs_f64();
        match claims.exp {
            Some(exp) if now >= exp + leeway => return Err(JwtError::Expired),
            None if self.expiry_required => return Err(JwtError::Expiry),
            _ => {}
        }
        if claims.nbf.is_some_and(|nbf| nbf > now + leeway) {
            return Err(JwtError::Immature);
        }
        let issued = match &claims.iss {
            _ if self.issuers.is_empty() => true,
            Some(issuer) => self.issuers.contains(issuer),
            None => false,
        };
        if !issued {
            return Err(JwtError::Issuer);
        }
        let addressed = match &claims.aud {
            None => self.audiences.is_empty(),
            Some(Audience::One(audience)) => self.audiences.contains(audience),
            Some(Audience::Many(audiences)) => audiences
                .iter()
                .any(|audience| self.audiences.contains(audience)),
        };
        if !addressed {
            return Err(JwtError::Audience);
        }
        Ok(())
    }
}

/// Seconds since 1970, fewer than none before.
fn unix_seconds(time: SystemTime) -> f64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}
