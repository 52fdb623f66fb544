//! Everything at a glance.

use maud::{Markup, html};
use shared::app::AppName;

use super::layout::{self, Fresh, Guest};
use super::view::{View, short_name};
use super::{Page, names, pods, reach, text};
use crate::insight::{Adoption, Answer, AnsweredWindow, Insight};
use crate::release::Population;
use crate::window::{Window, WindowKind};

/// What the page is made of. An insight that the reader may not read is not answered.
#[derive(Debug)]
pub(crate) struct Overview<'a> {
    /// Who asks.
    pub(crate) guest: &'a Guest,
    /// What was chosen.
    pub(crate) view: &'a View,
    /// How fresh each kind of window is, in the order of the kinds.
    pub(crate) fresh: &'a [Fresh; WindowKind::ALL.len()],
    /// Pods and reach over the period.
    pub(crate) over_time: Vec<(Insight, Answer)>,
    /// What values there are, in the newest window.
    pub(crate) now: Vec<(Insight, Answer)>,
}

impl Overview<'_> {
    fn over_time(&self, insight: Insight) -> Option<&Answer> {
        self.over_time.iter().find(|(of, _)| *of == insight).map(|(_, answer)| answer)
    }
}

/// The page.
pub(crate) fn overview_page(overview: &Overview<'_>) -> String {
    let newest = overview.fresh[overview.view.kind as usize].newest;
    layout::page(
        overview.guest,
        Page::Overview,
        html! {
            header.page {
                h1 { "Overview" }
                p.question {
                    @if let Some(newest) = newest { "What was released about " (text::window(newest)) ". Each heading leads to more, with the same data as CSV and JSON." } @else { "Who runs what, in groups that are large enough." }
                }
            }
            (controls(overview.view))
            @if let Some(newest) = newest {
                (tiles(overview, newest))
                (charts(overview))
                (newest_versions(overview))
                (unknown(overview))
            } @else {
                section.empty {
                    @let others = || overview.fresh.iter().filter(|fresh| fresh.newest.is_some());
                    @if others().next().is_none() {
                        h2 { "Nothing has been released yet" }
                    } @else {
                        h2 { "No " (overview.view.kind.as_str()) " has been released yet" }
                        p {
                            "There are releases of "
                            @for (n, other) in others().enumerate() {
                                @if n > 0 { " and " }
                                a href=(format!("/?window={}", other.kind.as_str())) { (other.kind.as_str()) "s" }
                            }
                            "."
                        }
                    }
                    p { "A day, week or month is released a minute after its end, at midnight UTC. Until then, nothing about it is told." }
                }
            }
            (freshness(overview.fresh))
            @if newest.is_some() { (same_data(overview)) }
        },
    )
}

fn controls(view: &View) -> Markup {
    html! {
        div.controls role="group" aria-label="What is shown" {
            (super::controls::windows(view))
            (super::controls::periods(view))
        }
    }
}

/// A number with what it is, leading to the page that tells more.
fn tile(page: Page, title: &str, figure: &Markup, about: &Markup) -> Markup {
    html! {
        li.tile {
            h2 { a href=(page.path()) { (title) } }
            p.figure { (figure) }
            p.about { (about) }
        }
    }
}

