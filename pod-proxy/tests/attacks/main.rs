//! The attacks on the Pod's side, each in a file of its own that is named after it, as those on the vendor's side are
//! (`ingest-api/tests/api/attacks/`): what is tried, when it is held off, and how it succeeds without the defence.

#![allow(clippy::unwrap_used, reason = "in a test, to fail is to tell")]

mod header_fingerprints;
mod send_times_at_the_proxy;
#[path = "../stand_in/mod.rs"]
mod stand_in;
