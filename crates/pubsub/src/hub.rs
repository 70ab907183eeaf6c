//! [`Hub`]: what all handles and guards of one PubSub share.
//!
//! Not here: the public face of it ([`crate::PubSub`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;

use bennu_proto::topic::Topic;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::adapter::{Adapter, Inbox};
use crate::broadcast::Broadcast;
use crate::dispatch::{Dispatcher, Full};
use crate::options::PubSubOptions;
use crate::publish::{BroadcastError, Dispatched, Publish, Scope};
use crate::registration::{Registration, RegistrationId};
use crate::registry::{Entry, Place, Registry, TopicNode};
use crate::subscriber::Subscriber;

pub(crate) struct Hub {
    registry: Registry,
    dispatcher: Dispatcher,
    adapter: Arc<dyn Adapter>,
    /// Broadcasts are refused.
    shut_down: AtomicBool,
    /// Those that were accepted have been delivered.
    drained: AtomicBool,
    /// Wakes those who wait for a broadcast that will not come any more.
    closing: Notify,
}

impl Hub {
    pub(crate) fn start(adapter: Arc<dyn Adapter>, options: &PubSubOptions) -> Arc<Self> {
        let cores = available_parallelism().map_or(1, usize::from);
        let hub = Arc::new(Self {
            registry: Registry::new(cores, adapter.follows_interest()),
            dispatcher: Dispatcher::new(options, cores),
            adapter,
            shut_down: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            closing: Notify::new(),
        });
        hub.adapter.start(Inbox::new(&hub));
        hub
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn adapter(&self) -> &dyn Adapter {
        &*self.adapter
    }

    pub(crate) fn register(
        self: &Arc<Self>,
        topic: &Topic,
        subscriber: Arc<dyn Subscriber>,
        token: u64,
    ) -> Registration {
        self.dispatcher.remember_runtime();
        let id = RegistrationId::take_next();
        let entry = Entry {
            subscriber,
            token,
            id,
        };
        let (node, place) = self.registry.join(topic, entry, &*self.adapter);
        Registration::new(Arc::clone(self), node, id, place)
    }

    pub(crate) fn unregister(&self, node: &Arc<TopicNode>, place: Place) {
        self.registry.leave(node, place, &*self.adapter);
    }

    pub(crate) fn publish(
        &self,
        broadcast: &Arc<Broadcast>,
        publish: &Publish<'_>,
    ) -> Result<Dispatched, BroadcastError> {
        if self.is_shut_down() {
            return Err(BroadcastError::ShutDown);
        }
        // Room is kept first, so that a refusal comes before anybody was handed anything.
        let route = match self.registry.find(broadcast.topic()) {
            Some(node) => match self.dispatcher.route(node, broadcast) {
                Ok(route) => Some(route),
                Err(Full) => {
                    metrics::counter!("bennu_pubsub_overloaded_total").increment(1);
                    let topic = broadcast.topic().clone();
                    return Err(BroadcastError::Overloaded { topic });
                }
            },
            None => None,
        };
        if publish.scope == Scope::Cluster {
            self.adapter.publish(broadcast)?;
        }
        Ok(match route {
            Some(route) => self.dispatcher.dispatch(route, broadcast, publish),
            None => Dispatched::default(),
        })
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Acquire)
    }

    /// Whether the shutdown has come so far that no broadcast can arrive any more.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }

    /// Resolves when [`Hub::is_drained`] becomes true, if it was not when this was called.
    pub(crate) fn closing(&self) -> Notified<'_> {
        self.closing.notified()
    }

    /// Refuses broadcasts from now on, waits for those that are under way, ends the adapter.
    pub(crate) async fn shut_down(&self) {
        self.shut_down.store(true, Ordering::Release);
        self.dispatcher.drained().await;
        self.drained.store(true, Ordering::Release);
        self.closing.notify_waiters();
        self.adapter.shutdown().await;
    }
}
