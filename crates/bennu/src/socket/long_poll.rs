//! [`LongPollOptions`]: how clients may poll.

use std::time::Duration;

use crate::token::Keyring;

/// How clients without a WebSocket are served. The defaults are Phoenix's. What their requests may cost is in
/// [`Limits`](crate::Limits).
///
/// ```
/// # use std::time::Duration;
/// use bennu::socket::LongPollOptions;
///
/// use bennu::token::Keyring;
///
/// let keys = Keyring::new("the secret_key_base of the application", "long poll")?;
/// let options = LongPollOptions::new()
///     .with_keys(keys)
///     .with_window(Duration::from_secs(15));
/// # Ok::<_, bennu::token::KeyError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LongPollOptions {
    pub(crate) keys: Option<Keyring>,
    pub(crate) window: Duration,
    pub(crate) token_max_age: Duration,
}

impl LongPollOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            keys: None,
            window: Duration::from_secs(10),
            token_max_age: Duration::from_secs(1_209_600),
        }
    }

    /// The keys that session tokens are signed with. Nodes of one cluster need the same ones. Without
    /// them, each process makes its own: then a token means nothing after a restart, and its client begins
    /// a new session, as it would anyway.
    pub fn with_keys(mut self, keys: Keyring) -> Self {
        self.keys = Some(keys);
        self
    }

    /// How long a poll waits for messages, and a post for its messages to be taken. Default 10 s. A session
    /// without a poll for one and a half windows ends. Keep it below what proxies allow a request, and below
    /// the client's own patience: the official one gives a request up after `longpollerTimeout`, 20 s.
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How old a session's token may be. Default two weeks.
    pub fn with_token_max_age(mut self, max_age: Duration) -> Self {
        self.token_max_age = max_age;
        self
    }
}

impl Default for LongPollOptions {
    fn default() -> Self {
        Self::new()
    }
}
