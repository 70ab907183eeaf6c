//! The bounds on what a decoder and an inflater hold. Where they are enforced is not here (`decoder`,
//! `deflate`).

/// What a peer may make us hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most that one message may cost, in bytes of payload, all its fragments together. For one that is
    /// compressed this holds twice: for what was sent, and for what it is inflated. A frame that
    /// would go beyond it is refused at its header, before anything of its payload is held. Default: 1 MiB.
    pub message_bytes_max: usize,
    /// What a fragment costs at least towards [`message_bytes_max`](Self::message_bytes_max), however short
    /// it is, so that endless tiny or empty fragments come to an end too. A message in a single frame costs
    /// its length. Default: 16.
    pub fragment_cost_bytes_min: usize,
    /// How many times its compressed length a message may be, inflated, once it is longer than 64 KiB
    /// ([`INFLATED_BYTES_FREE`]). [`message_bytes_max`](Self::message_bytes_max) holds for what is inflated
    /// as well as for what was sent; this is what keeps a kilobyte from becoming a megabyte. Default: 100;
    /// DEFLATE goes up to 1032, and the JSON of a long list of like things seldom beyond 30.
    pub inflate_ratio_max: usize,
}

/// Up to this length of an inflated message, in bytes, nobody asks how short it was when it was sent.
pub const INFLATED_BYTES_FREE: usize = 64 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            fragment_cost_bytes_min: 16,
            inflate_ratio_max: 100,
        }
    }
}
