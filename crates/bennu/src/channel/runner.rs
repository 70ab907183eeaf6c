//! Channels without their types: how the driver holds and runs a channel of any type. User code is
//! called from here and nowhere else, and its panics end here.

mod guard;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bennu_proto::event::{self, FromMessageError};
use bennu_proto::payload::Payload;
use bennu_proto::reference::Ref;
use bennu_proto::server::Event;
use bennu_pubsub::{Broadcast, Subscriber};
use tracing::Instrument;

use super::context::Core;
use super::join::Refusal;
use super::reply::Answer;
use super::{Channel, Context, Handle, Intercept, Joined, Rejection, Stop, StopReason};
use crate::connection::{Address, CloseReason, Connection, MailError, Message};
use crate::limits::OverflowPolicy;

pub(crate) use guard::{Contained, catch_panic, contain};

/// A future of the driver: polled at once, and kept aside if it waits.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How channels of one route are made. `A` is the type of the socket's assigns.
pub(crate) trait Factory<A>: Send + Sync {
    fn join(&self, core: Core, assigns: Arc<A>, params: Payload) -> BoxFuture<JoinOutcome>;
    /// What subscribes to the channel's topic.
    fn sink(&self, address: Address) -> Arc<dyn Subscriber>;
}

/// What a join came to.
pub(crate) enum JoinOutcome {
    Joined {
        channel: Box<dyn Running>,
        response: Payload,
    },
    Refused(Payload),
    /// The text is for the log.
    Crashed(String),
}

/// A channel of some type.
pub(crate) trait Running: Send {
    fn core(&self) -> &Core;
    fn core_mut(&mut self) -> &mut Core;
    fn run(self: Box<Self>, work: Work) -> BoxFuture<Finished>;
    /// The state is dropped at the end.
    fn terminate(self: Box<Self>, reason: StopReason) -> BoxFuture<()>;
}

/// Something for a channel to handle.
pub(crate) enum Work {
    /// The join has been answered.
    Joined,
    /// An event of the client.
    Event {
        event: Event,
        payload: Payload,
        reference: Option<Ref>,
    },
    /// A message of the program.
    Message(Message),
}

/// A channel that has handled something.
pub(crate) struct Finished {
    pub(crate) channel: Box<dyn Running>,
    pub(crate) outcome: Outcome,
}

/// What handling came to.
pub(crate) enum Outcome {
    /// Go on.
    Done(Option<Answer>),
    UnknownEvent,
    InvalidPayload,
    Stop {
        reason: StopReason,
        answer: Option<Answer>,
    },
}

/// The factory of the channels of type `C`.
pub(crate) struct ChannelFactory<C: Channel> {
    pub(crate) sink: fn(Address) -> Arc<dyn Subscriber>,
    pub(crate) _channel: std::marker::PhantomData<fn() -> C>,
}

impl<C: Channel> ChannelFactory<C> {
    /// Broadcasts take the fast path to the connection.
    pub(crate) fn plain() -> Self {
        Self {
            sink: |address| address.connection,
            _channel: std::marker::PhantomData,
        }
    }

    /// The events that `C` names take a detour through it.
    pub(crate) fn intercepting() -> Self
    where
        C: Intercept,
    {
        Self {
            sink: |address| {
                Arc::new(InterceptSink::<C> {
                    address,
                    _channel: std::marker::PhantomData,
                })
            },
            _channel: std::marker::PhantomData,
        }
    }
}

impl<C: Channel> Factory<C::Assigns> for ChannelFactory<C> {
    fn join(
        &self,
        core: Core,
        assigns: Arc<C::Assigns>,
        params: Payload,
    ) -> BoxFuture<JoinOutcome> {
        let span = tracing::debug_span!("join", topic = &*core.topic);
        Box::pin(join::<C>(core, assigns, params).instrument(span))
    }

    fn sink(&self, address: Address) -> Arc<dyn Subscriber> {
        (self.sink)(address)
    }
}

