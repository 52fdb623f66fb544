//! What all reporters of one population said → the blocks of all its families. They are folded until they
//! reveal nobody, each family alone or two together. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::RandomState;
use shared::data_point::{CountedPoint, Path, Reporter, Unit};

use super::audit::{Budget, Exhausted, Pinned, Table};
use super::cohort::Cohort;
use super::family::{Family, tree};
use super::fold::{Block, Coarseness, OTHER, Tree, fold, fold_coarsely};
use super::structure::{Essence, Relation, essence, relation};
use super::threshold::{Rule, Threshold};

/// The most blocks of a family. An attacker who invents Pods and installations can make any number of safe
/// blocks, and the cost of the audit grows with the fourth power of it.
const MOST_BLOCKS: usize = 60;

/// How many steps the audit may take before two families that are not cleared are folded to one block.
const STEPS: u32 = 150_000;

/// How many steps it costs to withhold a block and look at everybody again.
const STEPS_OF_A_TURN: u32 = 3_000;

/// The distinct reporters of one population, counted by everything that they said.
#[derive(Clone, Debug)]
pub struct Tally {
    rule: Rule,
    /// The family that only has a total.
    everybody: Family,
    values: Vec<Values>,
    /// Each combination of values: by family, the number of the value.
    said: Vec<Vec<u32>>,
    said_numbers: HashMap<Vec<u32>, u32, RandomState>,
    pod_numbers: HashMap<i64, u32, RandomState>,
    /// The Pod that was added last, and its number.
    last_pod: Option<(i64, u32)>,
    counts: Vec<Count>,
}

/// How many reporters of a Pod said the same. There may be millions of these.
#[derive(Clone, Copy, Debug)]
struct Count {
    said: u32,
    pod: u32,
    reporters: u32,
}

/// What a reporter said: a number that a [`Tally`] gave to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said(u32);

/// The values of one family that occur.
#[derive(Clone, Debug)]
struct Values {
    family: Family,
    point: &'static CountedPoint,
    codes: Vec<u64>,
    /// The labels of each value in the tree, the leaf last.
    labels: Vec<Vec<String>>,
    numbers: HashMap<u64, u32, RandomState>,
}

impl Tally {
    /// An empty tally of installations ([`App`](shared::event::App)) or Pods ([`Pod`](shared::event::Pod)).
    pub fn of<R: Reporter>() -> Self {
        let families = || Family::ALL.into_iter().filter(|family| family.unit() == R::UNIT);
        let everybody = if R::UNIT == Unit::Pod { Family::PODS } else { Family::INSTALLATIONS };
        let values = families().filter_map(|family| Some(Values::of(family, family.point()?)));
        Self::new(everybody, values.collect())
    }

    fn new(everybody: Family, values: Vec<Values>) -> Self {
        let (said, said_numbers, pod_numbers) = Default::default();
        let rule = everybody.rule();
        Self { rule, everybody, values, said, said_numbers, pod_numbers, last_pod: None, counts: Vec::new() }
    }

    /// The number of what a reporter said, by the codes of its data points in the order of the registry.
    pub fn said(&mut self, codes: impl AsRef<[u64]>) -> Said {
        debug_assert_eq!(self.values.len(), codes.as_ref().len(), "a code for each data point");
        let values = self.values.iter_mut().zip(codes.as_ref());
        let numbers: Vec<u32> = values.map(|(values, code)| values.number(*code)).collect();
        let next = self.said.len() as u32;
        let number = *self.said_numbers.entry(numbers).or_insert_with_key(|numbers| {
            self.said.push(numbers.clone());
            next
        });
        Said(number)
    }

    /// Makes room for this many reporters, so that the list is not moved while it grows.
    pub fn reserve(&mut self, reporters: usize) {
        self.counts.reserve_exact(reporters);
    }

    /// Adds a reporter of a Pod: an installation, or the Pod itself. It is fastest and smallest if the
    /// reporters of a Pod arrive together, and within a Pod those that said the same.
    pub fn add(&mut self, pod: i64, Said(said): Said) {
        debug_assert!((said as usize) < self.said.len(), "said by a reporter of this tally");
        let next = self.pod_numbers.len() as u32;
        let number = match self.last_pod {
            Some((last, number)) if last == pod => number,
            _ => *self.pod_numbers.entry(pod).or_insert(next),
        };
        self.last_pod = Some((pod, number));
        let pod = number;
        match self.counts.last_mut() {
            Some(last) if last.pod == pod && last.said == said => {
                last.reporters = last.reporters.saturating_add(1);
            }
            _ => self.counts.push(Count { said, pod, reporters: 1 }),
        }
    }

