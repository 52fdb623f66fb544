//! Blocks of two families about the same reporters → a group that they give away together. Pure.
//!
//! Who knows how many are in each block of two families, and which value goes with which, can tell more than each
//! family alone does: 40 on iOS, of which an app that runs nowhere else has 30, leave 10 with other apps on iOS. The
//! numbers that are known are the sums of the rows and columns of a table that is not; some of its fields are known to
//! be empty. A group of fields is *pinned* if no table with these sums leaves all of them empty: then it is certain
//! that somebody is in it. That must be so of safe groups only.
//!
//! Whether a group can be empty is a question about flows: rows send their sums to columns through the fields that are
//! left. The true table is such a flow but for the group itself, so what is in the group is sent another way, as much
//! as there is room for.
//!
//! The groups that are tried are crossings of two *sides*: a block, all blocks of one branch of the tree (an app, a
//! family of platforms), all blocks that go with a given block, and what is left without each of these.
//!
//! The adversary is granted more than readers have: the numbers before rounding, and the leaves of each block.
//!
//! Whoever invents reporters chooses what the table looks like. So there is a [`Budget`] of what is tried; nothing is
//! published that was not tried.

use std::collections::BTreeSet;

use super::cohort::Cohort;

/// The blocks of one family against those of another.
#[derive(Debug)]
pub(super) struct Table {
    /// Who is in both, by row and column.
    pub(super) joint: Vec<Vec<Cohort>>,
    /// Whether somebody can be in both, for all that is known.
    pub(super) open: Vec<Vec<bool>>,
    /// What of the rows is tried: sets of row numbers.
    pub(super) row_sets: BTreeSet<BTreeSet<usize>>,
    /// The same of the columns.
    pub(super) column_sets: BTreeSet<BTreeSet<usize>>,
}

/// The sets of rows and of columns that told of each other what they should not: what is pinned are those in both,
/// or in one but not the other, or in neither.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pinned {
    pub(super) rows: BTreeSet<usize>,
    pub(super) columns: BTreeSet<usize>,
}

/// How much more may be tried. Each step reads the table once at most.
#[derive(Debug)]
pub(super) struct Budget {
    steps: u32,
}

/// Everything that was allowed has been tried, and there was more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Budget {
    pub(super) fn new(steps: u32) -> Self {
        Self { steps }
    }

    /// Takes some steps off.
    pub(super) fn spend(&mut self, steps: u32) -> Result<(), Exhausted> {
        self.steps = self.steps.checked_sub(steps).ok_or(Exhausted)?;
        Ok(())
    }

    /// What is left.
    #[cfg(test)]
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }
}

/// Some rows, or some columns, and what they were named by.
struct Side<'a> {
    named_by: &'a BTreeSet<usize>,
    members: Vec<bool>,
    indices: Vec<usize>,
}

impl Table {
    /// The first group that is pinned and is not safe.
    ///
    /// # Errors
    /// If the budget does not suffice to know.
    pub(super) fn pinned(
        &self,
        safe: &impl Fn(&Cohort) -> bool,
        budget: &mut Budget,
    ) -> Result<Option<Pinned>, Exhausted> {
        let sizes: Vec<Vec<u64>> =
            self.joint.iter().map(|row| row.iter().map(Cohort::size).collect()).collect();
        let safe_fields: Vec<Vec<bool>> =
            self.joint.iter().map(|row| row.iter().map(safe).collect()).collect();
        let columns = self.joint.first().map_or(0, Vec::len);
        let (row_sides, column_sides) =
            (sides(&self.row_sets, self.joint.len()), sides(&self.column_sets, columns));
        for rows in &row_sides {
            for columns in &column_sides {
                budget.spend(1)?;
                let fields =
                    || rows.indices.iter().flat_map(|r| columns.indices.iter().map(move |c| (*r, *c)));
                // Whoever is in a group that contains a safe one is safe.
                if fields().all(|(r, c)| sizes[r][c] == 0) || fields().any(|(r, c)| safe_fields[r][c]) {
                    continue;
                }
                // Fields that are not safe hold few reporters, or few Pods: to join them is less work than to send a flow.
                let by_pod = fields().flat_map(|(r, c)| self.joint[r][c].iter()).collect();
                if safe(&Cohort::new(by_pod)) || self.can_be_empty(&sizes, rows, columns, budget)? {
                    continue;
                }
                return Ok(Some(Pinned { rows: rows.named_by.clone(), columns: columns.named_by.clone() }));
            }
        }
        Ok(None)
    }

