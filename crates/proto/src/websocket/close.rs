//! The body of a close frame, RFC 6455, sections 5.5.1 and 7.4. Sending one, and what to answer, are not
//! here.

use super::protocol_error::ProtocolError;

/// Whether a close frame may carry `code` (section 7.4 and the IANA registry): 1000 to 1003, 1007 to 1014,
/// 3000 to 4999.
///
/// 1004 has no meaning; 1005, 1006 and 1015 only describe, locally, a connection that ended without a code;
/// the rest is unassigned.
#[must_use]
pub fn close_code_is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The code and the reason; `None` for the empty body.
pub(super) fn parse_close(body: &[u8]) -> Result<Option<(u16, &str)>, ProtocolError> {
    if body.is_empty() {
        return Ok(None);
    }
    let (code, reason) = body
        .split_first_chunk::<2>()
        .ok_or(ProtocolError::CloseBodyTooShort)?;
    let code = u16::from_be_bytes(*code);
    if !close_code_is_valid(code) {
        return Err(ProtocolError::CloseCode { code });
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::CloseReasonNotUtf8)?;
    Ok(Some((code, reason)))
}
