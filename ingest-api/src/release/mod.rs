//! Counts of distinct reporters → blocks that are safe to publish. Pure.
//!
//! Invariants, held by property tests over random populations beside the code:
//!
//! - Every block is safe under the [`Threshold`]. So is every union of blocks, because
//!   [`safe`](Threshold::safe) is monotone.
//! - The blocks of one family are disjoint and together hold its whole population, or the family has no
//!   block. So a difference of two unions of blocks is a union of blocks, or empty. Subtraction reveals
//!   nothing.
//! - Families of one unit count the same population, with a leaf "not reported". Their totals are equal
//!   before rounding, and say nothing about who opted out of what.
//! - The result does not depend on the order of the input.

mod allowance;
mod audit;
mod cohort;
mod count;
mod family;
mod fold;
mod published;
#[cfg(test)]
mod random;
mod round;
mod structure;
mod tally;
mod threshold;

pub use allowance::{PER_ACCOUNT, UNDECLARED, allowance};
pub use count::{Count, Counted};
pub use family::Family;
pub use fold::{Block, OTHER};
pub use published::{Published, Release, ReleasedBlock, ReleasedWindows, publish};
pub use round::{bounds, round};
pub use tally::{Said, Tally};
pub use threshold::{Rule, Threshold, UnderFloor};

pub use shared::data_point::NOT_REPORTED;

pub use crate::window::Population;
