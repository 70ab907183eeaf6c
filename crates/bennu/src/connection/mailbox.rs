//! Messages from the rest of the program to the channels of one connection, and their bound.

use std::any::Any;
use std::collections::VecDeque;
use std::time::Duration;

use bennu_proto::server::ChannelKey;

use super::Connection;
use crate::channel::TimerRef;

/// A message for a channel; the channel's runner knows the type behind it.
pub(crate) type Message = Box<dyn Any + Send>;

/// What others ask of the driver.
pub(crate) enum Mail {
    /// Hand a message to a channel.
    Message { key: ChannelKey, message: Message },
    /// Set a timer of a channel.
    SetTimer {
        key: ChannelKey,
        timer: TimerRef,
        delay: Duration,
        schedule: Schedule,
    },
    /// Cancel a timer of a channel.
    CancelTimer { key: ChannelKey, timer: TimerRef },
}

/// What a timer sends.
pub(crate) enum Schedule {
    /// One message.
    Once(Message),
    /// A message each time, made afresh.
    Every(Box<dyn FnMut() -> Message + Send>),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MailError {
    /// Too many wait already.
    Full,
    /// The connection is gone.
    Gone,
}

#[derive(Default)]
pub(super) struct Mailbox {
    queue: VecDeque<Mail>,
    /// Messages that were taken and are not yet handled, wherever they wait.
    pending: usize,
    next_timer: u64,
}

impl Mailbox {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Connection {
    /// Sends a message to a channel. A channel that has ended drops it.
    pub(crate) fn post(&self, key: ChannelKey, message: Message) -> Result<(), MailError> {
        self.mail(|_| Mail::Message { key, message }).map(|_| ())
    }

    /// Sets a timer and returns its reference.
    pub(crate) fn set_timer(
        &self,
        key: ChannelKey,
        delay: Duration,
        schedule: Schedule,
    ) -> Result<TimerRef, MailError> {
        self.mail(|timer| Mail::SetTimer {
            key,
            timer,
            delay,
            schedule,
        })
    }

    /// Cancels a timer; it may have fired already.
    pub(crate) fn cancel_timer(&self, key: ChannelKey, timer: TimerRef) -> Result<(), MailError> {
        self.mail(|_| Mail::CancelTimer { key, timer }).map(|_| ())
    }

    fn mail(&self, mail: impl FnOnce(TimerRef) -> Mail) -> Result<TimerRef, MailError> {
        let mut state = self.state.lock();
        if state.ended || state.closing.is_some() {
            return Err(MailError::Gone);
        }
        let mailbox = &mut state.mailbox;
        if mailbox.pending >= self.hub.limits().mailbox_messages_max {
            return Err(MailError::Full);
        }
        mailbox.pending += 1;
        mailbox.next_timer += 1;
        let timer = TimerRef(mailbox.next_timer);
        mailbox.queue.push_back(mail(timer));
        state.wake();
        Ok(timer)
    }

    /// Takes everything that is there. Each item counts as pending until [`Self::mail_done`].
    pub(crate) fn take_mail(&self) -> VecDeque<Mail> {
        std::mem::take(&mut self.state.lock().mailbox.queue)
    }

    /// So many items have been handled or dropped.
    pub(crate) fn mail_done(&self, count: usize) {
        let mut state = self.state.lock();
        state.mailbox.pending = state.mailbox.pending.saturating_sub(count);
    }

    /// A message that is made by the driver itself, such as that of a timer, asks for its place.
    pub(crate) fn reserve_mail(&self) -> bool {
        let mut state = self.state.lock();
        let free = state.mailbox.pending < self.hub.limits().mailbox_messages_max;
        state.mailbox.pending += usize::from(free);
        free
    }
}
