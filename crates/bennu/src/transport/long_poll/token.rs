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

/// Begins every token of this kind, so that it is known for one even if it is dead or from before a change
/// of secrets.
const PREFIX: &str = "lp1.";

#[derive(Debug)]
pub(super) struct SessionTokens {
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
    pub(super) fn new(_options: &LongPollOptions, node_name: &str) -> Self {
        Self {
            node_name: node_name.into(),
        }
    }

    /// The address of a session of this node.
    pub(super) fn address(&self, id: SessionId) -> Address {
        Address {
            node_name: self.node_name.clone(),
            id,
            signed: URL_SAFE_NO_PAD.encode(id.0).into(),
        }
    }

    /// The session that an address names, if it is on this node.
    pub(super) fn local(&self, address: &Address) -> Option<SessionId> {
        (address.node_name == self.node_name).then_some(address.id)
    }

    pub(super) fn sign(&self, address: &Address, number: u32) -> String {
        format!("{PREFIX}{number}.{}", address.signed)
    }

    /// The session that a token names and the batch that its holder received last; `None` for a token that
    /// is not ours or too old.
    pub(super) fn verify(&self, token: &str) -> Option<(Address, u32)> {
        let (number, signed) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let number = number.parse().ok()?;
        let id = URL_SAFE_NO_PAD.decode(signed).ok()?.try_into().ok()?;
        Some((self.address(SessionId(id)), number))
    }

    /// Whether this is a token of this kind, dead or alive.
    pub(super) fn knows(value: &str) -> bool {
        value.starts_with(PREFIX)
    }
}
