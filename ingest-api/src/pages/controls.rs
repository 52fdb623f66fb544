//! The choices of a reader → links and forms.

use maud::{Markup, html};

use super::InsightPage;
use super::view::{Back, View};
use crate::release::Population;
use crate::window::WindowKind;

/// Window, period and population, on every page about an insight.
pub(super) fn controls(page: &InsightPage<'_>) -> Markup {
    let view = page.view;
    let dated = view.has_days();
    html! {
        div.controls role="group" aria-label="What is shown" {
            (windows(view))
            (periods(view))
            @if view.has_population() {
                (choice("Installations", Population::ALL.map(|population| Choice {
                    name: match population {
                        Population::Pod => "Through a Pod",
                        Population::Direct => "Without a Pod",
                    },
                    href: view.href(|view| view.population = population),
                    is_chosen: view.population == population,
                })))
            }
            details.dates open[dated] {
                summary { "Other days" }
                form method="get" action=(view.page.path()) {
                    (hidden(view, &["from", "to"]))
                    label { "From " input type="date" name="from" value=[view.from.map(|day| day.to_string())] required; }
                    label { "to " input type="date" name="to" value=[view.to.map(|day| day.to_string())]; }
                    button type="submit" { "Show" }
                }
            }
        }
    }
}

pub(super) fn windows(view: &View) -> Markup {
    choice(
        "Window",
        WindowKind::ALL.map(|kind| Choice {
            name: match kind {
                WindowKind::Day => "Day",
                WindowKind::Week => "Week",
                WindowKind::Month => "Month",
            },
            href: view.href(|view| view.kind = kind),
            is_chosen: view.kind == kind,
        }),
    )
}

/// How far back the page goes, unless the reader chose days.
pub(super) fn periods(view: &View) -> Markup {
    choice(
        "Period",
        Back::ALL.map(|back| Choice {
            name: back.name(),
            href: view.href(|view| (view.back, view.from, view.to) = (back, None, None)),
            is_chosen: !view.has_days() && view.back == back,
        }),
    )
}

pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) href: String,
    pub(super) is_chosen: bool,
}

pub(super) fn choice(label: &str, choices: impl IntoIterator<Item = Choice>) -> Markup {
    let id = format!("choose-{}", label.to_ascii_lowercase());
    html! {
        div.choice {
            span.label id=(id) { (label) }
            ul aria-labelledby=(id) {
                @for Choice { name, href, is_chosen } in choices {
                    li { a href=(href) aria-current=[is_chosen.then_some("true")] { (name) } }
                }
            }
        }
    }
}

/// The choices except some fields, so that a form keeps them.
pub(super) fn hidden(view: &View, except: &[&str]) -> Markup {
    html! {
        @for (name, value) in view.parameters().into_iter().filter(|(name, _)| !except.contains(name)) {
            input type="hidden" name=(name) value=(value);
        }
    }
}

/// The form for the version below which everything would be dropped.
pub(super) fn below_form(view: &View, chosen: &str, versions: &[String]) -> Markup {
    html! {
        form.ask method="get" action=(view.page.path()) {
            (hidden(view, &["below"]))
            label for="below" { "Oldest version to keep" }
            input id="below" name="below" list="versions" value=(chosen) required autocomplete="off" spellcheck="false" size="12";
            datalist id="versions" {
                @for version in versions { option value=(version) {} }
            }
            button type="submit" { "Show" }
        }
    }
}

pub(super) fn guide_form(view: &View) -> Markup {
    html! {
        form.ask method="get" action=(view.page.path()) {
            (hidden(view, &["guide"]))
            label for="guide" { "Guide line, in %" }
            input id="guide" name="guide" type="number" min="1" max="99" step="1" value=(view.guide) required;
            button type="submit" { "Show" }
        }
    }
}
