//! Misspelt sections and variables that were meant for us → mistakes.
//!
//! Other programs use the same file and environment, so we ignore names that we do not know. But an operator
//! who misspells an opt-out by an underscore would believe that it is in force.

use toml::Table;

use super::Mistake;

/// How many letters may be wrong, missing or too many.
const WRONG_LETTERS: usize = 2;

/// A section of ours and its keys.
#[derive(Clone, Debug)]
pub struct KnownSection<'a> {
    /// Its name.
    pub section: &'a str,
    /// The keys below it, with dots.
    pub keys: Vec<String>,
}

/// The sections of a document that are almost ours, or ours in the wrong place.
pub fn near_sections(document: &Table, known: &[KnownSection<'_>]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (name, value) in document.iter().filter(|(name, _)| known.iter().all(|known| known.section != *name))
    {
        if let Some(known) = known.iter().find(|known| is_near(&letters(name), &letters(known.section))) {
            let problem = format!("unknown section; did you mean `[{}]`?", known.section);
            mistakes.push(Mistake::new(name, problem));
        }
        // A key below the heading of another section belongs to that section.
        for inner in value.as_table().into_iter().flat_map(Table::keys) {
            if let Some(known) = known.iter().find(|known| letters(known.section) == letters(inner)) {
                let problem = format!("is not read here; did you mean `[{}]`, at the top?", known.section);
                mistakes.push(Mistake::new(format!("{name}.{inner}"), problem));
            }
        }
    }
    mistakes
}

/// The variables that are almost one of ours, `PREFIX_SECTION__KEY`. Empty ones are ignored, as everywhere.
pub fn near_variables(
    variables: &[(String, String)],
    prefix: &str,
    known: &[KnownSection<'_>],
) -> Vec<Mistake> {
    let start = |known: &KnownSection<'_>| format!("{prefix}{}__", known.section.to_ascii_uppercase());
    let mut mistakes = Vec::new();
    for (name, _) in variables.iter().filter(|(_, text)| !text.is_empty()) {
        if known.iter().any(|known| name.starts_with(&start(known)) && name.len() > start(known).len()) {
            continue;
        }
        let written = letters(name);
        let meant = |known: &KnownSection<'_>| {
            let start = start(known);
            let full =
                known.keys.iter().map(|key| start.clone() + &key.replace('.', "__").to_ascii_uppercase());
            if let Some(variable) = full.into_iter().find(|full| is_near(&written, &letters(full))) {
                return Some(format!("did you mean `{variable}`?"));
            }
            // Without two underscores it may belong to another program: Kubernetes sets `…_PORT` and more for
            // each service.
            let head = name.split_once("__").map(|(head, _)| letters(head));
            let near = head
                .is_some_and(|head| head.starts_with(&letters(&start)) || is_near(&head, &letters(&start)));
            (near || written == letters(&start))
                .then(|| format!("those of `[{}]` begin with `{start}`", known.section))
        };
        if let Some(meant) = known.iter().find_map(meant) {
            mistakes.push(Mistake::new(name, format!("unknown variable; {meant}")));
        }
    }
    mistakes
}

/// The letters and digits of a name, in lower case.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn is_near(written: &str, known: &str) -> bool {
    written.len().abs_diff(known.len()) <= WRONG_LETTERS
        && strsim::levenshtein(written, known) <= WRONG_LETTERS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_toml;

    fn known() -> [KnownSection<'static>; 2] {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        [
            KnownSection { section: "vendor_analytics", keys: keys(&["enabled", "usage.user_lang.enabled"]) },
            KnownSection { section: "pod_proxy", keys: keys(&["listen", "accounts.fixed"]) },
        ]
    }

    fn sections(text: &str) -> Vec<String> {
        near_sections(&parse_toml(text).unwrap(), &known()).iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn variable(name: &str, expected: Option<&str>) {
        let found = near_variables(&[(name.to_owned(), "false".to_owned())], "PROSE_", &known());
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        let expected = expected.map(|meant| format!("{name}: unknown variable; {meant}"));
        assert_eq!(found, Vec::from_iter(expected));
    }

    #[test]
    fn a_section_that_is_almost_ours_is_a_mistake() {
        for name in
            ["vendor_analytic", "vendor-analytics", "Vendor_Analytics", "vendoranalytics", "vender_analitics"]
        {
            let expected = format!("{name}: unknown section; did you mean `[vendor_analytics]`?");
            assert_eq!(sections(&format!("[{name}]\nenabled = false")), [expected]);
        }
        assert_eq!(sections("podproxy.listen = 7").len(), 1);
        assert_eq!(
            sections("[server]\ndomain = 'a.example'\nvendor_analytics.enabled = false"),
            ["server.vendor_analytics: is not read here; did you mean `[vendor_analytics]`, at the top?"]
        );
    }

    #[test]
    fn sections_of_others_are_left_alone() {
        let others =
            "[server]\n[proxy]\n[pod]\n[prosody]\n[prosody_ext]\n[analytics]\n[vendor]\n[pod_api]\n[log]";
        assert_eq!(sections(&format!("{others}\n[vendor_analytics]\n[pod_proxy]")), [""; 0]);
    }

    #[test]
    fn a_variable_that_is_almost_ours_is_a_mistake() {
        let enabled = "did you mean `PROSE_VENDOR_ANALYTICS__ENABLED`?";
        for name in [
            "PROSE_VENDOR_ANALYTICS_ENABLED",
            "PROSE__VENDOR_ANALYTICS__ENABLED",
            "PROSE_VENDOR__ANALYTICS__ENABLED",
            "PROSE_VENDOR_ANALYTIC__ENABLED",
            "prose_vendor_analytics__enabled",
        ] {
            variable(name, Some(enabled));
        }
        variable("PROSE_POD_PROXY_ACCOUNTS_FIXED", Some("did you mean `PROSE_POD_PROXY__ACCOUNTS__FIXED`?"));
        let begin = "those of `[vendor_analytics]` begin with `PROSE_VENDOR_ANALYTICS__`";
        for name in [
            "PROSE_VENDOR_ANALYTICS",
            "PROSE_VENDOR_ANALYTICS__",
            "PROSE_VENDOR_ANALYTIC__MIN_COHORT_SIZE",
            "PROSE_VENDOR_ANALYTICS_PRESETS__GDPR__ENABLED",
        ] {
            variable(name, Some(begin));
        }
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        for name in [
            "HOME",
            "PROSE_VENDOR_ANALYTICS__ENABLED",
            // Its section says what is wrong with it.
            "PROSE_VENDOR_ANALYTICS__ENABELD",
            "PROSE_SERVER__DOMAIN",
            "PROSE_POD__PROXY_URL",
            "PROSE_PROXY__LISTEN",
            // Of Kubernetes, for a service that is called `prose-pod-proxy`.
            "PROSE_POD_PROXY_PORT",
            "PROSE_POD_PROXY_SERVICE_HOST",
            "PROSE_POD_PROXY_PORT_8290_TCP_ADDR",
        ] {
            variable(name, None);
        }
        assert_eq!(
            near_variables(
                &[("PROSE_VENDOR_ANALYTICS_ENABLED".to_owned(), String::new())],
                "PROSE_",
                &known()
            ),
            []
        );
    }
}
