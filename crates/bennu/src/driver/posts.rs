//! Input of a client that polls: what it has posted, message by message, to the machine.

use std::sync::atomic::Ordering;
use std::task::Context;

use bennu_proto::codec::Inbound;
use bennu_proto::long_poll::Part;

use super::Driver;
use crate::connection::{CloseReason, Post, PostError};
use crate::telemetry::Limit;

impl Driver {
    /// Handles what was posted, as far as the turn goes. What may not be handled yet stays where it is:
    /// the answer to the post waits, and with it the client.
    pub(super) fn poll_posts(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_silent && self.closing.is_none() {
            self.begin_close(CloseReason::Idle, cx);
            return true;
        }
        // Also where nothing may be handled: what opens the input again wakes the driver by itself.
        self.connection.see_posts();
        let mut progress = false;
        while self.closing.is_none() && self.turn_goes_on() && self.may_read(cx) {
            let Some(mut post) = self.connection.take_post() else {
                break;
            };
            progress = true;
            if post.progress.withdrawn.load(Ordering::Acquire) {
                continue;
            }
            match self.handle_part(&mut post, cx) {
                Ok(true) => self.connection.put_back_post(post),
                // The client may be gone; its message is handled all the same.
                Ok(false) => drop(post.done.send(Ok(()))),
                Err(error) => {
                    tracing::debug!(%error, "a post holds what is no message");
                    drop(post.done.send(Err(error)));
                }
            }
        }
        progress
    }

    /// Handles the next message of a post. False if that was the last.
    fn handle_part(&mut self, post: &mut Post, cx: &mut Context<'_>) -> Result<bool, PostError> {
        let message_bytes_max = self.connection.hub().limits().message_bytes_max;
        let Some(part) = post.body.next_part(message_bytes_max)? else {
            return Ok(false);
        };
        self.count_message();
        self.count_inbound(Limit::Messages, 1, cx);
        let len = match &part {
            Part::Text(text) => text.len(),
            Part::Binary(bytes) => bytes.len(),
        };
        self.count_inbound(Limit::Bytes, len, cx);
        match &part {
            Part::Text(text) => match simdutf8::basic::from_utf8(text) {
                Ok(text) => self.handle_message(Inbound::Text(text), cx)?,
                Err(_) => self.handle_message(Inbound::Binary(text), cx)?,
            },
            Part::Binary(bytes) => self.handle_message(Inbound::Binary(bytes), cx)?,
        }
        post.progress.handled.fetch_add(1, Ordering::Release);
        Ok(post.body.remaining_bytes() > 0)
    }
}
