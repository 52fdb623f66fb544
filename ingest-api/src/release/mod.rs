//! Counts of distinct reporters → blocks that are safe to publish. Pure.
//!
//! Invariants, held by tests over random populations beside the code:
//!
//! - **The floor.** Every block is safe under the [`Threshold`], whatever the noise is. So is every union of
//!   blocks, because [`margin`](Threshold::margin) grows with the cohort.
//! - **Margins only.** A family is decided from its own numbers for each Pod, and never by what two families
//!   say together.
//! - **Sensitivity.** One installation changes the margin and the number of a cohort by at most one.
//! - **Law.** Where installations are counted, each decision and each number has the noise of `noise.rs`: a
//!   layer that stays for a month, and one of the window.
//! - **Composition.** In one family, an installation takes part in one decision and one number for each level
//!   of the tree: its value, the branches above it, the root. Their noises are independent, and so are those
//!   of different families and of the total.
//! - The blocks of one family have no reporter in common. They hold everybody but a rest that noise hides; or,
//!   where Pods are counted, everybody or nobody.
//! - The result does not depend on the order of the input, and is the same when it is computed again.

mod allowance;
#[cfg(test)]
mod attacks;
mod cohort;
mod count;
mod family;
mod fold;
mod judge;
mod noise;
mod published;
#[cfg(test)]
mod random;
mod round;
mod tally;
mod threshold;

pub use allowance::{PER_ACCOUNT, allowance};
pub use count::{Count, CountedWindow};
pub use family::FamilyId;
pub use fold::{Block, OTHER, SEVERAL, branch_of, is_folded};
pub use judge::NEGLIGIBLE;
pub use noise::{CONFIDENCE, Law, Noise, may_be_noise, reach_of_noise};
pub use published::{NewRelease, Release, ReleasedBlock, ReleasedWindows, publish};
pub use round::{bounds, round};
pub use tally::{Said, Tally};
pub use threshold::{Rule, Threshold, UnderFloor};

pub use shared::data_point::NOT_REPORTED;

pub use crate::window::Population;
