//! [`Batches`]: which messages of a session a client has, and which may have been lost with a response.
//!
//! A response that carries messages has a number. The client's next poll says which number it received
//! last, and only that lets go of the messages: until then every poll that names the number before gets
//! the very same messages again. So a lost response costs nothing, and nothing arrives twice.

/// The batches of one long-poll session. The messages themselves are the transport's: this counts them, in
/// the order in which they wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// Of the last batch that was handed out.
    number: u32,
    /// How many messages are in it, or 0 once it is acknowledged.
    outstanding: usize,
}

/// What a poll means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// The client has everything that was handed out: so many messages, the oldest, are forgotten, and
    /// what waits behind them is next.
    Next {
        /// How many.
        acknowledged: usize,
    },
    /// The last response was lost on its way: so many messages, the oldest, are sent again, under the
    /// same number.
    Again {
        /// How many.
        messages: usize,
        /// The number of their batch.
        number: u32,
    },
    /// The request was overtaken by a later one, or names a batch that never was. It gets nothing.
    Stale,
}

impl Batches {
    /// A poll came, from a client whose last batch was `received`; 0 before the first.
    pub fn handle_poll(&mut self, received: u32) -> Poll {
        if received == self.number {
            let acknowledged = std::mem::take(&mut self.outstanding);
            return Poll::Next { acknowledged };
        }
        if self.outstanding > 0 && received == self.number.wrapping_sub(1) {
            return Poll::Again {
                messages: self.outstanding,
                number: self.number,
            };
        }
        Poll::Stale
    }

    /// The `messages` oldest are handed out. Returns the number of their batch. Only after
    /// [`Poll::Next`]: what is outstanding is handed out again by itself.
    pub fn hand_out(&mut self, messages: usize) -> u32 {
        debug_assert_eq!(self.outstanding, 0, "one batch at a time");
        if messages > 0 {
            self.number = self.number.wrapping_add(1);
            self.outstanding = messages;
        }
        self.number
    }

    /// How many messages are handed out and not acknowledged.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Forgets the messages that are handed out, because the transport has dropped them.
    pub fn forget(&mut self) {
        self.outstanding = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_batch_stays_until_it_is_acknowledged() {
        let mut batches = Batches::default();
        assert_eq!(batches.handle_poll(0), Poll::Next { acknowledged: 0 });
        assert_eq!(batches.hand_out(3), 1);
        let again = Poll::Again {
            messages: 3,
            number: 1,
        };
        assert_eq!(batches.handle_poll(0), again);
        assert_eq!(batches.handle_poll(0), again);
        assert_eq!(batches.handle_poll(1), Poll::Next { acknowledged: 3 });
        // The same poll again, after an answer without messages.
        assert_eq!(batches.hand_out(0), 1);
        assert_eq!(batches.handle_poll(1), Poll::Next { acknowledged: 0 });
    }

    #[test]
    fn an_overtaken_or_invented_number_gets_nothing() {
        let mut batches = Batches::default();
        batches.hand_out(1);
        batches.handle_poll(1);
        // Acknowledged: what came before is nobody's business any more.
        assert_eq!(batches.handle_poll(0), Poll::Stale);
        assert_eq!(batches.handle_poll(7), Poll::Stale);
        assert_eq!(batches.handle_poll(u32::MAX), Poll::Stale);
    }

    #[test]
    fn numbers_wrap() {
        let mut batches = Batches {
            number: u32::MAX,
            outstanding: 0,
        };
        assert_eq!(batches.hand_out(2), 0);
        let again = Poll::Again {
            messages: 2,
            number: 0,
        };
        assert_eq!(batches.handle_poll(u32::MAX), again);
        assert_eq!(batches.handle_poll(0), Poll::Next { acknowledged: 2 });
    }

    proptest! {
        /// Whatever is lost, and however often an old request comes in late, the client sees every
        /// message once and in order.
        #[test]
        fn exactly_once_and_in_order(steps in prop::collection::vec((0_usize..4, 0_u8..4), 1..200)) {
            let mut batches = Batches::default();
            // The server's queue, and the client's view.
            let (mut queue, mut next) = (std::collections::VecDeque::new(), 0_u64);
            let (mut received, mut seen, mut old) = (0_u32, Vec::<u64>::new(), 0_u32);
            for (produced, fate) in steps {
                for _ in 0..produced {
                    queue.push_back(next);
                    next += 1;
                }
                if fate == 3 {
                    // A request from long ago, whose answer nobody reads.
                    if old != received && old != received.wrapping_sub(1) {
                        prop_assert_eq!(batches.handle_poll(old), Poll::Stale);
                    }
                    continue;
                }
                let (messages, number) = match batches.handle_poll(received) {
                    Poll::Next { acknowledged } => {
                        queue.drain(..acknowledged);
                        let count = queue.len();
                        (count, batches.hand_out(count))
                    }
                    Poll::Again { messages, number } => (messages, number),
                    Poll::Stale => return Err(TestCaseError::fail("a client that keeps to it is never stale")),
                };
                // One response in three is lost.
                if fate > 0 {
                    seen.extend(queue.iter().take(messages));
                    old = received.wrapping_sub(1);
                    received = number;
                }
            }
            let expected: Vec<u64> = (0..seen.len() as u64).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
