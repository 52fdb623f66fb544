//! The blocks of many windows → shares over time, as series of a chart and as its table.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use maud::{Markup, html};

use super::bars::part;
use super::chart::Series;
use super::text;
use crate::insight::{AnsweredWindow, is_known};
use crate::window::WindowKind;

#[derive(Debug)]
pub(super) struct History {
    pub(super) kind: WindowKind,
    pub(super) starts: Vec<Date>,
    pub(super) columns: Vec<Column>,
}

/// A group of values, and its share in each window; `None` where nothing was published.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    /// The label in the API, or what the labels of a group begin with. Empty for the rest, which has no room
    /// of its own.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) tone: String,
    pub(super) shares: Vec<Option<f64>>,
}

impl History {
    /// The shares of each group, whose name `key` returns; blocks without a group do not count. Columns are
    /// in the order of the groups.
    pub(super) fn of<'a>(
        kind: WindowKind,
        windows: &[&'a AnsweredWindow],
        key: impl Fn(&'a str) -> Option<&'a str>,
    ) -> Self {
        let mut columns: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let mut totals = vec![0; windows.len()];
        for (at, window) in windows.iter().enumerate() {
            for block in &window.blocks {
                let Some(key) = key(&block.label) else { continue };
                let counts = columns.entry(key).or_insert_with(|| vec![0; windows.len()]);
                if let (Some(count), Some(total)) = (counts.get_mut(at), totals.get_mut(at)) {
                    *count += block.count;
                    *total += block.count;
                }
            }
        }
        let columns = columns.into_iter().map(|(key, counts)| Column {
            key: key.to_owned(),
            name: key.to_owned(),
            tone: String::new(),
            shares: counts.iter().zip(&totals).map(|(n, all)| (*all > 0).then(|| part(*n, *all))).collect(),
        });
        Self {
            kind,
            starts: windows.iter().map(|window| text::start_of(window)).collect(),
            columns: columns.collect(),
        }
    }

    /// Leaves at most so many columns of known values, and merges the smallest into one at the end. Half of
    /// those that stay are the largest now; the others are, or once were, large.
    pub(super) fn at_most(mut self, most: usize, name: &str) -> Self {
        let mut known: Vec<&Column> = self.known().collect();
        if known.len() <= most {
            return self;
        }
        let most = most.saturating_sub(1);
        known.sort_by(|a, b| b.newest().total_cmp(&a.newest()));
        let now = most.div_ceil(2);
        known[now..].sort_by(|a, b| b.weight().total_cmp(&a.weight()));
        let staying: BTreeSet<String> = known[..most].iter().map(|column| column.key.clone()).collect();
        let (kept, rest): (Vec<_>, Vec<_>) = self
            .columns
            .into_iter()
            .partition(|column| !is_known(&column.key) || staying.contains(&column.key));
        let sum = |at: usize| {
            let shares: Vec<f64> =
                rest.iter().filter_map(|column| column.shares.get(at).copied().flatten()).collect();
            (!shares.is_empty()).then(|| shares.iter().sum())
        };
        let shares = (0..self.starts.len()).map(sum).collect();
        self.columns = kept;
        self.columns.push(Column {
            key: String::new(),
            name: name.to_owned(),
            tone: "rest".to_owned(),
            shares,
        });
        self
    }

    fn known(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| is_known(&column.key))
    }

    pub(super) fn series(&self) -> Vec<Series> {
        let series = |column: &Column| Series {
            label: column.name.clone(),
            tone: column.tone.clone(),
            values: column.shares.clone(),
        };
        self.columns.iter().map(series).collect()
    }

    /// The chart in words.
    pub(super) fn description(&self) -> String {
        let mut newest: Vec<(f64, &str)> = self
            .columns
            .iter()
            .filter_map(|column| Some((column.shares.last().copied().flatten()?, column.name.as_str())))
            .collect();
        newest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let newest: Vec<_> =
            newest.iter().take(5).map(|(share, name)| format!("{name} {}", text::percent(*share))).collect();
        format!(
            "Shares in {}. In the newest: {}. The table below has every number.",
            super::layout::period(self.kind, &self.starts),
            newest.join(", ")
        )
    }

