//! [`Broadcast`]: one message for everybody on a topic, and the frames it becomes.
//!
//! Not here: who gets it (the registry) and when (dispatch).

use std::sync::OnceLock;

use bennu_proto::codec::{self, EncodeError, Form, Frame, Framing};
use bennu_proto::message::Outgoing;
use bennu_proto::payload::Payload;
use bennu_proto::topic::Topic;
use bennu_proto::vsn::Vsn;

/// The form that nearly every connection has.
const USUAL: Form = Form {
    vsn: Vsn::V2,
    framing: Framing::WebSocket,
};

/// A message to everybody on a topic.
///
/// Its frame is made once per [`Form`], when the first connection of that form asks for it, and is
/// shared by all of them from then on.
#[derive(Debug)]
pub struct Broadcast {
    topic: Topic,
    event: Box<str>,
    payload: Payload,
    offset: Option<u64>,
    /// The frame of the usual form.
    usual: FrameCell,
    /// The frames of all forms, once somebody has asked for another: a broadcast that waits in queues should
    /// be small.
    others: OnceLock<Box<[FrameCell; Form::COUNT]>>,
}

/// Empty: nobody asked yet. `None`: the form cannot carry it.
type FrameCell = OnceLock<Option<Frame>>;

impl Broadcast {
    /// A broadcast that some form at least can carry. The check is made here, so that a mistake
    /// shows even where nobody listens.
    ///
    /// # Errors
    /// [`EncodeError::NotAnObject`] for a payload that is neither a JSON object nor bytes;
    /// [`EncodeError::FieldTooLong`] for bytes under a topic or an event of more than 255 bytes.
    pub fn new(
        topic: impl Into<Topic>,
        event: impl Into<Box<str>>,
        payload: Payload,
    ) -> Result<Self, EncodeError> {
        let broadcast = Self {
            topic: topic.into(),
            event: event.into(),
            payload,
            offset: None,
            usual: OnceLock::new(),
            others: OnceLock::new(),
        };
        codec::check_payload(&broadcast.outgoing())?;
        Ok(broadcast)
    }

    /// Numbers the broadcast within its topic. Reserved for the replay of what a client missed;
    /// nothing in this crate reads it, and it is on no wire yet.
    #[must_use]
    pub fn with_offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The payload: a JSON object, or bytes.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The number within the topic, if there is one.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The finished frame for connections of a form; `None` where the form cannot carry the
    /// broadcast (bytes for a client of vsn 1.0.0).
    ///
    /// Threads that need the first frame of a form at the same moment may each encode it; they never
    /// wait for one another, and all of them get the same frame.
    #[must_use]
    pub fn frame(&self, form: Form) -> Option<&Frame> {
        self.frame_with(form, |frame| frame)
    }

    /// [`Broadcast::frame`], whose last step is the caller's: for forms that need more than an encoder, such
    /// as a compressor. What `finish` makes of the frame is what everybody of the form gets; so it must be
    /// good for all of them, and depend on nothing but the form.
    ///
    /// A frame for [`Framing::WebSocketDeflate`] is made from the one for [`Framing::WebSocket`], and is the
    /// very same bytes if `finish` leaves it as it is.
    #[must_use]
    pub fn frame_with(&self, form: Form, finish: impl FnOnce(Frame) -> Frame) -> Option<&Frame> {
        let cell = self.cell(form)?;
        if cell.get().is_none() {
            // Whoever came second drops its frame and uses the first.
            let _ = cell.set(self.encode(form).map(finish));
        }
        cell.get()?.as_ref()
    }

    /// What it costs to keep the broadcast in a queue, in bytes: its text, its payload and a fixed
    /// part. Frames are not counted.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        size_of::<Self>() + self.topic.len() + self.event.len() + self.payload.len()
    }

    fn cell(&self, form: Form) -> Option<&FrameCell> {
        if form == USUAL {
            return Some(&self.usual);
        }
        let others = self
            .others
            .get_or_init(|| Box::new([const { OnceLock::new() }; Form::COUNT]));
        others.get(form.index())
    }

    fn encode(&self, form: Form) -> Option<Frame> {
        if form.framing == Framing::WebSocketDeflate {
            let framing = Framing::WebSocket;
            return self.frame(Form { framing, ..form }).cloned();
        }
        codec::encode(form, &self.outgoing()).ok()
    }

    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::Broadcast {
            topic: &self.topic,
            event: &self.event,
            payload: &self.payload,
        }
    }
}
