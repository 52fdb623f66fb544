//! Random populations, an adversary who subtracts, and the naive rule, which the adversary must beat.

use super::*;
use crate::release::random::{POPULATIONS, Random};

/// A population: for each leaf its path, and how many installations each Pod has there.
type Cells = Vec<(Vec<String>, Vec<(u32, u32)>)>;

fn tree(cells: &Cells) -> Tree {
    let mut tree = Tree::default();
    for (path, by_pod) in cells {
        tree.add(path, Cohort::new(by_pod.clone()));
    }
    tree
}

fn path(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

#[track_caller]
fn check(cells: &[(&[&str], &[u32])], expected: &[(&str, u64)]) {
    let cells: Cells = cells
        .iter()
        .map(|(labels, by_pod)| {
            (path(labels), by_pod.iter().enumerate().map(|(pod, n)| (pod as u32, *n)).collect())
        })
        .collect();
    let blocks = fold(tree(&cells), Rule::Installations, &Threshold::default());
    let found: Vec<_> = blocks.iter().map(|block| (block.label(), block.cohort().size())).collect();
    assert_eq!(found, expected);
}

#[test]
fn cells_that_are_safe_are_published_as_they_are() {
    check(&[(&["0.4", "0.4.0"], &[10; 5]), (&["0.4", "0.4.1"], &[4; 5])], &[("0.4.0", 50), ("0.4.1", 20)]);
}

#[test]
fn cells_that_are_not_safe_are_folded_into_their_parent() {
    check(
        &[(&["0.3", "0.3.0"], &[3; 5]), (&["0.3", "0.3.1"], &[2; 5]), (&["0.4", "0.4.0"], &[10; 5])],
        &[("0.3/other", 25), ("0.4.0", 50)],
    );
}

#[test]
fn what_is_left_at_the_root_takes_the_smallest_block_with_it() {
    check(&[(&["a"], &[10; 5]), (&["b"], &[8; 5]), (&["rare"], &[1])], &[("a", 50), ("other", 41)]);
}

#[test]
fn a_population_that_is_not_safe_publishes_nothing() {
    check(&[(&["a"], &[19]), (&["b"], &[1, 1, 1])], &[]);
    check(&[], &[]);
}

#[test]
fn one_company_behind_a_whole_cell_is_folded_however_large_it_is() {
    check(&[(&["a"], &[10; 6]), (&["b"], &[5_000])], &[("other", 5_060)]);
}

#[test]
fn the_worked_example_of_the_privacy_page() {
    let mut versions = Tree::default();
    let mut pods = 0..;
    for (labels, n) in [
        (vec!["0.3", "0.3.0"], 3),
        (vec!["0.3", "0.3.1"], 4),
        (vec!["0.4", "0.4.0"], 21),
        (vec!["0.4", "0.4.1"], 12),
        (vec!["0.5", "0.5.0"], 2),
        (vec!["not_reported"], 6),
    ] {
        versions.add(&path(&labels), Cohort::new(pods.by_ref().take(n).map(|pod| (pod, 1)).collect()));
    }
    let blocks = fold(versions, Rule::Pods, &Threshold::default());
    let published: Vec<_> = blocks.iter().map(|block| (block.label(), block.published())).collect();
    assert_eq!(published, [("0.3/other", 5), ("0.4.0", 20), ("0.4.1", 10), ("other", 10)]);
}

#[test]
fn bins_join_their_neighbours() {
    let pods = |n: u32| Cohort::new((0..n).map(|pod| (pod, 1)).collect());
    let bins = |counts: &[(u32, u32, u32)]| {
        let bins = counts.iter().map(|(from, to, n)| (*from, (*to, pods(*n)))).collect();
        let tree = Tree::Inner(BTreeMap::from([("sizes".to_owned(), Tree::Bins(bins))]));
        let blocks = fold(tree, Rule::Pods, &Threshold::default());
        blocks.iter().map(|block| block.label.clone()).collect::<Vec<_>>()
    };
    assert_eq!(bins(&[(0, 4, 9), (5, 9, 2), (10, 19, 6), (20, 49, 1)]), ["0–4", "5–49"]);
    assert_eq!(bins(&[(0, 4, 9), (5, 9, 4)]), ["0–9"]);
    assert_eq!(bins(&[(0, 4, 4)]), Vec::<String>::new());
}

/// The shape of a population's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Platforms, languages, versions of Pods.
    TwoLevels,
    /// Versions of apps.
    ThreeLevels,
    /// Sizes of Pods.
    Bins,
}

