//! [`SessionTokens`]: the address of a session, signed, with the number of the batch that its holder
//! received last.
//!
//! A token is `lp1.NUMBER.SIGNED`. The number is the client's own affair and not signed; the signed part
//! says which node has the session, so that a node that is asked for one that it does not have knows where
//! it is. All of it is in characters that stand for themselves in a query and in JSON.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::endpoint::SessionId;
use crate::socket::LongPollOptions;
use crate::token::{Keyring, SignOptions};

/// Begins every token of this kind, so that it is known for one even if it is dead or from before a change
/// of secrets.
const PREFIX: &str = "lp1.";

#[derive(Debug)]
pub(super) struct SessionTokens {
    /// None for want of random bytes, without which no session begins.
    keys: Option<Keyring>,
    options: SignOptions,
    node_name: Box<str>,
}

/// Where a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    node_name: Box<str>,
    id: SessionId,
    signed: Box<str>,
}

impl SessionTokens {
    pub(super) fn new(options: &LongPollOptions, node_name: &str) -> Self {
        Self {
            keys: options.keys.clone().or_else(random_keys),
            options: SignOptions::default().with_max_age(options.token_max_age),
            node_name: node_name.into(),
        }
    }

    /// The address of a session of this node; `None` if it cannot be signed, for want of random bytes.
    pub(super) fn address(&self, id: SessionId) -> Option<Address> {
        let data = (&*self.node_name, URL_SAFE_NO_PAD.encode(id.0));
        match self.keys.as_ref()?.sign_with(&data, &self.options) {
            Ok(signed) => Some(Address {
                node_name: self.node_name.clone(),
                id,
                signed: signed.into(),
            }),
            Err(error) => {
                tracing::error!(%error, "the token of a session cannot be signed");
                None
            }
        }
    }

    /// The session that an address names, if it is on this node.
    pub(super) fn local(&self, address: &Address) -> Option<SessionId> {
        (address.node_name == self.node_name).then_some(address.id)
    }

    /// The session that a token names and the batch that its holder received last; `None` for a token that
    /// is not ours or too old.
    pub(super) fn verify(&self, token: &str) -> Option<(Address, u32)> {
        let (number, signed) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let number = number.parse().ok()?;
        let (node_name, id): (String, String) = self.keys.as_ref()?.verify(signed).ok()?;
        let id = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
        let address = Address {
            node_name: node_name.into(),
            id: SessionId(id),
            signed: signed.into(),
        };
        Some((address, number))
    }

    /// Whether this is a token of this kind, dead or alive.
    pub(super) fn knows(value: &str) -> bool {
        value.starts_with(PREFIX)
    }
}

/// Keys of this process alone.
fn random_keys() -> Option<Keyring> {
    let mut secret = [0; 64];
    if let Err(error) = getrandom::fill(&mut secret) {
        tracing::error!(%error, "there are no random bytes for the keys of sessions");
        return None;
    }
    Keyring::new(secret, "long poll").ok()
}

impl Address {
    /// The token of a client that has received the batch of this number.
    pub(super) fn token(&self, number: u32) -> String {
        format!("{PREFIX}{number}.{}", self.signed)
    }
}
