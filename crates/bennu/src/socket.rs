//! [`Sockets`]: what is behind one mount: how clients connect, and which channels they may join.

mod auth_token;
pub(crate) mod authority;
mod connect;
mod connect_info;
mod cookie;
mod door;
mod expiry;
mod long_poll;
mod origins;
mod params;
mod refused;
mod request_uri;
mod session;
mod session_cookie;

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::SystemTime;

use bennu_proto::payload::Payload;
use bennu_proto::topic::{PatternError, Router, TopicPattern};
use bennu_pubsub::PubSub;

use crate::channel::runner::{ChannelFactory, Factory};
use crate::channel::{Channel, Intercept, Rejection};
use crate::endpoint::{Endpoint, Hub};
use crate::limits::{Limits, OverflowPolicy, RatePolicy};
use crate::telemetry::ParamFilter;
use crate::transport::SocketService;

pub use crate::transport::peer::PeerAddr;
pub use crate::transport::proxies::{ForwardedHeader, TrustedProxies, TrustedProxiesError};
pub use auth_token::AuthToken;
pub use connect::Connect;
pub use connect_info::ConnectInfo;
pub use door::{MountError, SubprotocolError};
pub use long_poll::LongPollOptions;
pub use origins::{Origin, Origins, OriginsError};
pub(crate) use params::decode_component;
pub use params::{ConnectParams, ParamsError};
pub use refused::Refused;
pub use request_uri::RequestUri;
pub use session_cookie::SessionCookie;

use connect::ConnectFn;
pub(crate) use door::Door;
pub(crate) use expiry::{ExpiryFn, RefreshFn};
use session::Mount;
pub(crate) use session::{Admitted, Mounted};
pub(crate) use session_cookie::AnySession;

/// The sockets of one mount.
///
/// ```
/// # use bennu::{Channel, ConnectParams, Context, Joined, Payload, PubSub, RawEvent, Refused, Rejection, Reply, Sockets, Stop};
/// # struct Room;
/// # impl Channel for Room {
/// #     type Assigns = Visitor;
/// #     type Params = Payload;
/// #     type In = RawEvent;
/// #     async fn join(_: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> { Ok(Room.into()) }
/// #     async fn handle_in(&mut self, _: &mut Context<'_, Self>, _: RawEvent) -> Result<Reply, Stop> { Ok(Reply::none()) }
/// # }
/// struct Visitor {
///     user_id: String,
/// }
///
/// async fn connect(params: ConnectParams) -> Result<Visitor, Refused> {
///     let user_id = params.get("user_id").ok_or(Refused::forbidden())?;
///     Ok(Visitor { user_id: user_id.to_owned() })
/// }
///
/// # fn mount() -> axum::Router {
/// let sockets = Sockets::new(PubSub::local(), connect)
///     .with_id(|visitor| Some(format!("user_socket:{}", visitor.user_id)))
///     .channel::<Room>("room:*");
/// let endpoint = sockets.endpoint();
/// axum::Router::new().nest_service("/socket", sockets.into_service())
/// # }
/// ```
///
/// Clients then connect to `ws://HOST/socket/websocket`.
#[must_use]
pub struct Sockets<A, C = ()> {
    pubsub: PubSub,
    connect: ConnectFn<A>,
    id: Option<IdFn<A>>,
    expiry: Option<ExpiryFn<A>>,
    refresh: Option<RefreshFn<A>>,
    router: Router,
    factories: Vec<Box<dyn Factory<A>>>,
    options: SocketOptions,
    door: Door,
    hub: std::sync::OnceLock<Arc<Hub>>,
    /// The channel that was registered last, to which `intercept` applies.
    _last: PhantomData<fn() -> C>,
}

/// What the connections of a mount have in common besides their routes.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketOptions {
    pub(crate) limits: Limits,
    pub(crate) overflow_policy: OverflowPolicy,
    pub(crate) rate_policy: RatePolicy,
    pub(crate) param_filter: ParamFilter,
    pub(crate) long_poll: Option<LongPollOptions>,
    #[cfg(feature = "deflate")]
    pub(crate) deflate: Option<crate::DeflateOptions>,
}

pub(crate) type IdFn<A> = Arc<dyn Fn(&A) -> Option<String> + Send + Sync>;

