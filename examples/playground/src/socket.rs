//! Who may connect, and which channels there are.

use bennu::socket::{ConnectInfo, LongPollOptions, Origins};
use bennu::token::{KeyError, Keyring};
use bennu::{ConnectParams, DeflateOptions, Limits, PubSub, Refused, Sockets};

use crate::intercept::Intercepting;
use crate::room::Room;

/// The secret where no other is given. It is public, and so is everything that it signs.
pub const DEFAULT_SECRET: &str = "playground-secret-key-base-playground-secret-key-base-0123456789";
/// The purpose of a user's token.
const TOKEN_SALT: &str = "user socket";

/// What `connect` establishes for a socket.
#[derive(Debug)]
pub struct Visitor {
    /// The user, unless anonymous.
    pub user_id: Option<String>,
    /// The name of this node, for `whoami`.
    pub node: String,
}

/// How the playground is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this node.
    pub node: String,
    /// The secret that tokens are signed with; at least 20 bytes.
    pub secret: String,
    /// Which web pages may connect.
    pub origins: Origins,
    /// Whether messages are compressed for clients that offer it.
    pub compress: bool,
}

impl Config {
    /// The defaults, on a node of this name.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            secret: DEFAULT_SECRET.to_owned(),
            origins: Origins::any(),
            compress: false,
        }
    }

    /// The keys of users' tokens.
    ///
    /// # Errors
    /// When the secret is too short.
    pub fn user_tokens(&self) -> Result<Keyring, KeyError> {
        Keyring::new(&self.secret, TOKEN_SALT)
    }
}

/// The sockets of the playground on this node.
///
/// # Errors
/// When the secret is too short.
pub fn sockets(
    pubsub: PubSub,
    config: &Config,
) -> Result<Sockets<Visitor, Intercepting>, KeyError> {
    let node = config.node.clone();
    let tokens = config.user_tokens()?;
    let polling = LongPollOptions::new().with_keys(Keyring::new(&config.secret, "long poll")?);
    let connect = async move |params: ConnectParams, info: ConnectInfo| {
        connect(&params, &info, &tokens, node)
    };
    let mut sockets = Sockets::new(pubsub, connect)
        .with_limits(Limits::default())
        .with_long_poll(polling)
        .with_origins(config.origins.clone())
        .with_auth_token()
        .with_id(|visitor: &Visitor| Some(format!("user_socket:{}", visitor.user_id.as_ref()?)));
    if config.compress {
        sockets = sockets.with_deflate(DeflateOptions::default());
    }
    Ok(sockets
        .channel::<Room>("room:*")
        .channel::<Intercepting>("intercept:*")
        .intercept())
}

fn connect(
    params: &ConnectParams,
    info: &ConnectInfo,
    tokens: &Keyring,
    node: String,
) -> Result<Visitor, Refused> {
    if params.get("deny") == Some("1") {
        return Err(Refused::forbidden());
    }
    let user_id = match (params.value("token"), info.auth_token()) {
        (Some(token), _) => Some(tokens.verify(token.as_str())?),
        (None, Some(token)) => Some(tokens.verify(token.as_str())?),
        (None, None) => params.get("user_id").map(str::to_owned),
    };
    Ok(Visitor { user_id, node })
}
