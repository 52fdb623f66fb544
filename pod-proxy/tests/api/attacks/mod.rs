//! The attacks on the Pod's side, one a file, like those on the vendor's side (`ingest-api/tests/api/attacks/`): what is
//! tried, when it fails, and how it succeeds without the defence.

mod header_fingerprints;
mod send_times_at_the_proxy;
