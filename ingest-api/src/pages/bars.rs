//! The blocks of one window → a table whose rows are the bars of a chart.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{layout, names, text};
use crate::insight::{AnsweredBlock, AnsweredWindow, Insight, is_known};

/// A row: a value, or a group of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Its label in the API. The label of a group is what its values begin with.
    pub(super) label: String,
    pub(super) name: String,
    pub(super) count: u64,
    /// From 0 to 1.
    pub(super) share: f64,
    pub(super) level: Level,
}

/// How a row relates to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// A single value, or the sum of a group.
    Whole,
    Part,
    /// Reporters whose value is not known.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Heading<'a> {
    pub(super) caption: &'a str,
    pub(super) value: &'a str,
}

/// One row for each block, in the order of the answer; those that are not known come last.
pub(super) fn rows(insight: Insight, window: &AnsweredWindow) -> Vec<Row> {
    let total = window.total.unwrap_or(0);
    let mut rows: Vec<_> = window.blocks.iter().map(|block| row(insight, block, total)).collect();
    rows.sort_by_key(|row| row.level == Level::Unknown);
    rows
}

fn row(insight: Insight, block: &AnsweredBlock, total: u64) -> Row {
    Row {
        label: block.label.clone(),
        name: names::name(insight, &block.label),
        count: block.count,
        share: block.share.unwrap_or_else(|| part(block.count, total)),
        level: if is_known(&block.label) { Level::Whole } else { Level::Unknown },
    }
}

/// A part of a whole, from 0 to 1.
pub(super) fn part(count: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { count as f64 / total as f64 }
}

/// The group of a value: `de` for `de-CH` and `de/other`.
pub(super) fn group_of(label: &str) -> &str {
    label.split(['-', '/']).next().unwrap_or(label)
}

/// Groups of values under their sums, the largest first. The blocks of a family have no reporter in common,
/// so we may add them within a window.
pub(super) fn grouped(insight: Insight, window: &AnsweredWindow) -> Vec<Row> {
    let total = window.total.unwrap_or(0);
    let mut groups: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for block in &window.blocks {
        let row = row(insight, block, total);
        match row.level {
            Level::Unknown => unknown.push(row),
            _ => groups.entry(group_of(&block.label)).or_default().push(row),
        }
    }
    let mut sums: Vec<(Row, Vec<Row>)> = groups
        .into_iter()
        .map(|(group, parts)| {
            let count = parts.iter().map(|row| row.count).sum();
            let (label, name) = (group.to_owned(), names::name(insight, group));
            (Row { label, name, count, share: part(count, total), level: Level::Whole }, parts)
        })
        .collect();
    sums.sort_by(|(a, _), (b, _)| b.count.cmp(&a.count).then_with(|| a.label.cmp(&b.label)));
    let mut rows = Vec::new();
    for (sum, parts) in sums {
        match <[Row; 1]>::try_from(parts) {
            Ok([only]) => rows.push(only),
            Err(parts) => {
                let sum_label = sum.label.clone();
                rows.push(sum);
                // A value that says no more than its group.
                let name = |row: &Row| match row.label == sum_label {
                    true => format!("{}, unspecified", row.name),
                    false => row.name.clone(),
                };
                rows.extend(parts.into_iter().map(|row| Row { name: name(&row), level: Level::Part, ..row }));
            }
        }
    }
    rows.extend(unknown);
    rows
}

/// The table of numbers about a unit. The guide line, a share from 0 to 1, crosses all rows.
pub(super) fn table(heading: Heading<'_>, unit: &str, rows: &[Row], guide: Option<f64>) -> Markup {
    let longest = rows.iter().map(|row| row.share).fold(guide.unwrap_or(0.0) * 1.25, f64::max).max(0.01);
    let length = |share: f64| format!("{:.2}%", share / longest * 100.0);
    let head = html! {
        th scope="col" { (heading.value) }
        th.number scope="col" { (text::capital(unit)) "s" }
        th.number scope="col" { "Share" }
        td.bar aria-hidden="true" {}
    };
    let body = html! {
        @for row in rows {
            tr.part[row.level == Level::Part].unknown[row.level == Level::Unknown] data-label=(row.label) {
                th scope="row" {
                    (row.name)
                    @if row.name != row.label && row.level != Level::Unknown && !row.label.ends_with(&row.name) {
                        " " code { (row.label) }
                    }
                }
                td.number data-is="count" { (text::count(row.count)) }
                td.number data-is="share" { (text::percent(row.share)) }
                td.bar aria-hidden="true" {
                    svg width="100%" height="100%" focusable="false" {
                        rect x="0" y="25%" height="50%" rx="3" width=(length(row.share)) {}
                        @if let Some(guide) = guide {
                            line.guide x1=(length(guide)) x2=(length(guide)) y1="0" y2="100%" {}
                        }
                    }
                }
            }
        }
    };
    layout::table(Some("bars"), heading.caption, heading.caption, &head, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::data_point::UserLang;
    use shared::data_point::UserPlatform;

    fn window(blocks: &[(&str, u64)]) -> AnsweredWindow {
        let total = blocks.iter().map(|(_, count)| count).sum();
        let blocks = blocks.iter().map(|(label, count)| AnsweredBlock {
            label: (*label).to_owned(),
            count: *count,
            share: Some(part(*count, total)),
        });
        AnsweredWindow {
            start: "2026-11-16".to_owned(),
            end: "2026-11-23".to_owned(),
            population: Some("pod".into()),
            total: Some(total),
            at_least: None,
            blocks: blocks.collect(),
            below: None,
        }
    }

    #[test]
    fn a_language_is_the_sum_of_its_regions_and_what_is_not_known_stands_last() {
        let window =
            window(&[("not_reported", 100), ("en-US", 60), ("de-DE", 50), ("de/other", 20), ("fr", 20)]);
        let rows = grouped(Insight::of::<UserLang>(), &window);
        let shown: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.count, row.level)).collect();
        assert_eq!(
            shown,
            [
                ("German", 70, Level::Whole),
                ("German (Germany)", 50, Level::Part),
                ("German, everything else", 20, Level::Part),
                ("English (United States)", 60, Level::Whole),
                ("French", 20, Level::Whole),
                ("Not reported", 100, Level::Unknown),
            ]
        );
        assert_eq!(rows[0].share, 0.28);
    }

    #[test]
    fn what_it_is_given_is_escaped() {
        let window = window(&[("<script>alert(1)</script>", 10)]);
        let heading = Heading { caption: "\"><script>", value: "Value" };
        let html = table(heading, "Pod", &rows(Insight::of::<UserPlatform>(), &window), None).into_string();
        assert!(!html.contains("<script"), "{html}");
    }
}
