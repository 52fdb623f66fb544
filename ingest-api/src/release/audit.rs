//! Blocks of two families about the same reporters → a group that the two reveal together. Pure.
//!
//! Two families together can reveal more than each alone. Say 40 reporters are on iOS, and 30 use an app that
//! runs nowhere else: then 10 use other apps on iOS. The adversary knows the sums of the rows and columns of
//! a table, and that some of its fields are empty; the fields themselves are unknown. A group of fields is
//! *pinned* if no table with these sums leaves all of them empty: then it certainly has a member. Only safe
//! groups may be pinned.
//!
//! Whether a group can be empty is a question about flows. Rows send their sums to columns through the fields
//! outside the group. The true table is such a flow, except for what it has inside the group. So the search
//! reroutes that part through other fields, as far as there is room.
//!
//! The search tries crossings of two *sides*. A side is a block, all blocks of one branch of the tree (an
//! app, a family of platforms), all blocks that go with a given block, or everything except one of these.
//!
//! The adversary is granted more than readers have: the numbers before rounding, and the leaves of each
//! block.
//!
//! An attacker who invents reporters controls the size of the table. So a [`Budget`] bounds the search, and
//! nothing is published that was not searched.
//! published that was not tried.

use std::collections::BTreeSet;

use super::cohort::Cohort;

/// The blocks of one family against those of another.
#[derive(Debug)]
pub(super) struct Table {
    /// The reporters in both, by row and column.
    pub(super) joint: Vec<Vec<Cohort>>,
    /// Whether a reporter may be in both, as far as anybody knows.
    pub(super) open: Vec<Vec<bool>>,
    /// The sets of row numbers to try.
    pub(super) row_sets: BTreeSet<BTreeSet<usize>>,
    /// The sets of column numbers to try.
    pub(super) column_sets: BTreeSet<BTreeSet<usize>>,
}

/// The sets of rows and columns that reveal an unsafe group. The group is in both sets, in one but not the
/// other, or in neither.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pinned {
    pub(super) rows: BTreeSet<usize>,
    pub(super) columns: BTreeSet<usize>,
}

/// How many steps are left. A step reads the table once at most.
#[derive(Debug)]
pub(super) struct Budget {
    steps: u32,
}

/// The budget ran out before the search was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Budget {
    pub(super) fn new(steps: u32) -> Self {
        Self { steps }
    }

    /// Takes steps off the budget.
    pub(super) fn spend(&mut self, steps: u32) -> Result<(), Exhausted> {
        self.steps = self.steps.checked_sub(steps).ok_or(Exhausted)?;
        Ok(())
    }

    /// The steps that are left.
    #[cfg(test)]
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }
}

/// A set of rows or columns to try, and the set that it was named by.
struct Side<'a> {
    named_by: &'a BTreeSet<usize>,
    members: Vec<bool>,
    indices: Vec<usize>,
}

impl Table {
    /// The first group that is pinned and not safe.
    ///
    /// # Errors
    /// If the budget runs out before the answer is known.
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
                // A group that contains a safe group is safe.
                if fields().all(|(r, c)| sizes[r][c] == 0) || fields().any(|(r, c)| safe_fields[r][c]) {
                    continue;
                }
                // Fields that are not safe hold few reporters or few Pods, so joining them costs less than a
                // flow.
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
        // Somebody may be in a field that should be empty. An adversary who knows this knows their exact
        // number.
        let room = |flow: &[Vec<u64>], r: usize, c: usize| match (within(r, c), self.open[r][c]) {
            (true, _) => 0,
            (false, true) => u64::MAX,
            (false, false) => sizes[r][c] - flow[r][c],
        };
        while let Some(start) = to_send.iter().position(|left| *left > 0) {
            budget.spend(1)?;
            let Some(way) = shortest_way(&flow, start, &to_take, &room) else { return Ok(false) };
            let last = way[way.len() - 1].1;
            // Forwards through a field, then backwards through one that sends less in return.
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

/// Each set and its complement, unless that is empty.
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

/// The fields of a shortest path from a row to a column with room. It goes forwards through a field, and
/// backwards from its column to the row of the next field.
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
