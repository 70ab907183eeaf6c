//! Long polling without HTTP: the batches of a session and their acknowledgement, and what is in the
//! body of a POST. Who waits for what, and for how long, is the transport's.

mod batches;
mod body;

pub use batches::{Batches, Poll};
pub use body::{Body, BodyError, Part};
