//! [`Lab`]: a channel that does what it is told.

use std::sync::Arc;
use std::time::Duration;

use bennu::channel::{
    ChannelRef, NotJoined, PushError, ReplyHandle, StopReason, SubscribedBroadcast, TimerRef,
};
use bennu::{Channel, Context, Handle, Joined, Payload, Rejection, Reply, Stop};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::Log;

/// What all channels of a test share.
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) gate: Arc<Semaphore>,
    /// Filled by the event `ref`.
    pub(crate) refs: Mutex<Vec<ChannelRef<Lab>>>,
}

impl World {
    async fn wait(&self) {
        self.gate.acquire().await.unwrap().forget();
    }
}

pub(crate) struct Lab {
    world: Arc<World>,
    topic: String,
    params: Params,
    /// Events handled so far, to see that the state survives.
    count: u32,
    timer: Option<TimerRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// What to do in join: see there.
    how: String,
    response: Option<Value>,
    /// What to do in joined: `push`, `stop`, `panic`.
    joined: String,
    /// What to do in terminate: `push`, `panic`, `wait`.
    terminate: String,
    /// Whether to panic in drop.
    drop: bool,
    /// Something that must be a number.
    #[allow(dead_code, reason = "only whether it fits is of interest")]
    number: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum In {
    Echo(Payload),
    Refuse(Payload),
    Status { status: String },
    Silent,
    Push(Payload),
    PushList,
    Broadcast(Payload),
    BroadcastFrom(Payload),
    LocalBroadcast(Payload),
    BroadcastTo { topic: String, body: Value },
    Ordered,
    Typed { n: u8 },
    Unserializable,
    Wait,
    Log { text: String },
    Later { times: u32 },
    LaterElsewhere,
    Stop { reason: String },
    StopReply { reason: String },
    Panic,
    Tell(Do),
    Ref,
    After { ms: u64 },
    Every { ms: u64 },
    Cancel,
    Subscribe { topic: String },
    Unsubscribe { topic: String },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Out<'a> {
    Pushed(Payload),
    Told(Payload),
    Note {
        text: &'a str,
    },
    Heard {
        topic: &'a str,
        event: &'a str,
        body: Payload,
    },
    Bye,
}

/// A message from the rest of the program.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Do {
    Note(String),
    Log(String),
    Broadcast(String),
    Wait,
    Stop,
    Panic,
}

impl Channel for Lab {
    type Assigns = (Arc<World>, Option<String>);
    type Params = Params;
    type In = In;

    async fn join(cx: &mut Context<'_, Self>, params: Params) -> Result<Joined<Self>, Rejection> {
        let world = Arc::clone(&cx.assigns().0);
        world.log.push(format!("join {}", cx.topic()));
        let (waits, how) = match params.how.strip_prefix("wait ") {
            Some(how) => (true, how),
            None => (false, params.how.as_str()),
        };
        if waits {
            world.wait().await;
        }
        match how {
            "refuse" => return Err(Rejection::new(&params.response)),
            "panic" => panic!("join"),
            "error" => {
                "x".parse::<u32>()?;
            }
            "unserializable" => {
                return Ok(Joined::from(Self::new(cx, world, params)).with_response(&Odd));
            }
            "push" => {
                let errors = [
                    cx.push(&Out::Bye).unwrap_err(),
                    cx.broadcast(&Out::Bye).unwrap_err(),
                    cx.broadcast_from(&Out::Bye).unwrap_err(),
                    cx.local_broadcast(&Out::Bye).unwrap_err(),
                    cx.broadcast_to("lab:2", &Out::Bye).unwrap_err(),
                ];
                assert!(
                    errors
                        .iter()
                        .all(|e| matches!(e, PushError::NotJoined(NotJoined)))
                );
                assert!(cx.reply_later().is_none());
                // By `?` it is a crash, with this text in the log.
                cx.push(&Out::Bye)?;
            }
            "send_self" => {
                cx.send_self(Do::Note("from join".into()))?;
                cx.send_self(Do::Broadcast("from join".into()))?;
            }
            _ => {}
        }
        let response = params.response.clone();
        let joined = Joined::from(Self::new(cx, world, params));
        Ok(match response {
            Some(response) if response == "binary" => {
                joined.with_response(&Payload::binary(&b"\x00\xff"[..]))
            }
            Some(response) => joined.with_response(&response),
            None => joined,
        })
    }