    /// The numbers of the chart, the newest first.
    pub(super) fn table(&self, id: &str) -> Markup {
        let head = html! {
            @for column in self.columns.iter().rev() {
                th.number scope="col" data-label=(column.key) { (column.name) }
            }
        };
        let body = html! {
            @for (at, start) in self.starts.iter().enumerate().rev() {
                tr data-start=(start) {
                    th.date scope="row" { (text::start(self.kind, *start)) }
                    @for column in self.columns.iter().rev() {
                        td.number {
                            @match column.shares.get(at).copied().flatten() {
                                Some(share) => (text::percent(share)),
                                None => "–",
                            }
                        }
                    }
                }
            }
        };
        super::layout::numbers(id, &head, &body)
    }
}

impl Column {
    /// The share in the newest window with published numbers; 0 if there is none.
    pub(super) fn newest(&self) -> f64 {
        self.shares.iter().rev().copied().flatten().next().unwrap_or(0.0)
    }

    /// How much of it the chart shows, now and at its largest.
    fn weight(&self) -> f64 {
        self.newest() + self.shares.iter().copied().flatten().fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_columns_stay_and_the_others_become_one() {
        let column = |key: &str, share| Column {
            key: key.to_owned(),
            name: key.to_owned(),
            tone: String::new(),
            shares: vec![Some(share), None],
        };
        let shares = [("a", 0.1), ("b", 0.4), ("c", 0.05), ("d", 0.4), ("not_reported", 0.05)];
        let history = History {
            kind: WindowKind::Day,
            starts: vec![Date::constant(2026, 9, 1), Date::constant(2026, 9, 2)],
            columns: shares.iter().map(|(key, share)| column(key, *share)).collect(),
        };
        let history = history.at_most(3, "Others");
        let names: Vec<_> = history.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["b", "d", "not_reported", "Others"]);
        assert!(history.columns[3].shares[0].is_some_and(|share| (share - 0.15).abs() < 1e-9));
        assert_eq!(history.columns[3].shares[1], None);
    }

    #[test]
    fn what_is_large_now_stays_whatever_was_large_before() {
        let column = |key: &str, shares: [Option<f64>; 4]| Column {
            key: key.to_owned(),
            name: key.to_owned(),
            tone: String::new(),
            shares: shares.to_vec(),
        };
        let old = |key: &str, at: usize| {
            let mut shares = [Some(0.0), Some(0.0), Some(0.0), None];
            shares[at] = Some(0.7);
            column(key, shares)
        };
        // Nothing was published in the newest window, so that the one before says what is large now.
        let new = column("1.3.0", [Some(0.3), Some(0.3), Some(0.68), None]);
        let newer = column("1.4.0", [Some(0.0), Some(0.0), Some(0.25), None]);
        let columns = vec![old("1.0.0", 0), old("1.1.0", 1), old("1.2.0", 0), old("1.2.1", 1), new, newer];
        let starts = (1..=4).map(|day| Date::constant(2026, 9, day)).collect();
        let history = History { kind: WindowKind::Day, starts, columns }.at_most(4, "Others");
        let names: Vec<_> = history.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["1.0.0", "1.3.0", "1.4.0", "Others"]);
    }

    #[test]
    fn columns_of_the_same_weight_do_not_push_a_larger_one_out() {
        let column = |key: &str, share: f64| Column {
            key: key.to_owned(),
            name: key.to_owned(),
            tone: String::new(),
            shares: vec![Some(share)],
        };
        let columns = [("a", 0.1), ("b", 0.1), ("c", 0.1), ("d", 0.7)].map(|(key, share)| column(key, share));
        let starts = vec![Date::constant(2026, 9, 1)];
        let history =
            History { kind: WindowKind::Day, starts, columns: columns.to_vec() }.at_most(3, "Others");
        let names: Vec<_> = history.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["a", "d", "Others"]);
    }
}
