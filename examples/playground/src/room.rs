//! `room:*`: a channel with an event for every behaviour.

use std::time::Duration;

use bennu::channel::ReplyHandle;
use bennu::{Channel, Context, Handle, Joined, Payload, Rejection, Reply, Stop};
use serde::{Deserialize, Serialize};

use crate::socket::Visitor;

/// How many `later` may be open at once.
const LATER_MAX: usize = 100;
/// How many messages one `tick` may ask for.
const TICKS_MAX: u32 = 10_000;
/// How long the answer to `big` may be.
const BIG_BYTES_MAX: usize = 1_000_000;

/// One client in one room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    count: u64,
    later_open: usize,
}

/// What a client may say when it joins; a payload that is no object says nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct JoinParams {
    reply: Option<Payload>,
    after_join: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum In {
    Echo(Payload),
    EchoError(Payload),
    Ack,
    Silent,
    PushMe(Payload),
    Shout(Payload),
    ShoutAck(Payload),
    Whisper(Payload),
    Local(Payload),
    Slow { ms: u64 },
    Later { ms: u64 },
    Tick { ms: u64, n: u32 },
    Count,
    Whoami,
    Big { bytes: usize },
    Stop { reason: StopReason },
    StopReply,
    Crash,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StopReason {
    Normal,
    Shutdown,
    Error,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Out<'a> {
    AfterJoin { topic: &'a str },
    Pushed(Payload),
    Shout(Payload),
    Whisper(Payload),
    Tick { n: u32 },
}

#[derive(Serialize)]
struct Waited {
    ms: u64,
}

#[derive(Serialize)]
struct Reason<'a> {
    reason: &'a str,
}

/// Sent to itself inside join, to push once joined.
pub(crate) struct AfterJoin;

/// One beat of a `tick`.
pub(crate) struct Beat {
    ms: u64,
    n: u32,
    of: u32,
}

/// A `later` whose time has come.
pub(crate) struct LaterDue {
    ms: u64,
    reply: ReplyHandle,
}

impl Channel for Room {
    type Assigns = Visitor;
    type Params = Payload;
    type In = In;

    async fn join(cx: &mut Context<'_, Self>, params: Payload) -> Result<Joined<Self>, Rejection> {
        match cx.wildcard() {
            "denied" => return Err(Rejection::unauthorized()),
            #[allow(clippy::panic, reason = "this room shows what a panic in join does")]
            "crash" => panic!("a room that cannot be joined"),
            _ => {}
        }
        admit(cx, &params)
    }

    async fn handle_in(&mut self, cx: &mut Context<'_, Self>, event: In) -> Result<Reply, Stop> {
        Ok(match event {
            In::Echo(payload) => Reply::ok(&payload),
            In::EchoError(payload) => Reply::error(&payload),
            In::Ack => Reply::empty(),
            In::Silent => Reply::none(),
            In::PushMe(payload) => {
                cx.push(&Out::Pushed(payload))?;
                Reply::none()
            }
            In::Shout(payload) => {
                cx.broadcast(&Out::Shout(payload))?;
                Reply::none()
            }
            In::ShoutAck(payload) => {
                cx.broadcast(&Out::Shout(payload))?;
                Reply::empty()
            }
            In::Whisper(payload) => {
                cx.broadcast_from(&Out::Whisper(payload))?;
                Reply::none()
            }
            In::Local(payload) => {
                cx.local_broadcast(&Out::Shout(payload))?;
                Reply::none()
            }
            In::Slow { ms } => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Reply::ok(&Waited { ms })
            }
            In::Later { ms } => self.later(cx, ms)?,
            In::Tick { ms, n } => tick(cx, ms, n)?,
            In::Count => {
                self.count += 1;
                Reply::ok(&serde_json::json!({ "count": self.count }))
            }
            In::Whoami => whoami(cx),
            In::Big { bytes } if bytes > BIG_BYTES_MAX => {
                Reply::error(&Reason { reason: "too big" })
            }
            In::Big { bytes } => Reply::ok(&serde_json::json!({ "data": "x".repeat(bytes) })),
            In::Stop {
                reason: StopReason::Normal,
            } => return Err(Stop::normal()),
            In::Stop {
                reason: StopReason::Shutdown,
            } => return Err(Stop::shutdown()),
            In::Stop {
                reason: StopReason::Error,
            } => return Err(Stop::error("asked to")),
            In::StopReply => {
                let bye = Reply::ok(&serde_json::json!({ "bye": true }));
                return Err(Stop::normal().with_reply(bye));
            }
            #[allow(
                clippy::panic,
                reason = "this event shows what a panic in a handler does"
            )]
            In::Crash => panic!("asked to crash"),
        })
    }
}

/// Joins with what the params ask for; the same for every kind of room.
pub(crate) fn admit<C>(cx: &Context<'_, C>, params: &Payload) -> Result<Joined<C>, Rejection>
where
    C: Channel + Default + Handle<AfterJoin>,
{
    let params: JoinParams = params.decode().unwrap_or_default();
    if params.after_join {
        cx.send_self(AfterJoin)?;
    }
    let joined = Joined::from(C::default());
    Ok(match params.reply.filter(Payload::is_object) {
        Some(reply) => joined.with_response(&reply),
        None => joined,
    })
}

/// Pushes what `after_join` asks for.
pub(crate) fn push_after_join<C: Channel>(cx: &Context<'_, C>) -> Result<(), Stop> {
    cx.push(&Out::AfterJoin { topic: cx.topic() })?;
    Ok(())
}

fn whoami(cx: &Context<'_, Room>) -> Reply {
    let Visitor { user_id, node } = cx.assigns();
    Reply::ok(&serde_json::json!({ "user_id": user_id, "topic": cx.topic(), "node": node }))
}

fn tick(cx: &Context<'_, Room>, ms: u64, n: u32) -> Result<Reply, Stop> {
    if n > TICKS_MAX {
        return Ok(Reply::error(&Reason { reason: "too many" }));
    }
    if n > 0 {
        cx.send_after(Duration::from_millis(ms), Beat { ms, n: 1, of: n })?;
    }
    Ok(Reply::empty())
}

impl Room {
    fn later(&mut self, cx: &Context<'_, Self>, ms: u64) -> Result<Reply, Stop> {
        let Some(reply) = cx.reply_later() else {
            return Ok(Reply::none());
        };
        if self.later_open >= LATER_MAX {
            return Ok(Reply::error(&Reason { reason: "too many" }));
        }
        cx.send_after(Duration::from_millis(ms), LaterDue { ms, reply })?;
        self.later_open += 1;
        Ok(Reply::none())
    }
}

impl Handle<AfterJoin> for Room {
    async fn handle(&mut self, cx: &mut Context<'_, Self>, _: AfterJoin) -> Result<(), Stop> {
        push_after_join(cx)
    }
}

impl Handle<Beat> for Room {
    async fn handle(&mut self, cx: &mut Context<'_, Self>, beat: Beat) -> Result<(), Stop> {
        let Beat { ms, n, of } = beat;
        cx.push(&Out::Tick { n })?;
        if n < of {
            cx.send_after(Duration::from_millis(ms), Beat { ms, n: n + 1, of })?;
        }
        Ok(())
    }
}

impl Handle<LaterDue> for Room {
    async fn handle(&mut self, _: &mut Context<'_, Self>, due: LaterDue) -> Result<(), Stop> {
        self.later_open -= 1;
        due.reply.reply(Reply::ok(&Waited { ms: due.ms }))?;
        Ok(())
    }
}
