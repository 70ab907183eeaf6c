//! What the four binaries of this package share: a WebSocket and Phoenix V2 client written by hand, the scenarios it plays, the books
//! it keeps, and the floor it is compared with.
//!
//! Nothing here depends on the other crates of the workspace. The load generator judges a server from outside; with the server's own
//! codec in it, both could be wrong in the same way.

pub mod connection;
pub mod failure;
pub mod fleet;
pub mod floor;
pub mod frame;
pub mod handshake;
pub mod latency;
pub mod ledger;
pub mod message;
pub mod process;
pub mod report;
pub mod scenario;
pub mod siege;
pub mod suite;
pub mod target;
pub mod tls;
