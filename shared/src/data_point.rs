//! The registry: each data point is declared here once, and nowhere else.
//!
//! What is not registered does not pass the proxy and is not stored by the vendor. The keys of the configuration,
//! the output of `pod-proxy policy`, the table in `DATA-POINTS.md` and the tests are made from this table.

use crate::preset::Named;

/// One fact that may be shared with the vendor.
#[derive(Clone, Copy, Debug)]
pub struct DataPoint {
    /// The key of its section below `vendor_analytics`: category, dot, name.
    pub key: &'static str,
    /// Who is counted by it.
    pub unit: Unit,
    /// Whether it tells who somebody is. Such a data point is on in the preset `all` only.
    pub identifies: bool,
    /// The fields of the event that carry it. Each field belongs to at most one data point.
    pub fields: &'static [&'static str],
    /// What may be in those fields, and what becomes of everything else.
    pub normal_form: &'static str,
    /// The question that it answers: why it is asked for.
    pub question: &'static str,
    /// The version of this system that introduced it.
    pub since: &'static str,
    /// The options of its section, besides `enabled`.
    pub options: &'static [DataPointOption],
    /// The named presets in which somebody decided that it is on, besides `all` and `default`. In any other
    /// named preset it is off, so that a preset stays what it was when data points are added.
    pub decided_on_in: &'static [Named],
}

/// An option of a data point's section.
#[derive(Clone, Copy, Debug)]
pub struct DataPointOption {
    /// The key within the section.
    pub key: &'static str,
    /// What its value may be.
    pub kind: OptionKind,
    /// What it does, for people.
    pub effect: &'static str,
}

/// What the value of an option may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// A whole number, one or more.
    AtLeastOne,
    /// A list of platform names or families.
    Platforms,
}

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A self-hosted server.
    Pod,
    /// An app on a device of a user.
    Installation,
    /// A domain whose operator opted in.
    Domain,
}

impl DataPoint {
    /// The part of the key before the dot.
    pub fn category(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(category, _)| category)
    }
}

/// Every data point there is.
pub const REGISTRY: &[DataPoint] = &[
    DataPoint {
        key: "usage.pod_version",
        unit: Unit::Pod,
        identifies: false,
        fields: &["origin.pod.version"],
        normal_form: "SemVer; pre-release `alpha`, `beta` or `rc` with a number up to 99; build metadata dropped",
        question: "Which versions of Pods are running in the wild?",
        since: "0.1.0",
        options: &[],
        decided_on_in: &[Named::Gdpr, Named::Lgpd],
    },
    DataPoint {
        key: "usage.user_app_version",
        unit: Unit::Installation,
        identifies: false,
        fields: &["origin.app.name", "origin.app.version"],
        normal_form: "one of Prose's own apps; SemVer as for `usage.pod_version`",
        question: "Which versions of the apps are running in the wild?",
        since: "0.1.0",
        options: &[],
        decided_on_in: &[Named::Gdpr, Named::Lgpd],
    },
    DataPoint {
        key: "usage.meta_user_count",
        unit: Unit::Pod,
        identifies: false,
        fields: &[
            "origin.pod.user_count_min",
            "origin.pod.user_count_max",
            "origin.pod.user_count_range",
            "origin.pod.user_count_range_open",
        ],
        normal_form: "a size bin: 0–4, 5–9, 10–19, 20–49, 50–99, then by hundreds",
        question: "What size are the companies that use Prose?",
        since: "0.1.0",
        options: &[],
        decided_on_in: &[Named::Gdpr, Named::Lgpd],
    },
    DataPoint {
        key: "usage.user_platform",
        unit: Unit::Installation,
        identifies: false,
        fields: &["origin.app.platform"],
        normal_form: "a known family, optionally with a known architecture; else `unrecognised`",
        question: "On which platforms is Prose used?",
        since: "0.1.0",
        options: &[
            DataPointOption {
                key: "allow_list",
                kind: OptionKind::Platforms,
                effect: "only these platforms are shared, named in full (`macos-aarch64`) or by family (`macos`)",
            },
            DataPointOption {
                key: "deny_list",
                kind: OptionKind::Platforms,
                effect: "these platforms are never shared; stronger than `allow_list`",
            },
        ],
        decided_on_in: &[Named::Gdpr, Named::Lgpd],
    },
    DataPoint {
        key: "usage.user_lang",
        unit: Unit::Installation,
        identifies: false,
        fields: &["origin.app.user_preferred_locales"],
        normal_form: "BCP 47 reduced to a known language and region; else `und`; at most 16",
        question: "Which languages do users prefer?",
        since: "0.1.0",
        options: &[DataPointOption {
            key: "max_locales",
            kind: OptionKind::AtLeastOne,
            effect: "how many locales are shared at most, first choice first",
        }],
        decided_on_in: &[Named::Gdpr, Named::Lgpd],
    },
    DataPoint {
        key: "acquisition.pod_domain",
        unit: Unit::Domain,
        identifies: true,
        fields: &["origin.pod.identifiable.domain"],
        normal_form: "a host name in lower-case ASCII",
        question: "Which companies host Prose?",
        since: "0.1.0",
        options: &[],
        decided_on_in: &[],
    },
];

