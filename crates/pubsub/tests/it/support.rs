//! Subscribers that remember, an adapter that records, and the short names that tests use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bennu_proto::payload::Payload;
use bennu_proto::topic::Topic;
use bennu_pubsub::{
    Adapter, Broadcast, Inbox, Local, PubSub, PubSubOptions, PublishError, Registration, Subscriber,
};
use parking_lot::Mutex;

/// Remembers what it is handed: token, event, offset.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    log: Mutex<Vec<(u64, String, Option<u64>)>>,
}

impl Subscriber for Recorder {
    fn deliver(&self, token: u64, broadcast: &Arc<Broadcast>) {
        let seen = (token, broadcast.event().to_owned(), broadcast.offset());
        self.log.lock().push(seen);
    }
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn join(self: &Arc<Self>, pubsub: &PubSub, topic: &str, token: u64) -> Registration {
        pubsub.register(&Topic::from(topic), Arc::<Self>::clone(self), token)
    }

    /// Events, in the order in which they came.
    pub(crate) fn events(&self) -> Vec<String> {
        self.log
            .lock()
            .iter()
            .map(|(_, event, _)| event.clone())
            .collect()
    }

    /// Tokens and events since the last call.
    pub(crate) fn take(&self) -> Vec<(u64, String)> {
        let log = std::mem::take(&mut *self.log.lock());
        log.into_iter()
            .map(|(token, event, _)| (token, event))
            .collect()
    }

    /// The offsets under one event, in the order in which they came.
    pub(crate) fn offsets(&self, event: &str) -> Vec<u64> {
        let log = self.log.lock();
        log.iter()
            .filter(|seen| seen.1 == event)
            .filter_map(|seen| seen.2)
            .collect()
    }
}

/// Counts what it is handed.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicUsize);

impl Subscriber for Counter {
    fn deliver(&self, _token: u64, _broadcast: &Arc<Broadcast>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Joins a topic many times.
    pub(crate) fn crowd(
        self: &Arc<Self>,
        pubsub: &PubSub,
        topic: &str,
        size: usize,
    ) -> Vec<Registration> {
        let topic = Topic::from(topic);
        let join = |_| pubsub.register(&topic, Arc::<Self>::clone(self), 0);
        (0..size).map(join).collect()
    }
}

/// Writes down everything that it is told, and refuses broadcasts on demand.
#[derive(Default)]
pub(crate) struct RecordingAdapter {
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) refuses: AtomicBool,
    pub(crate) inbox: Mutex<Option<Inbox>>,
}

impl Adapter for RecordingAdapter {
    fn node_name(&self) -> &str {
        "recording"
    }

    fn start(&self, inbox: Inbox) {
        *self.inbox.lock() = Some(inbox);
    }

    fn publish(&self, broadcast: &Arc<Broadcast>) -> Result<(), PublishError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(PublishError::Disconnected);
        }
        self.log.lock().push(format!(
            "publish {} {}",
            broadcast.topic(),
            broadcast.event()
        ));
        Ok(())
    }

    fn topic_opened(&self, topic: &Topic) {
        self.log.lock().push(format!("opened {topic}"));
    }

    fn topic_closed(&self, topic: &Topic) {
        self.log.lock().push(format!("closed {topic}"));
    }

    fn shutdown(&self) -> bennu_pubsub::AdapterShutdown<'_> {
        Box::pin(async { self.log.lock().push("shutdown".to_owned()) })
    }
}

impl RecordingAdapter {
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock())
    }
}

pub(crate) fn message(topic: &str, event: &str) -> Broadcast {
    Broadcast::new(topic, event, Payload::empty()).unwrap()
}

/// A PubSub whose topics are big from a few subscribers on.
pub(crate) fn local_with(options: &PubSubOptions) -> PubSub {
    PubSub::with_options(Arc::new(Local::default()), options)
}

pub(crate) fn big_above(in_place_max: usize) -> PubSubOptions {
    PubSubOptions::default().with_in_place_max(in_place_max)
}
