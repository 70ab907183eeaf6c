//! Telemetry: the metrics of an endpoint, registered once, and what logs may show of parameters.
//!
//! Parameters of clients pass a [`ParamFilter`] before they are logged; query strings are not logged.
//!
//! Metrics go through the facade of the crate `metrics`: install a recorder before the first
//! [`Sockets`](crate::Sockets) is made. Logs and spans go through `tracing`: a `connect`, a `join`
//! and a handled event are spans at debug level; what went wrong is an event at warn or error.
//!
//! | metric | kind | what it counts |
//! | --- | --- | --- |
//! | `bennu_connections` | gauge | live connections |
//! | `bennu_connects_total{result}` | counter | connect requests: `ok`; `refused` by the application; `invalid`; from an `origin` that may not connect; while `draining`; `limited`; `crashed` in `connect` |
//! | `bennu_limited_total{limit}` | counter | connect requests that reached a limit, and how often a client was slowed down or closed for its rates; by the name of the limit |
//! | `bennu_connect_duration_seconds` | histogram | time in `connect` |
//! | `bennu_polls_total{result}` | counter | answers to polls: `messages`, `again` (the last answer was lost), `empty`, `ended` |
//! | `bennu_disconnects_total{reason}` | counter | ended connections |
//! | `bennu_drain_batches_total` | counter | batches of sockets that a drain has begun to close |
//! | `bennu_drained_total` | counter | sockets that a drain has told to go |
//! | `bennu_joins_total{result}` | counter | joins: `ok`, `refused`, `crashed` |
//! | `bennu_join_duration_seconds` | histogram | time in `join` |
//! | `bennu_handled_in_total{result}` | counter | handled events: `ok`, `unknown`, `invalid`, `stop`, `crash` |
//! | `bennu_handle_in_duration_seconds` | histogram | time in `handle_in` |
//! | `bennu_channel_crashes_total` | counter | channels that ended with `phx_error` |
//! | `bennu_pushes_total` | counter | pushes |
//! | `bennu_broadcasts_total` | counter | broadcasts made on this node |
//! | `bennu_deliveries_total` | counter | subscribers that they were addressed to |
//! | `bennu_dropped_total{reason}` | counter | what was not delivered, and why |
//! | `bennu_outbound_queue_high_water_bytes` | gauge | the fullest outbound queue so far |

mod filter;
mod limit;
mod pace;

use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::connection::CloseReason;

pub use filter::ParamFilter;
pub(crate) use limit::Limit;
pub(crate) use pace::Pace;

