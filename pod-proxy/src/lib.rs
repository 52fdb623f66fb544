//! Runs on a Pod: events of apps → what the operator shares → the vendor.
//!
//! Each step takes what only the step before it can make: bytes → [`shared::event::Event`] →
//! [`filter::Sighting`] → [`filter::FilteredEvent`] → an entry of the [spool](spool::Spool) → filtered again, by
//! the policy of that moment → the wire. Nothing else leaves the Pod.

#![allow(
    missing_docs,
    reason = "only this workspace uses the library: a comment is there where it adds something"
)]

pub mod app;
pub mod commands;
pub mod config;
pub mod facts;
pub mod filter;
pub mod forward;
mod http;
mod live;
mod log_throttle;
mod metrics;
pub mod proxy;
pub mod salt;
pub mod spool;
pub mod vendor;
