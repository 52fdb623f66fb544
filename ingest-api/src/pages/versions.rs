//! Pod versions and app versions: now, over time, below a version, and how releases are adopted.

use maud::{Markup, html};
use shared::app::AppName;
use shared::version::Version;

use super::chart::{Chart, area};
use super::controls::{Choice, below_form, choice};
use super::distribution::{Heading, Level, Row, part, table};
use super::history::{Column, History};
use super::{Asked, adoption, layout, names, text};
use crate::insight::{AnsweredWindow, Below, Insight};
use crate::release::{NOT_REPORTED, OTHER};
use crate::window::Window;

/// How many versions a chart shows.
const BANDS: usize = 7;

/// The label of a version without its app, and `None` for other apps and for what may be of any app.
fn own(label: &str, app: Option<AppName>) -> Option<&str> {
    let Some(app) = app else { return Some(label) };
    let rest = label.strip_prefix(app.as_str())?;
    rest.strip_prefix([' ', '/'])
}

pub(super) fn content(asked: &Asked<'_>) -> Markup {
    let app = (asked.answer.insight == Insight::AppVersions.as_str()).then_some(asked.view.app);
    let population = if app.is_some() { asked.view.population.as_str() } else { "pod" };
    let windows: Vec<&AnsweredWindow> =
        asked.answer.windows.iter().filter(|window| window.population == Some(population)).collect();
    let software =
        app.map_or_else(|| "the Pod Server".to_owned(), |app| format!("the {} app", names::app(app)));
    html! {
        @if app.is_some() { (apps(asked, &windows)) }
        @if let Some(newest) = windows.last() {
            (now(asked, newest, app, &software))
            (over_time(asked, &windows, app, &software))
            (below(asked, newest, &software))
            (adoption::section(asked, population, app, &software))
        }
    }
}

/// The apps of which something was published, and the one that is shown.
fn apps(asked: &Asked<'_>, windows: &[&AnsweredWindow]) -> Markup {
    let there = |app: AppName| {
        app == asked.view.app
            || windows
                .iter()
                .any(|window| window.blocks.iter().any(|block| own(&block.label, Some(app)).is_some()))
    };
    let choices = AppName::ALL.into_iter().filter(|app| there(*app)).map(|app| Choice {
        name: names::app(app),
        href: asked.view.href(|view| (view.app, view.below) = (app, None)),
        is_chosen: asked.view.app == app,
    });
    html! { div.controls.apps { (choice("App", choices)) } }
}

/// Newest version first, then what is folded of them, then what is not known.
fn order(label: &str) -> impl Ord + use<> {
    let known = Version::parse(label);
    let series = label.strip_suffix("/other").and_then(|series| Version::parse(&format!("{series}.0")));
    let place = if known.is_some() || series.is_some() {
        0
    } else if label == OTHER {
        1
    } else {
        2
    };
    // A folded series stands behind the versions of it.
    (place, std::cmp::Reverse(known.or(series).map(|v| (v.major(), v.minor(), known))))
}

fn name_of(label: &str) -> String {
    names::name(Insight::PodVersions, label)
}

fn now(asked: &Asked<'_>, window: &AnsweredWindow, app: Option<AppName>, software: &str) -> Markup {
    let of = Window::of_day(asked.view.kind, text::start_of(window));
    let (about, within) = (text::window(of), text::within(of));
    let blocks: Vec<_> =
        window.blocks.iter().filter_map(|block| Some((own(&block.label, app)?, block))).collect();
    let total = blocks.iter().map(|(_, block)| block.count).sum();
    let mut rows: Vec<Row> = blocks
        .iter()
        .map(|(label, block)| Row {
            label: block.label.clone(),
            name: name_of(label),
            count: block.count,
            share: match app {
                Some(_) => part(block.count, total),
                None => block.share.unwrap_or(0.0),
            },
            level: if crate::insight::is_known(label) { Level::Whole } else { Level::Unknown },
        })
        .collect();
    rows.sort_by_cached_key(|row| order(own(&row.label, app).unwrap_or_default()));
    let unit = asked.answer.unit;
    let caption = format!("Versions of {software} {within}");
    html! {
        section aria-labelledby="now" {
            h2 id="now" { "Now" }
            @if rows.is_empty() {
                (layout::too_few(&within))
            } @else {
                (table(Heading { caption: &caption, value: "Version", unit: &capital(unit) }, &rows, None))
                @if app.is_some() {
                    (of_app(window, total, unit))
                } @else {
                    (layout::denominator(window, unit, &about))
                }
            }
        }
    }
}

/// What the shares of one app are parts of, and how many may belong to it besides.
fn of_app(window: &AnsweredWindow, total: u64, unit: &str) -> Markup {
    let count = |label: &str| -> u64 {
        window.blocks.iter().filter(|block| block.label == label).map(|block| block.count).sum()
    };
    let untold = count(NOT_REPORTED) + count(shared::event::UNRECOGNISED);
    html! {
        p.note {
            "Shares are parts of the " strong { (text::of_unit(total, unit)) } " that are published about this app. Besides, "
            strong { (text::count(count(OTHER))) } " are folded over all apps, because the groups were too small, and "
            strong { (text::count(untold)) } " told no app that we know. " (layout::ROUNDING)
        }
    }
}

