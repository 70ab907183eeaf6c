//! Masking, RFC 6455, section 5.3: XOR with four bytes over and over, which is its own inverse. Where masks
//! come from is the caller's affair.

/// Masks or unmasks `bytes` in place. Returns the mask as the byte that follows `bytes` needs it, so that a
/// payload can be done in pieces.
#[inline]
pub(super) fn apply_mask(mask: [u8; 4], bytes: &mut [u8]) -> [u8; 4] {
    let mut next = mask;
    next.rotate_left(bytes.len() % 4);

    // Native byte order on both sides of the XOR, so words come out as bytes would. The compiler widens this
    // loop to vectors.
    let word_mask = u32::from_ne_bytes(mask);
    let double_mask = u64::from(word_mask) << 32 | u64::from(word_mask);
    let (doubles, rest) = bytes.as_chunks_mut::<8>();
    for double in doubles {
        *double = (u64::from_ne_bytes(*double) ^ double_mask).to_ne_bytes();
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ word_mask).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    next
}
