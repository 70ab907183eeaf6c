//! Compression of WebSocket messages: [`DeflateOptions`], and the few compressors and inflaters that all
//! connections of an endpoint share. The extension itself, RFC 7692, is `bennu-proto`'s.

use std::thread::available_parallelism;

use bennu_proto::websocket::deflate::{Deflater, Inflater};
use bennu_proto::websocket::plain_message;
use bytes::Bytes;
use parking_lot::Mutex;

/// As many of each as are at work at the same moment, on machines of a usual size.
const POOLED_MAX: usize = 64;

/// How messages to clients are compressed, for [`Sockets::with_deflate`](crate::Sockets::with_deflate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeflateOptions {
    level: u32,
    message_bytes_min: usize,
}

impl DeflateOptions {
    /// The effort, from 1, the fastest, to 9, the smallest; what is outside of these counts as the nearest.
    /// Default: 2. A message of 1 KiB of JSON takes about 8 µs and becomes 37 % of what it was; level 1
    /// takes 3 µs for 46 %, levels above 4 find little more.
    #[must_use]
    pub fn with_level(mut self, level: u32) -> Self {
        self.level = level;
        self
    }

    /// The shortest message that is compressed, in bytes, with its topic and event; shorter ones are sent as
    /// they are. Default: 256: below that there is little to find, and it saves no packet.
    #[must_use]
    pub fn with_message_bytes_min(mut self, bytes: usize) -> Self {
        self.message_bytes_min = bytes;
        self
    }
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self {
            level: 2,
            message_bytes_min: 256,
        }
    }
}

/// Compresses and inflates for every connection of an endpoint.
///
/// A message needs one of the two for some microseconds, so as many as there are processors are enough: about
/// 430 KB for each. When there are none left, another is made for the moment.
#[derive(Debug)]
pub(crate) struct Deflate {
    options: DeflateOptions,
    pooled_max: usize,
    /// Locked to take one out and to put it back, and at no other time.
    deflaters: Mutex<Vec<Deflater>>,
    inflaters: Mutex<Vec<Inflater>>,
}

impl Deflate {
    pub(crate) fn new(options: DeflateOptions) -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            options,
            pooled_max: processors.min(POOLED_MAX),
            deflaters: Mutex::default(),
            inflaters: Mutex::default(),
        }
    }

    /// A finished frame, compressed if it holds a message that gets shorter by it.
    pub(crate) fn deflate(&self, bytes: Bytes) -> Bytes {
        let message = plain_message(&bytes);
        if message.is_none_or(|(_, message)| message.len() < self.options.message_bytes_min) {
            return bytes;
        }
        let pooled = self.deflaters.lock().pop();
        let mut deflater = pooled.unwrap_or_else(|| Deflater::new(self.options.level));
        let deflated = deflater.deflate_frame(&bytes);
        deflater.release();
        self.put_back(&self.deflaters, deflater);
        deflated.unwrap_or(bytes)
    }

    /// An inflater; to be given back with [`Deflate::return_inflater`].
    pub(crate) fn take_inflater(&self) -> Inflater {
        let pooled = self.inflaters.lock().pop();
        pooled.unwrap_or_default()
    }

    pub(crate) fn return_inflater(&self, mut inflater: Inflater) {
        inflater.release();
        self.put_back(&self.inflaters, inflater);
    }

    fn put_back<T>(&self, pool: &Mutex<Vec<T>>, item: T) {
        let mut pool = pool.lock();
        let surplus = if pool.len() < self.pooled_max {
            pool.push(item);
            None
        } else {
            Some(item)
        };
        // What is dropped is dropped outside of the lock.
        drop(pool);
        drop(surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bennu_proto::websocket::{Opcode, frame};

    #[test]
    fn the_pools_are_bounded_and_used_again() {
        let deflate = Deflate::new(DeflateOptions::default());
        let taken: Vec<_> = (0..3 * POOLED_MAX)
            .map(|_| deflate.take_inflater())
            .collect();
        taken
            .into_iter()
            .for_each(|inflater| deflate.return_inflater(inflater));
        assert_eq!(deflate.inflaters.lock().len(), deflate.pooled_max);
        for _ in 0..3 {
            let _ = deflate.deflate(frame(Opcode::Text, &[b'a'; 1000]));
        }
        assert_eq!(deflate.deflaters.lock().len(), 1);
    }

    #[test]
    fn short_messages_and_what_is_no_message_stay_as_they_are() {
        let deflate = Deflate::new(DeflateOptions::default().with_level(99));
        for (bytes, is_same) in [
            (frame(Opcode::Text, &[b'a'; 255]), true),
            (frame(Opcode::Text, &[b'a'; 256]), false),
            (frame(Opcode::Pong, &[b'a'; 125]), true),
            (Bytes::new(), true),
        ] {
            assert_eq!(deflate.deflate(bytes.clone()) == bytes, is_same);
        }
        let keen = Deflate::new(DeflateOptions::default().with_message_bytes_min(0));
        let short = frame(Opcode::Text, &[b'a'; 100]);
        assert!(keen.deflate(short.clone()).len() < short.len());
    }
}
