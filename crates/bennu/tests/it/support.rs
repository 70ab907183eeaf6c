//! What tests are made of: a log that channels write, and the sockets under test.

use std::sync::Arc;
use std::time::Duration;

use bennu::limits::OverflowPolicy;
use bennu::socket::LongPollOptions;
use bennu::{ConnectParams, Limits, PubSub, Refused, Sockets};
use bennu_testkit::{TestChannel, TestEndpoint, TestSocket};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use crate::lab::{Lab, World};

/// What channels say about themselves, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<String>>, Notify)>);

impl Log {
    pub(crate) fn push(&self, entry: impl Into<String>) {
        self.0.0.lock().push(entry.into());
        self.0.1.notify_waiters();
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.0.lock())
    }

    /// Waits until the entry is there.
    pub(crate) async fn wait_for(&self, entry: &str) {
        let seen = async {
            loop {
                let changed = self.0.1.notified();
                if self.0.0.lock().iter().any(|known| known == entry) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(120), seen)
            .await
            .is_err()
        {
            panic!("no {entry:?} in the log: {:?}", self.0.0.lock());
        }
    }
}

/// Sockets under test, with what their channels write and wait for.
pub(crate) struct Bench {
    pub(crate) kit: TestEndpoint,
    pub(crate) log: Log,
    /// Each `wait` takes one permit.
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) world: Arc<World>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_limits(|_| {})
    }

    pub(crate) fn with_limits(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with(change, OverflowPolicy::Disconnect)
    }

    pub(crate) fn with(change: impl FnOnce(&mut Limits), policy: OverflowPolicy) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let (log, gate) = (Log::default(), Arc::new(Semaphore::new(0)));
        let world = Arc::new(World {
            log: log.clone(),
            gate: Arc::clone(&gate),
            refs: Mutex::default(),
        });
        let assigned = Arc::clone(&world);
        let sockets = Sockets::new(PubSub::local(), async move |params: ConnectParams| {
            Ok::<_, Refused>((assigned, params.get("user_id").map(str::to_owned)))
        })
        .with_limits(limits)
        .with_overflow_policy(policy)
        .with_long_poll(LongPollOptions::new())
        .with_id(|(_, user_id): &(_, Option<String>)| Some(format!("user:{}", user_id.as_ref()?)))
        .channel::<Lab>("lab:*");
        Self {
            kit: TestEndpoint::new(sockets),
            log,
            gate,
            world,
        }
    }

    pub(crate) async fn connect(&self) -> TestSocket {
        self.kit.connect(&[]).await.unwrap()
    }

    pub(crate) async fn connect_as(&self, user_id: &str) -> TestSocket {
        self.kit.connect(&[("user_id", user_id)]).await.unwrap()
    }

    /// A client that has joined `lab:1`.
    pub(crate) async fn joined(&self) -> TestChannel {
        self.joined_with(&json!({})).await
    }

    pub(crate) async fn joined_with(&self, params: &Value) -> TestChannel {
        join(&self.connect().await, "lab:1", params).await
    }
}

pub(crate) async fn join(socket: &TestSocket, topic: &str, params: &Value) -> TestChannel {
    socket.subscribe_and_join(topic, params).await.unwrap()
}

/// Everything that has come, as it was on the wire.
pub(crate) async fn wire(socket: &TestSocket) -> Vec<String> {
    let messages = socket.messages().await;
    messages.iter().map(ToString::to_string).collect()
}
