//! Bytes → [`Event`]: the wire schema, typed and bounded. Any input gives an event or a [`Rejection`].
//!
//! Each value is brought into its normal form while it is read, so that free text ends here: what is not a known
//! value is held as "unrecognised", and what is not in the schema is not held at all. A value of the wrong JSON
//! type, a key given twice or an identifier of another form rejects the event.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::app::AppName;
use crate::domain::Domain;
use crate::locale::{Locale, Locales};
use crate::platform::{Platform, PlatformName};
use crate::problem::{Problem, ProblemType};
use crate::pseudonym::{PodId, UserHash};
use crate::size::SizeBin;
use crate::version::Version;
pub use crate::wire::{Observed, UNRECOGNISED};

/// The longest single event that is read, in bytes. A real one has some 400.
pub const MAX_EVENT_BYTES: usize = 16 * 1024;

/// One report of an app or a Pod.
///
/// Apps send it to their Pod at start and then daily. Fields that are not listed here (`data`, for one) may be
/// present, and are not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
#[schemars(title = "Prose analytics event")]
pub struct Event {
    /// What made the app send the report. Apps use `app:startup` and `app:daily`; other names count alike.
    #[serde(default)]
    pub name: EventName,
    /// Where the report comes from.
    pub origin: Origin,
    /// Set by a Pod's proxy; an app does not send it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxied: bool,
}

/// Where a report comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct Origin {
    /// The app; absent from a Pod's own report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// The Pod that serves the app, or the XMPP server where there is no Pod.
    #[serde(default)]
    pub pod: Pod,
}

/// The app that reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct App {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Observed<AppName>>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Observed<Version>>,
    /// The platform it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Observed<Platform>>")]
    pub platform: Option<PlatformName>,
    /// The locales that the device prefers, first choice first. At most 16 are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Observed<Locale>>>")]
    pub user_preferred_locales: Option<Locales>,
    /// What it looks like. No app sends it: it shows how a data point is added.
    #[cfg(feature = "theme")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theme: Option<Observed<crate::data_point::Theme>>,
}

/// The Pod that serves the app, or the XMPP server where there is no Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct Pod {
    /// The first 16 hexadecimal digits of the SHA-256 hash of the domain. A Pod's proxy always puts its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_hash: Option<PodId>,
    /// The first 16 hexadecimal digits of the SHA-256 hash of the full JID. A Pod's proxy salts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_hash: Option<UserHash>,
    /// The Pod's version. Set by the Pod; an app does not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Observed<Version>>,
    /// The least count of the Pod's size bin. Set by the Pod; an app does not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_count_min: Option<u32>,
    /// The greatest count of the Pod's size bin. Set by the Pod; an app does not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_count_max: Option<u32>,
    /// The Pod's size bin, as `20–49` with U+2013. Set by the Pod, and read by nobody here.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "pass_over")]
    pub user_count_range: Option<String>,
    /// The Pod's size bin, as `20+`. Set by the Pod, and read by nobody here.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "pass_over")]
    pub user_count_range_open: Option<String>,
    /// What names the Pod, where its operator opted in. Set by the Pod; an app does not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifiable: Option<Identifiable>,
}

/// What names the Pod, where its operator opted in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
pub struct Identifiable {
    /// The Pod's domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
}

crate::wire::object_on_the_wire!(Event, Origin, App, Pod, Identifiable);

/// Reads a string and forgets it: the numbers beside it say the same.
fn pass_over<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    crate::wire::parse_str(deserializer, "a string", |_| Some(None))
}

impl Pod {
    /// Writes the size bin in the four forms of the wire.
    pub fn set_size(&mut self, bin: SizeBin) {
        self.user_count_min = Some(bin.least());
        self.user_count_max = Some(bin.greatest());
        self.user_count_range = Some(bin.to_string());
        self.user_count_range_open = Some(bin.open_range());
    }

    /// The size bin.
    ///
    /// # Errors
    /// [`NotABin`] if the two bounds are not those of a bin.
    pub fn size(&self) -> Result<Option<SizeBin>, NotABin> {
        match (self.user_count_min, self.user_count_max) {
            (None, None) => Ok(None),
            (Some(min), Some(max)) => SizeBin::from_bounds(min, max).map(Some).ok_or(NotABin),
            _ => Err(NotABin),
        }
    }
}

/// The two bounds of a size are not those of one of the specification's bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user_count_min and user_count_max are not the bounds of a size bin")]
pub struct NotABin;

/// What made the sender report. Only the four names of the specification are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EventName {
    /// An app was started.
    AppStartup,
    /// An app has been running for a day.
    AppDaily,
    /// A Pod was started.
    PodStartup,
    /// A Pod has been running for a day.
    PodDaily,
    /// Any other name, forgotten.
    #[default]
    Other,
}

impl EventName {
    const ALL: [Self; 5] = [Self::AppStartup, Self::AppDaily, Self::PodStartup, Self::PodDaily, Self::Other];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AppStartup => "app:startup",
            Self::AppDaily => "app:daily",
            Self::PodStartup => "pod:startup",
            Self::PodDaily => "pod:daily",
            Self::Other => "other",
        }
    }
}

