//! What becomes of a channel: joins, events, leaves and ends, between the machine (which knows the
//! protocol) and the runners (which hold user code).

use std::task::Context;
use std::time::Duration;

use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::server::{Action, ChannelKey};
use bennu_proto::topic::Topic;
use tokio::time::Instant;

use super::slot::{JoiningSlot, Run, Slot, Waiting};
use super::tasks::{Done, Job, Output, Task};
use super::{Driver, deadline_after};
use crate::channel::StopReason;
use crate::channel::context::{Core, encode_reply};
use crate::channel::reply::Answer;
use crate::channel::runner::{Finished, JoinOutcome, Outcome, Running, Work, contain};
use crate::connection::{Address, Class};

impl Driver {
    /// Does what the machine asks for and queues what it sends.
    pub(super) fn drain_machine(&mut self, cx: &mut Context<'_>) {
        loop {
            self.drain_transmits();
            let Some(action) = self.machine.poll_action() else {
                return;
            };
            self.act(action, cx);
        }
    }

    pub(super) fn drain_transmits(&mut self) {
        while let Some(frame) = self.machine.poll_transmit() {
            self.connection.queue(frame.bytes, Class::Control);
        }
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) {
        match action {
            Action::Join {
                key,
                route,
                topic,
                join_ref,
                payload,
            } => {
                self.join(key, route, topic, join_ref, payload, cx);
            }
            Action::Deliver {
                key,
                event,
                payload,
                reference,
            } => {
                let event = Work::Event {
                    event,
                    payload,
                    reference,
                };
                self.wait_and_run(key, Waiting::Work(event), cx);
            }
            Action::Leave { key, reference } => {
                self.wait_and_run(key, Waiting::Leave { reference }, cx);
            }
            Action::Refresh { payload, reference } => self.refresh(payload, reference, cx),
            Action::Discard { key } => self.discard(key),
        }
    }