    /// Whether a table with the same sums of rows and columns leaves the crossing of the two sides empty.
    fn can_be_empty(
        &self,
        sizes: &[Vec<u64>],
        rows: &Side<'_>,
        columns: &Side<'_>,
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        let within = |r: usize, c: usize| rows.members[r] && columns.members[c];
        let mut flow = sizes.to_vec();
        let (mut to_send, mut to_take) = (vec![0; rows.members.len()], vec![0; columns.members.len()]);
        for &r in &rows.indices {
            for &c in &columns.indices {
                let moved = std::mem::take(&mut flow[r][c]);
                to_send[r] += moved;
                to_take[c] += moved;
            }
        }
        // Where nobody should be, but somebody is, an adversary who knows that has them exactly.
        let room = |flow: &[Vec<u64>], r: usize, c: usize| match (within(r, c), self.open[r][c]) {
            (true, _) => 0,
            (false, true) => u64::MAX,
            (false, false) => sizes[r][c] - flow[r][c],
        };
        while let Some(start) = to_send.iter().position(|left| *left > 0) {
            budget.spend(1)?;
            let Some(way) = shortest_way(&flow, start, &to_take, &room) else { return Ok(false) };
            let last = way[way.len() - 1].1;
            // Forwards through a field, and back to the row of a field that then sends less there.
            let most = way
                .iter()
                .zip(way.iter().skip(1))
                .map(|((_, column), (back, _))| flow[*back][*column])
                .chain(way.iter().map(|(r, c)| room(&flow, *r, *c)))
                .fold(to_send[start].min(to_take[last]), u64::min);
            to_send[start] -= most;
            to_take[last] -= most;
            for (n, (row, column)) in way.iter().enumerate() {
                flow[*row][*column] += most;
                if let Some((back, _)) = way.get(n + 1) {
                    flow[*back][*column] -= most;
                }
            }
        }
        Ok(true)
    }
}

/// Each set, and what is left without it; not those without a member.
fn sides(sets: &BTreeSet<BTreeSet<usize>>, n: usize) -> Vec<Side<'_>> {
    let both = sets.iter().flat_map(|set| [true, false].map(|inside| (set, inside)));
    let side = |(named_by, inside): (&'_ BTreeSet<usize>, bool)| {
        let members: Vec<bool> = (0..n).map(|index| named_by.contains(&index) == inside).collect();
        (members, (0..n).filter(|index| named_by.contains(index) == inside).collect::<Vec<_>>())
    };
    both.map(|(set, inside)| (set, side((set, inside))))
        .filter(|(_, (_, indices))| !indices.is_empty())
        .map(|(named_by, (members, indices))| Side { named_by, members, indices })
        .collect()
}

/// The fields through which something can go from a row to a column that takes it: forwards through each, and between
/// two of them back through the column of the first to the row of the second.
fn shortest_way(
    flow: &[Vec<u64>],
    start: usize,
    to_take: &[u64],
    room: &impl Fn(&[Vec<u64>], usize, usize) -> u64,
) -> Option<Vec<(usize, usize)>> {
    let mut column_from: Vec<Option<usize>> = vec![None; to_take.len()];
    let mut row_from: Vec<Option<usize>> = vec![None; flow.len()];
    let mut open = std::collections::VecDeque::from([start]);
    while let Some(row) = open.pop_front() {
        for column in 0..to_take.len() {
            if column_from[column].is_some() || room(flow, row, column) == 0 {
                continue;
            }
            column_from[column] = Some(row);
            if to_take[column] > 0 {
                let mut way = vec![(row, column)];
                let mut row = row;
                while row != start {
                    let column = row_from[row]?;
                    row = column_from[column]?;
                    way.push((row, column));
                }
                way.reverse();
                return Some(way);
            }
            for (back, sends) in flow.iter().enumerate() {
                if back != start && row_from[back].is_none() && sends[column] > 0 {
                    row_from[back] = Some(column);
                    open.push_back(back);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