impl Serialize for EventName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::wire::parse_str(deserializer, "a string", |text| {
            Some(Self::ALL.into_iter().find(|name| name.as_str() == text).unwrap_or(Self::Other))
        })
    }
}

impl JsonSchema for EventName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "examples": ["app:startup", "app:daily"] })
    }
}

impl Event {
    /// Reads one event.
    ///
    /// # Errors
    /// A [`Rejection`] for everything that is not an event. It quotes nothing of the input.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Rejection> {
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(Rejection::TooLarge);
        }
        // Checking all of it for UTF-8 at once is cheaper than each string by itself.
        if let Some(event) = std::str::from_utf8(bytes).ok().and_then(|text| serde_json::from_str(text).ok())
        {
            return Ok(event);
        }
        // Once more, to say where it is wrong: keeping track of that costs as much as a third of the reading.
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let event = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            Rejection::of(error.inner(), &path)
        })?;
        deserializer.end().map_err(|error| Rejection::of(&error, "."))?;
        Ok(event)
    }

    /// Reads the event that a text begins with, and returns what follows. `None` if there is none, or it is too long; why not
    /// is for [`Self::from_json`] to say.
    pub fn first_of(text: &str) -> Option<(Self, &str)> {
        let mut events = serde_json::Deserializer::from_str(text).into_iter();
        let event = events.next()?.ok()?;
        let length = events.byte_offset();
        (length <= MAX_EVENT_BYTES).then(|| (event, &text[length..]))
    }

    /// The [JSON Schema](https://json-schema.org/draft/2020-12) of an event, made from these types.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Event).to_value()
    }
}

/// Why some bytes are not an event. Carries nothing that the sender wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// More bytes than an event may have.
    #[error("an event has at most {MAX_EVENT_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or nested too deeply.
    #[error("not valid JSON at line {line}, column {column}")]
    Malformed {
        /// Counted from one.
        line: usize,
        /// Counted from one.
        column: usize,
    },
    /// JSON, but not of the schema.
    #[error("`{field}` must be {expected}")]
    Shape {
        /// The path of the field.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
    },
}

/// Each field of the schema, and what an error says about it.
const FIELDS: &[(&str, &str)] = &[
    ("name", "a string"),
    ("proxied", "true or false"),
    ("origin", "an object, given once"),
    ("origin.app", "an object without repeated keys"),
    ("origin.app.name", "a string"),
    ("origin.app.version", "a string"),
    ("origin.app.platform", "a string"),
    ("origin.app.user_preferred_locales", "a list of strings"),
    #[cfg(feature = "theme")]
    ("origin.app.theme", "a string"),
    ("origin.pod", "an object without repeated keys"),
    ("origin.pod.domain_hash", "16 lower-case hexadecimal digits"),
    ("origin.pod.user_hash", "16 lower-case hexadecimal digits"),
    ("origin.pod.version", "a string"),
    ("origin.pod.user_count_min", "a whole number"),
    ("origin.pod.user_count_max", "a whole number"),
    ("origin.pod.user_count_range", "a string"),
    ("origin.pod.user_count_range_open", "a string"),
    ("origin.pod.identifiable", "an object without repeated keys"),
    ("origin.pod.identifiable.domain", "a host name in lower-case ASCII"),
];

