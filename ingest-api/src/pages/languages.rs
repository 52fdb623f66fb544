//! Which languages: now and over time, with a guide line at a share that the reader chooses.

use maud::{Markup, html};

use super::distribution::{Level, grouped};
use super::platforms::{now, of_population, over_time};
use super::{Asked, controls, text};
use crate::insight::{AnsweredWindow, Insight};

pub(super) fn content(asked: &Asked<'_>) -> Markup {
    let windows = of_population(asked);
    let guide = f64::from(asked.view.guide) / 100.0;
    html! {
        @if let Some(newest) = windows.last() {
            (verdict(asked, newest, guide))
            (now(Insight::Languages, asked, newest, "Language", Some(guide)))
            (over_time(Insight::Languages, asked, &windows, Some(guide)))
        }
    }
}

/// Which languages are over the guide line.
fn verdict(asked: &Asked<'_>, window: &AnsweredWindow, guide: f64) -> Markup {
    let rows = grouped(Insight::Languages, window);
    let over: Vec<_> = rows.iter().filter(|row| row.level == Level::Whole && row.share >= guide).collect();
    html! {
        section.verdict aria-label="The guide line" {
            (controls::guide_form(asked.view))
            @if !window.blocks.is_empty() {
                p {
                    @if over.is_empty() {
                        "No language is preferred by " strong { (asked.view.guide) "\u{a0}%" } " or more."
                    } @else {
                        "Preferred by " strong { (asked.view.guide) "\u{a0}%" } " or more: "
                        @for (n, row) in over.iter().enumerate() {
                            @if n > 0 { ", " }
                            strong { (row.name) } " (" (text::percent(row.share)) ")"
                        }
                        "."
                    }
                }
                p.note {
                    "The first choice of each installation counts. A language is the sum of its regions; regions that are too small "
                    "stand under “everything else” of their language or of all, so that a language may be somewhat above its number."
                }
            }
        }
    }
}
