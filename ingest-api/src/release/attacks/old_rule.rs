//! A small model of the rule before: exact thresholds, and an audit of two families. What helps to show that an
//! unsafe crossing exists is withheld.

use std::collections::{BTreeMap, BTreeSet};

use super::Installation;
use crate::release::Threshold;
use crate::release::cohort::Cohort;
use crate::release::threshold::Rule;

type Members<'a> = Vec<&'a Installation>;

fn cohort<'a>(members: impl IntoIterator<Item = &'a Installation>) -> Cohort {
    Cohort::new(members.into_iter().map(|(pod, ..)| (*pod as u32, 1)).collect())
}

fn is_safe<'a>(members: impl IntoIterator<Item = &'a Installation>) -> bool {
    Threshold::default().safe(Rule::Installations, &cohort(members))
}

/// The platforms and languages that have a number of their own.
pub(super) fn labels(installations: &[Installation]) -> BTreeSet<String> {
    let blocks = |value: fn(&Installation) -> &'static str| {
        let mut blocks: BTreeMap<&str, Members<'_>> = BTreeMap::new();
        for installation in installations {
            blocks.entry(value(installation)).or_default().push(installation);
        }
        blocks.retain(|_, members| is_safe(members.iter().copied()));
        blocks
    };
    let mut platforms = blocks(|(_, platform, _)| platform);
    let mut languages = blocks(|(.., language)| language);
    while let Some(withheld) = pinned(&platforms, &languages) {
        platforms.remove(withheld);
        languages.remove(withheld);
    }
    platforms.into_keys().chain(languages.into_keys()).map(str::to_owned).collect()
}

/// The smaller of two blocks, if one is larger than the other, so that somebody is certain to be in the larger
/// one only, and if those are too few or of too few Pods.
fn pinned<'a>(a: &BTreeMap<&'a str, Members<'_>>, b: &BTreeMap<&'a str, Members<'_>>) -> Option<&'a str> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    let found = pairs.filter_map(|((platform, on), (language, speak))| {
        let (smaller, larger) =
            if on.len() < speak.len() { ((platform, on), speak) } else { ((language, speak), on) };
        let (label, within) = smaller;
        let outside: Vec<_> = larger
            .iter()
            .copied()
            .filter(|one| !within.iter().any(|other| std::ptr::eq(*one, *other)))
            .collect();
        let is_pinned = larger.len() > within.len() && !outside.is_empty() && !is_safe(outside);
        is_pinned.then_some((within.len(), *label))
    });
    found.min().map(|(_, label)| label)
}
