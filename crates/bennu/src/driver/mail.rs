//! Messages from the program: from the connection's mailbox to its channels.

use bennu_proto::server::ChannelKey;

use super::Driver;
use super::slot::Waiting;
use crate::channel::runner::Work;
use crate::connection::{Mail, Message};

impl Driver {
    /// Puts what is in the mailbox to the channels that it is for. They handle it when it is their
    /// turn.
    pub(super) fn poll_mail(&mut self) -> bool {
        let mail = self.connection.take_mail();
        let progress = !mail.is_empty();
        for item in mail {
            match item {
                Mail::Message { key, message } => self.hand_message(key, message),
                Mail::SetTimer {
                    key,
                    timer,
                    delay,
                    schedule,
                } => {
                    if self.slots.get_mut(key).is_some() {
                        self.set_timer(key, timer, delay, schedule);
                    } else {
                        self.connection.mail_done(1, schedule.bytes());
                    }
                }
                Mail::CancelTimer { key, timer } => self.cancel_timer(key, timer),
            }
        }
        progress
    }

    /// Hands a message to a channel, behind what waits for it. It keeps its place in the mailbox
    /// until it is handled; a channel that has ended drops it.
    pub(super) fn hand_message(&mut self, key: ChannelKey, message: Message) {
        match self.slots.get_mut(key) {
            Some(slot) => slot.push(Waiting::Work(Work::Message(message))),
            None => self.connection.mail_done(1, message.bytes()),
        }
    }
}
