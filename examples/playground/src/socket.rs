//! Who may connect, and which channels there are.

use bennu::socket::LongPollOptions;
use bennu::{ConnectParams, Limits, PubSub, Refused, Sockets};

use crate::intercept::Intercepting;
use crate::room::Room;

/// What `connect` establishes for a socket.
#[derive(Debug)]
pub struct Visitor {
    /// The user, unless anonymous.
    pub user_id: Option<String>,
    /// The name of this node, for `whoami`.
    pub node: String,
}

/// The sockets of the playground on this node.
pub fn sockets(pubsub: PubSub, node: &str) -> Sockets<Visitor, Intercepting> {
    let node = node.to_owned();
    Sockets::new(pubsub, async move |params: ConnectParams| {
        connect(&params, node)
    })
    .with_limits(Limits::default())
    .with_long_poll(LongPollOptions::new())
    .with_id(|visitor: &Visitor| Some(format!("user_socket:{}", visitor.user_id.as_ref()?)))
    .channel::<Room>("room:*")
    .channel::<Intercepting>("intercept:*")
    .intercept()
}

fn connect(params: &ConnectParams, node: String) -> Result<Visitor, Refused> {
    if params.get("deny") == Some("1") {
        return Err(Refused::forbidden());
    }
    let user_id = params.get("user_id").map(str::to_owned);
    Ok(Visitor { user_id, node })
}
