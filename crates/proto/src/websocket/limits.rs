//! The bounds on what a decoder holds. Where they are enforced is not here (`decoder`).

/// What a peer may make us hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most that one message may cost, in bytes of payload, all its fragments together. A frame that
    /// would go beyond it is refused at its header, before anything of its payload is held. Default: 1 MiB.
    pub message_bytes_max: usize,
    /// What a fragment costs at least towards [`message_bytes_max`](Self::message_bytes_max), however short
    /// it is, so that endless tiny or empty fragments come to an end too. A message in a single frame costs
    /// its length. Default: 16.
    pub fragment_cost_bytes_min: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            fragment_cost_bytes_min: 16,
        }
    }
}
