//! [`PubSubOptions`] and [`SubscriptionOptions`]: the limits, by name.

/// The limits of a PubSub.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PubSubOptions {
    /// A topic of up to this many subscribers is served in place, by the thread that broadcasts; a
    /// bigger one goes through lanes. 256 by default.
    pub in_place_max: usize,
    /// How many lanes, and so how many tasks, serve a big topic at the same time: this many, or as
    /// many as there are cores if those are fewer. 4 by default.
    pub lanes_max: usize,
    /// How many broadcasts may be on their way through the lanes of one topic; at least 1, 65,536 by
    /// default. One more fails.
    pub lane_jobs_max: usize,
    /// How many bytes of broadcasts may be on their way through the lanes of one topic, 64 MiB by
    /// default. One more fails, unless it is the only one.
    pub lane_bytes_max: usize,
}

impl Default for PubSubOptions {
    fn default() -> Self {
        Self {
            in_place_max: 256,
            lanes_max: 4,
            lane_jobs_max: 65_536,
            lane_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl PubSubOptions {
    /// Sets [`PubSubOptions::in_place_max`].
    #[must_use]
    pub fn with_in_place_max(mut self, subscribers: usize) -> Self {
        self.in_place_max = subscribers;
        self
    }

    /// Sets [`PubSubOptions::lanes_max`].
    #[must_use]
    pub fn with_lanes_max(mut self, lanes: usize) -> Self {
        self.lanes_max = lanes;
        self
    }

    /// Sets [`PubSubOptions::lane_jobs_max`].
    #[must_use]
    pub fn with_lane_jobs_max(mut self, jobs: usize) -> Self {
        self.lane_jobs_max = jobs;
        self
    }

    /// Sets [`PubSubOptions::lane_bytes_max`].
    #[must_use]
    pub fn with_lane_bytes_max(mut self, bytes: usize) -> Self {
        self.lane_bytes_max = bytes;
        self
    }
}

/// The limits of one [`crate::Subscription`]. Where a queue is full its oldest broadcasts are
/// dropped, and the receiver is told how many.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscriptionOptions {
    /// How many broadcasts may wait; at least 1, 1,024 by default.
    pub queue_max: usize,
    /// How many bytes of broadcasts may wait, 4 MiB by default. The newest is kept whatever its size.
    pub queue_bytes_max: usize,
}

impl Default for SubscriptionOptions {
    fn default() -> Self {
        Self {
            queue_max: 1024,
            queue_bytes_max: 4 * 1024 * 1024,
        }
    }
}

impl SubscriptionOptions {
    /// Sets [`SubscriptionOptions::queue_max`].
    #[must_use]
    pub fn with_queue_max(mut self, broadcasts: usize) -> Self {
        self.queue_max = broadcasts;
        self
    }

    /// Sets [`SubscriptionOptions::queue_bytes_max`].
    #[must_use]
    pub fn with_queue_bytes_max(mut self, bytes: usize) -> Self {
        self.queue_bytes_max = bytes;
        self
    }
}
