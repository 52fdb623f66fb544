//! Published values → names for readers, in English.

use shared::app::AppName;

use crate::insight::Insight;
use crate::release::{NOT_REPORTED, OTHER};

/// The name of a value: `German (Switzerland)` for `de-CH`, `macOS (aarch64)` for `macos-aarch64`.
///
/// A folded value has the name of its group. A value without a name keeps its code.
pub(super) fn name(insight: Insight, label: &str) -> String {
    named(label, &|label| match insight {
        Insight::Point(point) => (point.family().reader_label)(label),
        Insight::Reach if label == "proxied" => Some("Through a Pod".to_owned()),
        Insight::Reach if label == "direct" => Some("Without a Pod".to_owned()),
        Insight::Pods | Insight::Reach | Insight::Domains => None,
    })
}

/// The name of a version.
pub(super) fn version(label: &str) -> String {
    named(label, &|_| None)
}

fn named(label: &str, name: &dyn Fn(&str) -> Option<String>) -> String {
    match label {
        OTHER => return "Everything else".to_owned(),
        NOT_REPORTED => return "Not reported".to_owned(),
        shared::event::UNRECOGNISED => return "Not recognised".to_owned(),
        _ => {}
    }
    match label.rsplit_once('/') {
        Some((group, OTHER)) => format!("{}, everything else", named(group, name)),
        _ => name(label).unwrap_or_else(|| label.to_owned()),
    }
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
    use shared::data_point::{MetaUserCount, PodVersion, UserLang, UserPlatform};

    use super::*;

    #[track_caller]
    fn check(insight: Insight, label: &str, expected: &str) {
        assert_eq!(name(insight, label), expected);
    }

    #[test]
    fn a_value_has_a_name_and_what_is_folded_the_name_of_its_group() {
        check(Insight::of::<UserLang>(), "de-CH", "German (Switzerland)");
        check(Insight::of::<UserLang>(), "es-419", "Spanish (Latin America)");
        check(Insight::of::<UserLang>(), "de/other", "German, everything else");
        check(Insight::of::<UserPlatform>(), "macos-aarch64", "macOS (aarch64)");
        check(Insight::of::<UserPlatform>(), "web", "Browser");
        check(Insight::of::<PodVersion>(), "0.4/other", "0.4, everything else");
        check(Insight::of::<MetaUserCount>(), "5–9", "5–9");
        check(Insight::of::<UserPlatform>(), "other", "Everything else");
    }
}
