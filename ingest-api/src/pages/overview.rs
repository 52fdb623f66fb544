//! Everything at a glance.

use maud::{Markup, html};
use shared::app::AppName;
use shared::data_point::PodVersion;
use shared::data_point::UserAppVersion;

use super::layout::{self, Fresh, Guest};
use super::view::{View, short_name};
use super::{Page, names, pods, reach, text};
use crate::insight::{Adoption, Answer, AnsweredWindow, Insight};
use crate::release::Population;
use crate::window::{Window, WindowKind};

/// What the page is rendered from. There is no answer to an insight that the reader may not read.
#[derive(Debug)]
pub(crate) struct Overview<'a> {
    pub(crate) guest: &'a Guest,
    pub(crate) view: &'a View,
    /// How fresh each kind of window is, in the order of the kinds.
    pub(crate) fresh: &'a [Fresh; WindowKind::ALL.len()],
    /// Pods and reach over the period.
    pub(crate) over_time: Vec<(Insight, Answer)>,
    /// The values of the newest window.
    pub(crate) now: Vec<(Insight, Answer)>,
}

impl Overview<'_> {
    fn over_time(&self, insight: Insight) -> Option<&Answer> {
        self.over_time.iter().find(|(of, _)| *of == insight).map(|(_, answer)| answer)
    }
}

pub(crate) fn overview_page(overview: &Overview<'_>) -> String {
    let newest = overview.fresh[overview.view.kind as usize].newest;
    layout::page(
        overview.guest,
        Page::Overview,
        html! {
            header.page {
                h1 { "Overview" }
                p.question {
                    @if let Some(newest) = newest { "The release for " (text::window(newest)) ". Each heading leads to details." } @else { "What runs where, in groups that are large enough." }
                }
            }
            (controls(overview.view))
            @if let Some(newest) = newest {
                (tiles(overview, newest))
                (charts(overview))
                (newest_versions(overview))
                (coverage(overview))
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
                    p { "A day, week or month is released a minute after its end, at midnight UTC. Until then, nothing about it is published." }
                }
            }
            (freshness(overview.fresh))
            @if newest.is_some() { (download(overview)) }
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

/// A number with its meaning, and a link to its page.
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
                @let about = html! { "reported in this " (kind) "; Pods with analytics turned off are in no number" };
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
                (tile(Page::Insight(Insight::Reach), "Share without a Pod", &figure, &html! { "compared with those through a Pod; one that did both is in both numbers" }))
            }
            @for (page, software, adoption) in newest_of_all(overview).into_iter().take(2) {
                @let figure = html! { (adoption.version) };
                @let about = html! { "or newer: run by " span data-is="newest" { (text::percent_bounds(adoption.newest)) } @if adoption.app.is_some() { " of installations through a Pod" } @else { " of Pods" } " that reported a version" };
                (tile(page, &format!("Newest {software}"), &figure, &about))
            }
        }
    }
}

fn charts(overview: &Overview<'_>) -> Markup {
    let charts = [
        (Insight::Pods, "pods", "Pods", &pods::TOTALS),
        (Insight::Reach, "installations", "Installations", &reach::TOTALS),
    ];
    html! {
        div.pair {
            @for (insight, id, heading, totals) in charts {
                @if let Some(answer) = overview.over_time(insight).filter(|answer| answer.windows.len() > 1) {
                    section aria-labelledby=(id) {
                        h2 id=(id) { a href=(Page::Insight(insight).path()) { (heading) } }
                        (totals.show(answer, overview.view.kind))
                    }
                }
            }
        }
    }
}

