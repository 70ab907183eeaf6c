//! Expiry: a socket that ends at a time, and the event by which its client puts that off.

use std::task::Context;
use std::time::{Duration, SystemTime};

use bennu_proto::codec;
use bennu_proto::message::{self, Outgoing};
use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::server::ChannelKey;
use serde::Serialize;
use tokio::time::Instant;

use super::tasks::{Job, Task};
use super::{Driver, deadline_after};
use crate::channel::Rejection;
use crate::channel::join::Refusal;
use crate::channel::runner::catch_panic;
use crate::connection::{Class, CloseReason};

/// How long before the end a client is told of it.
const NOTICE: Duration = Duration::from_secs(30);

/// The key of the task that decides about a refresh. Channels have keys from 1 on.
const REFRESH_KEY: ChannelKey = ChannelKey(0);

/// When a socket ends, if its client does not put that off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    at: Instant,
    /// The client has been told, or there is nothing that it could do.
    noticed: bool,
}

/// What `refresh` of the application came to.
pub(super) type Refreshed = Result<Option<SystemTime>, Refusal>;

#[derive(Serialize)]
struct ExpiresIn {
    /// In seconds; null for never.
    expires_in: Option<u64>,
}

#[derive(Serialize)]
struct Reason {
    reason: &'static str,
}

impl Expiry {
    fn next(&self) -> Instant {
        if self.noticed {
            self.at
        } else {
            self.at.checked_sub(NOTICE).unwrap_or(self.at)
        }
    }
}

impl Driver {
    /// Sets when the socket ends. A time that is past ends it now.
    pub(super) fn set_expiry(&mut self, at: Option<SystemTime>) {
        self.expiry = at.map(|at| {
            let left = at.duration_since(SystemTime::now()).unwrap_or_default();
            Box::new(Expiry {
                at: deadline_after(Instant::now(), left),
                noticed: !self.session.can_refresh(),
            })
        });
    }

    /// When there is something to do about it.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        // A connection on its way out has no use for it.
        let expiry = self.expiry.as_ref().filter(|_| self.closing.is_none())?;
        Some(expiry.next())
    }

    /// Tells the client, or ends the socket, if it is time.
    pub(super) fn expire(&mut self, now: Instant, cx: &mut Context<'_>) {
        if self.next_expiry().is_none_or(|at| at > now) {
            return;
        }
        let Some(expiry) = &mut self.expiry else {
            return;
        };
        if expiry.at <= now {
            return self.begin_close(CloseReason::Expired, cx);
        }
        expiry.noticed = true;
        let left = expiry.at.duration_since(now);
        self.push_expiring(left);
    }

    fn push_expiring(&self, left: Duration) {
        let expires_in = Some(left.as_secs());
        let Ok(payload) = Payload::json(&ExpiresIn { expires_in }) else {
            return;
        };
        let push = Outgoing::Push {
            join_ref: None,
            topic: message::PHOENIX_TOPIC,
            event: message::EXPIRING,
            payload: &payload,
        };
        if let Ok(frame) = codec::encode(self.connection.form(), &push) {
            self.connection.queue(frame.bytes, Class::Control);
        }
    }

    /// The client presents what is to let it stay.
    pub(super) fn refresh(
        &mut self,
        payload: Payload,
        reference: Option<Ref>,
        cx: &mut Context<'_>,
    ) {
        if self.tasks.holds(REFRESH_KEY) {
            let reason = "refresh in progress";
            return self.answer_refresh(reference.as_ref(), "error", &Reason { reason });
        }
        let Some(future) = self.session.refresh(payload) else {
            self.machine.refresh_unmatched(reference.as_ref());
            return self.drain_transmits();
        };
        let future = Box::pin(async move {
            match catch_panic(future).await {
                Ok(Ok(until)) => Ok(until),
                Ok(Err(Rejection(refusal))) => Err(refusal),
                Err(panic) => Err(Refusal::Crash(panic.into())),
            }
        });
        let task = Task::new(REFRESH_KEY, Job::Refresh { reference, future });
        if let Some(done) = self.begin(task, cx) {
            self.task_done(done, cx);
        }
    }

    /// The application has decided.
    pub(super) fn refreshed(&mut self, reference: Option<&Ref>, refreshed: Refreshed) {
        match refreshed {
            Ok(until) => {
                self.set_expiry(until);
                let left = until.map(|until| until.duration_since(SystemTime::now()));
                let expires_in = left.map(|left| left.unwrap_or_default().as_secs());
                self.answer_refresh(reference, "ok", &ExpiresIn { expires_in });
            }
            Err(Refusal::Response(Ok(response))) => {
                self.machine.answer_refresh(reference, "error", &response);
                self.drain_transmits();
            }
            Err(Refusal::Response(Err(error))) => self.refresh_crashed(reference, &error),
            Err(Refusal::Crash(error)) => self.refresh_crashed(reference, &error),
        }
    }

    fn refresh_crashed(&mut self, reference: Option<&Ref>, error: &dyn std::fmt::Display) {
        tracing::error!(%error, "refresh crashed");
        let reason = "refresh crashed";
        self.answer_refresh(reference, "error", &Reason { reason });
    }

    fn answer_refresh<T: Serialize>(
        &mut self,
        reference: Option<&Ref>,
        status: &str,
        response: &T,
    ) {
        let response = Payload::json(response).unwrap_or_else(|_| Payload::empty());
        self.machine.answer_refresh(reference, status, &response);
        self.drain_transmits();
    }

    /// The connection is ending: nobody waits for the answer.
    pub(super) fn drop_refresh(&mut self) {
        self.tasks.remove(REFRESH_KEY);
    }
}