fn over_time(asked: &Asked<'_>, windows: &[&AnsweredWindow], app: Option<AppName>, software: &str) -> Markup {
    let mut history =
        History::of(asked.view.kind, windows, |label| own(label, app)).at_most(BANDS, "Other versions");
    // Old versions at the bottom, new ones above them, what is not known on top.
    let is_unknown = |column: &Column| {
        column.key.is_empty() || column.key == OTHER || !crate::insight::is_known(&column.key)
    };
    history.columns.sort_by_cached_key(|column| {
        (is_unknown(column), column.key.is_empty(), std::cmp::Reverse(order(&column.key)))
    });
    let known = history.columns.iter().filter(|column| !is_unknown(column)).count();
    for (at, column) in history.columns.iter_mut().enumerate() {
        column.name = if column.key.is_empty() { column.name.clone() } else { name_of(&column.key) };
        column.tone = match column.key.as_str() {
            NOT_REPORTED | shared::event::UNRECOGNISED => "untold".to_owned(),
            _ if at >= known => "rest".to_owned(),
            // The newest has the strongest colour, however many there are.
            _ => format!("s{}", BANDS - known.min(BANDS) + at),
        };
    }
    let title = format!("Versions of {software} over time");
    let description = history.description();
    let series = history.series();
    let chart = Chart {
        id: "versions",
        title: &title,
        description: &description,
        kind: asked.view.kind,
        starts: &history.starts,
        series: &series,
        shares: true,
        guide: None,
    };
    layout::over_time("Share over time", windows.len(), asked.view.kind, || {
        html! {
            p.about { (capital(&layout::period(asked.view.kind, &history.starts))) "." }
            (area(&chart))
            (history.table("versions-numbers"))
        }
    })
}

fn below(asked: &Asked<'_>, newest: &AnsweredWindow, software: &str) -> Markup {
    let versions = asked.answer.adoption.iter().flatten().filter(|adoption| {
        Some(adoption.population) == newest.population
            && adoption.app == asked.cut.and_then(|cut| cut.app).map(AppName::as_str)
    });
    let versions: Vec<String> = versions.map(|adoption| adoption.version.clone()).collect();
    let of = Window::of_day(asked.view.kind, text::start_of(newest));
    let chosen = asked.cut.map(|cut| cut.version.to_string()).unwrap_or_default();
    html! {
        section aria-labelledby="breaks" {
            h2 id="breaks" { "What breaks if everything below a version is dropped?" }
            (below_form(asked.view, &chosen, &versions))
            @if let Some(below) = &newest.below {
                (breaks(below, asked, software, &text::within(of)))
            } @else {
                p.empty { "Too little was published about " (text::window(of)) " to tell." }
            }
        }
    }
}

fn breaks(below: &Below, asked: &Asked<'_>, software: &str, within: &str) -> Markup {
    let (least, most) = (below.share.at_least * 100.0, below.share.at_most * 100.0);
    let unit = asked.answer.unit;
    html! {
        div.answer {
            p.figure data-is="below-share" { (text::percent_bounds(below.share)) }
            p.figure.second data-is="below-count" { (text::count_bounds(below.count)) " " (unit) "s" }
            p {
                "run " (software) " below " strong { (below.version) } " " (within) "."
            }
            svg.bounds role="img" aria-labelledby="bounds-title" width="100%" height="22" {
                title id="bounds-title" {
                    "Below for certain " (format!("{least:.1}")) " %, on either side " (format!("{:.1}", most - least))
                    " %, at the version or above for certain " (format!("{:.1}", 100.0 - most)) " %."
                }
                rect.kept x="0" y="0" width="100%" height="22" rx="4" {}
                rect.either x="0" y="0" width=(format!("{most:.2}%")) height="22" {}
                rect.broken x="0" y="0" width=(format!("{least:.2}%")) height="22" {}
            }
            ul.key {
                li.broken { "Below for certain" }
                li.either { "May be below: rounded, folded, or told no version" }
                li.kept { "At it or above for certain" }
            }
            @if below.app.is_some() {
                p.note {
                    "Whoever told no app, or an app that was folded, may run this one. They count in the upper bounds, which is why "
                    "those are wide for an app that few use."
                }
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_their_order_and_what_is_not_known_behind_them() {
        let mut labels =
            ["other", "0.3/other", "0.4.0", "not_reported", "0.5.0", "0.4/other", "0.4.1", "0.5.0-rc.1"];
        labels.sort_by_cached_key(|label| order(label));
        assert_eq!(
            labels,
            ["0.5.0", "0.5.0-rc.1", "0.4.1", "0.4.0", "0.4/other", "0.3/other", "other", "not_reported"]
        );
    }

    #[test]
    fn an_app_has_its_own_blocks_only() {
        let web = Some(AppName::Web);
        assert_eq!(own("prose-app-web 1.0/other", web), Some("1.0/other"));
        assert_eq!(own("prose-app-web/other", web), Some("other"));
        assert_eq!(own("prose-app-ios 1.0.0", web), None);
        assert_eq!(own("other", web), None);
        assert_eq!(own("0.4.0", None), Some("0.4.0"));
    }
}
