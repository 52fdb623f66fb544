//! The attacks on the Pod's side, one a file, like those on the vendor's side (`ingest-api/tests/api/attacks/`): what is
//! tried, when it fails, and how it succeeds without the defence.

#![allow(clippy::unwrap_used, reason = "in a test, to fail is to tell")]

mod header_fingerprints;
mod send_times_at_the_proxy;
#[path = "../stand_in/mod.rs"]
mod stand_in;
