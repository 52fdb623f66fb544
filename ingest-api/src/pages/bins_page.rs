//! A page about ordered bins: the newest window, and areas over time.

use maud::{Markup, html};

use super::bars::{Heading, rows};
use super::chart::area;
use super::history::History;
use super::{InsightPage, layout, names, shares, text};
use crate::insight::{AnsweredWindow, Insight, is_known};

/// How many bins a chart shows.
const BANDS: usize = 7;

pub(super) fn content(insight: Insight, page: &InsightPage<'_>, title: &str, value: &str) -> Markup {
    let windows = page.windows();
    html! {
        @if let Some(newest) = windows.last() {
            (now(insight, page, newest, [title, value]))
            (over_time(insight, page, &windows, title))
        }
    }
}

fn now(
    insight: Insight,
    page: &InsightPage<'_>,
    window: &AnsweredWindow,
    [title, value]: [&str; 2],
) -> Markup {
    let within = text::within(page.window(window));
    let caption = format!("{title} {within}, in {}", value.to_lowercase());
    let heading = Heading { caption: &caption, value };
    shares::now(page, window, heading, &rows(insight, window), None, || {
        html! {
            p.note {
                "Neighbouring sizes are joined until enough " (page.answer.unit) "s have one of them. So a range may span several sizes, "
                "and may differ from " (page.view.kind.as_str()) " to " (page.view.kind.as_str()) "."
            }
            (layout::denominator(page, window))
        }
    })
}

fn over_time(insight: Insight, page: &InsightPage<'_>, windows: &[&AnsweredWindow], title: &str) -> Markup {
    let mut history = History::of(page.view.kind, windows, Some).at_most(BANDS, "Other ranges");
    history.columns.sort_by_key(|column| {
        let least = column.key.split('–').next().and_then(|least| least.parse::<u32>().ok());
        (least.is_none(), least, !column.key.is_empty())
    });
    let bins = history.columns.iter().filter(|column| column.key.contains('–')).count();
    for (at, column) in history.columns.iter_mut().enumerate() {
        column.tone = match column.key.as_str() {
            "" => "rest".to_owned(),
            key if !is_known(key) => "untold".to_owned(),
            _ => format!("s{}", BANDS - bins.min(BANDS) + at),
        };
        if !column.key.is_empty() {
            column.name = names::name(insight, &column.key);
        }
    }
    let title = format!("{title} over time");
    shares::over_time(page, &history, ["bins", &title], None, area)
}
