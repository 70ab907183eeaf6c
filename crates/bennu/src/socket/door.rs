//! The door of a mount: what its clients must show before `connect` is asked, and how it is set.

use crate::socket::{Origins, Sockets};

/// What is asked of every client of a mount.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door {
    pub(crate) origins: Origins,
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
}
