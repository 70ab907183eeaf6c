//! Messages from the rest of the program to the channels of one connection, and their bound.

use std::any::Any;
use std::collections::VecDeque;
use std::time::Duration;

use bennu_proto::server::ChannelKey;

use super::Connection;
use crate::channel::TimerRef;
use crate::channel::runner::Contained;

/// A message for a channel; the channel's runner knows the type behind it. It holds a place in the
/// mailbox from when it is posted until it is handled or dropped.
pub(crate) struct Message {
    content: Contained<Box<dyn Any + Send>>,
    /// What it keeps alive that others have made, in bytes: the payload of a broadcast.
    bytes: usize,
}

impl Message {
    pub(crate) fn new(content: Box<dyn Any + Send>, bytes: usize) -> Self {
        Self {
            content: Contained::new(content),
            bytes,
        }
    }

    pub(crate) fn into_content(self) -> Option<Box<dyn Any + Send>> {
        self.content.into_inner()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

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
    Every(Contained<Box<dyn FnMut() -> Message + Send>>),
}

impl Schedule {
    /// What it keeps alive that others have made, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Once(message) => message.bytes,
            Self::Every(_) => 0,
        }
    }
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
    /// Messages and timers that were taken and are not yet done, wherever they wait.
    pending: usize,
    /// Bytes that they keep alive.
    pending_bytes: usize,
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
        let bytes = message.bytes;
        self.mail(bytes, |_| Mail::Message { key, message })
            .map(|_| ())
    }

    /// Sets a timer and returns its reference.
    pub(crate) fn set_timer(
        &self,
        key: ChannelKey,
        delay: Duration,
        schedule: Schedule,
    ) -> Result<TimerRef, MailError> {
        self.mail(0, |timer| Mail::SetTimer {
            key,
            timer,
            delay,
            schedule,
        })
    }

    fn mail(
        &self,
        bytes: usize,
        mail: impl FnOnce(TimerRef) -> Mail,
    ) -> Result<TimerRef, MailError> {
        let mut state = self.state.lock();
        if state.ended || state.closing.is_some() {
            return Err(MailError::Gone);
        }
        let limits = self.hub.limits();
        let mailbox = &mut state.mailbox;
        let is_full = mailbox.pending >= limits.mailbox_messages_max
            || (bytes > 0
                && mailbox.pending_bytes > 0
                && mailbox.pending_bytes + bytes > limits.mailbox_bytes_max);
        if is_full {
            return Err(MailError::Full);
        }
        mailbox.pending += 1;
        mailbox.pending_bytes += bytes;
        mailbox.next_timer += 1;
        let timer = TimerRef(mailbox.next_timer);
        mailbox.queue.push_back(mail(timer));
        state.wake();
        Ok(timer)
    }

    /// Cancels a timer; it may have fired already. This makes room in a full mailbox, so it is not
    /// refused by one, unless that has been asked too often without a turn of the driver between.
    pub(crate) fn cancel_timer(&self, key: ChannelKey, timer: TimerRef) -> Result<(), MailError> {
        let mut state = self.state.lock();
        if state.ended || state.closing.is_some() {
            return Err(MailError::Gone);
        }
        if state.mailbox.queue.len() >= 2 * self.hub.limits().mailbox_messages_max {
            return Err(MailError::Full);
        }
        state
            .mailbox
            .queue
            .push_back(Mail::CancelTimer { key, timer });
        state.wake();
        Ok(())
    }

    /// Takes everything that is there. Messages and timers count as pending until
    /// [`Self::mail_done`].
    pub(crate) fn take_mail(&self) -> VecDeque<Mail> {
        std::mem::take(&mut self.state.lock().mailbox.queue)
    }

    /// So many messages or timers, which kept so many bytes alive, are done.
    pub(crate) fn mail_done(&self, count: usize, bytes: usize) {
        if count > 0 {
            let mailbox = &mut self.state.lock().mailbox;
            mailbox.pending = mailbox.pending.saturating_sub(count);
            mailbox.pending_bytes = mailbox.pending_bytes.saturating_sub(bytes);
        }
    }

    /// A message that is made by the driver itself, that of an interval, asks for its place.
    pub(crate) fn reserve_mail(&self) -> bool {
        let mut state = self.state.lock();
        let free = state.mailbox.pending < self.hub.limits().mailbox_messages_max;
        state.mailbox.pending += usize::from(free);
        free
    }
}
