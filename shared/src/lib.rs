//! What the Pod's proxy and the vendor's service agree on: the event, the data points that may be in it,
//! the operator's policy, and the hashing. Pure: no socket, file, clock or database is reachable from here
//! except the clock that [`clock::SystemClock`] hands out.

pub mod app;
pub mod clock;
pub mod code;
pub mod config;
pub mod data_point;
pub mod domain;
pub mod event;
pub mod locale;
pub mod platform;
pub mod policy;
pub mod preset;
pub mod problem;
pub mod pseudonym;
pub mod size;
pub mod version;
mod wire;
