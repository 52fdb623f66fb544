//! Random populations, an adversary who subtracts, and the naive rule, which the adversary must beat.

use proptest::prelude::*;

use super::*;

/// A population: for each leaf its path, and how many installations each Pod has there.
type Cells = Vec<(Vec<String>, Vec<(i64, u64)>)>;

fn tree(cells: &Cells) -> Tree {
    let mut tree = Tree::default();
    for (path, by_pod) in cells {
        tree.add(path, Cohort::new(by_pod.clone()));
    }
    tree
}

fn everybody(cells: &Cells) -> Cohort {
    Cohort::new(cells.iter().flat_map(|(_, by_pod)| by_pod.clone()).collect())
}

fn path(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

#[track_caller]
fn check(cells: &[(&[&str], &[u64])], expected: &[(&str, u64)]) {
    let cells: Cells = cells
        .iter()
        .map(|(labels, by_pod)| {
            (path(labels), by_pod.iter().enumerate().map(|(pod, n)| (pod as i64, *n)).collect())
        })
        .collect();
    let blocks = fold(tree(&cells), Rule::Installations, &Threshold::default());
    let found: Vec<_> = blocks.iter().map(|block| (block.label(), block.cohort.size())).collect();
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
    let pods = |n: i64| Cohort::new((0..n).map(|pod| (pod, 1)).collect());
    let bins = |counts: &[(u32, u32, i64)]| {
        let bins = counts.iter().map(|(from, to, n)| (*from, (*to, pods(*n)))).collect();
        let tree = Tree::Inner(BTreeMap::from([("sizes".to_owned(), Tree::Bins(bins))]));
        let blocks = fold(tree, Rule::Pods, &Threshold::default());
        blocks.iter().map(|block| block.label.clone()).collect::<Vec<_>>()
    };
    assert_eq!(bins(&[(0, 4, 9), (5, 9, 2), (10, 19, 6), (20, 49, 1)]), ["0–4", "5–49"]);
    assert_eq!(bins(&[(0, 4, 9), (5, 9, 4)]), ["0–9"]);
    assert_eq!(bins(&[(0, 4, 4)]), Vec::<String>::new());
}

/// What somebody publishes: the leaves that each number is about.
struct Published(Vec<Vec<usize>>);

/// The adversary. Knows which leaves stand behind each number, and subtracts numbers from each other: whatever it
/// can compute must be about a safe cohort, or about nobody. `Err` names the leaves that it has isolated.
fn attack(cells: &Cells, published: &Published, threshold: &Threshold) -> Result<(), Vec<usize>> {
    let pods =
        cells.iter().flat_map(|(_, by_pod)| by_pod).map(|(pod, _)| *pod as usize + 1).max().unwrap_or(0);
    let safe_or_empty = |leaves: Vec<usize>| {
        let mut by_pod: Vec<(i64, u64)> = (0..pods as i64).map(|pod| (pod, 0)).collect();
        for (pod, n) in leaves.iter().flat_map(|leaf| &cells[*leaf].1) {
            by_pod[*pod as usize].1 += n;
        }
        let cohort = Cohort::new(by_pod);
        if cohort.is_empty() || threshold.safe(Rule::Installations, &cohort) { Ok(()) } else { Err(leaves) }
    };
    for whole in &published.0 {
        safe_or_empty(whole.clone())?;
        let parts: Vec<_> = published
            .0
            .iter()
            .filter(|part| part.len() < whole.len() && part.iter().all(|leaf| whole.contains(leaf)))
            .collect();
        // Every part alone, every two parts, and all of them together.
        let without = |taken: &[&Vec<usize>]| {
            whole.iter().copied().filter(|leaf| !taken.iter().any(|part| part.contains(leaf))).collect()
        };
        safe_or_empty(without(&parts))?;
        for (n, part) in parts.iter().enumerate() {
            safe_or_empty(without(&[part]))?;
            for second in &parts[n + 1..] {
                safe_or_empty(without(&[part, second]))?;
            }
        }
    }
    Ok(())
}

/// The rule under test. A total is the sum of the blocks, so it is one more number about all of them.
fn folded(cells: &Cells, threshold: &Threshold) -> Published {
    // Each Pod is counted once for each leaf that it is in, so that a block tells which leaves it is made of.
    const LEAF: i64 = 1_000_000;
    let mut tagged = Tree::default();
    for (leaf, (path, by_pod)) in cells.iter().enumerate() {
        tagged.add(path, Cohort::new(by_pod.iter().map(|(pod, n)| (leaf as i64 * LEAF + pod, *n)).collect()));
    }
    let untagged = |cohort: &Cohort| Cohort::new(cohort.iter().map(|(pod, n)| (pod % LEAF, n)).collect());
    let blocks = fold_by(tagged, &|cohort| threshold.safe(Rule::Installations, &untagged(cohort)));
    let mut published: Vec<Vec<usize>> = blocks
        .iter()
        .map(|block| {
            let mut leaves: Vec<_> = block.cohort.iter().map(|(pod, _)| (pod / LEAF) as usize).collect();
            leaves.dedup();
            leaves
        })
        .collect();
    if published.len() > 1 {
        published.push(published.concat());
    }
    Published(published)
}

/// The rule that suggests itself: every cell with at least K installations, and the total.
fn naive(cells: &Cells, threshold: &Threshold) -> Published {
    let size = |leaf: &usize| Cohort::new(cells[*leaf].1.clone()).size();
    let mut published: Vec<Vec<usize>> = (0..cells.len())
        .filter(|leaf| size(leaf) >= u64::from(threshold.installations()))
        .map(|leaf| vec![leaf])
        .collect();
    published.push((0..cells.len()).collect());
    Published(published)
}

/// Two levels of up to 4 × 4 leaves; Pods of heavy-tailed sizes, most of whose installations agree.
fn any_cells() -> impl Strategy<Value = Cells> {
    let pod_size = prop_oneof![6 => 1..8u64, 3 => 5..40u64, 1 => 40..400u64];
    let pods = prop_oneof![40 => 6..40usize, 20 => 40..200usize, 1 => 200..2_000usize];
    let leaf = prop_oneof![8 => 0..3usize, 3 => 0..8usize, 1 => 0..16usize];
    pods.prop_flat_map(move |n| prop::collection::vec((pod_size.clone(), leaf.clone(), leaf.clone()), n..=n))
        .prop_map(|pods| {
            let mut cells: Cells = (0..16)
                .map(|leaf| (vec![format!("{}", leaf / 4), format!("{}.{}", leaf / 4, leaf % 4)], Vec::new()))
                .collect();
            for (pod, (size, most, some)) in pods.into_iter().enumerate() {
                let minority = size / 4;
                cells[most].1.push((pod as i64, size - minority));
                cells[some].1.push((pod as i64, minority));
            }
            cells.retain(|(_, by_pod)| by_pod.iter().any(|(_, n)| *n > 0));
            cells
        })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn no_union_and_no_difference_of_published_blocks_is_unsafe(cells in any_cells()) {
        let threshold = Threshold::default();
        prop_assert_eq!(attack(&cells, &folded(&cells, &threshold), &threshold), Ok(()));
    }

    #[test]
    fn the_blocks_hold_everybody_or_there_are_none(cells in any_cells()) {
        let threshold = Threshold::default();
        let blocks = fold(tree(&cells), Rule::Installations, &threshold);
        let everybody = everybody(&cells);
        let published = blocks.iter().map(|block| block.cohort.clone()).fold(Cohort::default(), Cohort::union);
        if threshold.safe(Rule::Installations, &everybody) {
            prop_assert_eq!(published, everybody);
        } else {
            prop_assert!(blocks.is_empty());
        }
        prop_assert!(blocks.iter().all(|block| threshold.safe(Rule::Installations, &block.cohort)));
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(cells in any_cells(), turn in 0..16usize) {
        let mut turned = cells.clone();
        let n = turned.len().max(1);
        turned.rotate_left(turn % n);
        for (_, by_pod) in &mut turned {
            by_pod.reverse();
        }
        let threshold = Threshold::default();
        prop_assert_eq!(
            fold(tree(&cells), Rule::Installations, &threshold),
            fold(tree(&turned), Rule::Installations, &threshold)
        );
    }
}

/// A check that cannot fail proves nothing: the same adversary, against the rule that suggests itself.
#[test]
fn the_adversary_beats_the_naive_rule() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let threshold = Threshold::default();
    let mut runner = TestRunner::deterministic();
    let beaten = (0..200)
        .filter(|_| {
            let cells = any_cells().new_tree(&mut runner).unwrap().current();
            attack(&cells, &naive(&cells, &threshold), &threshold).is_err()
        })
        .count();
    assert!(beaten > 50, "beaten {beaten} times in 200");
}
