//! Tokens and session cookies as Phoenix makes them, so that an Elixir application can sign what we
//! verify and the other way round.

pub mod term;

pub use term::{Atom, Term};
