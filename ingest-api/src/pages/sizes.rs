//! How large the companies are: ordered bins, now and over time.

use maud::{Markup, html};

use super::chart::{Chart, area};
use super::distribution::{Heading, rows, table};
use super::history::History;
use super::{Asked, layout, names, text};
use crate::insight::{AnsweredWindow, Insight, is_known};
use crate::window::Window;

/// How many bins a chart shows.
const BANDS: usize = 7;

pub(super) fn content(asked: &Asked<'_>) -> Markup {
    let windows: Vec<&AnsweredWindow> = asked.answer.windows.iter().collect();
    html! {
        @if let Some(newest) = windows.last() {
            (now(asked, newest))
            (over_time(asked, &windows))
        }
    }
}

fn now(asked: &Asked<'_>, window: &AnsweredWindow) -> Markup {
    let of = Window::of_day(asked.view.kind, text::start_of(window));
    let (about, within) = (text::window(of), text::within(of));
    let caption = format!("Sizes of Pods {within}, in accounts");
    html! {
        section aria-labelledby="now" {
            h2 id="now" { "Now" }
            @if window.blocks.is_empty() {
                (layout::too_few(&within))
            } @else {
                (table(Heading { caption: &caption, value: "Accounts", unit: "Pod" }, &rows(Insight::PodSizes, window), None))
                p.note { "Neighbouring sizes are joined until enough Pods have one of them; so a range may span several sizes, and not be the same in each " (asked.view.kind.as_str()) "." }
                (layout::denominator(window, asked.answer.unit, &about))
            }
        }
    }
}

fn over_time(asked: &Asked<'_>, windows: &[&AnsweredWindow]) -> Markup {
    let mut history = History::of(asked.view.kind, windows, Some).at_most(BANDS, "Other ranges");
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
            column.name = names::name(Insight::PodSizes, &column.key);
        }
    }
    let (description, series) = (history.description(), history.series());
    let chart = Chart {
        id: "sizes",
        title: "Sizes of Pods over time",
        description: &description,
        kind: asked.view.kind,
        starts: &history.starts,
        series: &series,
        shares: true,
        guide: None,
    };
    layout::over_time("Share over time", windows.len(), asked.view.kind, || {
        html! {
            p.about { "In " (layout::period(asked.view.kind, &history.starts)) "." }
            (area(&chart))
            (history.table("sizes-numbers"))
        }
    })
}