impl Rejection {
    /// The stable name of the reason, for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed { .. } => "malformed_json",
            Self::Shape { .. } => "invalid_event",
        }
    }

    /// The problem that the sender is answered with.
    pub fn problem(self) -> Problem {
        let kind = match self {
            Self::TooLarge => ProblemType::BODY_TOO_LARGE,
            Self::Malformed { .. } => ProblemType::MALFORMED_JSON,
            Self::Shape { .. } => ProblemType::INVALID_EVENT,
        };
        Problem::new(kind, Some(format!("{self}.")))
    }

    /// `path` may hold keys that the sender chose, so it is only compared, never repeated.
    fn of(error: &serde_json::Error, path: &str) -> Self {
        if !error.is_data() {
            return Self::Malformed { line: error.line(), column: error.column() };
        }
        let path = path.split_once('[').map_or(path, |(list, _)| list);
        let (field, expected) = FIELDS
            .iter()
            .find(|(field, _)| *field == path)
            .copied()
            .unwrap_or(("event", "an object with `origin`, without repeated keys"));
        Self::Shape { field, expected }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = r#"{
        "name": "account:signin", "data": { "credential_type": "password" },
        "origin": {
            "app": { "name": "prose-app-web", "version": "1.0.1", "platform": "macos-aarch64",
                     "user_preferred_locales": ["de-CH", "en"] },
            "pod": { "domain_hash": "f4ce232118cee9d2", "user_hash": "19a124bd2f89edfe" }
        }
    }"#;

    #[test]
    fn the_event_of_todays_apps_is_read_and_written_in_normal_form() {
        let event = Event::from_json(SAMPLE.as_bytes()).unwrap();
        let expected = serde_json::json!({
            "name": "other",
            "origin": {
                "app": { "name": "prose-app-web", "version": "1.0.1", "platform": "macos-aarch64",
                         "user_preferred_locales": ["de-CH", "en"] },
                "pod": { "domain_hash": "f4ce232118cee9d2", "user_hash": "19a124bd2f89edfe" }
            }
        });
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
    }

    #[track_caller]
    fn rejected(json: &str, expected: &str) {
        assert_eq!(Event::from_json(json.as_bytes()).unwrap_err().to_string(), expected, "{json}");
    }

    #[test]
    fn what_is_not_an_event_is_rejected_by_the_field_that_is_wrong() {
        let event = "`event` must be an object with `origin`, without repeated keys";
        rejected("[]", event);
        rejected(r#""x""#, event);
        rejected("{}", event);
        rejected(r#"{"origin":{},"origin":{}}"#, event);
        rejected(r#"{"origin":"x"}"#, "`origin` must be an object, given once");
        rejected(r#"{"origin":{"app":{"platform":{"canary":1}}}}"#, "`origin.app.platform` must be a string");
        rejected(
            r#"{"origin":{"app":{"user_preferred_locales":["de",7]}}}"#,
            "`origin.app.user_preferred_locales` must be a list of strings",
        );
        rejected(
            r#"{"origin":{"pod":{"user_hash":"CANARY"}}}"#,
            "`origin.pod.user_hash` must be 16 lower-case hexadecimal digits",
        );
        rejected(
            r#"{"origin":{"pod":{"user_count_min":-1}}}"#,
            "`origin.pod.user_count_min` must be a whole number",
        );
        rejected(
            r#"{"origin":{"pod":{"user_count_range":{}}}}"#,
            "`origin.pod.user_count_range` must be a string",
        );
        rejected("", "not valid JSON at line 1, column 0");
        rejected("{\"origin\":{}} canary", "not valid JSON at line 1, column 15");
        rejected(&" ".repeat(MAX_EVENT_BYTES + 1), "an event has at most 16384 bytes");
    }

    /// Left to itself, serde reads a struct from an array of its values too.
    #[test]
    fn an_array_is_never_taken_for_an_object() {
        rejected(
            r#"["x",[null,["f4ce232118cee9d2"]]]"#,
            "`event` must be an object with `origin`, without repeated keys",
        );
        rejected(r#"{"origin":[]}"#, "`origin` must be an object, given once");
        rejected(
            r#"{"origin":{"app":["prose-app-web"]}}"#,
            "`origin.app` must be an object without repeated keys",
        );
        rejected(r#"{"origin":{"pod":[]}}"#, "`origin.pod` must be an object without repeated keys");
        rejected(
            r#"{"origin":{"pod":{"identifiable":["example.org"]}}}"#,
            "`origin.pod.identifiable` must be an object without repeated keys",
        );
    }

    #[test]
    fn a_deeply_nested_body_is_rejected_without_repeating_its_keys() {
        let deep = format!(r#"{{"canary":{}"#, "{\"canary\":".repeat(1_000));
        let rejection = Event::from_json(deep.as_bytes()).unwrap_err();
        assert_eq!(rejection.label(), "malformed_json");
        assert!(!format!("{rejection} {rejection:?}").contains("canary"));
    }

    #[test]
    fn every_field_of_the_schema_has_its_error_and_no_other_has() {
        fn walk(schema: &serde_json::Value, root: &serde_json::Value, path: &str, fields: &mut Vec<String>) {
            let reference = [schema, &schema["anyOf"][0]].into_iter().find_map(|s| s["$ref"].as_str());
            let schema = reference.map_or(schema, |r| &root["$defs"][r.trim_start_matches("#/$defs/")]);
            for (key, property) in schema["properties"].as_object().into_iter().flatten() {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(property, root, &path, fields);
                fields.push(path);
            }
        }
        let schema = Event::json_schema();
        let mut fields = Vec::new();
        walk(&schema, &schema, "", &mut fields);
        fields.sort();
        let mut listed: Vec<_> = FIELDS.iter().map(|(field, _)| (*field).to_owned()).collect();
        listed.sort();
        assert_eq!(fields, listed);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let key = prop_oneof![
            prop::sample::select(
                FIELDS.iter().map(|(f, _)| f.rsplit('.').next().unwrap_or(f).to_owned()).collect::<Vec<_>>()
            ),
            "[a-z\\PC]{0,6}",
        ];
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[0-9a-f]{16}".prop_map(Into::into),
            "\\PC{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 60, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::vec((key.clone(), inner), 0..8)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_bytes_give_an_event_or_a_rejection(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Event::from_json(&bytes);
        }

        #[test]
        fn what_was_read_once_is_read_again_the_same(json in any_json()) {
            let wrapped = serde_json::json!({ "origin": json });
            for candidate in [&json, &wrapped] {
                if let Ok(event) = Event::from_json(candidate.to_string().as_bytes()) {
                    let written = serde_json::to_vec(&event).unwrap();
                    let again = Event::from_json(&written).unwrap();
                    prop_assert_eq!(serde_json::to_vec(&again).unwrap(), written);
                }
            }
        }
    }
}
