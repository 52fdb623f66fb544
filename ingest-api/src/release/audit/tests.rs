//! The answer of the flows against that of a linear program, which knows nothing about flows.

use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOutcome};

use super::*;
use crate::release::random::Random;
use crate::release::{Rule, Threshold};

/// The fewest reporters that the crossing of these rows and columns can have: over all tables with the sums
/// of this one that are empty where nobody can be.
fn least(table: &Table, rows: &Side<'_>, columns: &Side<'_>) -> f64 {
    let mut program = Problem::new(OptimizationDirection::Minimize);
    let sizes: Vec<Vec<u64>> = table.joint.iter().map(|row| row.iter().map(Cohort::size).collect()).collect();
    let fields: Vec<Vec<_>> = (0..sizes.len())
        .map(|r| {
            let field = |c: usize| {
                let counts = f64::from(u8::from(rows.members[r] && columns.members[c]));
                let most = if table.open[r][c] { f64::INFINITY } else { sizes[r][c] as f64 };
                program.add_var(counts, (0.0, most))
            };
            (0..sizes[r].len()).map(field).collect()
        })
        .collect();
    for (r, row) in fields.iter().enumerate() {
        let sum: u64 = sizes[r].iter().sum();
        program.add_constraint(row.iter().map(|field| (*field, 1.0)), ComparisonOp::Eq, sum as f64);
    }
    for c in 0..sizes[0].len() {
        let sum: u64 = sizes.iter().map(|row| row[c]).sum();
        let column = fields.iter().map(|row| (row[c], 1.0));
        program.add_constraint(column, ComparisonOp::Eq, sum as f64);
    }
    match program.solve().unwrap() {
        SolveOutcome::Solution(solution) => solution.objective(),
        SolveOutcome::Interrupted(_) => panic!("there is no limit"),
    }
}

fn random_table(seed: u64) -> Table {
    let mut random = Random::new(seed);
    let (height, width) = (2 + random.any(5), 2 + random.any(4));
    let mut joint = vec![vec![Cohort::default(); width]; height];
    let mut open = vec![vec![true; width]; height];
    for row in 0..height {
        for column in 0..width {
            open[row][column] = !random.once_in(3);
            // A few reporters are in fields that should be empty.
            if open[row][column] || random.once_in(20) {
                let pods = random.any(9) as u32;
                joint[row][column] = Cohort::new((0..pods).map(|pod| (pod, random.pod_size() / 2)).collect());
            }
        }
    }
    let each = |n: usize| (0..n).map(|index| BTreeSet::from([index])).collect();
    Table { joint, open, row_sets: each(height), column_sets: each(width) }
}

#[test]
fn a_group_can_be_empty_if_and_only_if_a_linear_program_says_so() {
    let mut forced = 0;
    let mut tried = 0;
    for seed in 0..150 {
        let table = random_table(seed);
        let sizes: Vec<Vec<u64>> =
            table.joint.iter().map(|row| row.iter().map(Cohort::size).collect()).collect();
        for rows in &sides(&table.row_sets, table.joint.len()) {
            for columns in &sides(&table.column_sets, table.joint[0].len()) {
                let least = least(&table, rows, columns);
                let can_be_empty = table.can_be_empty(&sizes, rows, columns, &mut Budget::new(1_000));
                assert_eq!(can_be_empty, Ok(least < 0.5), "table {seed}: {least}");
                forced += usize::from(least > 0.5);
                tried += 1;
            }
        }
    }
    assert!(forced > tried / 10 && forced < tried * 9 / 10, "both happen: {forced} of {tried}");
}

/// Forty are on iOS, thirty of them with an app that runs nowhere else: so ten use another app there.
#[test]
fn what_runs_nowhere_else_gives_away_the_others() {
    let of = |n: u32| Cohort::new((0..10).map(|pod| (pod, n)).collect());
    let table = |web_on_ios| Table {
        // Rows: an app for iOS, the web app; columns: iOS, others.
        joint: vec![vec![of(3), of(0)], vec![of(web_on_ios), of(9)]],
        open: vec![vec![true, false], vec![true, true]],
        row_sets: BTreeSet::from([BTreeSet::from([0])]),
        column_sets: BTreeSet::from([BTreeSet::from([0])]),
    };
    let safe = |cohort: &Cohort| Threshold::default().safe(Rule::Installations, cohort);
    let both = Pinned { rows: BTreeSet::from([0]), columns: BTreeSet::from([0]) };
    let pinned = |web_on_ios, steps| table(web_on_ios).pinned(&safe, &mut Budget::new(steps));
    assert_eq!(pinned(1, 100), Ok(Some(both)));
    assert_eq!(pinned(2, 100), Ok(None), "twenty are safe");
    assert_eq!(pinned(0, 100), Ok(None), "nobody is there");
    assert_eq!(pinned(2, 3), Err(Exhausted), "and four crossings to try");
}