/// The number of leaves of a random population. The last is "not reported", a leaf of its own at the root.
const LEAVES: usize = 17;

/// For each leaf, how many reporters each Pod has there.
struct Given {
    shape: Shape,
    rule: Rule,
    leaves: Vec<Vec<(u32, u32)>>,
}

impl Given {
    /// Takes all shapes and both rules in turn.
    fn random(seed: u64) -> Self {
        let shape = [Shape::TwoLevels, Shape::ThreeLevels, Shape::Bins][(seed % 3) as usize];
        let rule = [Rule::Installations, Rule::Pods][(seed / 3 % 2) as usize];
        let mut random = Random::new(seed);
        let mut leaves = vec![Vec::new(); LEAVES];
        let skew = 2 + random.any(8) as i32;
        for pod in 0..random.pods() as u32 {
            let leaf = |random: &mut Random| match random.once_in(12) {
                true => LEAVES - 1,
                false => random.value(LEAVES - 1, skew),
            };
            // The value that most of a Pod's installations report, and the value that some report.
            let (most, some) = (leaf(&mut random), leaf(&mut random));
            let size = if rule == Rule::Pods { 1 } else { random.pod_size() };
            leaves[most].push((pod, size - size / 4));
            leaves[some].push((pod, size / 4));
        }
        Self { shape, rule, leaves }
    }

    fn tree(&self, leaves: impl Iterator<Item = usize>) -> Tree {
        let mut tree = Tree::default();
        for leaf in leaves.filter(|leaf| self.leaves[*leaf].iter().any(|(_, n)| *n > 0)) {
            let cohort = Cohort::new(self.leaves[leaf].clone());
            let from = leaf as u32 * 10;
            match self.shape {
                _ if leaf == LEAVES - 1 => tree.add(&[self.label(leaf)], cohort),
                Shape::Bins => tree.add_bin("size", from, from + 9, cohort),
                Shape::TwoLevels => tree.add(&[format!("{}", leaf / 4), self.label(leaf)], cohort),
                Shape::ThreeLevels => {
                    tree.add(
                        &[format!("{}", leaf / 8), format!("{}.{}", leaf / 8, leaf / 2), self.label(leaf)],
                        cohort,
                    );
                }
            }
        }
        tree
    }

    fn label(&self, leaf: usize) -> String {
        match self.shape {
            _ if leaf == LEAVES - 1 => "not_reported".to_owned(),
            Shape::Bins => format!("{}–{}", leaf * 10, leaf * 10 + 9),
            _ => format!("leaf {leaf}"),
        }
    }

    fn cohort(&self, leaves: Leaves) -> Cohort {
        let of = (0..LEAVES).filter(|leaf| leaves & (1 << leaf) != 0);
        Cohort::new(of.flat_map(|leaf| self.leaves[leaf].iter().copied()).collect())
    }

    /// The leaves behind each block.
    fn leaves(&self, blocks: &[Block]) -> Vec<Leaves> {
        let number = |label: &String| (0..LEAVES).find(|leaf| self.label(*leaf) == *label).unwrap();
        blocks
            .iter()
            .map(|block| block.leaves().iter().fold(0, |all, label| all | 1 << number(label)))
            .collect()
    }

    /// The rule under test.
    fn folded(&self, threshold: &Threshold) -> Vec<Block> {
        fold(self.tree(0..LEAVES), self.rule, threshold)
    }