    /// What is published: the blocks of each family, sorted by label. All families hold the same reporters,
    /// or none has a block.
    ///
    /// A block that helps to reveal somebody across two families is withheld: folded as if it were not safe.
    /// This repeats until the audit finds nothing. It ends, because each turn withholds another label, and a
    /// family with all labels withheld is one block, which tells nothing.
    ///
    /// It ends soon. No family has more than `MOST_BLOCKS` blocks. When the budget is used up, families that
    /// are not cleared become one block, the one with more blocks first.
    pub fn publish(&self, threshold: &Threshold) -> Vec<(Family, Vec<Block>)> {
        self.publish_noting(threshold, &mut BTreeSet::new())
    }

    /// As [`Self::publish`]. Also notes the families that became one block because the budget ran out.
    pub fn publish_noting(
        &self,
        threshold: &Threshold,
        untried: &mut BTreeSet<Family>,
    ) -> Vec<(Family, Vec<Block>)> {
        self.publish_within(threshold, &mut Budget::new(STEPS), untried)
    }

    fn publish_within(
        &self,
        threshold: &Threshold,
        budget: &mut Budget,
        untried: &mut BTreeSet<Family>,
    ) -> Vec<(Family, Vec<Block>)> {
        let (mut coarseness, mut folded) = (Vec::new(), Vec::new());
        for n in 0..self.values.len() {
            let (coarse_enough, blocks) =
                Coarseness::for_blocks(MOST_BLOCKS, || self.tree(n), self.rule, threshold);
            folded.push(blocks);
            coarseness.push(coarse_enough);
        }
        let pairs = if threshold.is_audited() { self.pairs() } else { Vec::new() };
        let mut unchecked = vec![true; pairs.len()];
        while let Some(next) = unchecked.iter().position(|unchecked| *unchecked) {
            let [a, b] = pairs[next];
            let family = match self.too_much(pairs[next], &folded, threshold, budget) {
                Ok(None) => {
                    unchecked[next] = false;
                    continue;
                }
                Ok(Some((family, label))) => {
                    coarseness[family].withheld.insert(label);
                    family
                }
                Err(Exhausted) => {
                    let family = if folded[a].len() >= folded[b].len() { a } else { b };
                    coarseness[family] = Coarseness::one_block();
                    untried.insert(self.values[family].family);
                    family
                }
            };
            folded[family] = fold_coarsely(self.tree(family), self.rule, threshold, &coarseness[family]);
            for (pair, unchecked) in pairs.iter().zip(&mut unchecked) {
                *unchecked |= pair.contains(&family);
            }
        }
        let present = self.cohorts(1, |_| Some(0)).into_iter().map(|everyone| (Path::of(["all"]), everyone));
        let everybody = (self.everybody, fold(tree(present), self.rule, threshold));
        let families = self.values.iter().map(|values| values.family).zip(folded);
        std::iter::once(everybody).chain(families).collect()
    }

    fn tree(&self, n: usize) -> Tree {
        let Values { point, codes, .. } = &self.values[n];
        let cohorts = self.cohorts(codes.len(), |said| Some(said[n] as usize));
        let cells = codes.iter().zip(cohorts).filter(|(_, cohort)| !cohort.is_empty());
        tree(cells.map(|(code, cohort)| ((point.path)(*code), cohort)))
    }

    /// Sorts all reporters into `number` cohorts by what they said. Leaves out those without a cohort.
    fn cohorts(&self, number: usize, cohort_of: impl Fn(&[u32]) -> Option<usize>) -> Vec<Cohort> {
        // One more, for those that are left out.
        let cohort_of: Vec<u32> =
            self.said.iter().map(|said| cohort_of(said).unwrap_or(number) as u32).collect();
        let mut by_pod: Vec<Vec<(u32, u32)>> = vec![Vec::new(); number];
        for Count { said, pod, reporters } in &self.counts {
            let Some(by_pod) = by_pod.get_mut(cohort_of[*said as usize] as usize) else { continue };
            match by_pod.last_mut() {
                Some((last, sum)) if last == pod => *sum = sum.saturating_add(*reporters),
                _ => by_pod.push((*pod, *reporters)),
            }
        }
        by_pod.into_iter().map(Cohort::new).collect()
    }

    /// All pairs of families.
    fn pairs(&self) -> Vec<[usize; 2]> {
        (1..self.values.len()).flat_map(|b| (0..b).map(move |a| [a, b])).collect()
    }