/// The categories of `registry`, in its order.
pub fn categories(registry: &[DataPoint]) -> Vec<&'static str> {
    let mut categories: Vec<_> = registry.iter().map(DataPoint::category).collect();
    categories.dedup();
    categories
}

/// The line in `DATA-POINTS.md` from which on it is generated.
pub const GENERATED: &str = "<!-- From here on generated: cargo run -p shared --example docs -->";

/// The registry in Markdown, for the documentation: the data points, then their options.
pub fn markdown() -> String {
    format!("{GENERATED}\n\n{}\n{}", markdown_table(), markdown_options())
}

fn markdown_options() -> String {
    let mut table = "| Option | Value | Effect |\n| --- | --- | --- |\n".to_owned();
    for point in REGISTRY {
        for DataPointOption { key, kind, effect } in point.options {
            let value = match kind {
                OptionKind::AtLeastOne => "a whole number, one or more",
                OptionKind::Platforms => "a list of platforms",
            };
            table += &format!("| `{}.{key}` | {value} | {effect} |\n", point.key);
        }
    }
    table
}

/// The registry as a table in Markdown.
pub fn markdown_table() -> String {
    let presets = Named::ALL.map(Named::as_str);
    let mut table = format!(
        "| Data point | Counts | Identifies | What may be in it | Why | Since | {} |\n",
        presets.join(" | ")
    );
    table += &"| --- ".repeat(6 + presets.len());
    table += "|\n";
    for point in REGISTRY {
        let unit = match point.unit {
            Unit::Pod => "Pods",
            Unit::Installation => "installations",
            Unit::Domain => "domains",
        };
        let on_in = Named::ALL.map(|preset| if preset.turns_on(point) { "on" } else { "off" });
        table += &format!(
            "| `{}` | {unit} | {} | {} | {} | {} | {} |\n",
            point.key,
            if point.identifies { "yes" } else { "no" },
            point.normal_form,
            point.question,
            point.since,
            on_in.join(" | "),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_data_point_that_identifies_is_on_in_all_only() {
        for point in REGISTRY.iter().filter(|point| point.identifies) {
            let on_in: Vec<_> = Named::ALL.into_iter().filter(|preset| preset.turns_on(point)).collect();
            assert_eq!(on_in, [Named::All], "{}", point.key);
        }
    }

    /// The fields of the wire that are no data points: who reports, and how the report came.
    const NOT_DATA: [&str; 4] = ["name", "proxied", "origin.pod.domain_hash", "origin.pod.user_hash"];

    #[test]
    fn every_field_that_is_read_belongs_to_a_data_point_or_says_who_reports() {
        fn leaves(
            schema: &serde_json::Value,
            root: &serde_json::Value,
            path: &str,
            found: &mut BTreeSet<String>,
        ) {
            let reference = [schema, &schema["anyOf"][0]].into_iter().find_map(|s| s["$ref"].as_str());
            let schema = reference.map_or(schema, |r| &root["$defs"][r.trim_start_matches("#/$defs/")]);
            match schema["properties"].as_object() {
                None => {
                    found.insert(path.to_owned());
                }
                Some(properties) => properties.iter().for_each(|(key, property)| {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    leaves(property, root, &path, found);
                }),
            }
        }
        let schema = crate::event::Event::json_schema();
        let mut read = BTreeSet::new();
        leaves(&schema, &schema, "", &mut read);
        let registered = REGISTRY.iter().flat_map(|point| point.fields).chain(&NOT_DATA);
        assert_eq!(read, registered.map(|field| (*field).to_owned()).collect());
    }

    #[test]
    fn keys_and_fields_are_declared_once() {
        let mut seen = BTreeSet::new();
        for name in REGISTRY.iter().flat_map(|point| point.fields.iter().chain([&point.key])) {
            assert!(seen.insert(name), "{name} is declared twice");
        }
        for point in REGISTRY {
            assert_eq!(point.key.split('.').count(), 2, "{}", point.key);
        }
    }
}
