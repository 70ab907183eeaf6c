//! What becomes of a channel: joins, events, leaves and ends, between the machine (which knows the
//! protocol) and the runners (which hold user code).

use std::task::Context;
use std::time::Duration;

use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::server::{Action, ChannelKey};
use bennu_proto::topic::Topic;
use tokio::time::Instant;

use super::Driver;
use super::slot::{JoiningSlot, Run, Slot, Waiting};
use super::tasks::{Done, Job, Output, Task};
use crate::channel::StopReason;
use crate::channel::context::{Core, encode_reply};
use crate::channel::reply::Answer;
use crate::channel::runner::{Contained, Finished, JoinOutcome, Outcome, Running, Work};
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

    fn drain_transmits(&mut self) {
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
        let Some(future) = self.session.join(route, core, params) else {
            return self.machine.join_crashed(key);
        };
        self.slots.insert(Slot::new(key, Run::Taken));
        let run = match self.begin(Task::new(key, Job::Join { route, future }), cx) {
            Ok(done) => return self.task_done(done, cx),
            Err(abort) => Run::Joining(Box::new(JoiningSlot {
                abort,
                topic,
                join_ref,
            })),
        };
        if let Some(slot) = self.slots.get_mut(key) {
            slot.run = run;
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
    pub(super) fn drop_slot(&mut self, mut slot: Slot) {
        if let Run::Joining(_) | Run::Busy(_) = &slot.run {
            self.connection
                .hub()
                .telemetry()
                .dropped_handlers
                .increment(1);
        }
        match std::mem::replace(&mut slot.run, Run::Taken) {
            Run::Joining(joining) => joining.abort.abort(),
            Run::Busy(abort) => abort.abort(),
            Run::Idle(channel) => Contained::new(channel).discard(),
            Run::Taken => {}
        }
        self.drop_backlog(slot);
    }

    fn drop_backlog(&mut self, mut slot: Slot) {
        while let Some(waiting) = slot.pop() {
            self.connection.mail_done(usize::from(waiting.is_mail()));
            Contained::new(waiting).discard();
        }
    }

    /// A task has ended.
    pub(super) fn task_done(&mut self, done: Done, cx: &mut Context<'_>) {
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
                self.run_slot(key, cx);
            }
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
                    Contained::new(channel).discard();
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
        tracing::debug!(topic = %core.topic, "joined");
        let Some(slot) = self.slots.get_mut(key) else {
            return Contained::new(channel).discard();
        };
        slot.run = Run::Taken;
        self.handle(key, channel, Work::Joined, None, cx);
        self.run_slot(key, cx);
    }

    fn join_crashed(&mut self, key: ChannelKey, error: &str, cx: &mut Context<'_>) {
        tracing::error!(error, "join crashed");
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
            Waiting::Work(_) => {
                self.connection.mail_done(usize::from(waiting.is_mail()));
                Contained::new(waiting).discard();
            }
        }
    }

    /// Lets an idle channel handle what waits for it, as long as the turn lasts.
    pub(super) fn run_slot(&mut self, key: ChannelKey, cx: &mut Context<'_>) {
        while self.turn_goes_on() && self.closing.is_none() {
            let Some(slot) = self.slots.get_mut(key) else {
                return;
            };
            if !matches!(slot.run, Run::Idle(_)) {
                return;
            }
            let Some(waiting) = slot.pop() else { return };
            let Run::Idle(channel) = std::mem::replace(&mut slot.run, Run::Taken) else {
                return;
            };
            self.count_message();
            match waiting {
                Waiting::Work(Work::Event {
                    event,
                    payload,
                    reference,
                }) => {
                    let answer_to = reference.clone();
                    let work = Work::Event {
                        event,
                        payload,
                        reference,
                    };
                    self.handle(key, channel, work, answer_to, cx);
                }
                Waiting::Work(work) => {
                    let is_mail = matches!(work, Work::Message(_));
                    self.handle(key, channel, work, None, cx);
                    self.connection.mail_done(usize::from(is_mail));
                }
                Waiting::Leave { reference } => self.leave(key, channel, reference.as_ref(), cx),
            }
        }
    }

    /// Goes on with channels that were left with work at the end of a turn.
    pub(super) fn poll_runnable(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if self.closing.is_some() {
            return progress;
        }
        let next = |driver: &Self| {
            driver
                .slots
                .iter()
                .find(|slot| slot.is_runnable())
                .map(|slot| slot.key)
        };
        while self.turn_goes_on() {
            let Some(key) = next(self) else { break };
            self.run_slot(key, cx);
            progress = true;
        }
        progress
    }

    /// Starts handling; if it is done at once, so is this.
    fn handle(
        &mut self,
        key: ChannelKey,
        channel: Box<dyn Running>,
        work: Work,
        reference: Option<Ref>,
        cx: &mut Context<'_>,
    ) {
        let is_event = matches!(work, Work::Event { .. });
        let job = Job::Handle {
            reference,
            is_event,
            future: channel.run(work),
        };
        match self.begin(Task::new(key, job), cx) {
            Ok(Done {
                started,
                output:
                    Output::Handled {
                        reference,
                        is_event,
                        finished,
                    },
                ..
            }) => {
                if is_event {
                    let telemetry = self.connection.hub().telemetry();
                    telemetry.handle_in_duration.record(started.elapsed());
                }
                self.handled(key, reference.as_ref(), is_event, finished, cx);
            }
            Ok(_) => {}
            Err(abort) => {
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.run = Run::Busy(abort);
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
            return Contained::new(channel).discard();
        }
        if is_event {
            self.count_outcome(&outcome);
        }
        let core = channel.core();
        let (answer, stop) = match outcome {
            Outcome::Done(answer) => (answer, None),
            Outcome::UnknownEvent => {
                tracing::warn!(topic = %core.topic, "unknown event");
                (Some(refusal("unknown event")), None)
            }
            Outcome::InvalidPayload(error) => {
                tracing::warn!(topic = %core.topic, error, "invalid payload");
                (Some(refusal("invalid payload")), None)
            }
            Outcome::Stop { reason, answer } => (answer, Some(reason)),
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
            Outcome::InvalidPayload(_) => &telemetry.handled_invalid,
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
            let topic = &channel.core().topic;
            tracing::error!(%topic, %reason, "channel crashed");
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
            Ok(_) => self.terminated(key, crash, cx),
            Err(abort) => {
                let timeout = self.connection.hub().limits().terminate_timeout;
                self.tasks
                    .set_deadline(Instant::now() + timeout, key, crash, abort);
            }
        }
    }

    /// `terminate` has run, or its time was up.
    pub(super) fn terminated(&mut self, key: ChannelKey, crash: bool, cx: &mut Context<'_>) {
        if crash {
            self.machine.errored(key);
            self.drain_machine(cx);
        }
    }

    /// The connection is ending: every channel does too. Handlers that wait get some time.
    pub(super) fn end_channels(&mut self, cx: &mut Context<'_>) {
        let deadline = Instant::now() + self.connection.hub().limits().terminate_timeout;
        for key in self.slots.keys() {
            self.cancel_timers(key);
            let Some(slot) = self.slots.get_mut(key) else {
                continue;
            };
            match std::mem::replace(&mut slot.run, Run::Taken) {
                Run::Idle(channel) => self.terminate_with_connection(key, channel, cx),
                Run::Busy(abort) => {
                    self.tasks.set_deadline(deadline, key, false, abort.clone());
                    slot.run = Run::Busy(abort);
                }
                run @ (Run::Joining(_) | Run::Taken) => {
                    slot.run = run;
                    self.discard(key);
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
            return Contained::new(channel).discard();
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
