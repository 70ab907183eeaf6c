//! [`Tasks`]: the user's futures that wait. Each was polled once where it began; those that were not
//! ready then are kept here and polled when they are woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bennu_proto::reference::Ref;
use bennu_proto::server::ChannelKey;
use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::Driver;
use super::expiry::Refreshed;
use crate::channel::runner::{BoxFuture, Contained, Finished, JoinOutcome};

/// A future of the user's, with what its end will need.
pub(super) struct Task {
    pub(super) key: ChannelKey,
    pub(super) started: std::time::Instant,
    pub(super) job: Contained<Job>,
}

pub(super) enum Job {
    Join {
        route: usize,
        future: BoxFuture<JoinOutcome>,
    },
    Handle {
        reference: Option<Ref>,
        is_event: bool,
        future: BoxFuture<Finished>,
    },
    /// Whether the socket may live longer.
    Refresh {
        reference: Option<Ref>,
        future: BoxFuture<Refreshed>,
    },
    /// `crash`: the client is told of the crash once `terminate` has run.
    Terminate { crash: bool, future: BoxFuture<()> },
}

/// What a task came to.
pub(super) enum Output {
    Joined {
        route: usize,
        outcome: JoinOutcome,
    },
    Handled {
        reference: Option<Ref>,
        is_event: bool,
        finished: Finished,
    },
    Refreshed {
        reference: Option<Ref>,
        refreshed: Refreshed,
    },
    Terminated {
        crash: bool,
    },
}

/// The end of a task.
pub(super) struct Done {
    pub(super) key: ChannelKey,
    pub(super) started: std::time::Instant,
    pub(super) output: Output,
}

impl Task {
    pub(super) fn new(key: ChannelKey, job: Job) -> Self {
        Self {
            key,
            started: std::time::Instant::now(),
            job: Contained::new(job),
        }
    }
}

impl Future for Task {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        let (key, started) = (self.key, self.started);
        let Some(job) = self.job.get_mut() else {
            return Poll::Pending;
        };
        let output = match job {
            Job::Join { route, future } => {
                let route = *route;
                future
                    .as_mut()
                    .poll(cx)
                    .map(|outcome| Output::Joined { route, outcome })
            }
            Job::Handle {
                reference,
                is_event,
                future,
            } => {
                let poll = future.as_mut().poll(cx);
                let is_event = *is_event;
                poll.map(|finished| Output::Handled {
                    reference: reference.take(),
                    is_event,
                    finished,
                })
            }
            Job::Refresh { reference, future } => {
                let poll = future.as_mut().poll(cx);
                poll.map(|refreshed| Output::Refreshed {
                    reference: reference.take(),
                    refreshed,
                })
            }
            Job::Terminate { crash, future } => {
                let crash = *crash;
                future
                    .as_mut()
                    .poll(cx)
                    .map(|()| Output::Terminated { crash })
            }
        };
        output.map(|output| Done {
            key,
            started,
            output,
        })
    }
}

/// The tasks that wait, at most one for each channel. Empty, it holds no memory.
#[derive(Default)]
pub(super) struct Tasks(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    bell: Arc<Bell>,
}

struct Entry {
    task: Task,
    ringer: Arc<Ringer>,
    /// When the task must have ended, where there is such a time: for the `terminate` of a channel,
    /// and for every handler once the connection is gone.
    deadline: Option<Instant>,
}

/// Wakes the driver, and tells it to look at its tasks.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    driver: AtomicWaker,
}

