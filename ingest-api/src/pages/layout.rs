//! The frame of every page: menu, footer, notes and what stands where there is nothing to show.

use jiff::civil::Date;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets::{ICON, STYLE};
use super::{Asked, Page, text};
use crate::insight::{AnsweredWindow, Insight};
use crate::window::{Window, WindowKind};

/// Who looks at a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guest {
    /// The name of the token, if somebody is logged in.
    pub(crate) name: Option<String>,
    /// What may be read.
    pub(crate) readable: Vec<Insight>,
}

impl Guest {
    pub(super) fn may_see(&self, page: Page) -> bool {
        match page {
            Page::Overview => !self.readable.is_empty(),
            Page::Insight(insight) => self.readable.contains(&insight),
            Page::Methodology => true,
        }
    }
}

/// How fresh the releases of a kind of window are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fresh {
    /// Of which kind.
    pub(crate) kind: WindowKind,
    /// The newest release.
    pub(crate) newest: Option<Window>,
    /// Whether there should be a newer one.
    pub(crate) is_late: bool,
}

/// A whole page.
pub(super) fn page(guest: &Guest, current: Page, content: Markup) -> String {
    let menu = html! {
        nav.menu aria-label="Pages" {
            ul {
                @for page in Page::all().filter(|page| guest.may_see(*page)) {
                    li { a href=(page.path()) aria-current=[(page == current).then_some("page")] { (page.name()) } }
                }
            }
        }
    };
    document(
        current.name(),
        html! {
            header.top {
                a.brand href="/" { (sign()) "Prose " span { "vendor analytics" } }
                (menu)
                div.account {
                    @if let Some(name) = &guest.name {
                        form method="post" action="/logout" {
                            span.name { "Logged in as " strong { (name) } }
                            button type="submit" { "Log out" }
                        }
                    } @else {
                        a href="/login" { "Log in" }
                    }
                }
            }
            main id="content" tabindex="-1" { (content) }
            (footer())
        },
    )
}

/// A page without a menu: for those who are not in yet.
pub(super) fn plain(title: &str, content: &Markup) -> String {
    document(
        title,
        html! {
            header.top.plain { a.brand href="/" { (sign()) "Prose " span { "vendor analytics" } } }
            main.plain id="content" tabindex="-1" { (content) }
            (footer())
        },
    )
}

fn document(title: &str, body: Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Prose vendor analytics" }
                link rel="stylesheet" href=(STYLE.path);
                link rel="icon" href=(ICON.path) type="image/svg+xml";
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                (body)
            }
        }
    }
    .into_string()
}

fn sign() -> Markup {
    // A file of ours, and not what somebody told us.
    html! { span.sign aria-hidden="true" { (PreEscaped(ICON.content)) } }
}

fn footer() -> Markup {
    html! {
        footer {
            p {
                "Counts installations and Pods, never people: distinct reporters of each window, in groups that are large enough. "
                a href=(Page::Methodology.path()) { "How it is counted" } "."
            }
        }
    }
}

/// What changes over time, if there is more than one window; `shown` makes the chart and its numbers.
pub(super) fn over_time(
    heading: &str,
    windows: usize,
    kind: WindowKind,
    shown: impl FnOnce() -> Markup,
) -> Markup {
    html! {
        section aria-labelledby="over-time" {
            h2 id="over-time" { (heading) }
            @if windows < 2 {
                p.empty { "One " (kind.as_str()) " has been released in this period. What changes over time shows from the second one on." }
            } @else {
                (shown())
            }
        }
    }
}

/// The numbers of a chart: a column for when, and those of `head`, with the rows of `body`.
pub(super) fn numbers(id: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        details.numbers id=(id) {
            summary { "Numbers of this chart" }
            div.scroll role="region" tabindex="0" aria-label="Numbers of the chart" {
                table {
                    thead {
                        tr {
                            th scope="col" { "From" }
                            (head)
                        }
                    }
                    tbody { (body) }
                }
            }
        }
    }
}

/// What stands where no release is.
pub(super) fn nothing_released(asked: &Asked<'_>) -> Markup {
    let kind = asked.view.kind;
    html! {
        section.empty {
            h2 { (if asked.fresh.newest.is_some() { "Nothing in this period" } else { "Nothing to show yet" }) }
            @if let Some(newest) = asked.fresh.newest {
                p {
                    "No " (kind.as_str()) " that starts in this period has been released. The newest release is about "
                    (text::window(newest)) "."
                }
                p { a href=(asked.view.href(|view| (view.from, view.to) = (None, None))) { "Show the newest" } }
            } @else {
                p {
                    "No " (kind.as_str()) " has been released yet. A " (kind.as_str())
                    " is released a minute after its end, at midnight UTC; until then, nothing about it is told."
                }
            }
        }
    }
}

/// What stands where too few reported.
pub(super) fn too_few(within: &str) -> Markup {
    html! {
        div.empty {
            h3 { "Too few to publish" }
            p {
                "Too few reported " (within) " for anything to be published without saying something about somebody. "
                a href=(Page::Methodology.path()) { "What makes a group large enough" } "."
            }
        }
    }
}

/// How exact a number is.
pub(super) const ROUNDING: &str = "Each number is rounded by itself, to the nearest 5, and from 1,000 on to three digits; so \
the sums of two tables about the same reporters may differ a little.";

/// What the shares are parts of, and how much of it is not known.
pub(super) fn denominator(window: &AnsweredWindow, unit: &str, about: &str) -> Markup {
    let unknown = window.unknown();
    let part = |count: u64| window.total.map_or(0.0, |total| count as f64 / total.max(1) as f64);
    html! {
        @if let Some(total) = window.total {
            p.note {
                "Shares are parts of the " strong { (text::of_unit(total, unit)) } " that are published about " (about) ". "
                "Folded into “everything else”, because the groups were too small: " strong { (text::percent(part(unknown.folded))) }
                ". Not reported, or not recognised: " strong { (text::percent(part(unknown.untold))) } ". "
                (ROUNDING)
            }
        }
    }
}

/// Where the same data is for other programs, and how it is to be read.
pub(super) fn source(insight: Insight, asked: &Asked<'_>) -> Markup {
    let api = |csv| asked.view.api(insight, asked.days, None, csv);
    html! {
        section.source aria-labelledby="source" {
            h2 id="source" { "The same data" }
            ul.downloads {
                li { a href=(api(true)) { "CSV" } }
                li { a href=(api(false)) { "JSON" } }
                @if let Some(cut) = asked.cut {
                    li { a href=(asked.view.api(insight, asked.days, Some(cut), true)) { "CSV of what is below " (cut.version) } }
                    li { a href=(asked.view.api(insight, asked.days, Some(cut), false)) { "JSON of what is below " (cut.version) } }
                }
            }
            p.note { (asked.answer.note) }
            (freshness(&asked.fresh))
        }
    }
}

fn freshness(fresh: &Fresh) -> Markup {
    html! {
        @if let Some(newest) = fresh.newest {
            p.note {
                "The newest release is about " (text::window(newest)) "."
                @if fresh.is_late { " " strong.late { "A newer one is overdue." } }
            }
        }
    }
}

/// The days between which the windows of a page start.
pub(super) fn period(kind: WindowKind, starts: &[Date]) -> String {
    match starts {
        [] => String::new(),
        [one] => text::window(Window::of_day(kind, *one)),
        [first, .., last] => {
            let n = text::windows(kind, starts.len());
            format!("{n}, from {} to {}", text::start(kind, *first), text::start(kind, *last))
        }
    }
}
