//! [`Timers`]: the timers of one connection's channels.

use std::collections::BTreeMap;
use std::time::Duration;

use bennu_proto::server::ChannelKey;
use tokio::time::Instant;

use super::{Driver, deadline_after};
use crate::channel::TimerRef;
use crate::channel::runner::contain;
use crate::connection::Schedule;

/// By time, then by age. Empty, it holds no memory.
#[derive(Default)]
pub(super) struct Timers(Option<Box<Table>>);

type Table = BTreeMap<(Instant, TimerRef), Timer>;

struct Timer {
    key: ChannelKey,
    period: Duration,
    schedule: Schedule,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Instant> {
        let ((at, _), _) = self.0.as_ref()?.first_key_value()?;
        Some(*at)
    }

    fn insert(&mut self, at: (Instant, TimerRef), timer: Timer) {
        self.0.get_or_insert_default().insert(at, timer);
    }

    fn give_back(&mut self) {
        if self.0.as_ref().is_some_and(|table| table.is_empty()) {
            self.0 = None;
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<(Instant, TimerRef, Timer)> {
        let table = self.0.as_mut()?;
        let entry = table.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, timer_ref), timer) = entry.remove_entry();
        self.give_back();
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
        let at = deadline_after(Instant::now(), delay);
        let period = delay;
        let timer_data = Timer {
            key,
            period,
            schedule,
        };
        self.timers.insert((at, timer), timer_data);
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
        let Some(table) = &mut self.timers.0 else {
            return;
        };
        let (mut count, mut bytes) = (0, 0);
        table.retain(|(_, timer_ref), timer| {
            let is_meant = is_meant(timer.key, *timer_ref);
            if is_meant {
                count += 1;
                bytes += timer.schedule.bytes();
            }
            !is_meant
        });
        self.timers.give_back();
        self.connection.mail_done(count, bytes);
    }

    pub(super) fn fire_timers(&mut self, now: Instant) {
        while let Some((at, timer_ref, timer)) = self.timers.take_due(now) {
            match timer.schedule {
                // The message takes over the timer's place in the mailbox.
                Schedule::Once(message) => self.hand_message(timer.key, message),
                Schedule::Every(_) => self.beat(at, timer_ref, timer, now),
            }
        }
    }

    /// Sends the message of an interval and sets it again.
    fn beat(&mut self, at: Instant, timer_ref: TimerRef, mut timer: Timer, now: Instant) {
        let key = timer.key;
        if let Schedule::Every(make) = &mut timer.schedule
            && self.connection.reserve_mail()
        {
            match make.get_mut().and_then(contain) {
                Some(message) => self.hand_message(key, message),
                None => self.connection.mail_done(1, 0),
            }
        }
        // Beats that are already past are left out.
        let beats = now.duration_since(at).as_nanos() / timer.period.as_nanos().max(1);
        let skipped = u32::try_from(beats).unwrap_or(u32::MAX).saturating_add(1);
        let next = deadline_after(at, timer.period.saturating_mul(skipped));
        self.timers.insert((next, timer_ref), timer);
    }
}
