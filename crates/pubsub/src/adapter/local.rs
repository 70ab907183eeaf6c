//! [`Local`]: the adapter of a node that is on its own.

use std::sync::Arc;

use super::{Adapter, Inbox, PublishError};
use crate::broadcast::Broadcast;

/// There are no other nodes.
#[derive(Clone, Debug)]
pub struct Local {
    node_name: Box<str>,
}

impl Local {
    /// A node with a name of your choice.
    #[must_use]
    pub fn new(node_name: impl Into<Box<str>>) -> Self {
        Self {
            node_name: node_name.into(),
        }
    }
}

impl Default for Local {
    /// A node named `local`.
    fn default() -> Self {
        Self::new("local")
    }
}

impl Adapter for Local {
    fn node_name(&self) -> &str {
        &self.node_name
    }

    fn follows_interest(&self) -> bool {
        false
    }

    fn start(&self, _inbox: Inbox) {}

    fn publish(&self, _broadcast: &Arc<Broadcast>) -> Result<(), PublishError> {
        Ok(())
    }
}
