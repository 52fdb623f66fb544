//! How many Pods there are at least.

use maud::{Markup, html};

use super::chart::{Chart, Series, lines};
use super::{Asked, layout, text};
use crate::insight::{Answer, AnsweredWindow};
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

fn now(asked: &Asked<'_>, newest: &AnsweredWindow) -> Markup {
    let name =
        |window: &AnsweredWindow| text::within(Window::of_day(asked.view.kind, text::start_of(window)));
    let within = name(newest);
    let most = asked.answer.windows.iter().max_by_key(|window| (window.at_least, &window.start));
    html! {
        section aria-labelledby="now" {
            h2 id="now" { "Now" }
            @if let (Some(total), Some(at_least)) = (newest.total, newest.at_least) {
                div.answer {
                    p.figure { "at least " span data-is="at-least" { (text::count(at_least)) } }
                    p { "Pods: about " span data-is="total" { (text::count(total)) } " different ones reported " (within) ", and the number is rounded." }
                }
            } @else {
                (layout::too_few(&within))
            }
            @if let Some((most, at_least)) = most.and_then(|most| Some((most, most.at_least?))) {
                p.note {
                    "The most in any " (asked.view.kind.as_str()) " of this period: at least " strong { (text::count(at_least)) }
                    ", " (name(most)) ". Pods of several " (asked.view.kind.as_str()) "s are not added up, because most are the same ones. "
                    "Pods whose operator turned analytics off are in no number, so there may be more; whoever wants to can invent Pods, so "
                    "that a sudden rise is not to be trusted."
                }
            }
        }
    }
}

/// The published number of each window.
pub(super) fn over_time(answer: &Answer, kind: WindowKind) -> Markup {
    let starts: Vec<_> = answer.windows.iter().map(text::start_of).collect();
    let values = answer.windows.iter().map(|window| window.total.map(|total| total as f64));
    let series = [Series { label: "Pods".to_owned(), tone: "c0".to_owned(), values: values.collect() }];
    let newest = answer.windows.last().and_then(|window| window.total);
    let description = format!(
        "Pods in {}. In the newest: {}.",
        layout::period(kind, &starts),
        newest.map_or_else(|| "too few".to_owned(), text::count)
    );
    let chart = Chart {
        id: "pods",
        title: "Pods over time",
        description: &description,
        kind,
        starts: &starts,
        series: &series,
        shares: false,
        guide: None,
    };
    lines(&chart)
}

/// The numbers of the chart.
pub(super) fn numbers(answer: &Answer, kind: WindowKind) -> Markup {
    let head = html! {
        th.number scope="col" data-label="all" { "Pods" }
        th.number scope="col" data-label="at_least" { "At least" }
    };
    let body = html! {
        @for window in answer.windows.iter().rev() {
            tr data-start=(window.start) {
                th scope="row" { (text::start(kind, text::start_of(window))) }
                td.number { (window.total.map_or_else(|| "too few".to_owned(), text::count)) }
                td.number { (window.at_least.map_or_else(|| "–".to_owned(), text::count)) }
            }
        }
    };
    layout::numbers("pods-numbers", &head, &body)
}
