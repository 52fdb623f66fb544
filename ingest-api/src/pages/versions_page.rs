//! A page about versions: the newest window, all windows, what breaks below a version, and how releases are
//! adopted.

use maud::{Markup, html};
use shared::app::AppName;
use shared::event::UNRECOGNISED;
use shared::version::Version;

use super::bars::{Heading, Level, Row, part};
use super::chart::area;
use super::controls::{Choice, below_form, choice};
use super::history::{Column, History};
use super::{InsightPage, adoption, layout, names, shares, text};
use crate::insight::{AnsweredWindow, Below, is_known};
use crate::release::{NOT_REPORTED, OTHER};

/// How many versions a chart shows.
const BANDS: usize = 7;

/// The label of a version without its app; `None` for other apps, and for blocks that may belong to any app.
fn own(label: &str, app: Option<AppName>) -> Option<&str> {
    let Some(app) = app else { return Some(label) };
    let rest = label.strip_prefix(app.as_str())?;
    rest.strip_prefix([' ', '/'])
}

pub(super) fn content(page: &InsightPage<'_>, of_each_app: bool) -> Markup {
    let app = of_each_app.then_some(page.view.app);
    let windows = page.windows();
    let software =
        app.map_or_else(|| "the Pod Server".to_owned(), |app| format!("the {} app", names::app(app)));
    html! {
        @if app.is_some() { (apps(page, &windows)) }
        @if let Some(newest) = windows.last() {
            (now(page, newest, app, &software))
            (over_time(page, &windows, app, &software))
            (below(page, newest, &software))
            (adoption::section(page, app, &software))
        }
    }
}

/// The apps with published numbers, and the one that is shown.
fn apps(page: &InsightPage<'_>, windows: &[&AnsweredWindow]) -> Markup {
    let there = |app: AppName| {
        app == page.view.app
            || windows
                .iter()
                .any(|window| window.blocks.iter().any(|block| own(&block.label, Some(app)).is_some()))
    };
    let choices = AppName::ALL.into_iter().filter(|app| there(*app)).map(|app| Choice {
        name: names::app(app),
        href: page.view.href(|view| (view.app, view.below) = (app, None)),
        is_chosen: page.view.app == app,
    });
    html! { div.controls.apps { (choice("App", choices)) } }
}

/// Newest version first, then the folded ones, then those that are not known.
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
    // A folded series comes after its versions.
    (place, std::cmp::Reverse(known.or(series).map(|v| (v.major(), v.minor(), known))))
}

fn name_of(label: &str) -> String {
    names::version(label)
}

fn now(page: &InsightPage<'_>, window: &AnsweredWindow, app: Option<AppName>, software: &str) -> Markup {
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
            level: if is_known(label) { Level::Whole } else { Level::Unknown },
        })
        .collect();
    rows.sort_by_cached_key(|row| order(own(&row.label, app).unwrap_or_default()));
    let caption = format!("Versions of {software} {}", text::within(page.window(window)));
    let heading = Heading { caption: &caption, value: "Version" };
    shares::now(page, window, heading, &rows, None, || match app {
        Some(_) => of_app(window, total, &page.answer.unit),
        None => layout::denominator(page, window),
    })
}

/// What the shares of one app are parts of, and how many more may belong to it.
fn of_app(window: &AnsweredWindow, total: u64, unit: &str) -> Markup {
    let count = |label: &str| -> u64 {
        window.blocks.iter().filter(|block| block.label == label).map(|block| block.count).sum()
    };
    let not_reported = count(NOT_REPORTED) + count(UNRECOGNISED);
    html! {
        p.note {
            "Shares are parts of the " strong { (text::of_unit(total, unit)) } " published for this app. Besides, "
            strong { (text::count(count(OTHER))) } " of all apps are folded, and " strong { (text::count(not_reported)) }
            " reported no app that we know. " (layout::ROUNDING)
        }
    }
}

fn over_time(
    page: &InsightPage<'_>,
    windows: &[&AnsweredWindow],
    app: Option<AppName>,
    software: &str,
) -> Markup {
    let mut history =
        History::of(page.view.kind, windows, |label| own(label, app)).at_most(BANDS, "Other versions");
    // Old versions at the bottom, new ones above them, those that are not known on top.
    let is_unknown = |column: &Column| column.key.is_empty() || column.key == OTHER || !is_known(&column.key);
    history.columns.sort_by_cached_key(|column| {
        (is_unknown(column), column.key.is_empty(), std::cmp::Reverse(order(&column.key)))
    });
    let known = history.columns.iter().filter(|column| !is_unknown(column)).count();
    for (at, column) in history.columns.iter_mut().enumerate() {
        column.name = if column.key.is_empty() { column.name.clone() } else { name_of(&column.key) };
        column.tone = match column.key.as_str() {
            NOT_REPORTED | UNRECOGNISED => "untold".to_owned(),
            _ if at >= known => "rest".to_owned(),
            // The newest has the strongest colour, however many there are.
            _ => format!("s{}", BANDS - known.min(BANDS) + at),
        };
    }
    let title = format!("Versions of {software} over time");
    shares::over_time(page, &history, ["versions", &title], None, area)
}

fn below(page: &InsightPage<'_>, newest: &AnsweredWindow, software: &str) -> Markup {
    let app = page.cut.and_then(|cut| cut.app);
    let versions: Vec<String> =
        adoption::of(page, app).into_iter().map(|adoption| adoption.version.clone()).collect();
    let chosen = page.cut.map(|cut| cut.version.to_string()).unwrap_or_default();
    let of = page.window(newest);
    layout::section(
        "breaks",
        "What breaks if everything below a version is dropped?",
        &html! {
            (below_form(page.view, &chosen, &versions))
            @if let Some(below) = &newest.below {
                (breaks(below, page, software, &text::within(of)))
            } @else {
                p.empty { "Too little was published about " (text::window(of)) " for an answer." }
            }
        },
    )
}

fn breaks(below: &Below, page: &InsightPage<'_>, software: &str, within: &str) -> Markup {
    let (least, most) = (below.share.at_least * 100.0, below.share.at_most * 100.0);
    let unit = &page.answer.unit;
    html! {
        div.answer {
            p.figure data-is="below-share" { (text::percent_bounds(below.share)) }
            p.figure.second data-is="below-count" { (text::count_bounds(below.count)) " " (unit) "s" }
            p {
                "run " (software) " below " strong { (below.version) } " " (within) "."
            }
            svg.bounds role="img" aria-labelledby="bounds-title" width="100%" height="22" {
                title id="bounds-title" {
                    "Certainly below: " (format!("{least:.1}")) " %. Perhaps below: " (format!("{:.1}", most - least))
                    " %. Certainly at the version or above: " (format!("{:.1}", 100.0 - most)) " %."
                }
                rect.kept x="0" y="0" width="100%" height="22" rx="4" {}
                rect.either x="0" y="0" width=(format!("{most:.2}%")) height="22" {}
                rect.broken x="0" y="0" width=(format!("{least:.2}%")) height="22" {}
            }
            ul.key {
                li.broken { "Certainly below" }
                li.either { "Perhaps below: rounded, folded, or no version reported" }
                li.kept { "Certainly at the version or above" }
            }
            @if below.app.is_some() {
                p.note {
                    "Installations that reported no app, or whose app was folded, may run this one. They count in the upper bounds, so "
                    "the bounds are wide for an app that few use."
                }
            }
        }
    }
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
