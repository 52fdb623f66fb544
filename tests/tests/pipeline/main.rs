//! Both services together: a fleet's events through proxies to published numbers, outages and attacks included. And
//! that the sources keep to the rooms of ARCHITECTURE.md.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod drain;
mod flow;
mod outage;
mod pages;
mod privacy;
mod rooms;
mod storm;
