//! What a client gets: [`Message`], and what joins and pushes come to in a test.

use std::error::Error;
use std::fmt;

use bennu::Payload;
use bennu_proto::codec::client;
use bennu_proto::reference::Ref;
use serde_json::Value;

use crate::failure::{json, shown};

/// A message that a client got. It is shown as it was on the wire: `[join_ref, ref, topic, event, payload]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Which instance of the channel it belongs to; `None` for broadcasts.
    pub join_ref: Option<String>,
    /// For a reply, the reference of what is answered.
    pub reference: Option<String>,
    /// The topic.
    pub topic: String,
    /// The event: `phx_reply` for a reply.
    pub event: String,
    /// For a reply, its status.
    pub status: Option<String>,
    /// The payload; for a reply, the response.
    pub payload: Payload,
}

impl Message {
    pub(crate) fn new(message: client::Message) -> Self {
        let text = |reference: Option<Ref>| {
            reference
                .map(|reference| String::from_utf8_lossy(&reference.binary_text()).into_owned())
        };
        Self {
            join_ref: text(message.join_ref),
            reference: text(message.reference),
            topic: message.topic,
            event: message.event,
            status: message.status,
            payload: message.payload,
        }
    }

    /// The payload as JSON; `null` for bytes.
    #[must_use]
    pub fn json(&self) -> Value {
        json(&self.payload).unwrap_or_default()
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &Option<String>| Value::from(text.clone());
        write!(
            f,
            "[{},{},{},{},",
            text(&self.join_ref),
            text(&self.reference),
            Value::from(self.topic.as_str()),
            Value::from(self.event.as_str()),
        )?;
        let payload = shown(&self.payload);
        match &self.status {
            Some(status) => write!(
                f,
                "{{\"status\":{},\"response\":{payload}}}]",
                Value::from(status.as_str())
            ),
            None => write!(f, "{payload}]"),
        }
    }
}

/// Names a push of a test, so that its reply can be asserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRef(pub(crate) String);

/// A join was answered with something else than ok.
#[derive(Clone, Debug)]
pub struct JoinRefused {
    pub(crate) topic: String,
    pub(crate) response: Payload,
}

impl JoinRefused {
    /// The response as JSON; `null` for bytes.
    #[must_use]
    pub fn response(&self) -> Value {
        json(&self.response).unwrap_or_default()
    }

    /// The response as it came.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.response
    }
}

impl fmt::Display for JoinRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the join of {} was refused: {}",
            self.topic,
            shown(&self.response)
        )
    }
}

impl Error for JoinRefused {}
