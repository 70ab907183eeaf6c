//! The state of a [`Machine`](super::Machine) as plain data, to be written down or handed to
//! another process.

use serde::{Deserialize, Serialize};

use super::ChannelKey;
use super::entry::{Entries, Entry, Joining, Phase};
use crate::reference::Ref;
use crate::topic::Topic;
use crate::vsn::Vsn;

/// Everything that a machine has to remember between two messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineState {
    /// The version that the socket speaks.
    pub vsn: Vsn,
    /// The key of the next channel.
    pub next_key: u64,
    /// The channels, in the order of their topics.
    pub channels: Vec<ChannelState>,
}

/// One channel of a [`MachineState`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelState {
    /// The topic.
    pub topic: Topic,
    /// The join reference as the client sent it.
    pub join_ref: Option<Ref>,
    /// The instance.
    pub key: ChannelKey,
    /// How far it is.
    pub phase: PhaseState,
}

/// How far a channel of a [`MachineState`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhaseState {
    /// The join is not decided yet.
    Joining {
        /// What its reply has to name.
        reference: Option<Ref>,
        /// The channel that it replaces, if any, by its join reference.
        replaced: Option<Replaced>,
    },
    /// Joined.
    Joined,
    /// The client asked to leave, and the channel has not come to it.
    Leaving,
}

/// A channel that is to be closed once its successor's join is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its join reference.
    pub join_ref: Option<Ref>,
}

pub(super) fn export(vsn: Vsn, next_key: u64, entries: &Entries) -> MachineState {
    let channels = entries
        .iter()
        .map(|entry| ChannelState {
            topic: entry.topic.clone(),
            join_ref: entry.join_ref.clone(),
            key: entry.key,
            phase: match &entry.phase {
                Phase::Joining(joining) => PhaseState::Joining {
                    reference: joining.reference.clone(),
                    replaced: joining
                        .replaced
                        .clone()
                        .map(|join_ref| Replaced { join_ref }),
                },
                Phase::Joined => PhaseState::Joined,
                Phase::Leaving => PhaseState::Leaving,
            },
        })
        .collect();
    MachineState {
        vsn,
        next_key,
        channels,
    }
}

/// The next key and the channels.
pub(super) fn import(state: MachineState) -> (u64, Entries) {
    // A key must never come twice, whatever the data says.
    let key_after = state
        .channels
        .iter()
        .map(|channel| channel.key.0.saturating_add(1))
        .max();
    let entries = state.channels.into_iter().map(|channel| Entry {
        topic: channel.topic,
        join_ref: channel.join_ref,
        key: channel.key,
        phase: match channel.phase {
            PhaseState::Joining {
                reference,
                replaced,
            } => Phase::Joining(Box::new(Joining {
                reference,
                replaced: replaced.map(|replaced| replaced.join_ref),
            })),
            PhaseState::Joined => Phase::Joined,
            PhaseState::Leaving => Phase::Leaving,
        },
    });
    (
        state.next_key.max(key_after.unwrap_or(0)),
        entries.collect(),
    )
}