/// The newest version of each software, and how far it has been adopted by Pods and through them.
fn newest_of_all<'a>(overview: &'a Overview<'_>) -> Vec<(Page, String, &'a Adoption)> {
    let adoptions = |insight: Insight| {
        let answer = overview.now.iter().find(|(of, _)| *of == insight).map(|(_, answer)| answer);
        let adoptions = answer.and_then(|answer| answer.adoption.as_ref()).into_iter().flatten();
        adoptions.filter(|adoption| adoption.population == Population::Pod.as_str())
    };
    let first = |insight, app: Option<AppName>| {
        adoptions(insight).find(|adoption| adoption.app.as_deref() == app.map(AppName::as_str))
    };
    let (of_pods, of_apps) = (Insight::of::<PodVersion>(), Insight::of::<UserAppVersion>());
    let server =
        first(of_pods, None).map(|adoption| (Page::Insight(of_pods), "Pod Server".to_owned(), adoption));
    let apps = AppName::ALL.into_iter().filter_map(|app| {
        let adoption = first(of_apps, Some(app))?;
        Some((Page::Insight(of_apps), format!("{} app", names::app(app)), adoption))
    });
    server.into_iter().chain(apps).collect()
}

fn newest_versions(overview: &Overview<'_>) -> Markup {
    let rows = newest_of_all(overview);
    let head = html! { th scope="col" { "Software" } th scope="col" { "Newest version" } th.number scope="col" { "Adopted by" } };
    let body = html! {
        @for (page, software, adoption) in &rows {
            @let app = adoption.app.as_deref().and_then(AppName::parse);
            @let query = app.map(|app| format!("?app={}", short_name(app))).unwrap_or_default();
            tr data-label=(adoption.app.as_deref().unwrap_or("pod")) {
                th scope="row" { a href={ (page.path()) (query) } { (software) } }
                td { (adoption.version) }
                td.number { (text::percent_bounds(adoption.newest)) }
            }
        }
    };
    let caption = "The newest version of each software that was published on its own, and the share of Pods, or of \
        installations through a Pod, that run it or a newer one. Only those that reported a version count.";
    html! {
        @if !rows.is_empty() {
            (layout::section("versions", "Newest versions", &layout::table(None, "Newest versions", caption, &head, &body)))
        }
    }
}

/// Which part of each number has a known value.
fn coverage(overview: &Overview<'_>) -> Markup {
    let rows = overview.now.iter().flat_map(|(insight, answer)| {
        answer.windows.iter().filter(|window| window.total.is_some()).map(move |window| (*insight, window))
    });
    let part = |window: &AnsweredWindow, count: u64| {
        text::percent(super::bars::part(count, window.total.unwrap_or(0)))
    };
    let head = html! {
        th scope="col" { "Question" } th scope="col" { "Reported" } th.number scope="col" { "Published" }
        th.number scope="col" { "Folded" } th.number scope="col" { "Not reported" }
    };
    let body = html! {
        @for (insight, window) in rows {
            @let unknown = window.unknown();
            tr data-label=(insight.as_str()) data-population=[window.population.as_deref()] {
                th scope="row" { a href=(Page::Insight(insight).path()) { (Page::Insight(insight).name()) } }
                td { (if window.population.as_deref() == Some("direct") { "without a Pod" } else { "through a Pod" }) }
                td.number { (text::count(window.total.unwrap_or(0))) }
                td.number { (part(window, unknown.folded)) }
                td.number { (part(window, unknown.untold)) }
            }
        }
    };
    let caption = "How many reporters are published for each question, and which parts are folded or did not report a value";
    layout::section("coverage", "Coverage", &layout::table(None, "Coverage", caption, &head, &body))
}

/// The newest window of each insight, for other programs.
fn download(overview: &Overview<'_>) -> Markup {
    let insights = overview.over_time.iter().chain(&overview.now).map(|(insight, _)| *insight);
    let links = html! {
        @for insight in insights {
            @let name = Page::Insight(insight).name();
            li {
                (name) ": "
                a href=(overview.view.api(insight, None, None, true)) aria-label={ (name) " as CSV" } { "CSV" } ", "
                a href=(overview.view.api(insight, None, None, false)) aria-label={ (name) " as JSON" } { "JSON" }
            }
        }
    };
    layout::downloads(&links, &html! { p.note { (layout::ROUNDING) } })
}

fn freshness(fresh: &[Fresh]) -> Markup {
    layout::section(
        "freshness",
        "Data freshness",
        &html! {
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
        },
    )
}
