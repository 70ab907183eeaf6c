//! The signed form: which digest, the bytes, and their HMAC, each in base64 and with dots between.

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha384, Sha512};

use super::BASE64;
use super::keys::Key;

/// `HS256` in base64.
const HS256: &str = "SFMyNTY";
/// `HS384` in base64.
const HS384: &str = "SFMzODQ";
/// `HS512` in base64.
const HS512: &str = "SFM1MTI";
/// The longest signature as text, with padding: that of HS512.
const SIGNATURE_CHARS_MAX: usize = 88;

/// The bytes with their signature by HS256.
pub(super) fn sign(key: &Key, bytes: &[u8]) -> String {
    let mut token = format!("{HS256}.");
    BASE64.encode_string(bytes, &mut token);
    let signature = key.hs256().chain_update(&token).finalize().into_bytes();
    token.push('.');
    BASE64.encode_string(signature, &mut token);
    token
}

/// The bytes that were signed with this key. They are decoded only once that is known.
pub(super) fn verify(key: &Key, token: &str) -> Option<Vec<u8>> {
    let (message, signature) = token.rsplit_once('.')?;
    let (digest, payload) = message.split_once('.')?;
    if payload.contains('.') || signature.len() > SIGNATURE_CHARS_MAX {
        return None;
    }
    let signature = BASE64.decode(signature).ok()?;
    if !is_signed(key, digest, message, &signature) {
        return None;
    }
    BASE64.decode(payload).ok()
}

/// Compares in constant time.
fn is_signed(key: &Key, digest: &str, message: &str, signature: &[u8]) -> bool {
    match digest {
        HS256 => key
            .hs256()
            .chain_update(message)
            .verify_slice(signature)
            .is_ok(),
        HS384 => has_mac::<Hmac<Sha384>>(key, message, signature),
        HS512 => has_mac::<Hmac<Sha512>>(key, message, signature),
        _ => false,
    }
}

fn has_mac<M: Mac + KeyInit>(key: &Key, message: &str, signature: &[u8]) -> bool {
    <M as KeyInit>::new_from_slice(key.bytes())
        .is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok())
}
