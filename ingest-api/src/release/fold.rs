//! A tree of cells → blocks. A cell is never just hidden: it is folded into what surrounds it.
//!
//! Publishing every cell above a threshold and hiding the rest reveals the hidden ones: they are the total
//! minus its parts. So unsafe cells move up the tree until they are safe together. What is unsafe at the root
//! joins the smallest block.

use std::collections::{BTreeMap, BTreeSet};

use super::cohort::Cohort;
use super::round::round;
use super::threshold::{Rule, Threshold};

/// The label of what was folded: alone for the whole family, or behind a slash for a part of it
/// (`0.4/other`).
pub const OTHER: &str = "other";

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
    /// The number of reporters.
    fn size(&self) -> u64 {
        match self {
            Self::Leaf(cohort) => cohort.size(),
            Self::Inner(children) => children.values().map(Self::size).sum(),
            Self::Bins(bins) => bins.values().map(|(_, cohort)| cohort.size()).sum(),
        }
    }

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
    part: Part,
}

impl Block {
    /// The value, or the group that it was folded into.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The published number. The exact one never leaves this room.
    pub fn published(&self) -> u64 {
        round(self.part.cohort.size())
    }

    /// The labels of its leaves.
    pub(super) fn leaves(&self) -> &BTreeSet<String> {
        &self.part.leaves
    }

    /// Its reporters.
    pub(super) fn cohort(&self) -> &Cohort {
        &self.part.cohort
    }
}

/// Some leaves of a tree, with their reporters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Part {
    leaves: BTreeSet<String>,
    cohort: Cohort,
}

impl Part {
    fn leaf(label: String, cohort: Cohort) -> Self {
        Self { leaves: BTreeSet::from([label]), cohort }
    }

    /// The union of all these. It copies each once, because there may be thousands.
    fn of(parts: Vec<Self>) -> Self {
        let by_pod = parts.iter().flat_map(|part| part.cohort.iter()).collect();
        let leaves = parts.into_iter().flat_map(|part| part.leaves).collect();
        Self { leaves, cohort: Cohort::new(by_pod) }
    }

    fn join(&mut self, other: Self) {
        self.leaves.extend(other.leaves);
        self.cohort = std::mem::take(&mut self.cohort).union(other.cohort);
    }
}

/// Folds a tree into blocks, sorted by label. The blocks hold everybody in the tree, or there are none.
pub(super) fn fold(tree: Tree, rule: Rule, threshold: &Threshold) -> Vec<Block> {
    fold_coarsely(tree, rule, threshold, &Coarseness::default())
}

/// Requirements of a family's blocks beyond the threshold. They do not apply to [`OTHER`] of the whole
/// family, which only needs to be safe.
#[derive(Clone, Debug, Default)]
pub(super) struct Coarseness {
    /// The fewest reporters of a block.
    pub(super) least: u64,
    /// Labels that no block may have.
    pub(super) withheld: BTreeSet<String>,
}

impl Coarseness {
    /// So coarse that the whole family is one block.
    pub(super) fn one_block() -> Self {
        Self { least: u64::MAX, ..Self::default() }
    }

    /// The finest coarseness, by least number of reporters, under which a tree has at most `most` blocks,
    /// with these blocks. A tree can be large, so it is built again rather than copied.
    ///
    /// A solution always exists. Blocks have no reporter in common, so fewer than `most` of them can have
    /// more than a `most`-th of all reporters; the last block is [`OTHER`].
    pub(super) fn for_blocks(
        most: usize,
        tree: impl Fn() -> Tree,
        rule: Rule,
        threshold: &Threshold,
    ) -> (Self, Vec<Block>) {
        let folded = |tree: Tree, least: u64| {
            let coarseness = Self { least, ..Self::default() };
            let blocks = fold_coarsely(tree, rule, threshold, &coarseness);
            (coarseness, blocks)
        };
        let (finest, blocks) = folded(tree(), 0);
        if blocks.len() <= most {
            return (finest, blocks);
        }
        let tree = tree();
        let (mut too_fine, mut coarse) = (0, tree.size() / most as u64 + 1);
        let mut fitting = folded(tree.clone(), coarse);
        while coarse - too_fine > 1 {
            let between = too_fine + (coarse - too_fine) / 2;
            let (coarseness, blocks) = folded(tree.clone(), between);
            if blocks.len() <= most {
                (coarse, fitting) = (between, (coarseness, blocks));
            } else {
                too_fine = between;
            }
        }
        fitting
    }

