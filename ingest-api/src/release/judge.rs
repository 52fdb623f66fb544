//! What decides about the blocks of one family: the threshold, and the noise of the window.

use super::cohort::Cohort;
use super::family::FamilyId;
use super::noise::{Draw, Law, Noise, Purpose};
use super::threshold::{Rule, Threshold};
use crate::window::Population;

/// Decides about the blocks of one family in one window.
///
/// It is told one cohort at a time, and nothing about other families. So two populations whose families have
/// the same numbers for each Pod have the same law of what is published, whatever else they have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    pub(super) rule: Rule,
    pub(super) threshold: &'a Threshold,
    /// Where the noise comes from; `None` where nothing has noise: for Pods.
    pub(super) noise: Option<(&'a Noise, Population, FamilyId)>,
}

/// A rest that looks smaller than this is left out: it is less than the greatest noise of a number.
pub const NEGLIGIBLE: u64 = Law::NUMBER.greatest();

impl Judge<'_> {
    /// Whether a block with this label and cohort is published.
    ///
    /// With noise, a cohort passes if its margin, with noise, is more than the greatest noise. So a cohort
    /// without a margin never does.
    pub(super) fn passes(&self, label: &str, cohort: &Cohort) -> bool {
        let margin = self.threshold.margin(self.rule, cohort);
        match self.noise {
            None => margin > 0,
            Some((noise, population, family)) => {
                let Draw { decision, .. } = noise.draw(population, family, Purpose::Block, label);
                margin > 0 && margin.saturating_add_signed(decision) > Law::DECISION.greatest()
            }
        }
    }

    /// The number of a block, before it is rounded. With noise, it is never below the least number of
    /// installations.
    pub(super) fn number(&self, label: &str, cohort: &Cohort) -> u64 {
        self.with_noise(Purpose::Block, label, cohort).max(match self.noise {
            None => 0,
            Some(_) => u64::from(self.threshold.installations()),
        })
    }

    /// Whether a rest that does not pass takes in the smallest block, which has that number. At the root, it
    /// does, so that nobody computes it by subtraction. Below the root, it does if it is the larger of the
    /// two; otherwise it goes up. With noise, a rest that looks negligible goes up, and is left out at the root.
    pub(super) fn takes_in(&self, label: &str, rest: &Cohort, smallest: u64, is_root: bool) -> bool {
        if self.noise.is_none() {
            return is_root;
        }
        let size = self.with_noise(Purpose::Rest, label, rest);
        size > NEGLIGIBLE && (is_root || size > smallest)
    }

    fn with_noise(&self, purpose: Purpose, label: &str, cohort: &Cohort) -> u64 {
        match self.noise {
            None => cohort.size(),
            Some((noise, population, family)) => {
                cohort.size().saturating_add_signed(noise.draw(population, family, purpose, label).number)
            }
        }
    }
}