fn tiles(overview: &Overview<'_>, newest: Window) -> Markup {
    let pods = overview.over_time(Insight::Pods).and_then(|answer| answer.windows.last());
    let reach = overview.over_time(Insight::Reach).and_then(|answer| answer.windows.last());
    let block =
        |label: &str| reach.and_then(|window| window.blocks.iter().find(|block| block.label == label));
    let too_few = || html! { span.muted { "too few" } };
    let kind = newest.kind().as_str();
    html! {
        ul.tiles {
            @if overview.over_time(Insight::Pods).is_some() {
                @let about = html! { "reported in this " (kind) "; those with analytics turned off are in no number" };
                @match pods.and_then(|window| window.at_least) {
                    Some(at_least) => (tile(Page::Insight(Insight::Pods), "Pods, at least", &html! { span data-is="at-least" { (text::count(at_least)) } }, &about)),
                    None => (tile(Page::Insight(Insight::Pods), "Pods, at least", &too_few(), &about)),
                }
            }
            @if overview.over_time(Insight::Reach).is_some() {
                @for (label, title) in [("proxied", "Installations through a Pod"), ("direct", "Installations without a Pod")] {
                    @let figure = block(label).map_or_else(too_few, |block| html! { span data-is=(label) { (text::count(block.count)) } });
                    (tile(Page::Insight(Insight::Reach), title, &figure, &html! { "one app on one device, each counted once in this " (kind) }))
                }
                @let share = block("direct").and_then(|block| block.share);
                @let figure = share.map_or_else(too_few, |share| html! { span data-is="share-direct" { (text::percent(share)) } });
                (tile(Page::Insight(Insight::Reach), "Share without a Pod", &figure, &html! { "next to those through a Pod; one that did both is in each number" }))
            }
            @for (page, software, adoption) in newest_of_all(overview).into_iter().take(2) {
                @let figure = html! { (adoption.version) };
                @let about = html! { "or newer is run by " span data-is="newest" { (text::percent_bounds(adoption.newest)) } @if adoption.app.is_some() { " of installations through a Pod" } @else { " of Pods" } " that told their version" };
                (tile(page, &format!("Newest {software}"), &figure, &about))
            }
        }
    }
}

fn charts(overview: &Overview<'_>) -> Markup {
    let kind = overview.view.kind;
    let enough = |answer: &&Answer| answer.windows.len() > 1;
    html! {
        div.pair {
            @if let Some(answer) = overview.over_time(Insight::Pods).filter(enough) {
                section aria-labelledby="pods" {
                    h2 id="pods" { a href=(Page::Insight(Insight::Pods).path()) { "Pods" } }
                    (pods::over_time(answer, kind))
                    (pods::numbers(answer, kind))
                }
            }
            @if let Some(answer) = overview.over_time(Insight::Reach).filter(enough) {
                section aria-labelledby="installations" {
                    h2 id="installations" { a href=(Page::Insight(Insight::Reach).path()) { "Installations" } }
                    (reach::over_time(answer, kind))
                    (reach::numbers(answer, kind))
                }
            }
        }
    }
}

/// The newest version of each software, and how far it has been adopted, through a Pod.
fn newest_of_all<'a>(overview: &'a Overview<'_>) -> Vec<(Page, String, &'a Adoption)> {
    let adoptions = |insight: Insight| {
        let answer = overview.now.iter().find(|(of, _)| *of == insight).map(|(_, answer)| answer);
        let adoptions = answer.and_then(|answer| answer.adoption.as_ref()).into_iter().flatten();
        adoptions.filter(|adoption| adoption.population == Population::Pod.as_str())
    };
    let first = |insight, app: Option<AppName>| {
        adoptions(insight).find(|adoption| adoption.app == app.map(AppName::as_str))
    };
    let server = first(Insight::PodVersions, None)
        .map(|adoption| (Page::Insight(Insight::PodVersions), "Pod Server".to_owned(), adoption));
    let apps = AppName::ALL.into_iter().filter_map(|app| {
        let adoption = first(Insight::AppVersions, Some(app))?;
        Some((Page::Insight(Insight::AppVersions), format!("{} app", names::app(app)), adoption))
    });
    server.into_iter().chain(apps).collect()
}

