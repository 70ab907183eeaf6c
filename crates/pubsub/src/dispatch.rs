//! [`Dispatcher`]: from one broadcast to the subscribers on this node.
//!
//! A small topic is served in place, by the thread that broadcasts. A big one goes through lanes:
//! each owns a share of the topic's partitions and is run, while it has work, by one task. Not here:
//! who is subscribed (the registry), and other nodes (the adapter).

pub(crate) mod lanes;
mod tasks;

use std::cell::Cell;
use std::sync::Arc;

use tokio::runtime::Handle;

use self::lanes::{LogLimits, Work};
use self::tasks::{Running, Tasks};
use crate::broadcast::Broadcast;
use crate::gate::Pass;
use crate::options::PubSubOptions;
use crate::publish::{Dispatched, Publish};
use crate::registration::RegistrationId;
use crate::registry::{Audience, TopicNode};
use crate::subscriber::Target;

/// A lane lets other tasks run after this many deliveries and looks into partitions.
const STEPS_PER_TURN: usize = 64;

thread_local! {
    /// Room for the copy of one partition. It is taken out while in use: a subscriber may broadcast.
    static SCRATCH: Cell<Vec<Target>> = const { Cell::new(Vec::new()) };
}

pub(crate) struct Dispatcher {
    in_place_max: usize,
    lanes: usize,
    limits: LogLimits,
    tasks: Arc<Tasks>,
}

/// The topic's queue has no room.
pub(crate) struct Full;

/// A way to the subscribers, found before anything is handed to anybody.
pub(crate) struct Route {
    node: Arc<TopicNode>,
    before: RegistrationId,
    /// Where a place in the lanes was reserved: how much, and who is to run them.
    reserved: Option<(Reservation, Handle)>,
}

/// Room in the lanes of a node, given back on drop.
struct Reservation {
    node: Arc<TopicNode>,
    /// Taken when a job fills the room.
    bytes: Option<usize>,
}

impl Dispatcher {
    pub(crate) fn new(options: &PubSubOptions, cores: usize) -> Self {
        let tasks = Arc::new(Tasks::default());
        tasks.remember_runtime();
        Self {
            in_place_max: options.in_place_max,
            lanes: options.lanes_max.min(cores).max(1),
            limits: LogLimits {
                jobs_max: options.lane_jobs_max,
                bytes_max: options.lane_bytes_max,
            },
            tasks,
        }
    }

    /// Somebody subscribes: a chance to learn of a runtime.
    pub(crate) fn remember_runtime(&self) {
        self.tasks.remember_runtime();
    }

    /// Waits until no lane has anything left to do.
    pub(crate) async fn drained(&self) {
        self.tasks.drained().await;
    }

    /// Decides how a broadcast will travel, and keeps room for it.
    pub(crate) fn route(&self, node: Arc<TopicNode>, broadcast: &Broadcast) -> Result<Route, Full> {
        let before = RegistrationId::upcoming();
        // What is still in the lanes goes first, also when the topic has become small.
        let in_place = node.subscribers() <= self.in_place_max
            && node.lanes().is_none_or(|lanes| lanes.is_idle());
        let runtime = if in_place { None } else { self.tasks.runtime() };
        let reserved = match runtime {
            None => None,
            Some(runtime) => {
                let bytes = broadcast.queued_bytes();
                if !node.lanes_or_make(self.lanes).reserve(bytes, self.limits) {
                    return Err(Full);
                }
                let node = Arc::clone(&node);
                Some((
                    Reservation {
                        node,
                        bytes: Some(bytes),
                    },
                    runtime,
                ))
            }
        };
        Ok(Route {
            node,
            before,
            reserved,
        })
    }

