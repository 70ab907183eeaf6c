//! [`RawEvent`]: any event, for channels whose event names are data.

use std::fmt;

use serde::de::{Deserialize, Deserializer, EnumAccess, VariantAccess, Visitor};

use crate::payload::Payload;

/// The name under which [`RawEvent`] asks for an enum: our deserializer offers every event under it.
const RAW_EVENT_TOKEN: &str = "$bennu::RawEvent";

/// Any event with its payload, not taken apart. Use it as the type of incoming events where names
/// are data; nothing is an unknown event then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent {
    /// The event.
    pub event: String,
    /// The payload.
    pub payload: Payload,
}

impl<'de> Deserialize<'de> for RawEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;

        impl<'de> Visitor<'de> for RawVisitor {
            type Value = RawEvent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<RawEvent, A::Error> {
                let (event, variant) = data.variant::<String>()?;
                let payload = variant.newtype_variant()?;
                Ok(RawEvent { event, payload })
            }
        }

        deserializer.deserialize_enum(RAW_EVENT_TOKEN, &[], RawVisitor)
    }
}
