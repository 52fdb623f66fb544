//! What is done on a schedule. Each job is safe to run twice, and to be killed at any step.

pub mod close_windows;
pub mod purge;
