//! Random populations, a checker that knows the truth, and naive rules, which it must catch.

use super::*;
use crate::release::family::FamilyId;
use crate::release::noise::Noise;
use crate::release::random::{POPULATIONS, Random};
use crate::release::threshold::{Rule, Threshold};
use crate::release::{NEGLIGIBLE, Population};
use crate::window::{Window, WindowKey, WindowKind};

/// A population: for each leaf its path, and how many installations each Pod has there.
type Cells = Vec<(Vec<String>, Vec<(u32, u32)>)>;

const FLOOR: Threshold = Threshold::FLOOR;

/// Compares exactly, as it is where Pods are counted.
fn exactly(rule: Rule) -> Judge<'static> {
    Judge { rule, threshold: &FLOOR, noise: None }
}

/// The noise of some day, which the seed decides.
fn noise(seed: u64) -> Noise {
    let key = |n: u8| {
        let mut bytes = [n; WindowKey::LEN];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Some(WindowKey::new(&bytes))
    };
    let window = Window::of_day(WindowKind::Day, "2026-11-22".parse().unwrap());
    Noise::of(window, key(1), key(2)).unwrap()
}

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
    let blocks = fold(tree(&cells), &exactly(Rule::Installations));
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
        &[("0.3/several", 25), ("0.4.0", 50)],
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
    let blocks = fold(versions, &exactly(Rule::Pods));
    let published: Vec<_> = blocks.iter().map(|block| (block.label(), block.published())).collect();
    assert_eq!(published, [("0.3/several", 5), ("0.4.0", 20), ("0.4.1", 10), ("other", 10)]);
}

#[test]
fn bins_join_their_neighbours() {
    let pods = |n: u32| Cohort::new((0..n).map(|pod| (pod, 1)).collect());
    let bins = |counts: &[(u32, u32, u32)]| {
        let bins = counts.iter().map(|(from, to, n)| (*from, (*to, pods(*n)))).collect();
        let tree = Tree::Inner(BTreeMap::from([("sizes".to_owned(), Tree::Bins(bins))]));
        let blocks = fold(tree, &exactly(Rule::Pods));
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

    fn cohort(&self, leaf: usize) -> Cohort {
        Cohort::new(self.leaves[leaf].clone())
    }

    fn everybody(&self) -> Cohort {
        Cohort::new(self.leaves.concat())
    }

    /// The rule under test: with noise, where installations are counted.
    fn folded(&self, seed: u64) -> Vec<Cohort> {
        let noise = noise(seed);
        let family = FamilyId::ALL[seed as usize % FamilyId::ALL.len()];
        let judge = match self.rule {
            Rule::Pods => exactly(Rule::Pods),
            Rule::Installations => {
                Judge { noise: Some((&noise, Population::Pod, family)), ..exactly(Rule::Installations) }
            }
        };
        fold(self.tree(0..LEAVES), &judge).into_iter().map(|block| block.cohort).collect()
    }

    /// The obvious rule: publish every cell with at least that many reporters, and hide the others.
    fn naive(&self, least: u64) -> Vec<Cohort> {
        (0..LEAVES).map(|leaf| self.cohort(leaf)).filter(|cohort| cohort.size() >= least).collect()
    }
}

/// What is wrong with what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// A block is under the floor.
    UnderTheFloor,
    /// Somebody is in two blocks.
    Twice,
    /// The rest, which is everybody without the blocks, is under the floor, and no noise hides it.
    Rest,
}

/// The checker knows the truth. If it finds nothing, every sum of blocks is safe, because cohorts that grow
/// stay safe; and so is every difference of two sums, which is a sum of blocks, or has the hidden rest in it.
fn check_published(given: &Given, published: &[Cohort]) -> Result<(), Wrong> {
    if published.iter().any(|cohort| !FLOOR.safe(given.rule, cohort)) {
        return Err(Wrong::UnderTheFloor);
    }
    let mut left: BTreeMap<u32, u32> = given.everybody().iter().collect();
    for (pod, n) in published.iter().flat_map(Cohort::iter) {
        let of_pod = left.entry(pod).or_default();
        *of_pod = of_pod.checked_sub(n).ok_or(Wrong::Twice)?;
    }
    let rest = Cohort::new(left.into_iter().collect());
    let hidden = if given.rule == Rule::Pods { 0 } else { 2 * NEGLIGIBLE };
    match published.is_empty() || rest.size() <= hidden || FLOOR.safe(given.rule, &rest) {
        true => Ok(()),
        false => Err(Wrong::Rest),
    }
}

/// The hard floor.
#[test]
fn no_block_is_under_the_floor_and_no_rest_is_computed() {
    let (mut blocks, mut nothing) = (0, 0);
    for seed in 0..POPULATIONS {
        let given = Given::random(seed);
        let published = given.folded(seed);
        assert_eq!(check_published(&given, &published), Ok(()), "population {seed}");
        blocks += published.len();
        nothing += u64::from(published.is_empty());
    }
    println!("{blocks} blocks of {POPULATIONS} populations, {nothing} publish nothing");
    assert!(blocks > 30_000 && nothing < POPULATIONS / 3);
}

/// A check that cannot fail proves nothing: the same checker catches the obvious rules.
#[test]
fn the_checker_catches_naive_rules() {
    for (shape, rule) in [Shape::TwoLevels, Shape::ThreeLevels, Shape::Bins]
        .into_iter()
        .flat_map(|shape| [Rule::Installations, Rule::Pods].map(|rule| (shape, rule)))
    {
        let least = if rule == Rule::Pods { 5 } else { 20 };
        let populations =
            (0..600).map(Given::random).filter(|given| (given.shape, given.rule) == (shape, rule));
        let (caught, of) = populations.fold((0, 0), |(caught, of), given| {
            (caught + usize::from(check_published(&given, &given.naive(least)).is_err()), of + 1)
        });
        // Where Pods are counted, the hidden rest more often has five or more Pods, which is safe.
        let at_least = if rule == Rule::Pods { 5 } else { 25 };
        assert!(caught >= at_least, "{shape:?}, {rule:?}: caught {caught} times in {of}");
    }
}

#[test]
fn folding_again_and_in_another_order_gives_the_same() {
    for seed in 0..POPULATIONS / 10 {
        let mut given = Given::random(seed);
        let blocks = given.folded(seed);
        given.leaves.iter_mut().for_each(|by_pod| by_pod.reverse());
        assert_eq!(given.folded(seed), blocks, "population {seed}");
    }
}

/// A rest that is larger than the smallest block of its branch takes that one in, and stays in the branch.
#[test]
fn a_large_rest_stays_in_its_branch() {
    let cells = vec![
        (path(&["web", "web 1"]), (0..40).map(|pod| (pod, 100)).collect()),
        (path(&["web", "web 2"]), (0..40).map(|pod| (pod, 4)).collect()),
        // One company.
        (path(&["web", "web 3"]), vec![(0, 9_000)]),
        (path(&["ios", "ios 1"]), (0..40).map(|pod| (pod, 3)).collect()),
        // Nobody can tell from the rest whether these are there.
        (path(&["ios", "ios 2"]), vec![(3, 9)]),
    ];
    let source = noise(1);
    let judge = Judge {
        noise: Some((&source, Population::Pod, FamilyId::INSTALLATIONS)),
        ..exactly(Rule::Installations)
    };
    let blocks = fold(tree(&cells), &judge);
    let labels: Vec<_> = blocks.iter().map(|block| (block.label(), block.cohort().size())).collect();
    assert_eq!(labels, [("ios 1", 120), ("web 1", 4_000), ("web/several", 9_160)]);
}
