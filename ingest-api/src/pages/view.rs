//! The address of a page ⇄ the choices of its reader.

use crate::release::Family;
use jiff::civil::Date;
use jiff::{Span, ToSpan};
use serde::Deserialize;
use shared::app::AppName;
use shared::data_point::Unit;
use shared::version::Version;

use super::Page;
use crate::insight::{Cut, Insight};
use crate::release::Population;
use crate::window::WindowKind;

/// The query of a page, as it was written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    window: Option<String>,
    period: Option<String>,
    from: Option<String>,
    to: Option<String>,
    population: Option<String>,
    app: Option<String>,
    below: Option<String>,
    guide: Option<String>,
}

/// How far a period goes back from the newest release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    Month,
    Quarter,
    Half,
    Year,
}

impl Back {
    pub(super) const ALL: [Self; 4] = [Self::Month, Self::Quarter, Self::Half, Self::Year];

    /// Its value in a query, its name, and its length.
    fn parts(self) -> (&'static str, &'static str, Span) {
        match self {
            Self::Month => ("1m", "1 month", 1.month()),
            Self::Quarter => ("3m", "3 months", 3.months()),
            Self::Half => ("6m", "6 months", 6.months()),
            Self::Year => ("1y", "1 year", 1.year()),
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.parts().1
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(super) page: Page,
    /// How long the windows are.
    pub(crate) kind: WindowKind,
    /// How far back, unless `from` or `to` is given.
    pub(super) back: Back,
    pub(super) from: Option<Date>,
    pub(super) to: Option<Date>,
    pub(crate) population: Population,
    pub(crate) app: AppName,
    /// The oldest version to keep.
    pub(crate) below: Option<Version>,
    /// The guide line, in percent.
    pub(super) guide: u8,
}

impl View {
    /// The choices of a query, with defaults for the rest. An empty field of a form chooses nothing.
    ///
    /// # Errors
    /// What would be right.
    pub(crate) fn of(page: Page, query: &Query) -> Result<Self, &'static str> {
        fn read<T>(
            field: &Option<String>,
            usual: T,
            parse: impl Fn(&str) -> Option<T>,
            right: &'static str,
        ) -> Result<T, &'static str> {
            match field.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
                None => Ok(usual),
                Some(text) => parse(text).ok_or(right),
            }
        }
        let date = |text: &str| text.parse().ok().map(Some);
        let app = |name: &str| AppName::ALL.into_iter().find(|app| short_name(*app) == name);
        let back = |text: &str| Back::ALL.into_iter().find(|back| back.parts().0 == text);
        let guide = |text: &str| text.parse().ok().filter(|guide| (1..=99).contains(guide));
        let version = |text: &str| Version::parse(text).map(Some);
        let Query { window, period, from, to, population, app: app_name, below, guide: percent } = query;
        Ok(Self {
            page,
            kind: read(window, WindowKind::Week, WindowKind::parse, "A window is a day, week or month.")?,
            back: read(period, Back::Quarter, back, "A period is 1m, 3m, 6m or 1y.")?,
            from: read(from, None, date, "The first day is a date such as 2026-11-22.")?,
            to: read(to, None, date, "The last day is a date such as 2026-11-22.")?,
            population: read(
                population,
                Population::Pod,
                Population::parse,
                "A population is pod or direct.",
            )?,
            app: read(
                app_name,
                AppName::Web,
                app,
                "An app is web, macos, windows, linux, ios, android or desktop.",
            )?,
            below: read(below, None, version, "A version looks like 0.4.0 or 0.4.0-rc.1.")?,
            guide: read(percent, 20, guide, "The guide line is from 1 to 99 %.")?,
        })
    }

    /// Whether the reader chose the first or last day.
    pub(crate) fn has_days(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// The first and last day of the period, which ends with the newest release unless the reader chose days.
    pub(crate) fn days(&self, newest: Option<Date>) -> (Option<Date>, Option<Date>) {
        if self.has_days() {
            return (self.from, self.to);
        }
        // Without this day, a month would hold two windows of a month.
        let from = newest.map(|newest| newest.saturating_sub(self.back.parts().2).saturating_add(1.day()));
        (from, newest)
    }

    /// The version below which reporters are counted: the one that the reader chose, or else `usual`.
    pub(crate) fn cut(&self, usual: Option<Version>) -> Option<Cut> {
        let app = match self.page {
            Page::Insight(insight) if insight.has_versions() => {
                insight.has_versions_of_each_app().then_some(self.app)
            }
            _ => return None,
        };
        Some(Cut { app, version: self.below.or(usual)? })
    }

    /// Whether the reader chooses between the two populations.
    pub(super) fn has_population(&self) -> bool {
        let of_installations = |family: Family| family.unit() == Unit::Installation;
        matches!(self.page, Page::Insight(insight @ Insight::Point(_)) if insight.family().is_some_and(of_installations))
    }

    /// The choices that differ from the defaults, as in a query.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let usual = Self::of(self.page, &Query::default()).unwrap_or_else(|_| self.clone());
        let mut parameters = Vec::new();
        let mut say = |name, differs: bool, value: String| {
            if differs {
                parameters.push((name, value));
            }
        };
        let date = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
        say("window", self.kind != usual.kind, self.kind.as_str().to_owned());
        say("period", self.back != usual.back, self.back.parts().0.to_owned());
        say("from", self.from.is_some(), date(self.from));
        say("to", self.to.is_some(), date(self.to));
        say("population", self.population != usual.population, self.population.as_str().to_owned());
        say("app", self.app != usual.app, short_name(self.app).to_owned());
        say("below", self.below.is_some(), self.below.map(|version| version.to_string()).unwrap_or_default());
        say("guide", self.guide != usual.guide, self.guide.to_string());
        parameters
    }

    pub(super) fn href(&self, choose: impl FnOnce(&mut Self)) -> String {
        let mut other = self.clone();
        choose(&mut other);
        address(&other.page.path(), &other.parameters())
    }

    pub(super) fn api(
        &self,
        insight: Insight,
        days: Option<(Date, Date)>,
        cut: Option<Cut>,
        csv: bool,
    ) -> String {
        let mut parameters = Vec::new();
        if insight.family().is_some() {
            parameters.push(("window", self.kind.as_str().to_owned()));
            if let Some((from, to)) = days {
                parameters.extend([("from", from.to_string()), ("to", to.to_string())]);
            }
        }
        if let Some(Cut { app, version }) = cut {
            parameters.extend(app.map(|app| ("app", app.as_str().to_owned())));
            parameters.push(("below", version.to_string()));
        }
        if csv {
            parameters.push(("format", "csv".to_owned()));
        }
        address(&format!("/v1/insights/{}", insight.as_str()), &parameters)
    }
}

