//! What all pages about shares have: the newest window as bars, and all windows as a chart.

use maud::{Markup, html};

use super::bars::{Heading, Row, table};
use super::chart::Chart;
use super::history::History;
use super::{InsightPage, layout, text};
use crate::insight::AnsweredWindow;

/// The newest window. `notes` say how its numbers are to be read.
pub(super) fn now(
    page: &InsightPage<'_>,
    window: &AnsweredWindow,
    heading: Heading<'_>,
    rows: &[Row],
    guide: Option<f64>,
    notes: impl FnOnce() -> Markup,
) -> Markup {
    layout::section(
        "now",
        "Now",
        &html! {
            @if rows.is_empty() {
                (layout::too_few(&text::within(page.window(window))))
            } @else {
                (table(heading, &page.answer.unit, rows, guide))
                (notes())
            }
        },
    )
}

/// The shares in all windows.
pub(super) fn over_time(
    page: &InsightPage<'_>,
    history: &History,
    [id, title]: [&str; 2],
    guide: Option<f64>,
    draw: impl Fn(&Chart<'_>) -> Markup,
) -> Markup {
    layout::over_time("Share over time", history.starts.len(), page.view.kind, || {
        let chart = Chart {
            id,
            title,
            description: &history.description(),
            kind: page.view.kind,
            starts: &history.starts,
            series: &history.series(),
            shares: true,
            guide,
        };
        html! {
            p.about { "In " (layout::period(page.view.kind, &history.starts)) "." }
            (draw(&chart))
            (history.table(&format!("{id}-numbers")))
        }
    })
}
