//! The service as its users meet it: real sockets, a real Postgres with a database for each test, and a
//! stopped clock.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod closing;
mod command_line;
mod config;
mod crash;
mod embedded;
mod insights;
mod instances;
mod intake;
mod keys;
mod killed;
mod limits;
mod login;
mod logins;
mod merging;
mod metrics;
mod pages;
mod privacy_page;
mod roles;
mod status;
mod support;
mod upgrade;
