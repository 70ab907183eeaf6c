//! [`Timers`]: the timers of one connection's channels.

use std::collections::BTreeMap;
use std::task::Context;
use std::time::Duration;

use bennu_proto::server::ChannelKey;
use tokio::time::Instant;

use super::Driver;
use crate::channel::TimerRef;
use crate::channel::runner::contain;
use crate::connection::{Message, Schedule};

/// By time, then by age. Empty, it holds no memory.
#[derive(Default)]
pub(super) struct Timers(BTreeMap<(Instant, TimerRef), Timer>);

struct Timer {
    key: ChannelKey,
    period: Duration,
    schedule: Schedule,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first_key_value().map(|((at, _), _)| *at)
    }

    fn take_due(&mut self, now: Instant) -> Option<(Instant, TimerRef, Timer)> {
        let entry = self.0.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, timer_ref), timer) = entry.remove_entry();
        Some((at, timer_ref, timer))
    }
}

impl Driver {
    pub(super) fn set_timer(
        &mut self,
        key: ChannelKey,
        timer: TimerRef,
        delay: Duration,
        schedule: Schedule,
    ) {
        // A delay beyond the clock's range is one that never ends.
        let Some(at) = Instant::now().checked_add(delay) else {
            return self.connection.mail_done(1);
        };
        self.timers.0.insert(
            (at, timer),
            Timer {
                key,
                period: delay,
                schedule,
            },
        );
    }

    pub(super) fn cancel_timer(&mut self, key: ChannelKey, timer: TimerRef) {
        self.drop_timers(|timer_key, timer_ref| timer_key == key && timer_ref == timer);
    }

    /// A channel's timers end with it.
    pub(super) fn cancel_timers(&mut self, key: ChannelKey) {
        self.drop_timers(|timer_key, _| timer_key == key);
    }

    /// Each timer has held a place in the mailbox.
    fn drop_timers(&mut self, is_meant: impl Fn(ChannelKey, TimerRef) -> bool) {
        if self.timers.0.is_empty() {
            return;
        }
        let before = self.timers.0.len();
        self.timers
            .0
            .retain(|(_, timer_ref), timer| !is_meant(timer.key, *timer_ref));
        self.connection.mail_done(before - self.timers.0.len());
    }

    pub(super) fn fire_timers(&mut self, now: Instant, cx: &mut Context<'_>) {
        while let Some((at, timer_ref, mut timer)) = self.timers.take_due(now) {
            let key = timer.key;
            let message: Message = match &mut timer.schedule {
                // The message takes over the timer's place in the mailbox.
                Schedule::Once(_) => {
                    let Schedule::Once(message) = timer.schedule else {
                        continue;
                    };
                    message
                }
                Schedule::Every(make) => {
                    let message = self.connection.reserve_mail().then(|| contain(make));
                    // Beats that are already past are left out.
                    let beats = now.duration_since(at).as_nanos() / timer.period.as_nanos().max(1);
                    let skipped = u32::try_from(beats).unwrap_or(u32::MAX).saturating_add(1);
                    let next = at + timer.period.saturating_mul(skipped);
                    self.timers.0.insert((next, timer_ref), timer);
                    match message {
                        Some(Some(message)) => message,
                        Some(None) => {
                            self.connection.mail_done(1);
                            continue;
                        }
                        None => continue,
                    }
                }
            };
            self.hand_message(key, message, cx);
        }
    }
}