async fn join<C: Channel>(
    mut core: Core,
    assigns: Arc<C::Assigns>,
    params: Payload,
) -> JoinOutcome {
    log_join(&core, &params);
    // Errors are looked at in here as well: their text is made by user code.
    let joining = catch_panic(async {
        let params = match event::from_payload::<C::Params>(&params) {
            Ok(params) => params,
            Err(error) => {
                tracing::debug!(topic = &*core.topic, "join refused: its params do not fit");
                // The text may quote the params.
                tracing::trace!(%error);
                return Err(rejected(Rejection::because("invalid payload")));
            }
        };
        let mut cx = Context::new(&mut core, &assigns, None);
        match C::join(&mut cx, params).await {
            Ok(Joined { channel, response }) => Ok((Contained::new(channel), response)),
            Err(rejection) => Err(rejected(rejection)),
        }
    });
    match joining.await {
        Ok(Ok((state, Ok(response)))) => JoinOutcome::Joined {
            channel: Box::new(Runner {
                state,
                core,
                assigns,
            }),
            response,
        },
        Ok(Ok((_, Err(error)))) => JoinOutcome::Crashed(error.to_string()),
        Ok(Err(outcome)) => outcome,
        Err(panic) => JoinOutcome::Crashed(panic),
    }
}

/// What a rejection comes to.
fn rejected(rejection: Rejection) -> JoinOutcome {
    match rejection.0 {
        Refusal::Response(Ok(response)) => JoinOutcome::Refused(response),
        Refusal::Response(Err(error)) => JoinOutcome::Crashed(error.to_string()),
        Refusal::Crash(error) => JoinOutcome::Crashed(error.to_string()),
    }
}

/// A joined channel.
struct Runner<C: Channel> {
    state: Contained<C>,
    core: Core,
    assigns: Arc<C::Assigns>,
}

impl<C: Channel> Running for Runner<C> {
    fn core(&self) -> &Core {
        &self.core
    }

    fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    fn run(self: Box<Self>, work: Work) -> BoxFuture<Finished> {
        Box::pin(async move {
            let mut runner = self;
            let outcome = runner.handle(work).await;
            Finished {
                channel: runner,
                outcome,
            }
        })
    }

    fn terminate(self: Box<Self>, reason: StopReason) -> BoxFuture<()> {
        Box::pin(async move {
            let mut runner = self;
            let Runner {
                state,
                core,
                assigns,
            } = &mut *runner;
            let Some(state) = state.get_mut() else { return };
            let topic = core.topic.clone();
            let mut cx = Context::new(core, assigns, None);
            // The reason goes in, because its drop may be user code.
            let terminating = async move { state.terminate(&mut cx, &reason).await };
            if let Err(panic) = catch_panic(terminating).await {
                tracing::error!(topic = &*topic, panic, "terminate panicked");
            }
        })
    }
}

impl<C: Channel> Runner<C> {
    async fn handle(&mut self, work: Work) -> Outcome {
        let Self {
            state,
            core,
            assigns,
        } = self;
        let Some(state) = state.get_mut() else {
            return Outcome::Done(None);
        };
        match work {
            Work::Event {
                event,
                payload,
                reference,
            } => {
                let started = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
                let name = event.as_text().unwrap_or("(not text)");
                let span = tracing::debug_span!("handle_in", topic = &*core.topic, event = name);
                let mut cx = Context::new(core, assigns, Some(reference));
                let handling = handle_event(state, &mut cx, &event, &payload);
                let outcome = catch_panic(handling).instrument(span).await;
                if let Some(started) = started {
                    log_handled(core, name, &payload, started.elapsed());
                }
                outcome.unwrap_or_else(|panic| panicked(&core.topic, name, &panic))
            }
            Work::Joined => {
                let topic = core.topic.clone();
                let mut cx = Context::new(core, assigns, None);
                let joined = catch_panic(async { state.joined(&mut cx).await }).await;
                end_of_turn(joined, &topic, "joined")
            }
            Work::Message(message) => {
                let topic = core.topic.clone();
                let mut cx = Context::new(core, assigns, None);
                // The mailbox is untyped, but only this channel's handles fill it.
                let content = message
                    .into_content()
                    .map(|it| it.downcast::<Envelope<C>>());
                let Some(Ok(envelope)) = content else {
                    return Outcome::Done(None);
                };
                let handled = catch_panic(async { envelope.0.open(state, &mut cx).await }).await;
                end_of_turn(handled, &topic, "message")
            }
        }
    }
}

async fn handle_event<C: Channel>(
    state: &mut C,
    cx: &mut Context<'_, C>,
    event: &Event,
    payload: &Payload,
) -> Outcome {
    let Some(name) = event.as_text() else {
        return Outcome::UnknownEvent;
    };
    match event::from_message::<C::In>(name, payload) {
        Ok(event) => match state.handle_in(cx, event).await {
            Ok(reply) => Outcome::Done(reply.into_answer()),
            Err(stop) => stopped(stop),
        },
        Err(FromMessageError::UnknownEvent) => {
            tracing::debug!(topic = &**cx.topic(), event = name, "unknown event");
            Outcome::UnknownEvent
        }
        Err(error) => {
            tracing::debug!(topic = &**cx.topic(), event = name, "invalid payload");
            // The text may quote the payload.
            tracing::trace!(%error);
            Outcome::InvalidPayload
        }
    }
}

