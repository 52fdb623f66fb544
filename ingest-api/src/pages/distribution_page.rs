//! A page about a distribution: the newest window, and lines over time for the largest groups.

use maud::{Markup, html};
use shared::data_point::Guide;

use super::bars::{Heading, Level, group_of, grouped};
use super::chart::lines;
use super::history::History;
use super::{InsightPage, controls, layout, names, shares, text};
use crate::insight::{AnsweredWindow, Insight, is_known};
use crate::release::OTHER;

/// How many lines a chart has.
const LINES: usize = 6;

pub(super) fn content(insight: Insight, page: &InsightPage<'_>, value: &str, words: Option<Guide>) -> Markup {
    let windows = page.windows();
    let guide = words.map(|_| f64::from(page.view.guide) / 100.0);
    html! {
        @if let Some(newest) = windows.last() {
            @if let (Some(words), Some(guide)) = (words, guide) { (verdict(insight, page, newest, words, guide)) }
            (now(insight, page, newest, value, guide))
            (over_time(insight, page, &windows, guide))
        }
    }
}

fn verdict(
    insight: Insight,
    page: &InsightPage<'_>,
    window: &AnsweredWindow,
    words: Guide,
    guide: f64,
) -> Markup {
    let rows = grouped(insight, window);
    let over: Vec<_> = rows.iter().filter(|row| row.level == Level::Whole && row.share >= guide).collect();
    html! {
        section.verdict aria-label="The guide line" {
            (controls::guide_form(page.view))
            @if !window.blocks.is_empty() {
                p {
                    (if over.is_empty() { words.none } else { words.some }) strong { (page.view.guide) "\u{a0}%" } " or more"
                    @for (n, row) in over.iter().enumerate() {
                        (if n == 0 { ": " } else { ", " }) strong { (row.name) } " (" (text::percent(row.share)) ")"
                    }
                    "."
                }
                p.note { (words.note) }
            }
        }
    }
}

fn now(
    insight: Insight,
    page: &InsightPage<'_>,
    window: &AnsweredWindow,
    value: &str,
    guide: Option<f64>,
) -> Markup {
    let caption = format!("{value}s of installations {}", text::within(page.window(window)));
    let heading = Heading { caption: &caption, value };
    shares::now(page, window, heading, &grouped(insight, window), guide, || layout::denominator(page, window))
}

fn over_time(
    insight: Insight,
    page: &InsightPage<'_>,
    windows: &[&AnsweredWindow],
    guide: Option<f64>,
) -> Markup {
    let mut history =
        History::of(page.view.kind, windows, |label| Some(group_of(label))).at_most(LINES, "All others");
    let mut colours = 0..;
    // The largest one has the first colour.
    history.columns.sort_by(|a, b| b.newest().total_cmp(&a.newest()));
    for column in &mut history.columns {
        column.tone = match column.key.as_str() {
            "" | OTHER => "rest".to_owned(),
            key if !is_known(key) => "untold".to_owned(),
            _ => format!("c{}", colours.next().unwrap_or(0)),
        };
        if !column.key.is_empty() {
            column.name = names::name(insight, &column.key);
        }
    }
    // The table starts with the last column.
    history.columns.reverse();
    shares::over_time(page, &history, ["shares", "Shares over time"], guide, lines)
}
