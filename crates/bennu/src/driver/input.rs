//! Input: from the transport through the WebSocket decoder and the codec to the machine.

#[cfg(feature = "deflate")]
use std::sync::Arc;
use std::task::{Context, Poll};

use bennu_proto::codec::{self, DecodeError, Inbound};
use bennu_proto::websocket::{self, Decoder, Deflated, Event, Opcode, Role};
use bytes::Bytes;
use tokio::time::Instant;

use super::Driver;
use super::io::{Io, ReadBuffer};
use super::slot::Slot;
use crate::connection::{Class, CloseReason};
use crate::telemetry::Limit;

/// How many bytes, before and after, an inflater reads and writes in the time of a delivery, or less.
#[cfg(feature = "deflate")]
const INFLATED_BYTES_PER_DELIVERY: usize = 4096;

impl Driver {
    /// Reads once and handles what came.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) -> bool {
        if matches!(self.io, Io::Polled { .. }) {
            return self.poll_posts(cx);
        }
        if self.closing.is_some() {
            return self.poll_farewell(cx);
        }
        if !self.may_read(cx) {
            return false;
        }
        if !self.leftover.is_empty() {
            let mut bytes = std::mem::take(&mut self.leftover);
            self.feed(&mut bytes, cx);
            return true;
        }
        let mut buffer = ReadBuffer::take();
        match self.io.poll_read(cx, buffer.bytes_mut()) {
            Poll::Pending if self.is_silent => self.begin_close(CloseReason::Idle, cx),
            Poll::Pending => return false,
            Poll::Ready(Ok(0) | Err(_)) => self.begin_close(CloseReason::Lost, cx),
            Poll::Ready(Ok(len)) => {
                self.last_inbound = Instant::now();
                self.is_silent = false;
                self.count_inbound(Limit::Bytes, len, cx);
                let bytes = buffer.bytes_mut().get_mut(..len).unwrap_or_default();
                self.feed(bytes, cx);
            }
        }
        true
    }

    /// Whether the client's next message may be handled. If not, it stays in the transport: that is
    /// how a fast client is slowed down.
    pub(super) fn input_is_open(&self) -> bool {
        let limits = self.connection.hub().limits();
        let bytes: usize = self.slots.iter().map(Slot::inbound_bytes).sum();
        // A client that joins and leaves cannot leave behind more than it may have.
        let tasks_max = limits.joins_max.saturating_mul(2).saturating_add(1);
        let is_full = |slot: &Slot| slot.inbound_messages() >= limits.inbound_messages_max;
        self.connection.gate().is_idle()
            && bytes < limits.inbound_bytes_max
            && self.tasks.len() < tasks_max
            && self.rates_are_open()
            && !self.slots.iter().any(is_full)
    }

    /// [`Self::input_is_open`], and makes sure of a wake-up once it is.
    pub(super) fn may_read(&mut self, cx: &mut Context<'_>) -> bool {
        // A full channel wakes the driver when its handler is done.
        self.connection.gate().poll_idle(cx).is_ready() && self.input_is_open()
    }

    /// Decodes bytes and handles the messages in them, as far as the turn goes.
    pub(super) fn feed(&mut self, bytes: &mut [u8], cx: &mut Context<'_>) {
        let limits = self.connection.hub().limits().websocket();
        // Out of the driver, because an event borrows from it while the driver handles it.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Role::Server));
        let mut at = 0;
        while at < bytes.len() && self.closing.is_none() {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            if !self.turn_goes_on() || !self.input_is_open() {
                self.leftover = (&*rest).into();
                break;
            }
            match decoder.decode(&limits, rest) {
                Ok(decoded) => {
                    at += decoded.consumed;
                    match decoded.event {
                        Some(event) => self.handle_event(event, cx),
                        None => break,
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the client broke the WebSocket protocol");
                    self.begin_close(CloseReason::Protocol(error.close_code()), cx);
                }
            }
        }
        // Whatever follows our close frame is looked at only for the client's own.
        let rest = bytes.get_mut(at..).unwrap_or_default();
        if let Some(closing) = &mut self.closing
            && says_farewell(&mut decoder, &limits, rest)
        {
            closing.farewell();
        }
        // A message that came in pieces is lent out by the decoder until here.
        decoder.release();
        self.decoder = decoder;
    }

    fn handle_event(&mut self, event: Event<'_>, cx: &mut Context<'_>) {
        self.count_message();
        self.count_inbound(Limit::Messages, 1, cx);
        if self.closing.is_some() {
            return;
        }
        match event {
            Event::Text(text) => self.handle_frame(Inbound::Text(text), cx),
            Event::Binary(bytes) => self.handle_frame(Inbound::Binary(bytes), cx),
            Event::Ping(payload) => {
                let pong: Bytes = websocket::frame(Opcode::Pong, payload);
                self.connection.queue(pong, Class::Pong);
            }
            Event::Pong(_) => {}
            Event::Close(close) => {
                let code = close.map(|(code, _)| code);
                self.begin_close(CloseReason::Client(code), cx);
            }
            Event::Deflated(deflated) => self.handle_deflated(deflated, cx),
        }
    }

    /// Inflates a message and handles it.
    #[cfg(feature = "deflate")]
    fn handle_deflated(&mut self, deflated: Deflated<'_>, cx: &mut Context<'_>) {
        let hub = Arc::clone(self.connection.hub());
        let Some(deflate) = hub.deflate() else {
            return;
        };
        let mut inflater = deflate.take_inflater();
        let inflated = inflater.inflate(&hub.limits().websocket(), deflated);
        match inflated {
            Ok(Event::Text(text)) => {
                self.count_inflated(deflated.payload.len() + text.len());
                self.handle_frame(Inbound::Text(text), cx);
            }
            Ok(Event::Binary(bytes)) => {
                self.count_inflated(deflated.payload.len() + bytes.len());
                self.handle_frame(Inbound::Binary(bytes), cx);
            }
            // Nothing else is ever compressed.
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the client's message cannot be inflated");
                self.begin_close(CloseReason::Protocol(error.close_code()), cx);
            }
        }
        deflate.return_inflater(inflater);
    }

    /// Nobody negotiates what this build does not have.
    #[cfg(not(feature = "deflate"))]
    fn handle_deflated(&mut self, _: Deflated<'_>, _: &mut Context<'_>) {}

    /// A large message counts as several, so that its turn ends.
    #[cfg(feature = "deflate")]
    fn count_inflated(&mut self, bytes: usize) {
        let deliveries = u32::try_from(bytes / INFLATED_BYTES_PER_DELIVERY).unwrap_or(u32::MAX);
        self.work = self.work.saturating_add(deliveries);
    }

    /// Handles the message in a frame; one that cannot be read ends the connection.
    fn handle_frame(&mut self, inbound: Inbound<'_>, cx: &mut Context<'_>) {
        if let Err(error) = self.handle_message(inbound, cx) {
            tracing::debug!(%error, "undecodable message");
            self.begin_close(CloseReason::Undecodable, cx);
        }
    }

    /// Hands a message to the machine and does what it asks for.
    pub(super) fn handle_message(
        &mut self,
        inbound: Inbound<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), DecodeError> {
        let message = codec::decode(self.machine.form().vsn, inbound)?;
        self.machine.handle_message(self.session.router(), message);
        if let Some(reason) = self.machine.take_refusal() {
            self.connection.hub().telemetry().joins_refused.increment(1);
            tracing::debug!(reason, "join refused");
        }
        self.drain_machine(cx);
        Ok(())
    }

    /// After our close frame, waits for the client's, or for the end of the transport. Everything
    /// else that it still sends is read and dropped.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(closing) = &mut self.closing else {
            return false;
        };
        if !closing.awaits_farewell() {
            return false;
        }
        let limits = self.connection.hub().limits().websocket();
        let mut buffer = ReadBuffer::take();
        match self.io.poll_read(cx, buffer.bytes_mut()) {
            Poll::Pending => false,
            Poll::Ready(Ok(0) | Err(_)) => {
                closing.farewell();
                true
            }
            Poll::Ready(Ok(len)) => {
                let bytes = buffer.bytes_mut().get_mut(..len).unwrap_or_default();
                if closing.take_discarded(len) || says_farewell(&mut self.decoder, &limits, bytes) {
                    closing.farewell();
                }
                self.count_message();
                true
            }
        }
    }
}

/// Whether there is a close frame in these bytes.
fn says_farewell(decoder: &mut Decoder, limits: &websocket::Limits, bytes: &mut [u8]) -> bool {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match decoder.decode(limits, rest) {
            Ok(decoded) if matches!(decoded.event, Some(Event::Close(_))) => return true,
            Ok(decoded) if decoded.event.is_some() => at += decoded.consumed,
            Ok(_) => return false,
            // It no longer speaks the protocol; only its end is of interest.
            Err(_) => return false,
        }
    }
    false
}
