//! End to end: a simulated fleet of Pods and apps, what it sends through both services, and what must be
//! published about it.
//!
//! ```text
//! Fleet → Day → Stack → what is served
//!             ↘ Truth → what must be served
//! ```
//!
//! For measurements: a [crowd](load) of any size, which sends as much as a server takes.

pub mod bench;
pub mod fleet;
pub mod lanes;
pub mod load;
pub mod needles;
pub mod process;
pub mod served;
pub mod stack;
pub mod truth;
pub mod year;