fn stopped(stop: Stop) -> Outcome {
    Outcome::Stop {
        reason: stop.reason,
        answer: stop.reply.into_answer(),
    }
}

fn end_of_turn(result: Result<Result<(), Stop>, String>, topic: &str, what: &str) -> Outcome {
    match result {
        Ok(Ok(())) => Outcome::Done(None),
        Ok(Err(stop)) => stopped(stop),
        Err(panic) => panicked(topic, what, &panic),
    }
}

fn panicked(topic: &str, event: &str, panic: &str) -> Outcome {
    tracing::error!(topic, event, panic, "a handler panicked, its channel ends");
    Outcome::Stop {
        reason: StopReason::Panic,
        answer: None,
    }
}

fn log_join(core: &Core, params: &Payload) {
    let params = core.connection.hub().param_filter().payload(params);
    tracing::debug!(topic = &*core.topic, %params, "joining");
}

fn log_handled(core: &Core, event: &str, payload: &Payload, duration: Duration) {
    let params = core.connection.hub().param_filter().payload(payload);
    tracing::debug!(topic = &*core.topic, event, %params, ?duration, "handled");
}

/// A message for a channel of type `C`.
struct Envelope<C: Channel>(Box<dyn Open<C>>);

trait Open<C: Channel>: Send {
    fn open<'a>(
        self: Box<Self>,
        state: &'a mut C,
        cx: &'a mut Context<'_, C>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>>;
}

struct Plain<M>(M);

impl<C: Handle<M>, M: Send + 'static> Open<C> for Plain<M> {
    fn open<'a>(
        self: Box<Self>,
        state: &'a mut C,
        cx: &'a mut Context<'_, C>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>> {
        Box::pin(state.handle(cx, self.0))
    }
}

struct Intercepted(Arc<Broadcast>);

impl<C: Intercept> Open<C> for Intercepted {
    fn open<'a>(
        self: Box<Self>,
        state: &'a mut C,
        cx: &'a mut Context<'_, C>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>> {
        Box::pin(async move {
            let broadcast = self.0;
            state
                .handle_out(cx, broadcast.event(), broadcast.payload().clone())
                .await
        })
    }
}

/// Puts a message into the form in which it travels to a channel of type `C`.
pub(crate) fn message<C: Handle<M>, M: Send + 'static>(message: M) -> Message {
    Message::new(Box::new(Envelope::<C>(Box::new(Plain(message)))), 0)
}

/// Takes the broadcasts of a channel that intercepts some of them.
struct InterceptSink<C> {
    address: Address,
    _channel: std::marker::PhantomData<fn(C)>,
}

impl<C: Intercept> Subscriber for InterceptSink<C> {
    fn deliver(&self, token: u64, broadcast: &Arc<Broadcast>) {
        if !C::EVENTS.contains(&broadcast.event()) {
            return self.address.connection.deliver(token, broadcast);
        }
        let envelope = Envelope::<C>(Box::new(Intercepted(Arc::clone(broadcast))));
        let message = Message::new(Box::new(envelope), broadcast.payload().len());
        post_broadcast(&self.address, message);
    }
}

/// Takes the broadcasts of a topic that a channel has subscribed to beside its own.
pub(crate) struct SubscriptionSink<C> {
    address: Address,
    _channel: std::marker::PhantomData<fn(C)>,
}

impl<C> SubscriptionSink<C> {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            _channel: std::marker::PhantomData,
        }
    }
}

impl<C: Handle<Arc<Broadcast>>> Subscriber for SubscriptionSink<C> {
    fn deliver(&self, _: u64, broadcast: &Arc<Broadcast>) {
        let envelope = Envelope::<C>(Box::new(Plain(Arc::clone(broadcast))));
        let message = Message::new(Box::new(envelope), broadcast.payload().len());
        post_broadcast(&self.address, message);
    }
}

/// A broadcast for which the mailbox has no room is a client that does not keep up, like one whose
/// outbound queue is full.
fn post_broadcast(address: &Address, message: Message) {
    let connection: &Connection = &address.connection;
    if connection.post(address.key, message) == Err(MailError::Full) {
        match connection.hub().overflow_policy() {
            OverflowPolicy::Disconnect => connection.close(CloseReason::Overflow),
            OverflowPolicy::DropOldest => connection.hub().telemetry().dropped_mailbox.increment(1),
        }
    }
}
