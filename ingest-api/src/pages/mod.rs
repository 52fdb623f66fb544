//! Answers → HTML pages.
//!
//! Pages know what readers get and never where it comes from: all that they print is in an [`Answer`], or follows from
//! one. Their text is written by a macro that escapes whatever it is given. There is no script, no style in the text,
//! and nothing that is loaded from elsewhere.

mod adoption;
mod assets;
mod chart;
mod controls;
mod distribution;
mod domains;
mod history;
mod languages;
mod layout;
pub(crate) mod login;
mod methodology;
mod names;
mod overview;
mod platforms;
mod pods;
mod problem;
mod reach;
mod sizes;
mod text;
mod versions;
mod view;

pub(crate) use assets::asset;
pub(crate) use domains::domains_page;
pub(crate) use layout::{Fresh, Guest};
pub(crate) use methodology::methodology_page;
pub(crate) use overview::{Overview, overview_page};
pub(crate) use problem::problem_page;
pub(crate) use view::{Query, View};

use jiff::civil::Date;
use maud::{Markup, html};

use crate::insight::{Answer, AnsweredWindow, Cut, Insight};
use crate::window::Window;

/// One of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Everything at a glance.
    Overview,
    /// One question.
    Insight(Insight),
    /// What is counted, and how.
    Methodology,
}

impl Page {
    /// Every page, in the order of the menu.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let insights = Insight::ALL.into_iter().map(Self::Insight);
        std::iter::once(Self::Overview).chain(insights).chain(std::iter::once(Self::Methodology))
    }

    /// Its name in the menu.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Methodology => "Methodology",
            Self::Insight(insight) => match insight {
                Insight::Pods => "Pods",
                Insight::PodVersions => "Pod versions",
                Insight::PodSizes => "Company sizes",
                Insight::AppVersions => "App versions",
                Insight::Platforms => "Platforms",
                Insight::Languages => "Languages",
                Insight::Reach => "Reach",
                Insight::Domains => "Domains",
            },
        }
    }

    /// Its address.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Methodology => "/methodology",
            Self::Insight(insight) => match insight {
                Insight::Pods => "/insights/pods",
                Insight::PodVersions => "/insights/pod_versions",
                Insight::PodSizes => "/insights/pod_sizes",
                Insight::AppVersions => "/insights/app_versions",
                Insight::Platforms => "/insights/platforms",
                Insight::Languages => "/insights/languages",
                Insight::Reach => "/insights/reach",
                Insight::Domains => "/insights/domains",
            },
        }
    }
}

/// What a page about one question is made of.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// Who asks.
    pub(crate) guest: &'a Guest,
    /// What was chosen.
    pub(crate) view: &'a View,
    /// The first and last day on which its windows start; `None` if there is no release.
    pub(crate) days: Option<(Date, Date)>,
    /// The newest release of that kind of window.
    pub(crate) fresh: Fresh,
    /// What it is asked what is below.
    pub(crate) cut: Option<Cut>,
    /// The answer.
    pub(crate) answer: &'a Answer,
}

/// The page about a question that is answered from releases.
pub(crate) fn insight_page(insight: Insight, asked: &Asked<'_>) -> String {
    let content = match insight {
        Insight::Pods => pods::content(asked),
        Insight::PodVersions | Insight::AppVersions => versions::content(asked),
        Insight::PodSizes => sizes::content(asked),
        Insight::Platforms => platforms::content(asked),
        Insight::Languages => languages::content(asked),
        Insight::Reach => reach::content(asked),
        // They are not counted, and so have no releases.
        Insight::Domains => html! {},
    };
    layout::page(asked.guest, Page::Insight(insight), frame(insight, asked, &content))
}

/// The page about a question as somebody sees it who may read everything and has chosen nothing, with an answer about weeks. `None` if it
/// has no window. For benchmarks: nothing is asked for that a reader would be.
#[doc(hidden)]
pub fn rendered_page(insight: Insight, answer: &Answer) -> Option<String> {
    let guest = Guest { name: Some("benchmark".to_owned()), readable: Insight::ALL.to_vec() };
    let view = View::of(Page::Insight(insight), &Query::default()).ok()?;
    let day = |window: &AnsweredWindow| window.start.parse().ok();
    let days = (day(answer.windows.first()?)?, day(answer.windows.last()?)?);
    let newest = Some(Window::of_day(view.kind, days.1));
    let fresh = Fresh { kind: view.kind, newest, is_late: false };
    let asked = Asked { guest: &guest, view: &view, days: Some(days), fresh, cut: None, answer };
    Some(insight_page(insight, &asked))
}

/// What all pages about a question have: its words, what can be chosen, where the data is.
fn frame(insight: Insight, asked: &Asked<'_>, content: &Markup) -> Markup {
    html! {
        header.page {
            h1 { (Page::Insight(insight).name()) }
            p.question { (insight.question()) }
        }
        (controls::controls(asked))
        @if asked.answer.windows.is_empty() {
            (layout::nothing_released(asked))
        } @else {
            (content)
        }
        (layout::source(insight, asked))
    }
}