    fn allows(&self, label: &str, cohort: &Cohort) -> bool {
        label == OTHER || cohort.size() >= self.least && !self.withheld.contains(label)
    }
}

/// Folds a tree as if no block finer than this coarseness were safe.
pub(super) fn fold_coarsely(
    tree: Tree,
    rule: Rule,
    threshold: &Threshold,
    coarseness: &Coarseness,
) -> Vec<Block> {
    fold_by(tree, &|label, cohort| threshold.safe(rule, cohort) && coarseness.allows(label, cohort))
}

/// Folds by a rule: may a block with this label and cohort be published? Tests pass obvious but wrong rules
/// here, to see them fail.
fn fold_by(tree: Tree, may: &impl Fn(&str, &Cohort) -> bool) -> Vec<Block> {
    let (mut blocks, mut residue) = fold_node(None, tree, may);
    if !residue.cohort.is_empty() {
        let smallest = (0..blocks.len()).min_by(|a, b| {
            let key = |n: &usize| (blocks[*n].cohort().size(), blocks[*n].label());
            key(a).cmp(&key(b))
        });
        // Without any block, the population itself is not safe, and nothing can be published.
        let Some(smallest) = smallest else { return Vec::new() };
        residue.join(blocks.swap_remove(smallest).part);
        blocks.push(Block { label: OTHER.to_owned(), part: residue });
    }
    blocks.sort_by(|a, b| a.label.cmp(&b.label));
    blocks
}

/// The blocks below a node, and the rest that is in none of them. `label` is `None` at the root.
fn fold_node(label: Option<&str>, node: Tree, may: &impl Fn(&str, &Cohort) -> bool) -> (Vec<Block>, Part) {
    match node {
        Tree::Leaf(cohort) => {
            let label = label.unwrap_or(OTHER);
            let may = may(label, &cohort);
            let part = Part::leaf(label.to_owned(), cohort);
            match may {
                true => (vec![Block { label: label.to_owned(), part }], Part::default()),
                false => (Vec::new(), part),
            }
        }
        Tree::Bins(bins) => fold_bins(bins, may),
        Tree::Inner(children) => {
            let mut blocks = Vec::new();
            let mut left_over = Vec::new();
            for (label, child) in children {
                let (below, left) = fold_node(Some(&label), child, may);
                blocks.extend(below);
                left_over.push(left);
            }
            let mut residue = Part::of(left_over);
            let label = label.map_or(OTHER.to_owned(), |label| format!("{label}/{OTHER}"));
            if may(&label, &residue.cohort) {
                blocks.push(Block { label, part: std::mem::take(&mut residue) });
            }
            (blocks, residue)
        }
    }
}

/// Joins neighbours, from the lowest bin up, until they may be published. A rest at the top joins the bin
/// below it.
fn fold_bins(bins: BTreeMap<u32, (u32, Cohort)>, may: &impl Fn(&str, &Cohort) -> bool) -> (Vec<Block>, Part) {
    let label = |from: u32, to: u32| format!("{from}–{to}");
    let mut blocks: Vec<(u32, Block)> = Vec::new();
    let mut open: Option<(u32, Part)> = None;
    let mut top = 0;
    for (from, (to, cohort)) in bins {
        top = to;
        let bin = Part::leaf(label(from, to), cohort);
        let (from, part) = match open.take() {
            Some((from, mut part)) => {
                part.join(bin);
                (from, part)
            }
            None => (from, bin),
        };
        match may(&label(from, to), &part.cohort) {
            true => blocks.push((from, Block { label: label(from, to), part })),
            false => open = Some((from, part)),
        }
    }
    while let Some((_, left)) = &open
        && let Some((from, below)) = blocks.pop()
    {
        let mut part = left.clone();
        part.join(below.part);
        open = match may(&label(from, top), &part.cohort) {
            true => {
                blocks.push((from, Block { label: label(from, top), part }));
                None
            }
            false => Some((from, part)),
        };
    }
    let residue = open.map(|(_, part)| part).unwrap_or_default();
    (blocks.into_iter().map(|(_, block)| block).collect(), residue)
}

#[cfg(test)]
mod tests;
