//! End to end: a fleet of Pods and apps that does not exist, what it sends, and what must be published about it.

pub mod fleet;
pub mod truth;
