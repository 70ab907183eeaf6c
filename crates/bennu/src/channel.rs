//! [`Channel`]: one client's part in one conversation, as a trait on its state. What drives it is in
//! `driver`; the erased form that the driver holds is in `channel/runner.rs`.

pub(crate) mod context;
pub(crate) mod join;
pub(crate) mod reply;
pub(crate) mod runner;
mod stop;
mod timer;

use std::future::Future;
use std::sync::Arc;

use bennu_proto::payload::Payload;
use serde::de::DeserializeOwned;

pub use context::{
    ChannelRef, Context, NotJoined, PushError, ReplyHandle, SendError, SubscribeError,
};
pub use join::{Joined, Rejection};
pub use reply::Reply;
pub use stop::{Stop, StopReason};
pub use timer::{TimerError, TimerRef};

/// One client's part in one conversation.
///
/// A channel is born when [`join`](Self::join) says yes, handles what its client sends one message at
/// a time and in order, and dies: when the client leaves or its connection goes, when a handler
/// returns a [`Stop`], or when one panics. The type that implements this trait is the state.
///
/// ```
/// use bennu::{Channel, Context, Joined, Rejection, Reply, Stop};
/// use serde::{Deserialize, Serialize};
///
/// struct Counter {
///     step: i64,
///     value: i64,
/// }
///
/// #[derive(Deserialize)]
/// struct Params {
///     step: i64,
/// }
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum In {
///     Add,
///     Reset { to: i64 },
/// }
///
/// #[derive(Serialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Out {
///     WasReset { to: i64 },
/// }
///
/// impl Channel for Counter {
///     type Assigns = ();
///     type Params = Params;
///     type In = In;
///
///     async fn join(_: &mut Context<'_, Self>, params: Params) -> Result<Joined<Self>, Rejection> {
///         if params.step == 0 {
///             return Err(Rejection::new(&"a step of zero goes nowhere"));
///         }
///         Ok(Counter { step: params.step, value: 0 }.into())
///     }
///
///     async fn handle_in(&mut self, cx: &mut Context<'_, Self>, event: In) -> Result<Reply, Stop> {
///         match event {
///             In::Add => self.value += self.step,
///             In::Reset { to } => {
///                 self.value = to;
///                 cx.broadcast(&Out::WasReset { to })?;
///             }
///         }
///         Ok(Reply::ok(&self.value))
///     }
/// }
/// ```
///
/// # Failures
/// An error returned by `?` and a panic mean the same: the channel crashes, the client is sent
/// `phx_error` and joins again by itself; nothing else is touched. A refusal that the client should
/// hear is a [`Reply::error`] or, in `join`, a [`Rejection`].
///
/// # Waiting
/// A handler that waits holds up the later messages of its own channel and nothing else; when too
/// many pile up (see [`Limits`](crate::Limits)), the connection is not read until it is done.
///
/// # Cancel safety
/// A waiting handler is dropped, at its `.await`, when its client joins the same topic again, and
/// five seconds after the connection is gone (see [`Limits::terminate_timeout`](crate::Limits)).
pub trait Channel: Send + Sized + 'static {
    /// What `connect` established for the socket, shared by all its channels.
    type Assigns: Send + Sync + 'static;
    /// The parameters of a join. Params that do not fit are answered with
    /// `{"reason":"invalid payload"}`; [`Payload`] takes anything.
    type Params: DeserializeOwned + Send;
    /// The events that the client may send: an enum whose variants are the events, as described in
    /// [`bennu::event`](crate::event), or [`RawEvent`](crate::RawEvent). An unknown event and a payload that does
    /// not fit are answered with an error reply, and the channel lives on.
    type In: DeserializeOwned + Send;

    /// Admits a client to the topic ([`Context::topic`]) or refuses it.
    ///
    /// Nothing is joined yet: [`Context::push`] and the broadcasts are errors here. A message that
    /// the channel sends to itself arrives after the client has been told "ok". Joins of different
    /// topics of one client run at the same time.
    fn join(
        cx: &mut Context<'_, Self>,
        params: Self::Params,
    ) -> impl Future<Output = Result<Joined<Self>, Rejection>> + Send;

    /// Runs once, after the client has been told that it joined and before its first event.
    fn joined(
        &mut self,
        cx: &mut Context<'_, Self>,
    ) -> impl Future<Output = Result<(), Stop>> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// Handles one event of the client.
    fn handle_in(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: Self::In,
    ) -> impl Future<Output = Result<Reply, Stop>> + Send;

    /// Runs last: after a leave, a stop, a crash (also a panic), or the end of the connection.
    ///
    /// It does not run for a join that was refused, and not for a channel that a newer join
    /// replaced; the state is dropped in every case. It has five seconds
    /// ([`Limits::terminate_timeout`](crate::Limits)). What it pushes arrives after `phx_close`,
    /// but before `phx_error`.
    fn terminate(
        &mut self,
        cx: &mut Context<'_, Self>,
        reason: &StopReason,
    ) -> impl Future<Output = ()> + Send {
        let _ = (cx, reason);
        async {}
    }
}

/// Takes broadcasts on their way out to the client, to change or drop them.
///
/// Events that are named here do not go to the client but to [`handle_out`](Self::handle_out), which
/// decides what to push. Register it: `sockets.channel::<Room>("room:*").intercept()`. Every other
/// event keeps the fast path, on which a broadcast is encoded once for everybody.
pub trait Intercept: Channel {
    /// The events to intercept, by exact name.
    const EVENTS: &'static [&'static str];

    /// Handles one broadcast; what the client is to see of it, [`Context::push_raw`] sends.
    fn handle_out(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: &str,
        payload: Payload,
    ) -> impl Future<Output = Result<(), Stop>> + Send;
}

/// Takes messages of type `M` from the rest of the program: from timers, from itself, and from any
/// task that holds a [`ChannelRef`]. A channel may implement it for several types.
pub trait Handle<M>: Channel {
    /// Handles one message.
    fn handle(
        &mut self,
        cx: &mut Context<'_, Self>,
        message: M,
    ) -> impl Future<Output = Result<(), Stop>> + Send;
}

/// A broadcast of a topic that a channel has subscribed to beside its own, as it reaches
/// [`Handle::handle`].
pub type SubscribedBroadcast = Arc<bennu_pubsub::Broadcast>;
