//! The frame of every page: menu, footer, notes, and the text for empty pages.

use jiff::civil::Date;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets::{ICON, STYLE};
use super::{InsightPage, Page, text};
use crate::insight::{AnsweredWindow, Insight};
use crate::window::{Window, WindowKind};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guest {
    /// The name of the token, if the reader is logged in.
    pub(crate) name: Option<String>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub(crate) kind: WindowKind,
    pub(crate) newest: Option<Window>,
    /// Whether there should be a newer one.
    pub(crate) is_late: bool,
}

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

/// A page without a menu, for visitors who are not logged in.
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
    // Not escaped: it is a file of ours.
    html! { span.sign aria-hidden="true" { (PreEscaped(ICON.content)) } }
}

fn footer() -> Markup {
    html! {
        footer {
            p {
                "We count installations and Pods, never people. Each counts once in a window, and we publish only groups that are large enough. "
                a href=(Page::Methodology.path()) { "How we count" } "."
            }
        }
    }
}

/// A part of a page, with its heading.
pub(super) fn section(id: &str, heading: &str, content: &Markup) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (heading) }
            (content)
        }
    }
}

/// A table that scrolls on a narrow screen.
pub(super) fn table(class: Option<&str>, label: &str, caption: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        div.scroll role="region" tabindex="0" aria-label=(label) {
            table class=[class] {
                caption { (caption) }
                thead { tr { (head) } }
                tbody { (body) }
            }
        }
    }
}

/// What changes over time, if there is more than one window. `shown` renders the chart and its numbers.
pub(super) fn over_time(
    heading: &str,
    windows: usize,
    kind: WindowKind,
    shown: impl FnOnce() -> Markup,
) -> Markup {
    section(
        "over-time",
        heading,
        &html! {
            @if windows < 2 {
                p.empty { "One " (kind.as_str()) " has been released in this period. Changes over time need a second one." }
            } @else {
                (shown())
            }
        },
    )
}

/// The numbers of a chart: the column of dates and those of `head`, with the rows of `body`.
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

/// The text of a page without a release.
pub(super) fn nothing_released(page: &InsightPage<'_>) -> Markup {
    let kind = page.view.kind;
    html! {
        section.empty {
            h2 { (if page.fresh.newest.is_some() { "Nothing in this period" } else { "Nothing to show yet" }) }
            @if let Some(newest) = page.fresh.newest {
                p {
                    "No " (kind.as_str()) " that starts in this period has been released. The newest release is for "
                    (text::window(newest)) "."
                }
                p { a href=(page.view.href(|view| (view.from, view.to) = (None, None))) { "Show the newest" } }
            } @else {
                p {
                    "No " (kind.as_str()) " has been released yet. A " (kind.as_str())
                    " is released a minute after its end, at midnight UTC. Until then, nothing about it is published."
                }
            }
        }
    }
}

/// The text for a window in which too few reported.
pub(super) fn too_few(within: &str) -> Markup {
    html! {
        div.empty {
            h3 { "Too few to publish" }
            p {
                "Too few reported " (within) ": any number could reveal something about somebody. "
                a href=(Page::Methodology.path()) { "What makes a group large enough" } "."
            }
        }
    }
}

/// How exact a number is.
pub(super) const ROUNDING: &str = "Each number is rounded on its own: to the nearest 5, and to three digits from 1,000 on. \
So the sums of two tables about the same reporters may differ slightly.";

/// What the shares are parts of, and how much of it is not known.
pub(super) fn denominator(page: &InsightPage<'_>, window: &AnsweredWindow) -> Markup {
    let unknown = window.unknown();
    let part = |count: u64| window.total.map_or(0.0, |total| count as f64 / total.max(1) as f64);
    html! {
        @if let Some(total) = window.total {
            p.note {
                "Shares are parts of the " strong { (text::of_unit(total, &page.answer.unit)) } " published for "
                (text::window(page.window(window))) ". Folded into “everything else”: " strong { (text::percent(part(unknown.folded))) }
                ". Not reported, or not recognised: " strong { (text::percent(part(unknown.untold))) } ". "
                (ROUNDING)
            }
        }
    }
}

/// The same data for other programs, how to read it, and how fresh it is.
pub(super) fn download(insight: Insight, page: &InsightPage<'_>) -> Markup {
    let api = |cut, csv| page.view.api(insight, page.days, cut, csv);
    let links = html! {
        li { a href=(api(None, true)) { "CSV" } }
        li { a href=(api(None, false)) { "JSON" } }
        @if let Some(cut) = page.cut {
            li { a href=(api(Some(cut), true)) { "CSV of what is below " (cut.version) } }
            li { a href=(api(Some(cut), false)) { "JSON of what is below " (cut.version) } }
        }
    };
    let notes = html! {
        p.note { (page.answer.note) }
        @if let Some(newest) = page.fresh.newest {
            p.note {
                "The newest release is for " (text::window(newest)) "."
                @if page.fresh.is_late { " " strong.late { "A newer one is overdue." } }
            }
        }
    };
    downloads(&links, &notes)
}

/// The section with links to data.
pub(super) fn downloads(links: &Markup, notes: &Markup) -> Markup {
    html! {
        section.source aria-labelledby="source" {
            h2 id="source" { "Download" }
            ul.downloads { (links) }
            (notes)
        }
    }
}

/// The first days of the windows of a page, from the first to the last.
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
