//! [`AuthToken`]: what a client shows of itself outside of the URL.

use std::fmt;

/// The token that a client sends with `authToken` in its options: through the subprotocols of a
/// WebSocket handshake, or in a header of its own with long polling, so that it stands in no URL and so
/// in no log. Bennu does not look into it; verify it in `connect`.
///
/// It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthToken(Box<[u8]>);

impl AuthToken {
    pub(crate) fn new(token: Vec<u8>) -> Self {
        Self(token.into())
    }

    /// The token.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The token, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthToken")
    }
}