    /// Sends a broadcast on its way.
    pub(crate) fn dispatch(
        &self,
        route: Route,
        broadcast: &Arc<Broadcast>,
        publish: &Publish<'_>,
    ) -> Dispatched {
        let Route {
            node,
            before,
            reserved,
        } = route;
        let mut audience = Audience {
            before,
            except: publish.except,
            served: None,
        };
        let Some((reservation, runtime)) = reserved else {
            return Dispatched {
                subscribers: serve_in_place(&node, &audience, broadcast),
                queued: false,
            };
        };
        let subscribers = node.subscribers();
        if let Some(own) = publish.sender.filter(|own| own.is_in(&node)) {
            // The sender sees its own broadcast before anything that it does next.
            if publish.except != Some(own.id())
                && let Some(target) = node.copy_one(own.place())
            {
                target.deliver(broadcast);
            }
            audience.served = Some(own.id());
        }
        let work = Work {
            broadcast: Arc::clone(broadcast),
            audience,
            partitions: node.partitions(),
        };
        for lane in reservation.push(work, publish.gate.map(Pass::new)) {
            let runner = Runner {
                node: Arc::clone(&node),
                lane,
                steps: 0,
                ended: false,
                _running: Running::new(&self.tasks),
            };
            // A runtime that has shut down drops the task at once, which gives the work up.
            runtime.spawn(runner.run());
        }
        Dispatched {
            subscribers,
            queued: true,
        }
    }
}

fn serve_in_place(node: &TopicNode, audience: &Audience, broadcast: &Arc<Broadcast>) -> usize {
    let mut targets = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let mut served = 0;
    for partition in 0..node.partitions() {
        node.copy(partition, audience, &mut targets);
        served += targets.len();
        for target in targets.drain(..) {
            target.deliver(broadcast);
        }
    }
    // Without a scratch, on a thread that is ending, the room is simply let go.
    let _ = SCRATCH.try_with(|scratch| scratch.set(targets));
    served
}

impl Reservation {
    /// Fills the room. Returns the lanes for which a task must be started.
    fn push(mut self, work: Work, pass: Option<Pass>) -> Vec<usize> {
        match (self.node.lanes(), self.bytes.take()) {
            (Some(lanes), Some(bytes)) => lanes.push(work, bytes, pass),
            _ => Vec::new(),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let (Some(lanes), Some(bytes)) = (self.node.lanes(), self.bytes) {
            lanes.release(bytes);
        }
    }
}

/// Runs one lane until it has nothing left to do.
struct Runner {
    node: Arc<TopicNode>,
    lane: usize,
    /// Deliveries, and looks into partitions, since other tasks had their turn.
    steps: usize,
    /// Whether the lane was left with nothing to do.
    ended: bool,
    _running: Running,
}

impl Runner {
    async fn run(mut self) {
        let mut targets = Vec::new();
        while let Some((number, work, lanes)) = self.next() {
            for partition in (self.lane..work.partitions as usize).step_by(lanes) {
                self.node
                    .copy(partition as u32, &work.audience, &mut targets);
                for target in targets.drain(..) {
                    target.deliver(&work.broadcast);
                    self.step().await;
                }
                // A look into an empty partition takes time too.
                self.step().await;
            }
            self.done(number);
        }
    }

    async fn step(&mut self) {
        self.steps += 1;
        if self.steps == STEPS_PER_TURN {
            self.steps = 0;
            tokio::task::yield_now().await;
        }
    }

    fn next(&mut self) -> Option<(u64, Work, usize)> {
        let next = self.node.lanes().and_then(|lanes| lanes.next(self.lane));
        self.ended = next.is_none();
        next
    }

    fn done(&self, number: u64) {
        if let Some(lanes) = self.node.lanes() {
            drop(lanes.done(self.lane, number));
        }
    }
}

impl Drop for Runner {
    /// A task that is dropped half way, because its runtime shuts down, gives up what it had to do:
    /// whoever waits at a gate must not wait for ever.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Some(lanes) = self.node.lanes() {
            let (jobs, finished) = lanes.abandon(self.lane);
            drop(finished);
            metrics::counter!("bennu_pubsub_abandoned_total").increment(jobs as u64);
            tracing::warn!(
                topic = %self.node.topic(),
                broadcasts = jobs,
                "a runtime shut down while it served a big topic, the rest of its work is given up"
            );
        }
    }
}
