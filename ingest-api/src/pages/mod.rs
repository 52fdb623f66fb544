//! Answers → HTML pages.
//!
//! Pages know the answers that readers get, and not where those come from: they print what is in an
//! [`Answer`] or follows from one. A macro writes their text and escapes it. Pages hold no script and no
//! inline style, and load nothing from other sites.

mod adoption;
mod assets;
mod bars;
mod bins_page;
mod chart;
mod controls;
mod distribution_page;
mod domains;
mod history;
mod layout;
pub(crate) mod login;
mod methodology;
mod names;
mod overview;
mod pods;
mod problem;
mod reach;
mod shares;
mod text;
mod totals;
mod versions_page;
mod view;

pub(crate) use assets::asset;
pub(crate) use domains::domains_page;
pub(crate) use layout::{Fresh, Guest};
pub(crate) use methodology::methodology_page;
pub(crate) use overview::{Overview, overview_page};
pub(crate) use problem::problem_page;
pub(crate) use view::{Query, View};

use jiff::civil::Date;
use maud::html;
use shared::data_point::Shape;

use crate::insight::{Answer, AnsweredWindow, Cut, Insight};
use crate::release::Population;
use crate::window::Window;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Overview,
    Insight(Insight),
    /// What is counted, and how.
    Methodology,
}

impl Page {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let insights = Insight::ALL.into_iter().map(Self::Insight);
        std::iter::once(Self::Overview).chain(insights).chain(std::iter::once(Self::Methodology))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Methodology => "Methodology",
            Self::Insight(insight) => insight.title(),
        }
    }

    pub(crate) fn path(self) -> String {
        match self {
            Self::Overview => "/".to_owned(),
            Self::Methodology => "/methodology".to_owned(),
            Self::Insight(insight) => format!("/insights/{}", insight.as_str()),
        }
    }
}

/// What the page about an insight is rendered from.
#[derive(Debug)]
pub(crate) struct InsightPage<'a> {
    pub(crate) guest: &'a Guest,
    pub(crate) view: &'a View,
    /// The first and last day on which its windows start; `None` if there is no release.
    pub(crate) days: Option<(Date, Date)>,
    /// The newest release of this kind of window.
    pub(crate) fresh: Fresh,
    /// The version below which reporters are counted.
    pub(crate) cut: Option<Cut>,
    pub(crate) answer: &'a Answer,
}

impl<'a> InsightPage<'a> {
    /// The population that is shown. Where readers cannot choose, it is the one of Pods.
    fn population(&self) -> Population {
        if self.view.has_population() { self.view.population } else { Population::Pod }
    }

    /// The windows of the population that is shown.
    fn windows(&self) -> Vec<&'a AnsweredWindow> {
        let population = Some(self.population().as_str());
        self.answer.windows.iter().filter(|window| window.population.as_deref() == population).collect()
    }

    fn window(&self, answered: &AnsweredWindow) -> Window {
        Window::of_day(self.view.kind, text::start_of(answered))
    }
}

/// The page about an insight that is answered from releases.
pub(crate) fn insight_page(insight: Insight, page: &InsightPage<'_>) -> String {
    let content = || match insight {
        Insight::Pods => pods::content(page),
        Insight::Reach => reach::content(page),
        Insight::Point(point) => match point.family().shape {
            Shape::Versions { of_each_app } => versions_page::content(page, of_each_app),
            Shape::Distribution { guide } => {
                distribution_page::content(insight, page, point.family().value, guide)
            }
            Shape::Bins { title } => bins_page::content(insight, page, title, point.family().value),
        },
        // Domains are not counted, so they have no releases.
        Insight::Domains => html! {},
    };
    layout::page(
        page.guest,
        Page::Insight(insight),
        html! {
            header.page {
                h1 { (Page::Insight(insight).name()) }
                p.question { (insight.question()) }
            }
            (controls::controls(page))
            @if page.answer.windows.is_empty() {
                (layout::nothing_released(page))
            } @else {
                (content())
            }
            (layout::download(insight, page))
        },
    )
}

/// The page about an insight for a reader who may read everything and has chosen nothing; the answer is about
/// weeks. `None` if it has no window. For benchmarks: it takes no choices, unlike the pages of readers.
#[doc(hidden)]
pub fn rendered_page(insight: Insight, answer: &Answer) -> Option<String> {
    let guest = Guest { name: Some("benchmark".to_owned()), readable: Insight::ALL.to_vec() };
    let view = View::of(Page::Insight(insight), &Query::default()).ok()?;
    let day = |window: &AnsweredWindow| window.start.parse().ok();
    let days = (day(answer.windows.first()?)?, day(answer.windows.last()?)?);
    let newest = Some(Window::of_day(view.kind, days.1));
    let fresh = Fresh { kind: view.kind, newest, is_late: false };
    let page = InsightPage { guest: &guest, view: &view, days: Some(days), fresh, cut: None, answer };
    Some(insight_page(insight, &page))
}
