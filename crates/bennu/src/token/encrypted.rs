//! The encrypted form, and the one that Plug.Crypto wrote before version 2, which is only read.

use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AesGcm, aead::consts::U12};
use base64::Engine;
use chacha20poly1305::aead::{Aead, AeadInOut, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::keys::{ENCRYPTION_KEY_BYTES, Key};
use super::{BASE64, SignError};

const PREFIX: &str = "XCP.";
/// `A128GCM` in base64.
const LEGACY_PREFIX: &str = "QTEyOEdDTQ.";
/// What is authenticated beside the text: a name that stayed when the cipher changed.
const AAD: &[u8] = b"A128GCM";

const IV_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const LEGACY_IV_BYTES: usize = 12;

/// The bytes, encrypted by XChaCha20-Poly1305.
pub(super) fn encrypt(key: &Key, bytes: Vec<u8>) -> Result<String, SignError> {
    let mut iv = [0; IV_BYTES];
    getrandom::fill(&mut iv).map_err(|_| SignError::Random)?;
    encrypt_with(key, iv, bytes)
}

fn encrypt_with(key: &Key, iv: [u8; IV_BYTES], mut bytes: Vec<u8>) -> Result<String, SignError> {
    let cipher = cipher(key).ok_or(SignError::KeyLength)?;
    let tag = cipher
        .encrypt_inout_detached(&XNonce::from(iv), AAD, bytes.as_mut_slice().into())
        .map_err(|_| SignError::TooLong)?;
    let mut token = PREFIX.to_owned();
    BASE64.encode_string([&iv, tag.as_slice(), &bytes].concat(), &mut token);
    Ok(token)
}

/// The bytes that were encrypted with this key. The legacy form wraps a key of its own, which the
/// signing secret authenticates: for tokens it is empty.
pub(super) fn decrypt(key: &Key, signing_secret: &[u8], token: &str) -> Option<Vec<u8>> {
    if let Some(text) = token.strip_prefix(PREFIX) {
        let sealed = BASE64.decode(text).ok()?;
        let (iv, sealed) = sealed.split_first_chunk::<IV_BYTES>()?;
        let (tag, text) = sealed.split_first_chunk::<TAG_BYTES>()?;
        let mut bytes = text.to_vec();
        cipher(key)?
            .decrypt_inout_detached(
                &XNonce::from(*iv),
                AAD,
                bytes.as_mut_slice().into(),
                &(*tag).into(),
            )
            .ok()?;
        return Some(bytes);
    }
    let legacy = token.strip_prefix(LEGACY_PREFIX)?;
    decrypt_legacy(key.bytes(), signing_secret, AAD, legacy)
}

fn cipher(key: &Key) -> Option<XChaCha20Poly1305> {
    let key: &[u8; ENCRYPTION_KEY_BYTES] = key.bytes().try_into().ok()?;
    Some(XChaCha20Poly1305::new(key.into()))
}

/// Wrapped key, iv, text and tag. The wrapped key is itself text, tag and iv (RFC 7518 section 4.7).
fn decrypt_legacy(key: &[u8], signing_secret: &[u8], aad: &[u8], token: &str) -> Option<Vec<u8>> {
    let parts: Vec<Vec<u8>> = token
        .splitn(5, '.')
        .map(|part| BASE64.decode(part).ok())
        .collect::<Option<_>>()?;
    let [wrapped, iv, text, tag] = parts.try_into().ok()?;
    let (wrapped, wrapping_iv) = wrapped.split_last_chunk::<LEGACY_IV_BYTES>()?;
    let content_key = zeroize::Zeroizing::new(open_gcm(key, wrapping_iv, signing_secret, wrapped)?);
    if tag.len() != TAG_BYTES {
        return None;
    }
    let sealed = [text, tag].concat();
    open_gcm(&content_key, iv.as_slice().try_into().ok()?, aad, &sealed)
}

/// AES-GCM with a key of 16, 24 or 32 bytes; the tag stands after the text.
fn open_gcm(key: &[u8], iv: &[u8; LEGACY_IV_BYTES], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let payload = Payload { msg: sealed, aad };
    let opened = match key.len() {
        16 => AesGcm::<Aes128, U12>::new_from_slice(key)
            .ok()?
            .decrypt(iv.into(), payload),
        24 => AesGcm::<Aes192, U12>::new_from_slice(key)
            .ok()?
            .decrypt(iv.into(), payload),
        32 => AesGcm::<Aes256, U12>::new_from_slice(key)
            .ok()?
            .decrypt(iv.into(), payload),
        _ => return None,
    };
    opened.ok()
}

#[cfg(test)]
mod tests {
    use super::super::keys::KeyOptions;
    use super::*;

    /// A token of the reference, made once more with its iv.
    #[test]
    fn encrypts_byte_for_byte() {
        let golden = "XCP._UeU40HqEiuBwbWOPqmdTAyNu5p2E-5jOX7DU_Lf7pJ_cW5y__kE5BXXeQc-m3O5_P66fGOO_WsXTVdPUJk1dd4D318j";
        let secret = "abcdefgh".repeat(8);
        let key = Key::derive(secret.as_bytes(), 20, b"user auth", &KeyOptions::default()).unwrap();
        let bytes = decrypt(&key, b"", golden).unwrap();
        assert_eq!(bytes[..14], *b"\x83\x68\x03m\0\0\0\x07secret");
        let iv = BASE64.decode(&golden[4..]).unwrap()[..IV_BYTES]
            .try_into()
            .unwrap();
        assert_eq!(encrypt_with(&key, iv, bytes).unwrap(), golden);
    }

    /// The message and the keys are those of Plug.Crypto's own tests.
    #[test]
    fn decrypts_what_earlier_versions_wrote() {
        let message = "L85cCXPvSqswNJoxmP5QTopFY83qCPj9czxkwct8b0HDHdC8Qwruhkq3SWw.mmqfbc2dfaMMi6Xi.n1qvYhAUYI0r7-QB6Vw.0jV2tT3U-AQMAQSch2rNsw";
        let right = &*b"abcdefgh".repeat(4);
        let wrong = &*b"12345678".repeat(4);
        let text = "\0hełłoworld\0".as_bytes().to_vec();
        let open = |key, secret, aad| decrypt_legacy(key, secret, aad, message);
        assert_eq!(open(right, right, b"right aad"), Some(text));
        for (key, secret, aad) in [
            (right, right, &b"wrong aad"[..]),
            (wrong, right, b"right aad"),
            (right, wrong, b"right aad"),
            (wrong, wrong, b"right aad"),
            (&right[1..], right, b"right aad"),
        ] {
            assert_eq!(open(key, secret, aad), None);
        }
        let (front, tag) = message.rsplit_once('.').unwrap();
        for broken in [
            front.to_owned(),
            format!("{front}."),
            format!("{front}.{}", &tag[..20]),
            format!("{message}.{tag}"),
            format!("x{message}"),
            "...".to_owned(),
            String::new(),
        ] {
            assert_eq!(decrypt_legacy(right, right, b"right aad", &broken), None);
        }
    }

    /// Made here, of keys of every size, by the same rule.
    #[test]
    fn keys_of_every_size_unwrap_keys_of_every_size() {
        fn seal(key: &[u8], iv: [u8; 12], aad: &[u8], msg: &[u8]) -> Vec<u8> {
            let payload = Payload { msg, aad };
            match key.len() {
                16 => AesGcm::<Aes128, U12>::new_from_slice(key)
                    .unwrap()
                    .encrypt(&iv.into(), payload),
                24 => AesGcm::<Aes192, U12>::new_from_slice(key)
                    .unwrap()
                    .encrypt(&iv.into(), payload),
                _ => AesGcm::<Aes256, U12>::new_from_slice(key)
                    .unwrap()
                    .encrypt(&iv.into(), payload),
            }
            .unwrap()
        }
        for key_bytes in [16, 24, 32] {
            for content_bytes in [16, 24, 32] {
                let (key, content_key) = (vec![1; key_bytes], vec![2; content_bytes]);
                let wrapped = [&*seal(&key, [3; 12], b"", &content_key), &[3; 12]].concat();
                let sealed = seal(&content_key, [4; 12], AAD, b"text");
                let (text, tag) = sealed.split_at(4);
                let parts = [&wrapped, &[4; 12][..], text, tag].map(|part| BASE64.encode(part));
                let opened = decrypt_legacy(&key, b"", AAD, &parts.join("."));
                assert_eq!(opened.as_deref(), Some(&b"text"[..]));
            }
        }
    }
}