    /// The obvious rule: publish every cell with at least K reporters.
    fn naive(&self, threshold: &Threshold) -> Vec<Leaves> {
        let least = match self.rule {
            Rule::Installations => threshold.installations(),
            Rule::Pods => threshold.pod_count(),
        };
        let large = |leaf: &usize| self.cohort(1 << leaf).size() >= u64::from(least);
        (0..LEAVES).filter(large).map(|leaf| 1 << leaf).collect()
    }
}

/// A set of leaves, one bit each.
type Leaves = u32;

/// How many sets the adversary derives before giving up.
const PATIENCE: usize = 120;

/// The adversary. It knows the leaves behind each number, and their sum as one more number. It subtracts a
/// number from another that contains it, adds up numbers about different reporters, and goes on with the
/// results. `Err` is a group that it computed and that is neither safe nor empty.
fn attack(given: &Given, published: &[Leaves], threshold: &Threshold) -> Result<(), Leaves> {
    let total = published.iter().fold(0, |all, part| all | part);
    let everybody: Leaves =
        (0..LEAVES).filter(|leaf| !given.leaves[*leaf].is_empty()).fold(0, |all, leaf| all | 1 << leaf);
    let mut known: Vec<Leaves> = published.to_vec();
    known.extend([total, everybody].into_iter().filter(|_| !published.is_empty()));
    known.sort_unstable();
    known.dedup();
    let mut safe: Vec<Leaves> = Vec::new();
    let mut at = 0;
    while at < known.len() {
        let set = known[at];
        // A group that contains a safe group is safe.
        if !safe.iter().any(|part| set & part == *part) {
            let cohort = given.cohort(set);
            match threshold.safe(given.rule, &cohort) {
                true => safe.push(set),
                false if cohort.is_empty() => {}
                false => return Err(set),
            }
        }
        for before in 0..at {
            let other = known[before];
            let (inner, outer) = if set & other == set { (set, other) } else { (other, set) };
            let derived = match set & other {
                0 => set | other,
                both if both == inner => outer & !inner,
                _ => continue,
            };
            if derived != 0 && known.len() < PATIENCE && !known.contains(&derived) {
                known.push(derived);
            }
        }
        at += 1;
    }
    Ok(())
}

#[test]
fn no_union_and_no_difference_of_published_blocks_is_unsafe() {
    let threshold = Threshold::default();
    for seed in 0..POPULATIONS {
        let given = Given::random(seed);
        let published = given.leaves(&given.folded(&threshold));
        assert_eq!(attack(&given, &published, &threshold), Ok(()), "population {seed}");
    }
}

/// This extends the property above to all unions, not only those within the adversary's patience: a union of
/// disjoint safe blocks is safe, and a difference of two unions is a union. It holds whatever is withheld.
#[test]
fn blocks_are_safe_and_disjoint_and_hold_everybody_or_there_are_none() {
    let threshold = Threshold::default();
    let mut published_nothing = 0;
    for seed in 0..POPULATIONS {
        let given = Given::random(seed);
        let everybody = given.cohort(Leaves::MAX);
        let mut coarseness = Coarseness::default();
        for _ in 0..2 {
            let blocks = fold_coarsely(given.tree(0..LEAVES), given.rule, &threshold, &coarseness);
            assert!(
                blocks.iter().all(|block| threshold.safe(given.rule, block.cohort())),
                "population {seed}"
            );
            let leaves = given.leaves(&blocks);
            let union = leaves.iter().fold(0, |all: Leaves, part| all | part);
            let disjoint = leaves.iter().map(|part| part.count_ones()).sum::<u32>() == union.count_ones();
            assert!(disjoint, "population {seed}");
            let published: u64 = blocks.iter().map(|block| block.cohort().size()).sum();
            match threshold.safe(given.rule, &everybody) {
                true => assert_eq!(published, everybody.size(), "population {seed}"),
                false => assert_eq!(blocks, [], "population {seed}"),
            }
            let too_fine = |block: &&Block| {
                coarseness.withheld.contains(block.label()) || block.cohort().size() < coarseness.least
            };
            let fine: Vec<_> = blocks.iter().filter(too_fine).map(Block::label).collect();
            assert!(fine.iter().all(|label| *label == OTHER), "population {seed}: {fine:?}");
            published_nothing += u64::from(blocks.is_empty());
            let labels = blocks.iter().map(|block| block.label().to_owned());
            let every = if seed % 2 == 0 { 2 } else { 1 };
            let withheld = labels.filter(|label| label != OTHER).step_by(every).collect();
            coarseness = Coarseness { least: seed % 3 * everybody.size() / 10, withheld };
        }
    }
    assert!((1..POPULATIONS / 5).contains(&published_nothing), "{published_nothing} publish nothing");
}

