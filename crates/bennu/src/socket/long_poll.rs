//! [`LongPollOptions`]: how clients may poll.

use std::time::Duration;

use crate::token::Keyring;

/// How clients without a WebSocket are served. The defaults are Phoenix's where it has one.
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
///     .with_window(Duration::from_secs(25));
/// # Ok::<_, bennu::token::KeyError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LongPollOptions {
    pub(crate) keys: Option<Keyring>,
    pub(crate) window: Duration,
    pub(crate) token_max_age: Duration,
    pub(crate) body_bytes_max: usize,
    pub(crate) bodies_bytes_max: usize,
}

impl LongPollOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            keys: None,
            window: Duration::from_secs(10),
            token_max_age: Duration::from_secs(1_209_600),
            body_bytes_max: 8_000_000,
            bodies_bytes_max: 64 << 20,
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
    /// without a poll for one and a half windows ends. Keep it below what proxies allow a request.
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How old a session's token may be. Default two weeks.
    pub fn with_token_max_age(mut self, max_age: Duration) -> Self {
        self.token_max_age = max_age;
        self
    }

    /// The longest body of a post, in bytes; over it, HTTP 413. Default 8,000,000.
    pub fn with_body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Bytes of all bodies that are being received or handled, together; over it, posts wait for room, up to
    /// the window, and are then answered with HTTP 503. Default 64 MiB.
    pub fn with_bodies_bytes_max(mut self, bytes: usize) -> Self {
        self.bodies_bytes_max = bytes;
        self
    }
}

impl Default for LongPollOptions {
    fn default() -> Self {
        Self::new()
    }
}