impl<A: Send + Sync + 'static> Sockets<A> {
    /// Sockets whose clients `connect` admits or refuses: an async function from extractors (with the
    /// feature `axum`, any of axum's that need no body; [`ConnectParams`] always) to
    /// `Result<Assigns, Refused>`.
    pub fn new<Args>(pubsub: PubSub, connect: impl Connect<Args, A>) -> Self {
        Self {
            pubsub,
            connect: connect::erase(connect),
            id: None,
            expiry: None,
            refresh: None,
            router: Router::default(),
            factories: Vec::new(),
            options: SocketOptions::default(),
            door: Door::default(),
            hub: std::sync::OnceLock::new(),
            _last: PhantomData,
        }
    }
}

impl<A: Send + Sync + 'static, C> Sockets<A, C> {
    /// Gives sockets an id, by which [`Endpoint::disconnect`] finds them. Sockets may share one: all
    /// the devices of a user, for example. The id shares its namespace with topics.
    pub fn with_id(mut self, id: impl Fn(&A) -> Option<String> + Send + Sync + 'static) -> Self {
        self.id = Some(Arc::new(id));
        self
    }

    /// Lets sockets end at a time, that of their token for example: their clients see close code 1001 and
    /// connect again, so that `connect` decides anew.
    pub fn with_expiry(
        mut self,
        expiry: impl Fn(&A) -> Option<SystemTime> + Send + Sync + 'static,
    ) -> Self {
        self.expiry = Some(Arc::new(expiry));
        self
    }

    /// Lets clients put off the end of their socket without connecting again, by presenting something new.
    ///
    /// A client pushes the event `refresh` on the topic `phoenix`, with any payload; `refresh` is given the
    /// assigns and that payload, and says until when the socket may live (`None`: for ever), or why it may
    /// not live longer. The reply is `{"expires_in": SECONDS}` or the rejection, after which the old time
    /// stands. Thirty seconds before the end, the client is sent `expiring` `{"expires_in": SECONDS}` on the
    /// topic `phoenix`. Clients that do not know these events are disconnected in time and come back.
    ///
    /// Check that it is the same user who asks: what is assigned to the socket stays.
    pub fn with_refresh<F, Fut>(mut self, refresh: F) -> Self
    where
        F: Fn(Arc<A>, Payload) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<SystemTime>, Rejection>> + Send + 'static,
    {
        self.refresh = Some(expiry::erase(refresh));
        self
    }

    /// Sets the bounds. Before [`Sockets::endpoint`].
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.options().limits = limits;
        self
    }

    /// Says what happens to clients that do not read. Before [`Sockets::endpoint`].
    pub fn with_overflow_policy(mut self, policy: OverflowPolicy) -> Self {
        self.options().overflow_policy = policy;
        self
    }

    /// Says what happens to clients that send more than their rates allow. Before
    /// [`Sockets::endpoint`].
    pub fn with_rate_policy(mut self, policy: RatePolicy) -> Self {
        self.options().rate_policy = policy;
        self
    }

    /// Says what logs may show of the parameters of clients. Before [`Sockets::endpoint`].
    pub fn with_param_filter(mut self, filter: ParamFilter) -> Self {
        self.options().param_filter = filter;
        self
    }

    /// Lets clients that have no WebSocket poll, at `/longpoll`: the official client does so by itself
    /// where it is asked to (`longPollFallbackMs`). Before [`Sockets::endpoint`].
    pub fn with_long_poll(mut self, options: LongPollOptions) -> Self {
        self.options().long_poll = Some(options);
        self
    }

    /// The options, which the endpoint takes over once it is made.
    #[track_caller]
    fn options(&mut self) -> &mut SocketOptions {
        assert!(
            self.hub.get().is_none(),
            "sockets are configured before their endpoint is taken"
        );
        &mut self.options
    }

    /// Compresses messages in both directions for clients that offer permessage-deflate (RFC 7692), as all
    /// browsers do. Off unless this is called. Before [`Sockets::endpoint`].
    ///
    /// Each message is compressed by itself, and a broadcast once for all of its subscribers; an idle
    /// connection costs nothing more. What clients send may be no larger inflated than
    /// [`Limits::message_bytes_max`] and [`Limits::inflate_ratio_max`] say.
    ///
    /// Where a message holds a secret beside text of somebody else's choice, its compressed length says
    /// something about the secret (the attack is known as BREACH): leave it off there.
    #[cfg(feature = "deflate")]
    pub fn with_deflate(mut self, options: crate::DeflateOptions) -> Self {
        self.options().deflate = Some(options);
        self
    }

    /// Lets channels of type `D` answer for the topics that match the pattern: an exact topic, or a
    /// prefix followed by `*`. Patterns are tried in the order in which they were added.
    ///
    /// # Panics
    /// If the pattern is not valid. [`Sockets::try_channel`] returns the error instead.
    #[track_caller]
    pub fn channel<D: Channel<Assigns = A>>(self, pattern: &str) -> Sockets<A, D> {
        match self.try_channel(pattern) {
            Ok(sockets) => sockets,
            #[allow(
                clippy::panic,
                reason = "a pattern is part of the program, not of its input"
            )]
            Err(error) => panic!("{error}"),
        }
    }

    /// [`Sockets::channel`] for patterns that are data.
    ///
    /// # Errors
    /// [`PatternError`] when a `*` stands anywhere but at the end.
    pub fn try_channel<D: Channel<Assigns = A>>(
        mut self,
        pattern: &str,
    ) -> Result<Sockets<A, D>, PatternError> {
        self.router.push(TopicPattern::parse(pattern)?);
        self.factories.push(Box::new(ChannelFactory::<D>::plain()));
        Ok(self.into_last())
    }

    fn into_last<D>(self) -> Sockets<A, D> {
        let Self {
            pubsub,
            connect,
            id,
            expiry,
            refresh,
            router,
            factories,
            options,
            door,
            hub,
            ..
        } = self;
        Sockets {
            pubsub,
            connect,
            id,
            expiry,
            refresh,
            router,
            factories,
            options,
            door,
            hub,
            _last: PhantomData,
        }
    }

    /// The endpoint by which the program speaks to these sockets. The same for every call.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(Arc::clone(self.hub()))
    }

    fn hub(&self) -> &Arc<Hub> {
        self.hub
            .get_or_init(|| Arc::new(Hub::new(self.pubsub.clone(), self.options.clone())))
    }

    /// The sockets as a tower service, to be nested in an axum router or any other that strips the
    /// path of the mount. It answers at `/websocket` and, if clients may poll, at `/longpoll`.
    ///
    /// # Panics
    /// If any web page could use a session: [`MountError`]. [`Sockets::try_into_service`] returns the
    /// error instead.
    #[must_use]
    #[track_caller]
    pub fn into_service(self) -> SocketService {
        match self.try_into_service() {
            Ok(service) => service,
            #[allow(
                clippy::panic,
                reason = "what is configured is part of the program, not of its input"
            )]
            Err(error) => panic!("{error}"),
        }
    }

    /// [`Sockets::into_service`] for a configuration that is data.
    ///
    /// # Errors
    /// [`MountError`] when any web page could use a session.
    pub fn try_into_service(self) -> Result<SocketService, MountError> {
        self.door.check()?;
        let hub = Arc::clone(self.hub());
        Ok(SocketService::new(Arc::new(Mount {
            hub,
            door: self.door,
            connect: self.connect,
            id: self.id,
            expiry: self.expiry,
            refresh: self.refresh,
            router: self.router,
            factories: self.factories,
        })))
    }

    /// The sockets as an axum router, to be nested: `.nest("/socket", sockets.into_router())`.
    ///
    /// # Panics
    /// As [`Sockets::into_service`].
    #[cfg(feature = "axum")]
    #[track_caller]
    pub fn into_router<S: Clone + Send + Sync + 'static>(self) -> axum::Router<S> {
        axum::Router::new().fallback_service(self.into_service())
    }
}

impl<A: Send + Sync + 'static, C: Intercept<Assigns = A>> Sockets<A, C> {
    /// Lets the channel that was registered last take the broadcasts that its [`Intercept`] names.
    pub fn intercept(mut self) -> Self {
        self.factories.pop();
        self.factories
            .push(Box::new(ChannelFactory::<C>::intercepting()));
        self
    }
}

impl<A, C> std::fmt::Debug for Sockets<A, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets")
            .field("router", &self.router)
            .field("options", &self.options)
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}