    /// The block to withhold, as the number of its family and its label, if the two families together reveal
    /// too much: the smallest block that contributes.
    fn too_much(
        &self,
        pair: [usize; 2],
        folded: &[Vec<Block>],
        threshold: &Threshold,
        budget: &mut Budget,
    ) -> Result<Option<(usize, String)>, Exhausted> {
        let blocks = pair.map(|family| &folded[family]);
        // One block holds everybody, and tells nothing about the other family.
        if blocks.iter().any(|blocks| blocks.len() < 2) {
            return Ok(None);
        }
        budget.spend(STEPS_OF_A_TURN)?;
        let safe = |cohort: &Cohort| threshold.safe(self.rule, cohort);
        let pinned = self.table(pair, blocks).pinned(&safe, budget)?;
        Ok(pinned.and_then(|pinned| smallest(pinned, pair, blocks)))
    }

    fn table(&self, pair: [usize; 2], blocks: [&Vec<Block>; 2]) -> Table {
        let values = pair.map(|family| &self.values[family]);
        // The block of each value.
        let [rows, columns] = [0, 1].map(|n| values[n].blocks(blocks[n]));
        let [height, width] = blocks.map(Vec::len);
        let field = |said: &[u32]| {
            let [row, column] = [rows[said[pair[0]] as usize], columns[said[pair[1]] as usize]];
            Some(row? * width + column?)
        };
        let mut fields = self.cohorts(height * width, field).into_iter();
        let joint = (0..height).map(|_| fields.by_ref().take(width).collect()).collect();
        let mut open = vec![vec![false; width]; height];
        let mut kin = vec![vec![true; width]; height];
        let [of_rows, of_columns] = [values[0].essences(&rows), values[1].essences(&columns)];
        for (a, row) in of_rows {
            for (b, column) in &of_columns {
                let relation = relation(a, *b);
                open[row][*column] |= relation != Relation::Apart;
                kin[row][*column] &= relation == Relation::Kin;
            }
        }
        let mut sets = [values[0].branches(&rows), values[1].branches(&columns)];
        for known in [&open, &kin] {
            sets[1].extend(known.iter().map(|row| (0..width).filter(|c| row[*c]).collect()));
            sets[0].extend((0..width).map(|c| (0..height).filter(|r| known[*r][c]).collect()));
        }
        let [row_sets, column_sets] = sets;
        Table { joint, open, row_sets, column_sets }
    }
}

impl Values {
    fn of(family: Family, point: &'static CountedPoint) -> Self {
        let (codes, labels, numbers) = Default::default();
        Self { family, point, codes, labels, numbers }
    }

    fn number(&mut self, code: u64) -> u32 {
        *self.numbers.entry(code).or_insert_with(|| {
            self.codes.push(code);
            self.labels.push((self.point.path)(code).labels());
            self.codes.len() as u32 - 1
        })
    }

    /// The block of each value.
    fn blocks(&self, blocks: &[Block]) -> Vec<Option<usize>> {
        let mut by_leaf: BTreeMap<&str, usize> = BTreeMap::new();
        for (n, block) in blocks.iter().enumerate() {
            by_leaf.extend(block.leaves().iter().map(|leaf| (leaf.as_str(), n)));
        }
        self.labels.iter().map(|path| by_leaf.get(path.last()?.as_str()).copied()).collect()
    }

    /// What is known about the values of each block.
    fn essences(&self, in_block: &[Option<usize>]) -> BTreeSet<(Essence, usize)> {
        let values = self.codes.iter().zip(in_block);
        values.filter_map(|(code, block)| Some((essence(self.point, *code), (*block)?))).collect()
    }

    /// Each block, and the blocks of each branch that starts at the root.
    fn branches(&self, in_block: &[Option<usize>]) -> BTreeSet<BTreeSet<usize>> {
        let mut branches: BTreeMap<Option<&String>, BTreeSet<usize>> = BTreeMap::new();
        let mut sets = BTreeSet::new();
        for (path, block) in self.labels.iter().zip(in_block) {
            let Some(block) = *block else { continue };
            sets.insert(BTreeSet::from([block]));
            branches.entry(path.first()).or_default().insert(block);
        }
        sets.extend(branches.into_values());
        sets
    }
}

/// The smallest block that contributes to what is pinned and can be withheld; of all blocks if none
/// contributes.
fn smallest(pinned: Pinned, pair: [usize; 2], blocks: [&Vec<Block>; 2]) -> Option<(usize, String)> {
    let of = |sets: [BTreeSet<usize>; 2]| {
        let of_both = sets.into_iter().zip(blocks).zip(pair);
        of_both
            .flat_map(|((set, blocks), family)| set.into_iter().map(move |block| (family, &blocks[block])))
            .filter(|(_, block)| block.label() != OTHER)
            .min_by_key(|(family, block)| (block.cohort().size(), *family, block.label().to_owned()))
            .map(|(family, block)| (family, block.label().to_owned()))
    };
    of([pinned.rows, pinned.columns]).or_else(|| of(blocks.map(|blocks| (0..blocks.len()).collect())))
}

#[cfg(test)]
mod tests;
