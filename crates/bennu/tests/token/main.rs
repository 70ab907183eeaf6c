//! Tokens, session cookies and what is in them, through the public API. Golden bytes were written by
//! Elixir on OTP 25 unless a test says otherwise.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these files hold nothing but tests and what tests are made of"
)]

mod data;
mod jwt;
mod sessions;
mod terms;
mod text;
mod tokens;
