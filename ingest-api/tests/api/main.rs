//! The service as its users meet it: real sockets, a real Postgres with a database for each test, and a clock that
//! stands still.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod closing;
mod insights;
mod intake;
mod keys;
mod remains;
mod roles;
mod support;