#[test]
fn a_family_is_folded_to_as_few_blocks_as_are_wanted() {
    let threshold = Threshold::default();
    let mut folded = 0;
    for seed in 0..POPULATIONS / 10 {
        let given = Given::random(seed);
        let alone = given.folded(&threshold);
        for most in 1..=4 {
            let tree = || given.tree(0..LEAVES);
            let (coarseness, blocks) = Coarseness::for_blocks(most, tree, given.rule, &threshold);
            assert_eq!(blocks, fold_coarsely(tree(), given.rule, &threshold, &coarseness));
            assert!(blocks.len() <= most, "population {seed}: {} of {most}", blocks.len());
            assert_eq!(blocks.is_empty(), alone.is_empty(), "population {seed}");
            assert!(alone.len() > most || blocks == alone, "population {seed}: nothing to fold");
            folded += usize::from(blocks != alone);
        }
    }
    assert!(folded > 100, "{folded}");
}

#[test]
fn all_families_of_a_unit_have_the_same_total() {
    let threshold = Threshold::default();
    for seed in 0..POPULATIONS {
        let mut given = Given::random(seed);
        let totals: BTreeSet<u64> = [Shape::TwoLevels, Shape::ThreeLevels, Shape::Bins]
            .into_iter()
            .map(|shape| {
                given.shape = shape;
                given.folded(&threshold).iter().map(|block| block.cohort().size()).sum()
            })
            .collect();
        assert_eq!(totals.len(), 1, "population {seed}: {totals:?}");
    }
}

#[test]
fn folding_again_and_in_another_order_gives_the_same() {
    let threshold = Threshold::default();
    for seed in 0..POPULATIONS {
        let mut given = Given::random(seed);
        let blocks = given.folded(&threshold);
        given.leaves.iter_mut().for_each(|by_pod| by_pod.reverse());
        let turned = fold(given.tree((0..LEAVES).rev()), given.rule, &threshold);
        assert_eq!(blocks, turned, "population {seed}");
    }
}

/// A check that cannot fail proves nothing: the same adversary beats the obvious rule.
#[test]
fn the_adversary_beats_the_naive_rule() {
    let threshold = Threshold::default();
    for (shape, rule) in [Shape::TwoLevels, Shape::ThreeLevels, Shape::Bins]
        .into_iter()
        .flat_map(|shape| [Rule::Installations, Rule::Pods].map(|rule| (shape, rule)))
    {
        let populations =
            (0..600).map(Given::random).filter(|given| (given.shape, given.rule) == (shape, rule));
        // Where Pods are counted, the hidden rest more often has five or more Pods, which is safe.
        let at_least = if rule == Rule::Pods { 5 } else { 25 };
        let (beaten, of) = populations.fold((0, 0), |(beaten, of), given| {
            let caught = attack(&given, &given.naive(&threshold), &threshold).is_err();
            (beaten + usize::from(caught), of + 1)
        });
        assert!(beaten >= at_least, "{shape:?}, {rule:?}: beaten {beaten} times in {of}");
    }
}
