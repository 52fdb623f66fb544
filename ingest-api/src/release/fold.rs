//! A tree of cells → blocks. A cell is never just hidden: it is folded into what surrounds it.
//!
//! Publishing every cell above a threshold and hiding the others gives the hidden ones away: a total minus its
//! parts is what was hidden. So the cells that are not safe go up the tree until together they are, and what is
//! left at the root takes the smallest block with it.

use std::collections::BTreeMap;

use super::cohort::Cohort;
use super::round::round;
use super::threshold::{Rule, Threshold};

/// The word for what was folded, alone for the whole family, or behind a slash for a part of it (`0.4/other`).
pub const OTHER: &str = "other";

/// The cells of one family, by what they may be folded into.
#[derive(Clone, Debug)]
pub enum Tree {
    /// One value.
    Leaf(Cohort),
    /// Values that belong together, by label. Labels are unique in the whole tree.
    Inner(BTreeMap<String, Tree>),
    /// Values in an order, each with its lower and upper end, that may be joined with their neighbours.
    Bins(BTreeMap<u32, (u32, Cohort)>),
}

impl Default for Tree {
    fn default() -> Self {
        Self::Inner(BTreeMap::new())
    }
}

impl Tree {
    /// Adds reporters to the leaf at `path`. The paths of one tree never end where others go on.
    pub fn add(&mut self, path: &[String], cohort: Cohort) {
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
    pub fn add_bin(&mut self, label: &str, from: u32, to: u32, cohort: Cohort) {
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
}

impl Block {
    /// The value, or what it was folded into.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The number that is published. The exact one does not leave this room.
    pub fn published(&self) -> u64 {
        round(self.cohort.size())
    }
}

/// Folds a tree into blocks, sorted by label. Either they hold everybody in the tree, or there are none.
pub fn fold(tree: Tree, rule: Rule, threshold: &Threshold) -> Vec<Block> {
    fold_by(tree, &|cohort| threshold.safe(rule, cohort))
}

fn fold_by(tree: Tree, safe: &impl Fn(&Cohort) -> bool) -> Vec<Block> {
    let (mut blocks, residue) = fold_node(None, tree, safe);
    if !residue.is_empty() {
        let smallest = (0..blocks.len()).min_by(|a, b| {
            let key = |n: &usize| (blocks[*n].cohort.size(), blocks[*n].label.clone());
            key(a).cmp(&key(b))
        });
        // Without a block, nothing can be published: the population itself is not safe.
        let Some(smallest) = smallest else { return Vec::new() };
        let absorbed = blocks.swap_remove(smallest);
        blocks.push(Block { label: OTHER.to_owned(), cohort: absorbed.cohort.union(residue) });
    }
    blocks.sort_by(|a, b| a.label.cmp(&b.label));
    blocks
}

/// The blocks below a node, and who is in none of them. `label` is `None` at the root.
fn fold_node(label: Option<&str>, node: Tree, safe: &impl Fn(&Cohort) -> bool) -> (Vec<Block>, Cohort) {
    match node {
        Tree::Leaf(cohort) if safe(&cohort) => {
            (vec![Block { label: label.unwrap_or("all").to_owned(), cohort }], Cohort::default())
        }
        Tree::Leaf(cohort) => (Vec::new(), cohort),
        Tree::Bins(bins) => fold_bins(bins, safe),
        Tree::Inner(children) => {
            let mut blocks = Vec::new();
            let mut residue = Cohort::default();
            for (label, child) in children {
                let (below, left) = fold_node(Some(&label), child, safe);
                blocks.extend(below);
                residue = residue.union(left);
            }
            if safe(&residue) {
                let label = label.map_or(OTHER.to_owned(), |label| format!("{label}/{OTHER}"));
                blocks.push(Block { label, cohort: std::mem::take(&mut residue) });
            }
            (blocks, residue)
        }
    }
}

/// Joins neighbours, from the lowest bin up, until they are safe; what is left at the top joins the block below it.
fn fold_bins(bins: BTreeMap<u32, (u32, Cohort)>, safe: &impl Fn(&Cohort) -> bool) -> (Vec<Block>, Cohort) {
    let mut blocks: Vec<(u32, u32, Cohort)> = Vec::new();
    let mut open: Option<(u32, u32, Cohort)> = None;
    for (from, (to, cohort)) in bins {
        let (from, joined) = match open.take() {
            Some((from, _, joined)) => (from, joined.union(cohort)),
            None => (from, cohort),
        };
        if safe(&joined) {
            blocks.push((from, to, joined));
        } else {
            open = Some((from, to, joined));
        }
    }
    let mut residue = Cohort::default();
    if let Some((_, top, left)) = open {
        match blocks.last_mut() {
            Some((_, to, last)) => {
                *to = top;
                *last = std::mem::take(last).union(left);
            }
            None => residue = left,
        }
    }
    let named = |(from, to, cohort)| Block { label: format!("{from}–{to}"), cohort };
    (blocks.into_iter().map(named).collect(), residue)
}

#[cfg(test)]
mod tests;