/// The waker of one task.
struct Ringer {
    woken: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.bell.rung.store(true, Ordering::Release);
        self.bell.driver.wake();
    }
}

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.entries.len())
    }

    /// Keeps a task that waits. It is polled once more, with a waker of its own, before the driver
    /// sleeps.
    fn push(&mut self, task: Task) {
        let waiting = self.0.get_or_insert_default();
        waiting.bell.rung.store(true, Ordering::Release);
        let ringer = Ringer {
            woken: AtomicBool::new(true),
            bell: Arc::clone(&waiting.bell),
        };
        waiting.entries.push(Entry {
            task,
            ringer: Arc::new(ringer),
            deadline: None,
        });
    }

    /// Drops the task of a channel, now. False if there is none.
    pub(super) fn remove(&mut self, key: ChannelKey) -> bool {
        let Some(waiting) = &mut self.0 else {
            return false;
        };
        let before = waiting.entries.len();
        waiting.entries.retain(|entry| entry.task.key != key);
        let removed = waiting.entries.len() < before;
        self.give_back();
        removed
    }

    /// Whether a task of this key waits.
    pub(super) fn holds(&self, key: ChannelKey) -> bool {
        let entries = self.0.iter().flat_map(|waiting| &waiting.entries);
        entries.into_iter().any(|entry| entry.task.key == key)
    }

    /// Ends the task of a channel in time.
    pub(super) fn set_deadline(&mut self, key: ChannelKey, at: Instant) {
        let entries = self.0.iter_mut().flat_map(|waiting| &mut waiting.entries);
        for entry in entries.filter(|entry| entry.task.key == key) {
            entry.deadline = Some(at);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let entries = self.0.iter().flat_map(|waiting| &waiting.entries);
        entries.filter_map(|entry| entry.deadline).min()
    }

    /// Whether a task wants to be polled.
    pub(super) fn are_woken(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|waiting| waiting.bell.rung.load(Ordering::Acquire))
    }

    fn poll_next(&mut self, cx: &Context<'_>) -> Option<Done> {
        let waiting = self.0.as_mut()?;
        waiting.bell.driver.register(cx.waker());
        if !waiting.bell.rung.swap(false, Ordering::AcqRel) {
            return None;
        }
        for index in 0..waiting.entries.len() {
            let entry = waiting.entries.get_mut(index)?;
            if !entry.ringer.woken.swap(false, Ordering::AcqRel) {
                continue;
            }
            let waker = Waker::from(Arc::clone(&entry.ringer));
            let poll = Pin::new(&mut entry.task).poll(&mut Context::from_waker(&waker));
            if let Poll::Ready(done) = poll {
                waiting.entries.remove(index);
                // Others may be woken as well.
                waiting.bell.rung.store(true, Ordering::Release);
                self.give_back();
                return Some(done);
            }
        }
        None
    }

    fn take_due(&mut self, now: Instant) -> Option<Task> {
        let entries = &mut self.0.as_mut()?.entries;
        let is_due = |entry: &Entry| entry.deadline.is_some_and(|deadline| deadline <= now);
        let index = entries.iter().position(is_due)?;
        let entry = entries.remove(index);
        self.give_back();
        Some(entry.task)
    }

    fn give_back(&mut self) {
        if self
            .0
            .as_ref()
            .is_some_and(|waiting| waiting.entries.is_empty())
        {
            self.0 = None;
        }
    }
}

impl Driver {
    /// Begins a task: polls it once, and keeps it if it waits.
    pub(super) fn begin(&mut self, mut task: Task, cx: &mut Context<'_>) -> Option<Done> {
        match Pin::new(&mut task).poll(cx) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => {
                self.tasks.push(task);
                None
            }
        }
    }

    /// Polls the tasks that were woken.
    pub(super) fn poll_tasks(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while self.turn_goes_on() {
            let Some(done) = self.tasks.poll_next(cx) else {
                break;
            };
            progress = true;
            self.count_message();
            self.task_done(done, cx);
        }
        progress
    }

    /// Ends the tasks whose time is up.
    pub(super) fn tasks_time_out(&mut self, now: Instant, cx: &mut Context<'_>) {
        while let Some(mut task) = self.tasks.take_due(now) {
            let key = task.key;
            let crash = matches!(task.job.get_mut(), Some(Job::Terminate { crash: true, .. }));
            drop(task);
            self.connection
                .hub()
                .telemetry()
                .dropped_handlers
                .increment(1);
            tracing::warn!("a handler did not end in time and was dropped");
            if let Some(slot) = self.slots.remove(key) {
                self.drop_slot(slot);
            }
            self.terminated(key, crash, cx);
        }
    }
}
