//! UTF-8 that arrives in pieces, RFC 6455, section 8.1. A piece that is whole needs no state and is judged
//! where it is used.

use super::protocol_error::ProtocolError;

/// Judges text as it arrives. It holds the at most three bytes of a code point that is still incomplete.
#[derive(Debug, Default)]
pub(super) struct Utf8Validator {
    carry: [u8; 3],
    carried: u8,
}

impl Utf8Validator {
    /// Fails as soon as no continuation could make the text valid, also in the middle of a code point. After
    /// a failure its answers mean nothing.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let rest = self.complete(bytes)?;
        let Err(error) = simdutf8::compat::from_utf8(rest) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(ProtocolError::TextNotUtf8);
        }
        let incomplete = rest.get(error.valid_up_to()..).unwrap_or_default();
        for byte in incomplete {
            self.keep(*byte)?;
        }
        Ok(())
    }

    /// The text ends here: fails if it does so inside a code point.
    pub(super) fn finish(&self) -> Result<(), ProtocolError> {
        if self.carried == 0 {
            Ok(())
        } else {
            Err(ProtocolError::TextNotUtf8)
        }
    }

    /// Completes the carried code point from the front of `bytes`, and returns what is left.
    fn complete<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        while self.carried > 0 {
            let Some((&byte, rest)) = bytes.split_first() else {
                break;
            };
            bytes = rest;
            let [first, second, third] = self.carry;
            let candidate = [first, second, third, byte];
            let had = usize::from(self.carried);
            let candidate = match had {
                1 => &[first, byte][..],
                2 => &[first, second, byte][..],
                _ => &candidate[..],
            };
            match std::str::from_utf8(candidate) {
                Ok(_) => self.carried = 0,
                Err(error) if error.error_len().is_none() => self.keep(byte)?,
                Err(_) => return Err(ProtocolError::TextNotUtf8),
            }
        }
        Ok(bytes)
    }

    fn keep(&mut self, byte: u8) -> Result<(), ProtocolError> {
        // No prefix of a code point is longer than three bytes, so there is always room.
        let room = self
            .carry
            .get_mut(usize::from(self.carried))
            .ok_or(ProtocolError::TextNotUtf8)?;
        *room = byte;
        self.carried += 1;
        Ok(())
    }
}
