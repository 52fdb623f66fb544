//! One or two numbers in each window → lines over time, and their table.

use maud::{Markup, html};

use super::chart::{Chart, Series, lines};
use super::{layout, text};
use crate::insight::{Answer, AnsweredWindow};
use crate::window::WindowKind;

#[derive(Debug)]
pub(super) struct Totals {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) columns: &'static [TotalColumn],
}

/// A number of each window: a column of the table and, unless it has no label, a line of the chart.
#[derive(Debug)]
pub(super) struct TotalColumn {
    /// As in the API.
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    /// The name beside the line, where there is little room.
    pub(super) label: Option<&'static str>,
    /// What the table shows where nothing was published.
    pub(super) none: &'static str,
    pub(super) count: fn(&AnsweredWindow) -> Option<u64>,
}

impl TotalColumn {
    fn text(&self, window: &AnsweredWindow) -> String {
        (self.count)(window).map_or_else(|| self.none.to_owned(), text::count)
    }
}

impl Totals {
    pub(super) fn show(&self, answer: &Answer, kind: WindowKind) -> Markup {
        let starts: Vec<_> = answer.windows.iter().map(text::start_of).collect();
        let drawn = || self.columns.iter().filter_map(|column| Some((column.label?, column)));
        let series: Vec<_> = drawn()
            .enumerate()
            .map(|(n, (label, column))| Series {
                label: label.to_owned(),
                tone: format!("c{n}"),
                values: answer
                    .windows
                    .iter()
                    .map(|window| (column.count)(window).map(|count| count as f64))
                    .collect(),
            })
            .collect();
        let newest: Vec<_> = answer
            .windows
            .iter()
            .next_back()
            .map(|window| drawn().map(|(_, of)| format!("{}: {}", of.name, of.text(window))).collect())
            .unwrap_or_default();
        let description = format!(
            "{} in {}. In the newest {}, {}.",
            self.title,
            layout::period(kind, &starts),
            kind.as_str(),
            newest.join(", ")
        );
        let chart = Chart {
            id: self.id,
            title: self.title,
            description: &description,
            kind,
            starts: &starts,
            series: &series,
            shares: false,
            guide: None,
        };
        let head = html! {
            @for column in self.columns { th.number scope="col" data-label=(column.key) { (column.name) } }
        };
        let body = html! {
            @for window in answer.windows.iter().rev() {
                tr data-start=(window.start) {
                    th scope="row" { (text::start(kind, text::start_of(window))) }
                    @for column in self.columns { td.number { (column.text(window)) } }
                }
            }
        };
        html! {
            (lines(&chart))
            (layout::numbers(&format!("{}-numbers", self.id), &head, &body))
        }
    }
}
