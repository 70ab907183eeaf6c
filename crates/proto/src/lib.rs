//! The wire of Bennu, without I/O: messages, payloads, topics, codecs, WebSocket framing, and the
//! machine that decides what a message means for the channels of one socket.
//!
//! Nothing in this crate has a clock, a random source, a socket or a runtime; it is checked for
//! wasm32. A server that speaks to Phoenix clients is a driver around [`server::Machine`]; the crate
//! `bennu` is one, and most people want that.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`payload`], [`message`], [`topic`], [`reference`](mod@reference) | what travels |
//! | [`event`] | enums as events, through serde |
//! | [`codec`], [`vsn`] | messages to frames and back, versions 1 and 2 |
//! | [`websocket`] | RFC 6455 framing |
//! | [`long_poll`] | batches and bodies of long polling |
//! | [`server`] | the machine of one socket |

pub mod codec;
pub mod event;
pub mod long_poll;
pub mod message;
pub mod payload;
pub mod reference;
pub mod server;
pub mod topic;
pub mod vsn;
pub mod websocket;
