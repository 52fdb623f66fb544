//! On which platforms: now, and over time by family.

use maud::{Markup, html};

use super::chart::{Chart, lines};
use super::distribution::{Heading, group_of, grouped, table};
use super::history::History;
use super::{Asked, layout, names, text};
use crate::insight::{AnsweredWindow, Insight, is_known};
use crate::release::{NOT_REPORTED, OTHER};
use crate::window::Window;

/// How many lines a chart has.
const LINES: usize = 6;

pub(super) fn content(asked: &Asked<'_>) -> Markup {
    let windows: Vec<&AnsweredWindow> = of_population(asked);
    html! {
        @if let Some(newest) = windows.last() {
            (now(Insight::Platforms, asked, newest, "Platform", None))
            (over_time(Insight::Platforms, asked, &windows, None))
        }
    }
}

/// The windows of the population that is shown.
pub(super) fn of_population<'a>(asked: &Asked<'a>) -> Vec<&'a AnsweredWindow> {
    let population = asked.view.population.as_str();
    asked.answer.windows.iter().filter(|window| window.population == Some(population)).collect()
}

/// The newest window, by groups.
pub(super) fn now(
    insight: Insight,
    asked: &Asked<'_>,
    window: &AnsweredWindow,
    value: &str,
    guide: Option<f64>,
) -> Markup {
    let of = Window::of_day(asked.view.kind, text::start_of(window));
    let (about, within) = (text::window(of), text::within(of));
    let caption = format!("{value}s of installations {within}");
    html! {
        section aria-labelledby="now" {
            h2 id="now" { "Now" }
            @if window.blocks.is_empty() {
                (layout::too_few(&within))
            } @else {
                (table(Heading { caption: &caption, value, unit: "Installation" }, &grouped(insight, window), guide))
                (layout::denominator(window, asked.answer.unit, &about))
            }
        }
    }
}

/// The shares of the largest groups over time, of everybody.
pub(super) fn over_time(
    insight: Insight,
    asked: &Asked<'_>,
    windows: &[&AnsweredWindow],
    guide: Option<f64>,
) -> Markup {
    let mut history =
        History::of(asked.view.kind, windows, |label| Some(group_of(label))).at_most(LINES, "All others");
    let mut colours = 0..;
    // The largest one has the first colour.
    history.columns.sort_by(|a, b| b.newest().total_cmp(&a.newest()));
    for column in &mut history.columns {
        column.tone = match column.key.as_str() {
            "" | OTHER => "rest".to_owned(),
            NOT_REPORTED => "untold".to_owned(),
            key if !is_known(key) => "untold".to_owned(),
            _ => format!("c{}", colours.next().unwrap_or(0)),
        };
        if !column.key.is_empty() {
            column.name = names::name(insight, &column.key);
        }
    }
    // The table reads from the end.
    history.columns.reverse();
    let (description, series) = (history.description(), history.series());
    let chart = Chart {
        id: "shares",
        title: "Shares over time",
        description: &description,
        kind: asked.view.kind,
        starts: &history.starts,
        series: &series,
        shares: true,
        guide,
    };
    layout::over_time("Share over time", windows.len(), asked.view.kind, || {
        html! {
            p.about { "In " (layout::period(asked.view.kind, &history.starts)) "." }
            (lines(&chart))
            (history.table("shares-numbers"))
        }
    })
}