    fn wait_and_run(&mut self, key: ChannelKey, waiting: Waiting, cx: &mut Context<'_>) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.push(waiting);
            self.run_slot(key, cx);
        }
    }

    fn join(
        &mut self,
        key: ChannelKey,
        route: usize,
        topic: Topic,
        join_ref: Option<Ref>,
        params: Payload,
        cx: &mut Context<'_>,
    ) {
        let pattern = self.session.router().pattern(route);
        let core = Core {
            connection: self.connection.clone(),
            key,
            wildcard_at: pattern.map_or(0, bennu_proto::topic::TopicPattern::prefix_len),
            topic: topic.clone(),
            join_ref: join_ref.clone(),
            answered: false,
            registration: None,
            subscriptions: Vec::new(),
        };
        let inbound_bytes = params.len();
        let Some(future) = self.session.join(route, core, params) else {
            return self.machine.join_crashed(key);
        };
        let joining = JoiningSlot {
            topic,
            join_ref,
            inbound_bytes,
        };
        let slot = Slot::new(key, Run::Joining(Box::new(joining)));
        self.slots.insert(slot);
        if let Some(done) = self.begin(Task::new(key, Job::Join { route, future }), cx) {
            self.task_done(done, cx);
        }
    }

    /// A newer join took the topic: the channel ends without its `terminate`.
    fn discard(&mut self, key: ChannelKey) {
        self.cancel_timers(key);
        if let Some(slot) = self.slots.remove(key) {
            tracing::debug!("duplicate join: the older channel ends");
            self.drop_slot(slot);
        }
    }

    /// Drops a channel, whatever it is doing, with all that waits for it.
    pub(super) fn drop_slot(&mut self, slot: Slot) {
        if self.tasks.remove(slot.key) {
            self.connection
                .hub()
                .telemetry()
                .dropped_handlers
                .increment(1);
        }
        self.drop_backlog(slot);
    }

    fn drop_backlog(&mut self, mut slot: Slot) {
        while let Some(waiting) = slot.pop() {
            self.waiting_done(&waiting);
        }
    }

    /// Gives back the place of something that has waited for a channel.
    fn waiting_done(&self, waiting: &Waiting) {
        if let Waiting::Work(Work::Message(message)) = waiting {
            self.connection.mail_done(1, message.bytes());
        }
    }

    /// A task that waited has ended: its channel goes on with what waits for it.
    pub(super) fn task_done(&mut self, done: Done, cx: &mut Context<'_>) {
        let key = done.key;
        self.task_output(done, cx);
        self.run_slot(key, cx);
    }

    fn task_output(&mut self, done: Done, cx: &mut Context<'_>) {
        let Done {
            key,
            started,
            output,
        } = done;
        match output {
            Output::Joined { route, outcome } => {
                let duration = started.elapsed();
                self.joined(key, route, outcome, duration, cx);
            }
            Output::Handled {
                reference,
                is_event,
                finished,
            } => {
                if is_event {
                    let telemetry = self.connection.hub().telemetry();
                    telemetry.handle_in_duration.record(started.elapsed());
                }
                self.handled(key, reference.as_ref(), is_event, finished, cx);
            }
            Output::Refreshed {
                reference,
                refreshed,
            } => self.refreshed(reference.as_ref(), refreshed),
            Output::Terminated { crash } => self.terminated(key, crash, cx),
        }
    }

    fn joined(
        &mut self,
        key: ChannelKey,
        route: usize,
        outcome: JoinOutcome,
        duration: Duration,
        cx: &mut Context<'_>,
    ) {
        let telemetry = self.connection.hub().telemetry();
        telemetry.join_duration.record(duration);
        match outcome {
            JoinOutcome::Joined { channel, response } => {
                if let Err(error) = self.machine.join_ok(key, &response) {
                    return self.join_crashed(key, &error.to_string(), cx);
                }
                telemetry.joins_ok.increment(1);
                self.admit(key, route, channel, cx);
            }
            JoinOutcome::Refused(response) => match self.machine.join_refused(key, &response) {
                Ok(()) => {
                    telemetry.joins_refused.increment(1);
                    tracing::debug!(?duration, "join refused");
                    self.unjoined(key, cx);
                }
                Err(error) => self.join_crashed(key, &error.to_string(), cx),
            },
            JoinOutcome::Crashed(error) => self.join_crashed(key, &error, cx),
        }
    }

    /// The reply is queued ahead of the topic's broadcasts: first the frame, then the subscription,
    /// and nothing is written before both are made.
    fn admit(
        &mut self,
        key: ChannelKey,
        route: usize,
        mut channel: Box<dyn Running>,
        cx: &mut Context<'_>,
    ) {
        self.drain_transmits();
        let address = Address {
            connection: self.connection.clone(),
            key,
        };
        let core = channel.core_mut();
        core.answered = true;
        if let Some(sink) = self.session.sink(route, address) {
            let pubsub = self.connection.hub().pubsub();
            core.registration = Some(pubsub.register(&core.topic, sink, key.0));
        }
        tracing::debug!(topic = &*core.topic, "joined");
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.run = Run::Taken;
        self.handle(key, channel, Work::Joined, cx);
    }

    fn join_crashed(&mut self, key: ChannelKey, error: &str, cx: &mut Context<'_>) {
        if let Some(Run::Joining(joining)) = self.slots.get_mut(key).map(|slot| &slot.run) {
            tracing::error!(topic = &*joining.topic, error, "join crashed");
        }
        self.connection.hub().telemetry().joins_crashed.increment(1);
        self.machine.join_crashed(key);
        self.unjoined(key, cx);
    }

    /// Answers what waited for a join that failed.
    fn unjoined(&mut self, key: ChannelKey, cx: &mut Context<'_>) {
        self.cancel_timers(key);
        if let Some(mut slot) = self.slots.remove(key) {
            if let Run::Joining(joining) = std::mem::replace(&mut slot.run, Run::Taken) {
                while let Some(waiting) = slot.pop() {
                    self.answer_unjoined(&joining, waiting);
                }
            }
            self.drop_backlog(slot);
        }
        self.drain_machine(cx);
    }

    fn answer_unjoined(&mut self, joining: &JoiningSlot, waiting: Waiting) {
        match waiting {
            Waiting::Work(Work::Event { reference, .. }) => {
                self.machine
                    .undeliverable(&joining.topic, reference.as_ref());
            }
            Waiting::Leave { reference } => {
                let join_ref = joining.join_ref.as_ref();
                self.machine
                    .left_unjoined(&joining.topic, join_ref, reference.as_ref());
            }
            Waiting::Work(_) => self.waiting_done(&waiting),
        }
    }

    /// Lets an idle channel handle what waits for it, as long as the turn lasts.
    fn run_slot(&mut self, key: ChannelKey, cx: &mut Context<'_>) {
        while self.turn_goes_on() && self.run_one(key, cx) {}
    }

    /// Lets an idle channel handle one of the things that wait for it. False if it has none, or is
    /// not idle.
    fn run_one(&mut self, key: ChannelKey, cx: &mut Context<'_>) -> bool {
        let Some(slot) = self.slots.get_mut(key) else {
            return false;
        };
        if self.closing.is_some() || !matches!(slot.run, Run::Idle(_)) {
            return false;
        }
        let Some(waiting) = slot.pop() else {
            return false;
        };
        let Run::Idle(channel) = std::mem::replace(&mut slot.run, Run::Taken) else {
            return false;
        };
        self.count_message();
        self.waiting_done(&waiting);
        match waiting {
            Waiting::Work(work) => self.handle(key, channel, work, cx),
            Waiting::Leave { reference } => self.leave(key, channel, reference.as_ref(), cx),
        }
        true
    }

    /// Lets the channels handle what waits for them, one thing of each in turn.
    pub(super) fn poll_runnable(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while self.turn_goes_on() && self.closing.is_none() {
            let Some(key) = self.slots.next_runnable(self.last_run) else {
                break;
            };
            self.last_run = key;
            progress |= self.run_one(key, cx);
        }
        progress
    }

    /// Starts handling; if it is done at once, so is this.
    fn handle(
        &mut self,
        key: ChannelKey,
        channel: Box<dyn Running>,
        work: Work,
        cx: &mut Context<'_>,
    ) {
        let (reference, inbound_bytes) = match &work {
            Work::Event {
                reference, payload, ..
            } => (Some(reference.clone()), payload.len()),
            Work::Joined | Work::Message(_) => (None, 0),
        };
        let is_event = reference.is_some();
        let job = Job::Handle {
            reference: reference.flatten(),
            is_event,
            future: channel.run(work),
        };
        match self.begin(Task::new(key, job), cx) {
            Some(done) => self.task_output(done, cx),
            None => {
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.run = Run::Busy { inbound_bytes };
                }
            }
        }
    }

    /// A channel has handled something: it is answered, and goes on or ends.
    fn handled(
        &mut self,
        key: ChannelKey,
        reference: Option<&Ref>,
        is_event: bool,
        finished: Finished,
        cx: &mut Context<'_>,
    ) {
        let Finished { channel, outcome } = finished;
        if self.slots.get_mut(key).is_none() {
            return;
        }
        if is_event {
            self.count_outcome(&outcome);
        }
        let core = channel.core();
        let (answer, stop) = match outcome {
            Outcome::Done(answer) => (answer, None),
            Outcome::UnknownEvent => (Some(refusal("unknown event")), None),
            Outcome::InvalidPayload => (Some(refusal("invalid payload")), None),
            // Only an event can be answered.
            Outcome::Stop { reason, answer } => (answer.filter(|_| is_event), Some(reason)),
        };
        let stop = match answer.map(|answer| self.answer(core, reference, answer)) {
            Some(Err(crash)) => Some(crash),
            Some(Ok(())) | None => stop,
        };
        match stop {
            Some(reason) => self.end_channel(key, channel, reason, cx),
            // The connection ended while the handler was waiting.
            None if self.closing.is_some() => self.terminate_with_connection(key, channel, cx),
            None => {
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.run = Run::Idle(channel);
                }
            }
        }
    }

    fn count_outcome(&self, outcome: &Outcome) {
        let telemetry = self.connection.hub().telemetry();
        let counter = match outcome {
            Outcome::Done(_) => &telemetry.handled_ok,
            Outcome::UnknownEvent => &telemetry.handled_unknown,
            Outcome::InvalidPayload => &telemetry.handled_invalid,
            Outcome::Stop { reason, .. } if reason.is_crash() => &telemetry.handled_crash,
            Outcome::Stop { .. } => &telemetry.handled_stop,
        };
        counter.increment(1);
    }

    /// Sends a reply. One that cannot be sent is a crash of the channel that made it.
    fn answer(
        &self,
        core: &Core,
        reference: Option<&Ref>,
        answer: Answer,
    ) -> Result<(), StopReason> {
        let refs = (core.join_ref.as_ref(), reference);
        match encode_reply(&self.connection, &core.topic, refs, answer) {
            Ok(frame) => {
                self.connection.queue(frame, Class::Control);
                Ok(())
            }
            Err(error) => Err(StopReason::Error(std::sync::Arc::new(error))),
        }
    }

    /// The client's leave has come up: answer, close, and let the channel say its last words.
    fn leave(
        &mut self,
        key: ChannelKey,
        mut channel: Box<dyn Running>,
        reference: Option<&Ref>,
        cx: &mut Context<'_>,
    ) {
        self.unsubscribe(key, channel.core_mut());
        self.machine
            .left(key, channel.core().join_ref.as_ref(), reference);
        self.drain_transmits();
        self.terminate(key, channel, StopReason::Left, false, cx);
    }

    /// A handler ended the channel, or crashed.
    fn end_channel(
        &mut self,
        key: ChannelKey,
        mut channel: Box<dyn Running>,
        reason: StopReason,
        cx: &mut Context<'_>,
    ) {
        self.unsubscribe(key, channel.core_mut());
        let crash = reason.is_crash();
        if crash {
            let topic = &*channel.core().topic;
            let text = contain(|| reason.to_string()).unwrap_or_default();
            tracing::error!(topic, reason = text, "channel crashed");
            self.connection
                .hub()
                .telemetry()
                .channel_crashes
                .increment(1);
        } else {
            self.machine.closed(key);
            self.drain_transmits();
        }
        self.terminate(key, channel, reason, crash, cx);
    }

    /// The channel hears nothing more: no broadcast, no timer, no message.
    fn unsubscribe(&mut self, key: ChannelKey, core: &mut Core) {
        core.registration = None;
        core.subscriptions = Vec::new();
        self.cancel_timers(key);
        if let Some(slot) = self.slots.remove(key) {
            self.drop_backlog(slot);
        }
    }

    fn terminate(
        &mut self,
        key: ChannelKey,
        channel: Box<dyn Running>,
        reason: StopReason,
        crash: bool,
        cx: &mut Context<'_>,
    ) {
        let future = channel.terminate(reason);
        match self.begin(Task::new(key, Job::Terminate { crash, future }), cx) {
            Some(_) => self.terminated(key, crash, cx),
            None => self.tasks.set_deadline(key, self.terminate_deadline()),
        }
    }

    /// `terminate` has run, or its time was up.
    pub(super) fn terminated(&mut self, key: ChannelKey, crash: bool, cx: &mut Context<'_>) {
        if crash {
            self.machine.errored(key);
            self.drain_machine(cx);
        }
    }

    fn terminate_deadline(&self) -> Instant {
        let timeout = self.connection.hub().limits().terminate_timeout;
        deadline_after(Instant::now(), timeout)
    }

    /// The connection is ending: every channel does too. Handlers that wait get some time.
    pub(super) fn end_channels(&mut self, cx: &mut Context<'_>) {
        self.drop_refresh();
        let deadline = self.terminate_deadline();
        for key in self.slots.keys() {
            self.cancel_timers(key);
            let Some(slot) = self.slots.get_mut(key) else {
                continue;
            };
            match std::mem::replace(&mut slot.run, Run::Taken) {
                Run::Idle(channel) => self.terminate_with_connection(key, channel, cx),
                run @ Run::Busy { .. } => {
                    slot.run = run;
                    self.tasks.set_deadline(key, deadline);
                }
                // A channel that is being handled further up is ended there.
                Run::Taken => {}
                run @ Run::Joining(_) => {
                    slot.run = run;
                    if let Some(slot) = self.slots.remove(key) {
                        self.drop_slot(slot);
                    }
                }
            }
        }
    }

    fn terminate_with_connection(
        &mut self,
        key: ChannelKey,
        mut channel: Box<dyn Running>,
        cx: &mut Context<'_>,
    ) {
        let Some(reason) = self.closing.as_ref().map(|closing| closing.reason()) else {
            return;
        };
        self.unsubscribe(key, channel.core_mut());
        self.terminate(key, channel, reason.stop_reason(), false, cx);
    }
}

fn refusal(reason: &'static str) -> Answer {
    Answer {
        status: "error",
        response: Payload::json(&serde_json::json!({ "reason": reason })),
    }
}
