//! `intercept:*`: a channel that changes and drops broadcasts on their way to its client.

use std::collections::VecDeque;

use bennu::{Channel, Context, Handle, Intercept, Joined, Payload, Rejection, Reply, Stop};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::room::{self, AfterJoin};
use crate::socket::Visitor;

/// How many ids each client remembers.
const SEEN_MAX: usize = 1000;

/// One client in one room.
#[derive(Debug, Default)]
pub struct Intercepting {
    /// The ids that were pushed last, oldest first, as JSON text.
    seen: VecDeque<Box<str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum In {
    /// Broadcasts its payload.
    Shout(Payload),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Out {
    Shout(Payload),
}

impl Channel for Intercepting {
    type Assigns = Visitor;
    type Params = Payload;
    type In = In;

    async fn join(cx: &mut Context<'_, Self>, params: Payload) -> Result<Joined<Self>, Rejection> {
        room::admit(cx, &params)
    }

    async fn handle_in(&mut self, cx: &mut Context<'_, Self>, event: In) -> Result<Reply, Stop> {
        let In::Shout(payload) = event;
        cx.broadcast(&Out::Shout(payload))?;
        Ok(Reply::none())
    }
}

impl Intercept for Intercepting {
    const EVENTS: &'static [&'static str] = &["shout"];

    async fn handle_out(
        &mut self,
        cx: &mut Context<'_, Self>,
        event: &str,
        payload: Payload,
    ) -> Result<(), Stop> {
        let Ok(mut object) = payload.decode::<Map<String, Value>>() else {
            cx.push_raw(event, &payload)?;
            return Ok(());
        };
        if let Some(id) = object.get("id")
            && !self.is_new(id)
        {
            return Ok(());
        }
        let user_id = cx.assigns().user_id.clone();
        object.insert("to".to_owned(), user_id.into());
        cx.push_raw(event, &Payload::json(&object)?)?;
        Ok(())
    }
}

impl Intercepting {
    /// Whether this id is not among the last ones; it is from now on.
    fn is_new(&mut self, id: &Value) -> bool {
        let id = id.to_string().into_boxed_str();
        if self.seen.contains(&id) {
            return false;
        }
        if self.seen.len() == SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(id);
        true
    }
}

impl Handle<AfterJoin> for Intercepting {
    async fn handle(&mut self, cx: &mut Context<'_, Self>, _: AfterJoin) -> Result<(), Stop> {
        room::push_after_join(cx)
    }
}
