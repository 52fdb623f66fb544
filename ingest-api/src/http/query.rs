//! The query of a request for an insight → its parameters, or every mistake in it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use shared::app::AppName;
use shared::version::Version;

use crate::insight::{Cut, DEFAULT_APP, Insight};
use crate::window::WindowKind;

/// The parameters of a request for an insight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InsightQuery {
    pub(super) kind: WindowKind,
    pub(super) from: Option<Date>,
    pub(super) to: Option<Date>,
    pub(super) below: Option<Cut>,
    pub(super) as_csv: bool,
}

pub(super) fn parameters(insight: Insight) -> &'static [&'static str] {
    match insight {
        Insight::Domains => &["format"],
        _ if insight.has_versions_of_each_app() => &["window", "from", "to", "below", "app", "format"],
        _ if insight.has_versions() => &["window", "from", "to", "below", "format"],
        _ => &["window", "from", "to", "format"],
    }
}

impl InsightQuery {
    /// # Errors
    /// Sentences that say what is wrong, and quote nothing of it.
    pub(super) fn read(insight: Insight, query: &str) -> Result<Self, String> {
        let taken = parameters(insight);
        let mut mistakes = Vec::new();
        let mut values = BTreeMap::new();
        let mut is_wrong = false;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match taken.iter().find(|taken| **taken == name) {
                Some(name) => is_wrong |= values.insert(*name, value.into_owned()).is_some(),
                None => is_wrong = true,
            }
        }
        if is_wrong {
            mistakes.push(format!("`{}` takes {}, each once.", insight.as_str(), taken.join(", ")));
        }
        let kind = read(&values, "window", "day, week or month", WindowKind::parse, &mut mistakes);
        let from = read(&values, "from", A_DATE, date, &mut mistakes);
        let to = read(&values, "to", A_DATE, date, &mut mistakes);
        let version = "a version such as 0.4.0 or 0.4.0-rc.1";
        let below = read(&values, "below", version, Version::parse, &mut mistakes);
        let app = read(&values, "app", "a name such as prose-app-web", AppName::parse, &mut mistakes);
        let app = insight.has_versions_of_each_app().then_some(app.unwrap_or(DEFAULT_APP));
        let as_csv = read(&values, "format", "json or csv", is_csv, &mut mistakes);
        let asked = Self {
            kind: kind.unwrap_or(WindowKind::Week),
            from,
            to,
            below: below.map(|version| Cut { app, version }),
            as_csv: as_csv.unwrap_or(false),
        };
        if mistakes.is_empty() { Ok(asked) } else { Err(mistakes.join(" ")) }
    }
}

const A_DATE: &str = "a date such as 2026-11-22, of this century";

fn read<T>(
    values: &BTreeMap<&str, String>,
    name: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
    mistakes: &mut Vec<String>,
) -> Option<T> {
    let parsed = parse(values.get(name)?);
    if parsed.is_none() {
        mistakes.push(format!("`{name}` is {expected}."));
    }
    parsed
}

/// As RFC 3339 writes it.
fn date(text: &str) -> Option<Date> {
    let is_plain = text.len() == 10 && text.starts_with("20") && text.as_bytes()[4] == b'-';
    is_plain.then(|| text.parse().ok())?
}

fn is_csv(text: &str) -> Option<bool> {
    match text {
        "json" => Some(false),
        "csv" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::data_point::PodVersion;
    use shared::data_point::UserAppVersion;

    #[test]
    fn what_is_not_said_has_a_default() {
        let asked = InsightQuery::read(Insight::Pods, "").unwrap();
        let nothing =
            InsightQuery { kind: WindowKind::Week, from: None, to: None, below: None, as_csv: false };
        assert_eq!(asked, nothing);
        let query = "window=month&from=2026-01-01&below=0.4.0-rc.1%2Bx&format=csv";
        let asked = InsightQuery::read(Insight::of::<PodVersion>(), query).unwrap();
        assert_eq!((asked.kind, asked.as_csv), (WindowKind::Month, true));
        let cut = asked.below.unwrap();
        assert_eq!((cut.app, cut.version.to_string().as_str()), (None, "0.4.0-rc.1"));
        let app = |query| {
            InsightQuery::read(Insight::of::<UserAppVersion>(), query)
                .unwrap()
                .below
                .map(|cut| cut.app.unwrap())
        };
        assert_eq!(app("below=1.0.0&app=prose-app-ios"), AppName::parse("prose-app-ios"));
        assert_eq!(app("below=1.0.0"), Some(DEFAULT_APP));
        assert_eq!(app("app=prose-app-ios"), None);
    }

    #[test]
    fn every_mistake_is_told_at_once_and_nothing_of_it_quoted() {
        let query = "window=CANARY&from=CANARY&to=2026-11-31&below=CANARY&format=CANARY&CANARY=1";
        let mistakes = InsightQuery::read(Insight::of::<PodVersion>(), query).unwrap_err();
        assert_eq!(
            mistakes,
            "`pod_versions` takes window, from, to, below, format, each once. `window` is day, week or month. \
             `from` is a date such as 2026-11-22, of this century. `to` is a date such as 2026-11-22, of this \
             century. `below` is a version such as 0.4.0 or 0.4.0-rc.1. `format` is json or csv."
        );
        assert!(!mistakes.contains("CANARY"));
    }

    #[test]
    fn a_parameter_is_said_once_and_where_it_belongs() {
        for (insight, query) in [
            (Insight::Pods, "window=day&window=day"),
            (Insight::Pods, "below=0.4.0"),
            (Insight::of::<PodVersion>(), "below=0.4.0&app=prose-app-web"),
            (Insight::of::<UserAppVersion>(), "below=0.4.0&app=whatever"),
            (Insight::Domains, "window=day"),
            (Insight::Pods, "Window=day"),
            (Insight::Pods, "from=20261122"),
            (Insight::Pods, "from=2026-11-22T00:00"),
            (Insight::Pods, "from=1999-01-01"),
            (Insight::Pods, "from="),
        ] {
            assert!(InsightQuery::read(insight, query).is_err(), "{query}");
        }
    }
}
