//! Published values → names for readers, in the English of the Unicode CLDR.

use shared::app::AppName;
use shared::platform::Family;

use crate::insight::Insight;
use crate::release::{NOT_REPORTED, OTHER};

/// The name of a value: `German (Switzerland)` for `de-CH`, `macOS (aarch64)` for `macos-aarch64`.
///
/// A folded value has the name of its group. A value without a name keeps its code.
pub(super) fn name(insight: Insight, label: &str) -> String {
    match label {
        OTHER => return "Everything else".to_owned(),
        NOT_REPORTED => return "Not reported".to_owned(),
        shared::event::UNRECOGNISED => return "Not recognised".to_owned(),
        _ => {}
    }
    if let Some((group, OTHER)) = label.rsplit_once('/') {
        return format!("{}, everything else", name(insight, group));
    }
    match insight {
        Insight::Languages => locale(label),
        Insight::Platforms => platform(label),
        Insight::Reach if label == "proxied" => "Through a Pod".to_owned(),
        Insight::Reach if label == "direct" => "Without a Pod".to_owned(),
        _ => label.to_owned(),
    }
}

const LANGUAGES: &str = include_str!("names/languages.tsv");
const REGIONS: &str = include_str!("names/regions.tsv");

fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.lines().filter_map(|line| line.split_once('\t'))
}

fn locale(label: &str) -> String {
    let find = |table, code| rows(table).find(|(known, _)| *known == code).map_or(code, |(_, name)| name);
    match label.split_once('-') {
        Some((language, region)) => format!("{} ({})", find(LANGUAGES, language), find(REGIONS, region)),
        None => find(LANGUAGES, label).to_owned(),
    }
}

fn platform(label: &str) -> String {
    let (family, architecture) = label.split_once('-').map_or((label, None), |(f, a)| (f, Some(a)));
    let named = Family::ALL.into_iter().find(|known| known.as_str() == family).map(|known| match known {
        Family::Web => "Browser",
        Family::MacOs => "macOS",
        Family::Windows => "Windows",
        Family::Linux => "Linux",
        Family::Ios => "iOS",
        Family::IpadOs => "iPadOS",
        Family::Android => "Android",
        Family::FreeBsd => "FreeBSD",
        Family::OpenBsd => "OpenBSD",
        Family::NetBsd => "NetBSD",
    });
    let named = named.unwrap_or(family);
    architecture.map_or_else(|| named.to_owned(), |architecture| format!("{named} ({architecture})"))
}

pub(super) fn app(app: AppName) -> &'static str {
    match app {
        AppName::Web => "Web",
        AppName::MacOs => "macOS",
        AppName::Windows => "Windows",
        AppName::Linux => "Linux",
        AppName::Ios => "iOS",
        AppName::Android => "Android",
        AppName::Desktop => "Desktop",
    }
}

#[cfg(test)]
mod tests {
    use shared::locale::Locale;

    use super::*;

    #[track_caller]
    fn check(insight: Insight, label: &str, expected: &str) {
        assert_eq!(name(insight, label), expected);
    }

    #[test]
    fn a_value_has_a_name_and_what_is_folded_the_name_of_its_group() {
        check(Insight::Languages, "de-CH", "German (Switzerland)");
        check(Insight::Languages, "es-419", "Spanish (Latin America)");
        check(Insight::Languages, "de/other", "German, everything else");
        check(Insight::Platforms, "macos-aarch64", "macOS (aarch64)");
        check(Insight::Platforms, "web", "Browser");
        check(Insight::PodVersions, "0.4/other", "0.4, everything else");
        check(Insight::PodSizes, "5–9", "5–9");
        check(Insight::Platforms, "other", "Everything else");
    }

    #[test]
    fn every_language_and_region_on_the_wire_has_a_name() {
        assert!(Locale::languages().eq(rows(LANGUAGES).map(|(code, _)| code)));
        assert!(Locale::regions().eq(rows(REGIONS).map(|(code, _)| code)));
    }
}
