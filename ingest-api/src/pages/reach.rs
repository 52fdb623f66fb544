//! How many use Prose through a Pod, and how many without one. The two are compared, and never added to one number.

use maud::{Markup, html};

use super::chart::{Chart, Series, lines};
use super::distribution::{Heading, rows, table};
use super::{Asked, layout, text};
use crate::insight::{Answer, AnsweredWindow, Insight};
use crate::window::{Window, WindowKind};

pub(super) fn content(asked: &Asked<'_>) -> Markup {
    let windows = &asked.answer.windows;
    html! {
        @if let Some(newest) = windows.last() {
            (now(asked, newest))
            (layout::over_time("Over time", windows.len(), asked.view.kind, || html! {
                (over_time(asked.answer, asked.view.kind))
                (numbers(asked.answer, asked.view.kind))
            }))
        }
    }
}

fn now(asked: &Asked<'_>, window: &AnsweredWindow) -> Markup {
    let within = text::within(Window::of_day(asked.view.kind, text::start_of(window)));
    let caption = format!("Installations through a Pod and without one {within}");
    html! {
        section aria-labelledby="now" {
            h2 id="now" { "Now" }
            @if window.blocks.len() < 2 {
                (layout::too_few(&within))
                p { "Without both numbers, no share can be told." }
            } @else {
                (table(Heading { caption: &caption, value: "Way", unit: "Installation" }, &rows(Insight::Reach, window), None))
                p.note {
                    "An installation reports through its Pod, or itself where its server is not a Pod of Prose. One that did both in a "
                    (asked.view.kind.as_str()) " is in both numbers, so that only their proportion is told, and no total."
                }
            }
        }
    }
}

/// A line for each of the two.
pub(super) fn over_time(answer: &Answer, kind: WindowKind) -> Markup {
    let line = |label: &str, name: &str, tone: &str| Series {
        label: name.to_owned(),
        tone: tone.to_owned(),
        values: answer
            .windows
            .iter()
            .map(|window| count_of(window, label).map(|count| count as f64))
            .collect(),
    };
    let series = [line("proxied", "Via a Pod", "c0"), line("direct", "No Pod", "c1")];
    let starts: Vec<_> = answer.windows.iter().map(text::start_of).collect();
    let newest = answer.windows.last();
    let newest = |label| {
        newest.and_then(|window| count_of(window, label)).map_or_else(|| "too few".to_owned(), text::count)
    };
    let description = format!(
        "Installations in {}. In the newest: {} through a Pod, {} without one.",
        layout::period(kind, &starts),
        newest("proxied"),
        newest("direct"),
    );
    let chart = Chart {
        id: "reach",
        title: "Installations through a Pod and without one",
        description: &description,
        kind,
        starts: &starts,
        series: &series,
        shares: false,
        guide: None,
    };
    lines(&chart)
}

fn count_of(window: &AnsweredWindow, label: &str) -> Option<u64> {
    window.blocks.iter().find(|block| block.label == label).map(|block| block.count)
}

/// The numbers of the chart.
pub(super) fn numbers(answer: &Answer, kind: WindowKind) -> Markup {
    let cell = |window: &AnsweredWindow, label: &str| {
        count_of(window, label).map_or_else(|| "too few".to_owned(), text::count)
    };
    let head = html! {
        th.number scope="col" data-label="proxied" { "Through a Pod" }
        th.number scope="col" data-label="direct" { "Without a Pod" }
    };
    let body = html! {
        @for window in answer.windows.iter().rev() {
            tr data-start=(window.start) {
                th scope="row" { (text::start(kind, text::start_of(window))) }
                td.number { (cell(window, "proxied")) }
                td.number { (cell(window, "direct")) }
            }
        }
    };
    layout::numbers("reach-numbers", &head, &body)
}
