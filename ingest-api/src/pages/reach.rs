//! How many installations use Prose through a Pod, and how many without one. We compare the two and never add
//! them.

use maud::{Markup, html};

use super::bars::{Heading, rows};
use super::totals::{TotalColumn, Totals};
use super::{InsightPage, layout, shares, text};
use crate::insight::{AnsweredWindow, Insight};

/// A line for each of the two.
pub(super) const TOTALS: Totals = Totals {
    id: "reach",
    title: "Installations through a Pod and without one",
    columns: &[
        TotalColumn {
            key: "proxied",
            name: "Through a Pod",
            label: Some("Via a Pod"),
            none: "too few",
            count: |window| count_of(window, "proxied"),
        },
        TotalColumn {
            key: "direct",
            name: "Without a Pod",
            label: Some("No Pod"),
            none: "too few",
            count: |window| count_of(window, "direct"),
        },
    ],
};

fn count_of(window: &AnsweredWindow, label: &str) -> Option<u64> {
    window.blocks.iter().find(|block| block.label == label).map(|block| block.count)
}

pub(super) fn content(page: &InsightPage<'_>) -> Markup {
    let windows = &page.answer.windows;
    html! {
        @if let Some(newest) = windows.last() {
            (now(page, newest))
            (layout::over_time("Over time", windows.len(), page.view.kind, || TOTALS.show(page.answer, page.view.kind)))
        }
    }
}

fn now(page: &InsightPage<'_>, window: &AnsweredWindow) -> Markup {
    let within = text::within(page.window(window));
    if window.blocks.len() < 2 {
        return layout::section(
            "now",
            "Now",
            &html! {
                (layout::too_few(&within))
                p { "Without both numbers, there is no share." }
            },
        );
    }
    let caption = format!("Installations through a Pod and without one {within}");
    let heading = Heading { caption: &caption, value: "Way" };
    shares::now(page, window, heading, &rows(Insight::Reach, window), None, || {
        html! {
            p.note {
                "An installation reports through its Pod, or directly if its server is not a Pod. One that did both in a "
                (page.view.kind.as_str()) " is in both numbers, so we show their proportion and no total."
            }
        }
    })
}
