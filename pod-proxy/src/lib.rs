//! The part of vendor analytics that runs on a Pod: bytes of an app → what the operator shares → the vendor.
//!
//! Each step takes what only the step before it can make: bytes → [`shared::event::Event`] →
//! [`filter::Sighting`] → [`filter::FilteredEvent`] → an entry of the [spool](spool::Spool) → filtered again, by
//! the policy of that moment → the wire. Nothing else leaves the Pod.

pub mod app;
pub mod commands;
mod complaint;
pub mod config;
pub mod facts;
pub mod filter;
pub mod forward;
mod http;
mod live;
pub mod metrics;
pub mod salt;
pub mod spool;
