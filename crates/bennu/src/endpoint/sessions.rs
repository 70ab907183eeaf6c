//! [`Sessions`]: the sessions of clients that poll, by their ids, so that a request finds the one that it
//! belongs to.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::connection::Connection;

/// Names a session. Random, so that it cannot be guessed even without the signature around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(crate) [u8; 16]);

/// The sessions of one endpoint on this node. Bounded as connections are: each session is one.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<SessionId, Arc<Connection>>>);

/// The entry of a session, removed when dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    sessions: Arc<Sessions>,
    id: SessionId,
}

impl Sessions {
    /// Lets requests find a session.
    pub(crate) fn enter(self: &Arc<Self>, id: SessionId, connection: Arc<Connection>) -> Entered {
        self.0.lock().insert(id, connection);
        Entered {
            sessions: Arc::clone(self),
            id,
        }
    }

    pub(crate) fn find(&self, id: SessionId) -> Option<Arc<Connection>> {
        self.0.lock().get(&id).cloned()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let connection = self.sessions.0.lock().remove(&self.id);
        // Outside of the lock.
        drop(connection);
    }
}
