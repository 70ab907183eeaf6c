//! [`Tasks`]: the user's futures that wait. Each was polled once where it began; those that were not
//! ready then are kept here and polled when they are woken.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bennu_proto::reference::Ref;
use bennu_proto::server::ChannelKey;
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Driver;
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

/// The tasks that wait. Empty, it holds no memory.
#[derive(Default)]
pub(super) struct Tasks(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    futures: FuturesUnordered<Abortable<Task>>,
    /// Tasks that must end in time: `terminate` of a channel, and everything once the connection
    /// is gone.
    deadlines: Vec<Deadline>,
}

struct Deadline {
    at: Instant,
    key: ChannelKey,
    crash: bool,
    abort: AbortHandle,
}

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Keeps a task that waits.
    pub(super) fn push(&mut self, task: Task) -> AbortHandle {
        let (abort, registration) = AbortHandle::new_pair();
        let waiting = self.0.get_or_insert_default();
        waiting.futures.push(Abortable::new(task, registration));
        abort
    }

    /// Ends the task in time, one way or the other.
    pub(super) fn set_deadline(
        &mut self,
        at: Instant,
        key: ChannelKey,
        crash: bool,
        abort: AbortHandle,
    ) {
        let waiting = self.0.get_or_insert_default();
        waiting.deadlines.push(Deadline {
            at,
            key,
            crash,
            abort,
        });
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0
            .as_ref()?
            .deadlines
            .iter()
            .map(|deadline| deadline.at)
            .min()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Done>> {
        let Some(waiting) = &mut self.0 else {
            return Poll::Ready(None);
        };
        loop {
            match waiting.futures.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(done))) => {
                    if let Output::Terminated { .. } = done.output {
                        waiting
                            .deadlines
                            .retain(|deadline| deadline.key != done.key);
                    }
                    return Poll::Ready(Some(done));
                }
                // Its channel was discarded, and so is what it came to.
                Poll::Ready(Some(Err(_aborted))) => {}
                Poll::Ready(None) => {
                    self.0 = None;
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Driver {
    /// Begins a task: polls it once, and keeps it if it waits.
    pub(super) fn begin(
        &mut self,
        mut task: Task,
        cx: &mut Context<'_>,
    ) -> Result<Done, AbortHandle> {
        match Pin::new(&mut task).poll(cx) {
            Poll::Ready(done) => Ok(done),
            Poll::Pending => Err(self.tasks.push(task)),
        }
    }

    /// Polls the tasks that were woken.
    pub(super) fn poll_tasks(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while self.turn_goes_on() {
            match self.tasks.poll_next(cx) {
                Poll::Ready(Some(done)) => {
                    progress = true;
                    self.count_message();
                    self.task_done(done, cx);
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        progress
    }

    /// Ends the tasks whose time is up.
    pub(super) fn tasks_time_out(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Some(waiting) = &mut self.tasks.0 else {
            return;
        };
        let due: Vec<Deadline> = waiting
            .deadlines
            .extract_if(.., |deadline| deadline.at <= now)
            .collect();
        for deadline in due {
            deadline.abort.abort();
            self.connection
                .hub()
                .telemetry()
                .dropped_handlers
                .increment(1);
            tracing::warn!("a handler did not end in time and was dropped");
            self.terminated(deadline.key, deadline.crash, cx);
        }
    }
}