    async fn joined(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop> {
        match self.params.joined.as_str() {
            "push" => {
                cx.push(&Out::Note { text: "joined" })?;
                cx.broadcast(&Out::Note { text: "joined too" })?;
            }
            "wait" => self.world.wait().await,
            "stop" => return Err(Stop::normal()),
            "panic" => panic!("joined"),
            _ => {}
        }
        Ok(())
    }

    async fn handle_in(&mut self, cx: &mut Context<'_, Self>, event: In) -> Result<Reply, Stop> {
        self.count += 1;
        match event {
            In::Echo(payload) => return Ok(Reply::ok(&payload)),
            In::Refuse(payload) => return Ok(Reply::error(&payload)),
            In::Status { status } => {
                return Ok(if status == "weird" {
                    Reply::status("weird", &json!({}))
                } else {
                    Reply::empty()
                });
            }
            In::Silent => {}
            In::Push(payload) => cx.push(&Out::Pushed(payload))?,
            In::PushList => cx.push_raw("list", &Payload::json(&[1])?)?,
            In::Broadcast(payload) => cx.broadcast(&Out::Told(payload))?,
            In::BroadcastFrom(payload) => cx.broadcast_from(&Out::Told(payload))?,
            In::LocalBroadcast(payload) => cx.local_broadcast(&Out::Told(payload))?,
            In::BroadcastTo { topic, body } => {
                cx.broadcast_to(topic, &Out::Told(Payload::json(&body)?))?;
            }
            In::Ordered => {
                for step in 0..3 {
                    cx.push(&Out::Pushed(Payload::json(&json!({ "step": step }))?))?;
                    cx.broadcast(&Out::Told(Payload::json(&json!({ "step": step }))?))?;
                }
                return Ok(Reply::ok(&json!({"step": 3})));
            }
            In::Typed { n } => return Ok(Reply::ok(&json!({ "n": n }))),
            In::Unserializable => return Ok(Reply::ok(&Odd)),
            In::Wait => {
                self.world.log.push(format!("waiting {}", self.topic));
                self.world.wait().await;
                return Ok(Reply::ok(&json!({"waited": true})));
            }
            In::Log { text } => self.world.log.push(text),
            In::Later { times } => {
                let later = cx.reply_later().unwrap();
                for time in 1..=times {
                    later.reply(Reply::ok(&json!({ "time": time })))?;
                }
                later.reply(Reply::none())?;
            }
            In::LaterElsewhere => {
                let later = cx.reply_later().unwrap();
                tokio::spawn(answer(later, Arc::clone(&self.world)));
            }
            In::Stop { reason } => return Err(stop(&reason)),
            In::StopReply { reason } => {
                return Err(stop(&reason).with_reply(Reply::ok(&json!({"bye": true}))));
            }
            In::Panic => panic!("handle_in"),
            In::Tell(message) => cx.send_self(message)?,
            In::Ref => self.world.refs.lock().push(cx.channel_ref()),
            other => return self.listen(cx, other),
        }
        Ok(Reply::none())
    }

    async fn terminate(&mut self, cx: &mut Context<'_, Self>, reason: &StopReason) {
        let Self { topic, count, .. } = self;
        self.world
            .log
            .push(format!("terminate {topic}: {reason} after {count}"));
        match self.params.terminate.as_str() {
            "push" => drop(cx.push(&Out::Bye)),
            "panic" => panic!("terminate"),
            "wait" => {
                self.world.wait().await;
                self.world.log.push(format!("terminated {topic}"));
            }
            _ => {}
        }
    }
}

impl Lab {
    fn new(cx: &Context<'_, Self>, world: Arc<World>, params: Params) -> Self {
        Self {
            world,
            topic: cx.topic().to_string(),
            params,
            count: 0,
            timer: None,
        }
    }

    /// The events that are about timers and further topics.
    fn listen(&mut self, cx: &mut Context<'_, Self>, event: In) -> Result<Reply, Stop> {
        match event {
            In::After { ms } => {
                let note = Do::Note("after".into());
                self.timer = Some(cx.send_after(Duration::from_millis(ms), note)?);
            }
            In::Every { ms } => {
                let note = Do::Note("every".into());
                match cx.send_interval(Duration::from_millis(ms), note) {
                    Ok(timer) => self.timer = Some(timer),
                    Err(error) => return Ok(Reply::error(&error.to_string())),
                }
            }
            In::Cancel => {
                if let Some(timer) = self.timer.take() {
                    cx.cancel_timer(timer)?;
                }
            }
            In::Subscribe { topic } => {
                if let Err(error) = cx.subscribe(topic) {
                    return Ok(Reply::error(&error.to_string()));
                }
                return Ok(Reply::empty());
            }
            In::Unsubscribe { topic } => {
                cx.unsubscribe(&topic);
                return Ok(Reply::empty());
            }
            _ => {}
        }
        Ok(Reply::none())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.world.log.push(format!("drop {}", self.topic));
        assert!(!self.params.drop, "drop");
    }
}

impl Handle<Do> for Lab {
    async fn handle(&mut self, cx: &mut Context<'_, Self>, message: Do) -> Result<(), Stop> {
        assert!(cx.reply_later().is_none(), "there is nothing to reply to");
        match message {
            Do::Note(text) => cx.push(&Out::Note { text: &text })?,
            Do::Log(text) => self.world.log.push(text),
            Do::Broadcast(text) => cx.broadcast(&Out::Note { text: &text })?,
            Do::Wait => {
                self.world.log.push(format!("waiting {}", self.topic));
                self.world.wait().await;
            }
            Do::Stop => return Err(Stop::normal()),
            Do::Panic => panic!("handle"),
        }
        Ok(())
    }
}

impl Handle<SubscribedBroadcast> for Lab {
    async fn handle(
        &mut self,
        cx: &mut Context<'_, Self>,
        broadcast: SubscribedBroadcast,
    ) -> Result<(), Stop> {
        cx.push(&Out::Heard {
            topic: broadcast.topic(),
            event: broadcast.event(),
            body: broadcast.payload().clone(),
        })?;
        Ok(())
    }
}

async fn answer(later: ReplyHandle, world: Arc<World>) {
    world.wait().await;
    later.reply(Reply::ok(&json!({"later": true}))).unwrap();
    world.log.push("answered");
}

fn stop(reason: &str) -> Stop {
    match reason {
        "normal" => Stop::normal(),
        "shutdown" => Stop::shutdown(),
        other => Stop::error(other),
    }
}

/// A value that has no JSON form.
struct Odd;

impl Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("odd"))
    }
}
