//! The door of a mount: what its clients must show before `connect` is asked, and how it is set.

use http::HeaderValue;

use crate::socket::{Origins, SessionCookie, Sockets, TrustedProxies};
use crate::transport::subprotocol::PHOENIX;

/// What is asked of every client of a mount.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door {
    pub(crate) origins: Origins,
    /// In the order in which they are preferred. Without any setting, what clients offer is ignored.
    subprotocols: Option<Vec<HeaderValue>>,
    /// Whether clients may send a token outside of the URL.
    pub(crate) takes_auth_token: bool,
    pub(crate) proxies: Option<TrustedProxies>,
    pub(crate) session: Option<SessionCookie>,
}

/// What is configured does not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// Neither the origin nor a CSRF token keeps other people's pages from using a session.
    #[error(
        "with `Origins::any` and a session without its CSRF check, any web page could connect as \
         whoever looks at it: say which origins may connect, or leave the check on"
    )]
    OpenSession,
}

/// A subprotocol that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subprotocol is a token of RFC 9110, section 5.6.2: letters, digits and !#$%&'*+-.^_`|~")]
pub struct SubprotocolError;

impl Door {
    /// Whether all of it together is safe.
    pub(crate) fn check(&self) -> Result<(), MountError> {
        let session = self.session.as_ref();
        let is_open = session.is_some_and(|session| !session.checks_csrf());
        if is_open && self.origins.is_any() {
            return Err(MountError::OpenSession);
        }
        Ok(())
    }

    /// What is spoken, if clients are asked for it.
    pub(crate) fn subprotocols(&self) -> Option<&[HeaderValue]> {
        self.subprotocols.as_deref()
    }

    /// `phoenix` comes first where tokens are taken: it is what the official client offers with one.
    fn prefer_phoenix(&mut self) {
        let phoenix = HeaderValue::from_static(PHOENIX);
        let subprotocols = self.subprotocols.get_or_insert_default();
        subprotocols.retain(|subprotocol| *subprotocol != phoenix);
        subprotocols.insert(0, phoenix);
    }
}

impl<A: Send + Sync + 'static, C> Sockets<A, C> {
    /// Says which web pages may connect. Default [`Origins::same_host`].
    ///
    /// A page that may not is answered 403. That is counted (`bennu_connects_total{result="origin"}`)
    /// and logged, at most once in ten seconds.
    pub fn with_origins(mut self, origins: Origins) -> Self {
        self.door.origins = origins;
        self
    }

    /// Names the WebSocket subprotocols that are spoken, best first. A client that offers some must
    /// offer one of them, or it is answered 403; the first of ours that it offers is the answer. A
    /// client that offers none may connect. Without this, what clients offer is ignored, and a browser
    /// that offered something hangs up.
    ///
    /// # Panics
    /// If one is no token. [`Sockets::try_with_subprotocols`] returns the error instead.
    #[track_caller]
    pub fn with_subprotocols<T: AsRef<str>>(
        self,
        subprotocols: impl IntoIterator<Item = T>,
    ) -> Self {
        match self.try_with_subprotocols(subprotocols) {
            Ok(sockets) => sockets,
            #[allow(
                clippy::panic,
                reason = "a subprotocol is part of the program, not of its input"
            )]
            Err(error) => panic!("{error}"),
        }
    }

    /// [`Sockets::with_subprotocols`] for names that are data.
    ///
    /// # Errors
    /// [`SubprotocolError`] for one that is no token.
    pub fn try_with_subprotocols<T: AsRef<str>>(
        mut self,
        subprotocols: impl IntoIterator<Item = T>,
    ) -> Result<Self, SubprotocolError> {
        let value = |name: T| {
            let name = name.as_ref();
            let value = is_token(name).then(|| HeaderValue::from_str(name).ok());
            value.flatten().ok_or(SubprotocolError)
        };
        let subprotocols: Result<_, _> = subprotocols.into_iter().map(value).collect();
        self.door.subprotocols = Some(subprotocols?);
        if self.door.takes_auth_token {
            self.door.prefer_phoenix();
        }
        Ok(self)
    }

    /// Takes the token that the official client sends with `authToken` in its options: `connect` finds
    /// it in [`ConnectInfo::auth_token`](super::ConnectInfo::auth_token). The subprotocol `phoenix`,
    /// which the client offers with it, is spoken from then on.
    ///
    /// Without this, a browser whose page sets `authToken` cannot connect.
    pub fn with_auth_token(mut self) -> Self {
        self.door.takes_auth_token = true;
        self.door.prefer_phoenix();
        self
    }

    /// Reads the session that a web application keeps in a cookie: `connect` finds it in
    /// [`ConnectInfo::session`](super::ConnectInfo::session).
    pub fn with_session(mut self, cookie: SessionCookie) -> Self {
        self.door.session = Some(cookie);
        self
    }

    /// Takes the word of these proxies about who is behind them: the client's address, and the scheme
    /// and host that it used. Default: of nobody.
    pub fn with_trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.door.proxies = Some(proxies);
        self
    }
}

fn is_token(text: &str) -> bool {
    let is_char = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_char)
}