fn newest_versions(overview: &Overview<'_>) -> Markup {
    let rows = newest_of_all(overview);
    html! {
        @if !rows.is_empty() {
            section aria-labelledby="versions" {
                h2 id="versions" { "Newest versions" }
                div.scroll role="region" tabindex="0" aria-label="Newest versions" {
                    table {
                        caption { "The newest version of each software that was published on its own, and how many Pods, or installations through a Pod, run it or a newer one, of those that told their version" }
                        thead { tr { th scope="col" { "Software" } th scope="col" { "Newest version" } th.number scope="col" { "Adopted by" } } }
                        tbody {
                            @for (page, software, adoption) in rows {
                                @let app = adoption.app.and_then(AppName::parse);
                                @let href = app.map_or_else(|| page.path().to_owned(), |app| format!("{}?app={}", page.path(), short_name(app)));
                                tr data-label=(adoption.app.unwrap_or("pod")) {
                                    th scope="row" { a href=(href) { (software) } }
                                    td { (adoption.version) }
                                    td.number { (text::percent_bounds(adoption.newest)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Which part of each number is of no known value.
fn unknown(overview: &Overview<'_>) -> Markup {
    let rows = overview.now.iter().flat_map(|(insight, answer)| {
        answer.windows.iter().filter(|window| window.total.is_some()).map(move |window| (*insight, window))
    });
    let part = |window: &AnsweredWindow, count: u64| {
        text::percent(super::distribution::part(count, window.total.unwrap_or(0)))
    };
    html! {
        section aria-labelledby="unknown" {
            h2 id="unknown" { "What is not known" }
            div.scroll role="region" tabindex="0" aria-label="What is not known" {
                table {
                    caption { "How many are published of each question, and which parts of them are folded, because the groups were too small, or not reported" }
                    thead {
                        tr {
                            th scope="col" { "Question" } th scope="col" { "Reported" } th.number scope="col" { "Published" }
                            th.number scope="col" { "Folded" } th.number scope="col" { "Not reported" }
                        }
                    }
                    tbody {
                        @for (insight, window) in rows {
                            @let unknown = window.unknown();
                            tr data-label=(insight.as_str()) data-population=[window.population] {
                                th scope="row" { a href=(Page::Insight(insight).path()) { (Page::Insight(insight).name()) } }
                                td { (if window.population == Some("direct") { "without a Pod" } else { "through a Pod" }) }
                                td.number { (text::count(window.total.unwrap_or(0))) }
                                td.number { (part(window, unknown.folded)) }
                                td.number { (part(window, unknown.untold)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The newest window of each question, for other programs.
fn same_data(overview: &Overview<'_>) -> Markup {
    let insights = overview.over_time.iter().chain(&overview.now).map(|(insight, _)| *insight);
    html! {
        section.source aria-labelledby="source" {
            h2 id="source" { "The same data" }
            ul.downloads {
                @for insight in insights {
                    li {
                        (Page::Insight(insight).name()) ": "
                        a href=(overview.view.api(insight, None, None, true)) aria-label={ (Page::Insight(insight).name()) " as CSV" } { "CSV" } ", "
                        a href=(overview.view.api(insight, None, None, false)) aria-label={ (Page::Insight(insight).name()) " as JSON" } { "JSON" }
                    }
                }
            }
            p.note { (super::layout::ROUNDING) }
        }
    }
}

fn freshness(fresh: &[Fresh]) -> Markup {
    html! {
        section aria-labelledby="freshness" {
            h2 id="freshness" { "How fresh it is" }
            table {
                caption { "The newest release of each kind of window" }
                thead { tr { th scope="col" { "Window" } th scope="col" { "Newest release" } th scope="col" { "State" } } }
                tbody {
                    @for fresh in fresh {
                        tr {
                            th scope="row" { (fresh.kind.as_str()) }
                            td { (fresh.newest.map_or_else(|| "none yet".to_owned(), |window| text::start(window.kind(), window.start()))) }
                            td {
                                @match (fresh.newest, fresh.is_late) {
                                    (None, _) => "waiting for the first to end",
                                    (Some(_), true) => strong.late { "overdue" },
                                    (Some(newest), false) => { "the next one is due on " (text::day(Window::of_day(fresh.kind, newest.end()).end())) },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
