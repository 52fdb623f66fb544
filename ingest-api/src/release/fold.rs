//! A tree of cells → blocks. A cell is never just hidden: it is folded into what surrounds it.
//!
//! Publishing every cell above a threshold and hiding the rest reveals the hidden ones: they are the total
//! minus its parts. So cells that do not pass move up the tree until they pass together. What does not pass at
//! the root joins the smallest block or, if noise hides it anyway, is left out.

use std::collections::BTreeMap;

use super::cohort::Cohort;
use super::judge::Judge;
use super::round::round;

/// The label of what was folded at the root of a family.
pub const OTHER: &str = "other";

/// The label of several values of a branch that are published as one number, behind the branch and a slash
/// (`0.4/several`). It is not the rest of the branch: other values of it may be in [`OTHER`].
pub const SEVERAL: &str = "several";

/// The label of everybody, in a family that only has a total.
const EVERYBODY: &str = "all";

/// The branch of a label that stands for several of its values. Releases of earlier versions call them
/// `…/other`.
pub fn branch_of(label: &str) -> Option<&str> {
    let (branch, several) = label.rsplit_once('/')?;
    (several == SEVERAL || several == OTHER).then_some(branch)
}

/// Whether a label stands for values that were folded.
pub fn is_folded(label: &str) -> bool {
    label == OTHER || label == SEVERAL || branch_of(label).is_some()
}

/// The cells of one family, arranged by how they fold.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// One value.
    Leaf(Cohort),
    /// Values that belong together, by label. Labels are unique in the whole tree.
    Inner(BTreeMap<String, Tree>),
    /// Ordered values, by lower end, each with its upper end. Neighbours may be joined.
    Bins(BTreeMap<u32, (u32, Cohort)>),
}

impl Default for Tree {
    fn default() -> Self {
        Self::Inner(BTreeMap::new())
    }
}

impl Tree {
    /// Adds reporters to the leaf at `path`. A leaf never lies on the path of another.
    pub(super) fn add(&mut self, path: &[String], cohort: Cohort) {
        let [label, rest @ ..] = path else {
            *self = match std::mem::take(self) {
                Self::Leaf(present) => Self::Leaf(present.union(cohort)),
                _ => Self::Leaf(cohort),
            };
            return;
        };
        if let Self::Inner(children) = self {
            children.entry(label.clone()).or_default().add(rest, cohort);
        }
    }

    /// Adds reporters to the bin from `from` to `to`, in the row of bins with that label.
    pub(super) fn add_bin(&mut self, label: &str, from: u32, to: u32, cohort: Cohort) {
        let Self::Inner(children) = self else { return };
        let row = children.entry(label.to_owned()).or_insert_with(|| Self::Bins(BTreeMap::new()));
        if let Self::Bins(bins) = row {
            let (_, present) = bins.entry(from).or_insert_with(|| (to, Cohort::default()));
            *present = std::mem::take(present).union(cohort);
        }
    }
}

/// A set of cells that is published as one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    label: String,
    cohort: Cohort,
    number: u64,
}

impl Block {
    fn of(label: String, cohort: Cohort, judge: &Judge<'_>) -> Self {
        let number = judge.number(&label, &cohort);
        Self { label, cohort, number }
    }

    /// Everybody, if that passes.
    pub(super) fn total(everybody: Cohort, judge: &Judge<'_>) -> Option<Self> {
        judge.passes(EVERYBODY, &everybody).then(|| Self::of(EVERYBODY.to_owned(), everybody, judge))
    }

    /// The value, or the group that it was folded into.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The published number. The exact one never leaves this room.
    pub fn published(&self) -> u64 {
        round(self.number)
    }

    /// Its reporters.
    pub(super) fn cohort(&self) -> &Cohort {
        &self.cohort
    }
}

/// Folds a tree into blocks, sorted by label. They have no reporter in common.
pub(super) fn fold(tree: Tree, judge: &Judge<'_>) -> Vec<Block> {
    // What is left without any block is not published at all.
    let (mut blocks, _) = fold_node(None, tree, judge);
    blocks.sort_by(|a, b| a.label.cmp(&b.label));
    blocks
}

/// The blocks below a node, and the rest that is in none of them. `label` is `None` at the root.
fn fold_node(label: Option<&str>, node: Tree, judge: &Judge<'_>) -> (Vec<Block>, Cohort) {
    match node {
        Tree::Leaf(cohort) => {
            let label = label.unwrap_or(OTHER);
            match judge.passes(label, &cohort) {
                true => (vec![Block::of(label.to_owned(), cohort, judge)], Cohort::default()),
                false => (Vec::new(), cohort),
            }
        }
        Tree::Bins(bins) => fold_bins(bins, judge),
        Tree::Inner(children) => {
            let (mut blocks, mut left) = (Vec::new(), Vec::new());
            for (label, child) in children {
                let (below, rest) = fold_node(Some(&label), child, judge);
                blocks.extend(below);
                left.extend(rest.iter());
            }
            // Copied once, because there may be thousands.
            fold_rest(label, blocks, Cohort::new(left), judge)
        }
    }
}

/// The rest of a branch: a block of its own, or one with the smallest block, or left for the node above.
fn fold_rest(
    branch: Option<&str>,
    mut blocks: Vec<Block>,
    mut rest: Cohort,
    judge: &Judge<'_>,
) -> (Vec<Block>, Cohort) {
    if rest.is_empty() {
        return (blocks, rest);
    }
    let label = branch.map_or(OTHER.to_owned(), |branch| format!("{branch}/{SEVERAL}"));
    let mut passes = judge.passes(&label, &rest);
    if !passes {
        let smallest = (0..blocks.len()).min_by_key(|n| (blocks[*n].number, blocks[*n].label.as_str()));
        let Some(smallest) = smallest else { return (blocks, rest) };
        if judge.takes_in(&label, &rest, blocks[smallest].number, branch.is_none()) {
            rest = rest.union(blocks.swap_remove(smallest).cohort);
            passes = true;
        }
    }
    if passes {
        blocks.push(Block::of(label, std::mem::take(&mut rest), judge));
    }
    (blocks, rest)
}

/// Joins neighbours, from the lowest bin up, until they may be published. A rest at the top joins the bin
/// below it.
fn fold_bins(bins: BTreeMap<u32, (u32, Cohort)>, judge: &Judge<'_>) -> (Vec<Block>, Cohort) {
    let label = |from: u32, to: u32| format!("{from}–{to}");
    let mut done: Vec<(u32, u32, Cohort)> = Vec::new();
    let mut open: Option<(u32, Cohort)> = None;
    let mut top = 0;
    for (from, (to, cohort)) in bins {
        top = to;
        let (from, cohort) = match open.take() {
            Some((from, below)) => (from, below.union(cohort)),
            None => (from, cohort),
        };
        match judge.passes(&label(from, to), &cohort) {
            true => done.push((from, to, cohort)),
            false => open = Some((from, cohort)),
        }
    }
    while let Some((_, above)) = &open
        && let Some((from, _, below)) = done.pop()
    {
        let cohort = below.union(above.clone());
        open = match judge.passes(&label(from, top), &cohort) {
            true => {
                done.push((from, top, cohort));
                None
            }
            false => Some((from, cohort)),
        };
    }
    let block = |(from, to, cohort)| Block::of(label(from, to), cohort, judge);
    (done.into_iter().map(block).collect(), open.map(|(_, cohort)| cohort).unwrap_or_default())
}

#[cfg(test)]
mod tests;
