//! [`Lanes`]: the queue of a big topic, and how far each of its lanes has come in it.
//!
//! Every lane serves every broadcast, each to its own share of the partitions. So there is a single
//! log of jobs, and a lane is a position in it; a job leaves when the slowest lane is through. Not
//! here: the tasks that run the lanes, and what they do with a job (dispatch).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::broadcast::Broadcast;
use crate::gate::Pass;
use crate::registry::Audience;

/// A log with room for more jobs than this is let go when it is empty.
const LOG_KEPT_MAX: usize = 64;

/// What a log may hold.
#[derive(Clone, Copy)]
pub(crate) struct LogLimits {
    pub(crate) jobs_max: usize,
    pub(crate) bytes_max: usize,
}

/// What a lane does for a broadcast.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) broadcast: Arc<Broadcast>,
    pub(crate) audience: Audience,
    /// How many partitions the topic had; whoever came to a later one came too late.
    pub(crate) partitions: u32,
}

pub(crate) struct Lanes {
    /// Taken to reserve, to push, and by each lane before and after each job, for as long as it takes
    /// to step over the jobs that are not the lane's.
    log: Mutex<Log>,
    /// Jobs reserved, waiting or being done. Changed under the log's lock only; read without it, and
    /// whoever reads 0 comes after every delivery.
    outstanding: AtomicUsize,
}

struct Log {
    jobs: VecDeque<Job>,
    /// The number of the first job in `jobs`.
    front: u64,
    bytes: usize,
    lanes: Box<[Lane]>,
}

pub(crate) struct Job {
    work: Work,
    bytes: usize,
    /// Lanes that have not done it yet.
    remaining: usize,
    /// Shows the sender, until it is dropped, that this is still on its way.
    _pass: Option<Pass>,
}

#[derive(Clone, Default)]
struct Lane {
    /// The number of the job that it does now or looks at next.
    next: u64,
    /// Whether a task runs it, or is about to.
    running: bool,
}

/// Jobs that every lane is through with, to be dropped when the log's lock is released.
pub(crate) type Finished = Vec<Job>;

impl Lanes {
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            log: Mutex::new(Log {
                jobs: VecDeque::new(),
                front: 0,
                bytes: 0,
                lanes: vec![Lane::default(); lanes.max(1)].into_boxed_slice(),
            }),
            outstanding: AtomicUsize::new(0),
        }
    }

    /// Whether everything that was ever pushed has been delivered.
    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding.load(Ordering::Acquire) == 0
    }

    /// Keeps room for a job; `false` if there is none.
    pub(crate) fn reserve(&self, bytes: usize, limits: LogLimits) -> bool {
        let mut log = self.log.lock();
        let outstanding = self.outstanding.load(Ordering::Relaxed);
        // A broadcast that is alone may be of any size: payloads have limits of their own.
        let fits = log.bytes.saturating_add(bytes) <= limits.bytes_max || outstanding == 0;
        if outstanding >= limits.jobs_max.max(1) || !fits {
            return false;
        }
        log.bytes += bytes;
        self.outstanding.store(outstanding + 1, Ordering::Release);
        true
    }

    /// Gives reserved room back.
    pub(crate) fn release(&self, bytes: usize) {
        let mut log = self.log.lock();
        log.bytes -= bytes;
        self.outstanding.fetch_sub(1, Ordering::Release);
    }

    /// Puts a job into room that was reserved. Returns the lanes for which a task must be started.
    pub(crate) fn push(&self, work: Work, bytes: usize, pass: Option<Pass>) -> Vec<usize> {
        let mut log = self.log.lock();
        let concerned = log.lanes.len().min(work.partitions as usize).max(1);
        log.jobs.push_back(Job {
            work,
            bytes,
            remaining: concerned,
            _pass: pass,
        });
        let mut start = Vec::new();
        for (index, lane) in log.lanes.iter_mut().enumerate().take(concerned) {
            if !lane.running {
                lane.running = true;
                start.push(index);
            }
        }
        start
    }

    /// What a lane has to do next, how many lanes share the work, and the number to call
    /// [`Lanes::done`] with. With nothing left the lane stops running.
    pub(crate) fn next(&self, lane: usize) -> Option<(u64, Work, usize)> {
        let mut log = self.log.lock();
        let lanes = log.lanes.len();
        let found = log.find(lane);
        let state = &mut log.lanes[lane];
        state.running = found.is_some();
        let (number, work) = found?;
        state.next = number;
        Some((number, work, lanes))
    }

    /// A lane is through with a job.
    pub(crate) fn done(&self, lane: usize, number: u64) -> Finished {
        let mut log = self.log.lock();
        log.lanes[lane].next = number + 1;
        log.finish(number);
        self.pop(&mut log)
    }

    /// A lane's task is gone for good: everything that it had to do counts as done. Returns how many
    /// jobs that were.
    pub(crate) fn abandon(&self, lane: usize) -> (usize, Finished) {
        let mut log = self.log.lock();
        let mut abandoned = 0;
        while let Some((number, _)) = log.find(lane) {
            log.lanes[lane].next = number + 1;
            log.finish(number);
            abandoned += 1;
        }
        log.lanes[lane].running = false;
        (abandoned, self.pop(&mut log))
    }

    fn pop(&self, log: &mut Log) -> Finished {
        let mut finished = Finished::new();
        while log.jobs.front().is_some_and(|job| job.remaining == 0) {
            if let Some(job) = log.jobs.pop_front() {
                log.front += 1;
                log.bytes -= job.bytes;
                self.outstanding.fetch_sub(1, Ordering::Release);
                finished.push(job);
            }
        }
        if log.jobs.is_empty() && log.jobs.capacity() > LOG_KEPT_MAX {
            log.jobs = VecDeque::new();
        }
        finished
    }
}

impl Log {
    /// The next job that concerns a lane, if there is one.
    fn find(&self, lane: usize) -> Option<(u64, Work)> {
        // Jobs of fewer partitions may have left while this lane was not running.
        let from = self.lanes[lane].next.max(self.front);
        let skipped = usize::try_from(from - self.front).ok()?;
        let (offset, job) = self
            .jobs
            .iter()
            .enumerate()
            .skip(skipped)
            .find(|(_, job)| lane == 0 || lane < job.work.partitions as usize)?;
        Some((self.front + offset as u64, job.work.clone()))
    }

    /// One lane more is through with a job.
    fn finish(&mut self, number: u64) {
        let Ok(offset) = usize::try_from(number - self.front) else {
            return;
        };
        if let Some(job) = self.jobs.get_mut(offset) {
            job.remaining -= 1;
        }
    }
}