/// The registered metrics of one endpoint.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) connections: Gauge,
    pub(crate) connects_ok: Counter,
    pub(crate) connects_refused: Counter,
    pub(crate) connects_invalid: Counter,
    pub(crate) connects_origin: Counter,
    pub(crate) connects_draining: Counter,
    pub(crate) connects_crashed: Counter,
    pub(crate) connects_limited: Counter,
    pub(crate) polls_messages: Counter,
    /// The same messages again, because the last answer was lost.
    pub(crate) polls_again: Counter,
    pub(crate) polls_empty: Counter,
    pub(crate) polls_ended: Counter,
    pub(crate) connect_duration: Histogram,
    pub(crate) joins_ok: Counter,
    pub(crate) joins_refused: Counter,
    pub(crate) joins_crashed: Counter,
    pub(crate) join_duration: Histogram,
    pub(crate) handled_ok: Counter,
    pub(crate) handled_unknown: Counter,
    pub(crate) handled_invalid: Counter,
    pub(crate) handled_stop: Counter,
    pub(crate) handled_crash: Counter,
    pub(crate) handle_in_duration: Histogram,
    pub(crate) channel_crashes: Counter,
    pub(crate) pushes: Counter,
    pub(crate) broadcasts: Counter,
    pub(crate) deliveries: Counter,
    /// Oldest frames of a full queue, by the policy of the socket.
    pub(crate) dropped_oldest: Counter,
    /// Frames that waited for a client that was cut for not reading.
    pub(crate) dropped_cut: Counter,
    /// Messages for channels that had too many waiting.
    pub(crate) dropped_mailbox: Counter,
    /// Broadcasts that a client's version cannot carry.
    pub(crate) dropped_unencodable: Counter,
    /// Handlers that were still waiting when their time was up.
    pub(crate) dropped_handlers: Counter,
    pub(crate) drain_batches: Counter,
    pub(crate) drained: Counter,
    disconnects: [Counter; CloseReason::NAMES.len()],
    limited: [Counter; Limit::ALL.len()],
    /// Log lines about origins, and about requests that cannot be read.
    pub(crate) origin_pace: Pace,
    pub(crate) invalid_pace: Pace,
    high_water: AtomicUsize,
    high_water_gauge: Gauge,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let handled = |result| counter!("bennu_handled_in_total", "result" => result);
        let dropped = |reason| counter!("bennu_dropped_total", "reason" => reason);
        let joins = |result| counter!("bennu_joins_total", "result" => result);
        let polls = |result| counter!("bennu_polls_total", "result" => result);
        let connects = |result| counter!("bennu_connects_total", "result" => result);
        Self {
            connections: gauge!("bennu_connections"),
            connects_ok: connects("ok"),
            connects_refused: connects("refused"),
            connects_invalid: connects("invalid"),
            connects_origin: connects("origin"),
            connects_draining: connects("draining"),
            connects_crashed: connects("crashed"),
            connects_limited: connects("limited"),
            polls_messages: polls("messages"),
            polls_again: polls("again"),
            polls_empty: polls("empty"),
            polls_ended: polls("ended"),
            connect_duration: histogram!("bennu_connect_duration_seconds"),
            joins_ok: joins("ok"),
            joins_refused: joins("refused"),
            joins_crashed: joins("crashed"),
            join_duration: histogram!("bennu_join_duration_seconds"),
            handled_ok: handled("ok"),
            handled_unknown: handled("unknown"),
            handled_invalid: handled("invalid"),
            handled_stop: handled("stop"),
            handled_crash: handled("crash"),
            handle_in_duration: histogram!("bennu_handle_in_duration_seconds"),
            channel_crashes: counter!("bennu_channel_crashes_total"),
            pushes: counter!("bennu_pushes_total"),
            broadcasts: counter!("bennu_broadcasts_total"),
            deliveries: counter!("bennu_deliveries_total"),
            dropped_oldest: dropped("oldest"),
            dropped_cut: dropped("cut"),
            dropped_mailbox: dropped("mailbox"),
            dropped_unencodable: dropped("unencodable"),
            dropped_handlers: dropped("handler"),
            drain_batches: counter!("bennu_drain_batches_total"),
            drained: counter!("bennu_drained_total"),
            disconnects: CloseReason::NAMES
                .map(|reason| counter!("bennu_disconnects_total", "reason" => reason)),
            limited: Limit::ALL
                .map(|limit| counter!("bennu_limited_total", "limit" => limit.name())),
            origin_pace: Pace::default(),
            invalid_pace: Pace::default(),
            high_water: AtomicUsize::new(0),
            high_water_gauge: gauge!("bennu_outbound_queue_high_water_bytes"),
        }
    }

    pub(crate) fn disconnected(&self, reason: CloseReason) {
        let index = CloseReason::NAMES
            .iter()
            .position(|name| *name == reason.name());
        if let Some(counter) = index.and_then(|index| self.disconnects.get(index)) {
            counter.increment(1);
        }
    }

    /// Notes that a limit was reached.
    pub(crate) fn limited(&self, limit: Limit) {
        if let Some(counter) = self.limited.get(limit as usize) {
            counter.increment(1);
        }
    }

    /// Notes that a connection was cut with so many frames waiting.
    pub(crate) fn cut(&self, frames: usize) {
        self.dropped_cut.increment(frames as u64);
    }

    /// Notes how full a queue is; cheap unless it is fuller than any before.
    pub(crate) fn queue_high_water(&self, bytes: usize) {
        if bytes > self.high_water.load(Ordering::Relaxed) {
            let before = self.high_water.fetch_max(bytes, Ordering::Relaxed);
            // A gauge holds a float; the loss beyond 2^53 bytes does not matter.
            #[allow(
                clippy::cast_precision_loss,
                reason = "queues are smaller than 2^53 bytes"
            )]
            self.high_water_gauge.set(before.max(bytes) as f64);
        }
    }
}