/// An app in an address.
pub(super) fn short_name(app: AppName) -> &'static str {
    app.as_str().trim_start_matches("prose-app-")
}

/// Choices are names of closed lists, dates and versions, so no character needs escaping.
fn address(path: &str, parameters: &[(&str, String)]) -> String {
    let query: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::data_point::UserAppVersion;

    fn page() -> Page {
        Page::Insight(Insight::of::<UserAppVersion>())
    }

    #[test]
    fn what_is_chosen_stays_chosen() {
        let query = Query {
            window: Some("day".to_owned()),
            from: Some("2026-09-01".to_owned()),
            to: Some(String::new()),
            app: Some("ios".to_owned()),
            below: Some(" 1.0.0-rc.1 ".to_owned()),
            guide: Some("30".to_owned()),
            ..Query::default()
        };
        let view = View::of(page(), &query).unwrap();
        let expected = "/insights/app_versions?window=day&from=2026-09-01&app=ios&below=1.0.0-rc.1&guide=30";
        assert_eq!(view.href(|_| {}), expected);
        assert_eq!(View::of(page(), &Query::default()).unwrap().href(|_| {}), "/insights/app_versions");
    }

    #[test]
    fn what_is_not_right_is_answered_with_what_would_be() {
        for (guide, right) in
            [("1", true), ("99", true), ("0", false), ("100", false), ("20%", false), ("-1", false)]
        {
            let query = Query { guide: Some(guide.to_owned()), ..Query::default() };
            assert_eq!(View::of(page(), &query).is_ok(), right, "{guide}");
        }
        let query = Query { below: Some("latest".to_owned()), ..Query::default() };
        assert!(View::of(page(), &query).is_err());
    }

    #[test]
    fn a_month_of_months_is_one() {
        let query =
            Query { window: Some("month".to_owned()), period: Some("1m".to_owned()), ..Query::default() };
        let (from, to) = View::of(page(), &query).unwrap().days("2026-10-01".parse().ok());
        assert_eq!(from.map(|day| day.to_string()).as_deref(), Some("2026-09-02"));
        assert_eq!(to.map(|day| day.to_string()).as_deref(), Some("2026-10-01"));
    }
}
