//! [`Held`]: what a socket keeps of the server's count of its connection.

/// The connection's permit, if it was served by a server that counts.
#[cfg(feature = "serve")]
pub(crate) type Held = Option<crate::serve::ConnectionPermit>;

/// No server counts.
#[cfg(not(feature = "serve"))]
pub(crate) type Held = Option<std::convert::Infallible>;

/// Takes the permit out of the extensions of a request.
pub(super) fn take(extensions: &mut http::Extensions) -> Held {
    extensions.remove()
}
