//! The proxy as its Pod and its operator have it: over sockets, files and the command line.

#![allow(clippy::unwrap_used, reason = "in a test, to fail is to tell")]

mod attacks;
mod by_lot;
mod commands;
mod crash;
mod docs;
mod lessons;
mod network;
mod operator;
mod oracle;
mod outage;
mod recorded;
mod stand_in;
mod timing;
