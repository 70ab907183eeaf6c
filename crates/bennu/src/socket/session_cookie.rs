//! [`SessionCookie`]: how a mount finds out whose browser it is talking to.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use http::HeaderMap;

use super::{ConnectParams, cookie};
use crate::channel::runner::contain;
use crate::token::{Session, SessionStore};

/// The parameter in which a page shows that it was made for the session it is used in.
const CSRF_PARAM: &str = "_csrf_token";

/// The session that a web application keeps in a cookie, for `connect` to look at.
///
/// A browser sends the cookie with every connection to the server's site, whoever has made the page that
/// opens it. So the page must show that it is the application's: by the parameter `_csrf_token`, which
/// the official client sends if its `params` hold it, and which must fit the session. If it does not,
/// or is not there, there is no session; the connection goes on, and `connect` decides.
///
/// ```
/// # use bennu::{ConnectParams, PubSub, Refused, Sockets};
/// use bennu::socket::{ConnectInfo, SessionCookie};
///
/// # fn verified(_: &str) -> Option<&str> { None }
/// # fn is_page_of(_: &Session, _: &str) -> bool { false }
/// struct Session {
///     user_id: String,
/// }
///
/// // Whatever your web framework does to read its cookie, and to check its CSRF token.
/// let decode = |cookie: &str| {
///     let user_id = verified(cookie)?.to_owned();
///     Some(Session { user_id })
/// };
/// let cookie = SessionCookie::new("_my_app_key", decode, |session: &Session, csrf_token: &str| {
///     is_page_of(session, csrf_token)
/// });
///
/// async fn connect(info: ConnectInfo) -> Result<String, Refused> {
///     let session = info.session::<Session>().ok_or(Refused::forbidden())?;
///     Ok(session.user_id.clone())
/// }
///
/// let sockets = Sockets::new(PubSub::local(), connect).with_session(cookie);
/// ```
#[derive(Clone)]
pub struct SessionCookie {
    name: Arc<str>,
    decode: Arc<Decode>,
    is_own: Arc<IsOwn>,
    checks_csrf: bool,
}

/// A session of the application's type.
pub(crate) type AnySession = Arc<dyn Any + Send + Sync>;

type Decode = dyn Fn(&str) -> Option<AnySession> + Send + Sync;
type IsOwn = dyn Fn(&AnySession, &str) -> bool + Send + Sync;

impl SessionCookie {
    /// The cookie of this name.
    ///
    /// `decode` verifies its value and reads it: it is given what a client sent. `None` means that there
    /// is no session. `is_own` says whether a CSRF token, which is what a client sent as well, belongs to
    /// a session; it should compare in constant time. A panic in either means no session.
    pub fn new<S: Send + Sync + 'static>(
        name: &str,
        decode: impl Fn(&str) -> Option<S> + Send + Sync + 'static,
        is_own: impl Fn(&S, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let erased_decode = move |cookie: &str| {
            let session: AnySession = Arc::new(decode(cookie)?);
            Some(session)
        };
        let erased_is_own = move |session: &AnySession, token: &str| {
            let session = session.downcast_ref::<S>();
            session.is_some_and(|session| is_own(session, token))
        };
        Self {
            name: name.into(),
            decode: Arc::new(erased_decode),
            is_own: Arc::new(erased_is_own),
            checks_csrf: true,
        }
    }

    /// The cookie of a Phoenix application of this name (`_my_app_key`), which `store` can read: `connect`
    /// finds a [`Session`]. A cookie that was not signed with the store's keys is an empty session, as in
    /// Phoenix.
    #[must_use]
    pub fn of_phoenix(name: &str, store: SessionStore) -> Self {
        let decode = move |cookie: &str| Some(store.decode(cookie).unwrap_or_default());
        Self::new(name, decode, Session::verify_csrf)
    }

    /// Takes a session without a CSRF token. Then the origin alone keeps other people's pages from using
    /// it, so a mount with [`Origins::any`](super::Origins::any) does not accept this.
    #[must_use]
    pub fn without_csrf_check(self) -> Self {
        Self {
            checks_csrf: false,
            ..self
        }
    }

    pub(crate) fn checks_csrf(&self) -> bool {
        self.checks_csrf
    }

    /// The session of a request, if it has one that may be used.
    pub(crate) fn read(&self, headers: &HeaderMap, params: &ConnectParams) -> Option<AnySession> {
        let cookie = cookie::find(headers, &self.name)?;
        // Before the cookie is looked at, which costs more.
        let token = params.get(CSRF_PARAM);
        if self.checks_csrf && token.is_none() {
            return None;
        }
        let session = contain(|| (self.decode)(cookie))??;
        let is_own = || token.is_some_and(|token| (self.is_own)(&session, token));
        (!self.checks_csrf || contain(is_own)?).then_some(session)
    }
}

impl fmt::Debug for SessionCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookie")
            .field("name", &self.name)
            .field("checks_csrf", &self.checks_csrf)
            .finish_non_exhaustive()
    }
}
