//! How many Pods there are at least.

use maud::{Markup, html};

use super::totals::{TotalColumn, Totals};
use super::{InsightPage, layout, text};
use crate::insight::AnsweredWindow;

/// The published number of each window.
pub(super) const TOTALS: Totals = Totals {
    id: "pods",
    title: "Pods over time",
    columns: &[
        TotalColumn {
            key: "all",
            name: "Pods",
            label: Some("Pods"),
            none: "too few",
            count: |window| window.total,
        },
        TotalColumn {
            key: "at_least",
            name: "At least",
            label: None,
            none: "–",
            count: |window| window.at_least,
        },
    ],
};

pub(super) fn content(page: &InsightPage<'_>) -> Markup {
    let windows = &page.answer.windows;
    html! {
        @if let Some(newest) = windows.last() {
            (now(page, newest))
            (layout::over_time("Over time", windows.len(), page.view.kind, || TOTALS.show(page.answer, page.view.kind)))
        }
    }
}

fn now(page: &InsightPage<'_>, newest: &AnsweredWindow) -> Markup {
    let within = |window: &AnsweredWindow| text::within(page.window(window));
    let kind = page.view.kind.as_str();
    let most = page.answer.windows.iter().max_by_key(|window| (window.at_least, &window.start));
    layout::section(
        "now",
        "Now",
        &html! {
            @if let (Some(total), Some(at_least)) = (newest.total, newest.at_least) {
                div.answer {
                    p.figure { "at least " span data-is="at-least" { (text::count(at_least)) } }
                    p { "Pods: about " span data-is="total" { (text::count(total)) } " different ones reported " (within(newest)) ", a rounded number." }
                }
            } @else {
                (layout::too_few(&within(newest)))
            }
            @if let Some((most, at_least)) = most.and_then(|most| Some((most, most.at_least?))) {
                p.note {
                    "The most in any " (kind) " of this period: at least " strong { (text::count(at_least)) } ", " (within(most))
                    ". We do not add the Pods of several " (kind) "s, because most are the same. "
                    "There may be more Pods: those that turned analytics off are in no number. "
                    "Do not trust a sudden rise: anybody can invent Pods."
                }
            }
        },
    )
}
