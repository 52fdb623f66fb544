//! TOML and environment → checked values, with every mistake found and not only the first.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use toml::{Table, Value};

mod near_miss;

pub use near_miss::{KnownSection, near_sections, near_variables};

/// One mistake in a configuration: where it is, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The dotted key, as it would be written at the top of the file.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Mistake {
    /// A mistake at `key`.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// Everything that is wrong with a configuration; never empty where it is returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl Mistakes {
    /// `value`, unless something was wrong.
    ///
    /// # Errors
    /// `self`, if there is a mistake in it.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The same, of a file: its name stands before each place.
    pub fn in_file(mut self, file: &Path) -> Self {
        for mistake in &mut self.0 {
            mistake.key = format!("{}, {}", file.display(), mistake.key);
        }
        self
    }
}

/// Reads a TOML document.
///
/// # Errors
/// One mistake that names the line, if it is not TOML.
pub fn parse_toml(text: &str) -> Result<Table, Mistakes> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Mistakes(vec![Mistake::new(format!("line {line}"), format!("not valid TOML: {}", error.message()))])
    })
}

/// Puts environment variables over a document: `PREFIX_SECTION__KEY=value` sets `section.key`.
///
/// Only the named sections are touched; other variables belong to somebody else. A value is read as TOML (`true`,
/// `7`, `["web"]`), and as plain text where it is not TOML. An empty one says nothing.
///
/// # Errors
/// A mistake for each variable that would put a key below something that is not a section.
pub fn overlay_environment(
    document: &mut Table,
    prefix: &str,
    sections: &[&str],
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(), Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort();
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(prefix).filter(|_| !text.is_empty()) else { continue };
        let keys: Vec<_> = path.split("__").map(str::to_ascii_lowercase).collect();
        let [parents @ .., key] = keys.as_slice() else { continue };
        if !parents.first().is_some_and(|section| sections.contains(&section.as_str())) {
            continue;
        }
        let mut table = Some(&mut *document);
        for parent in parents {
            table = table.and_then(|t| {
                t.entry(parent.clone()).or_insert_with(|| Value::Table(Table::new())).as_table_mut()
            });
        }
        match table {
            Some(table) => {
                table.insert(key.clone(), environment_value(&text));
            }
            None => mistakes.0.push(Mistake::new(
                name.clone(),
                format!("`{}` is not a section, so nothing can be set below it", parents.join(".")),
            )),
        }
    }
    mistakes.or(())
}

fn environment_value(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Reads a duration as ISO 8601 has it: `PT1H`, `PT30S`, `P90D` (days of 24 hours). Never negative.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let span: Span = text.starts_with('P').then(|| text.parse().ok())??;
    let duration: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    duration.try_into().ok()
}

/// One section of a document, read key by key. What was not asked for when it is [finished](Self::finish) is a mistake.
#[derive(Debug)]
pub struct Section<'a> {
    path: String,
    table: Option<&'a Table>,
    asked: BTreeSet<&'static str>,
    mistakes: Vec<Mistake>,
}

impl<'a> Section<'a> {
    /// The section `name` of `document`; an absent one reads as empty.
    pub fn of(document: &'a Table, name: &str) -> Self {
        let mut mistakes = Vec::new();
        let table = document.get(name).and_then(|value| {
            if value.as_table().is_none() {
                mistakes
                    .push(Mistake::new(name, format!("must be a section, `[{name}]`, not {}", shown(value))));
            }
            value.as_table()
        });
        Self { path: name.to_owned(), table, asked: BTreeSet::new(), mistakes }
    }

    /// The value at `key` if `parse` takes it; `expected` says what would be right.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        self.asked.insert(key);
        let value = self.table?.get(key)?;
        let parsed = parse(value);
        if parsed.is_none() {
            self.mistake(key, format!("must be {expected}, not {}", shown(value)));
        }
        parsed
    }

    /// Like [`Self::read`], for a value that an error must not show.
    pub fn read_secret(&mut self, key: &'static str, expected: &str) -> Option<String> {
        self.asked.insert(key);
        let value = self.table?.get(key)?;
        if value.as_str().is_none() {
            self.mistake(key, format!("must be {expected}"));
        }
        value.as_str().map(str::to_owned)
    }

    /// A text.
    pub fn text(&mut self, key: &'static str, expected: &str) -> Option<String> {
        self.read(key, expected, |value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
    }

    /// A path of a file or folder.
    pub fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.text(key, "a path in quotes").map(Into::into)
    }

    /// An address to listen on.
    pub fn socket(&mut self, key: &'static str) -> Option<SocketAddr> {
        self.read(key, "an address and port, such as \"127.0.0.1:8080\"", |value| {
            value.as_str()?.parse().ok()
        })
    }

    /// A whole number within `range`.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(key, &expected, |value| {
            u64::try_from(value.as_integer()?).ok().filter(|n| range.contains(n))
        })
    }

    /// A duration within `range`.
    pub fn duration(&mut self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let shown = |duration: &Duration| SignedDuration::try_from(*duration).map(|d| d.to_string());
        let expected = format!(
            "a duration as in ISO 8601, from {} to {}",
            shown(range.start()).unwrap_or_default(),
            shown(range.end()).unwrap_or_default(),
        );
        self.read(key, &expected, |value| parse_duration(value.as_str()?).filter(|d| range.contains(d)))
    }

    /// A section within this one.
    pub fn section(&mut self, key: &'static str) -> Section<'a> {
        self.asked.insert(key);
        let empty = Section {
            path: format!("{}.{key}", self.path),
            table: None,
            asked: BTreeSet::new(),
            mistakes: Vec::new(),
        };
        match self.table.and_then(|table| table.get(key)) {
            None => empty,
            Some(Value::Table(table)) => Section { table: Some(table), ..empty },
            Some(value) => {
                self.mistake(key, format!("must be a section, not {}", shown(value)));
                empty
            }
        }
    }

    /// The keys that were asked for so far.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.asked.iter().copied()
    }

    /// Whether `key` is written.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Records that something is wrong at `key`.
    pub fn mistake(&mut self, key: &str, problem: impl Into<String>) {
        self.mistakes.push(Mistake::new(format!("{}.{key}", self.path), problem));
    }

    /// Reports every mistake to `mistakes`, among them the keys that nobody asked for.
    pub fn finish(mut self, mistakes: &mut Mistakes) {
        for key in self.table.into_iter().flat_map(Table::keys) {
            if !self.asked.contains(key.as_str()) {
                let hint = suggestion(key, self.asked.iter().copied());
                self.mistakes
                    .push(Mistake::new(format!("{}.{key}", self.path), format!("unknown key{hint}")));
            }
        }
        mistakes.0.append(&mut self.mistakes);
    }
}

/// A value as an error shows it: short, and on one line.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > 40 => "a longer text".to_owned(),
        // A URL with a password in it, or almost one.
        Value::String(text) if text.contains("://") && text.contains('@') => "a URL with a user".to_owned(),
        Value::Table(_) => "a section".to_owned(),
        Value::Array(items) if items.len() > 5 => "a longer list".to_owned(),
        _ => format!("`{value}`"),
    }
}

/// `, did you mean …?` for a key that is close to a known one, else the known keys.
pub(crate) fn suggestion<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> String {
    let known: Vec<_> = known.collect();
    match known.iter().map(|k| (strsim::levenshtein(key, k), *k)).min() {
        Some((distance, closest)) if distance <= 1 + closest.len() / 4 => {
            format!("; did you mean `{closest}`?")
        }
        Some(_) if known.len() <= 20 => format!("; known here: {}", known.join(", ")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<u64>, Option<Duration>, Vec<String>) {
        let document = parse_toml(text).unwrap();
        let mut section = Section::of(&document, "pod_proxy");
        let number = section.number("max_entries", 1..=10);
        let hour = Duration::from_secs(3_600);
        let duration = section.duration("flush_interval", Duration::from_secs(1)..=hour);
        let mut mistakes = Mistakes::default();
        section.finish(&mut mistakes);
        (number, duration, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_are_read_and_absent_ones_are_none() {
        assert_eq!(read(""), (None, None, vec![]));
        let (number, duration, mistakes) = read("[pod_proxy]\nmax_entries = 7\nflush_interval = 'PT10M'");
        assert_eq!((number, duration, mistakes.len()), (Some(7), Some(Duration::from_secs(600)), 0));
    }

    #[test]
    fn every_mistake_is_reported_with_its_key_and_what_would_be_right() {
        let (.., mistakes) = read("[pod_proxy]\nmax_entries = 0\nflush_interval = '1h'\nflush_intervall = 2");
        assert_eq!(
            mistakes,
            [
                "pod_proxy.max_entries: must be a whole number from 1 to 10, not `0`",
                "pod_proxy.flush_interval: must be a duration as in ISO 8601, from PT1S to PT1H, not `\"1h\"`",
                "pod_proxy.flush_intervall: unknown key; did you mean `flush_interval`?",
            ]
        );
    }

    #[test]
    fn a_document_that_is_not_toml_names_the_line() {
        assert_eq!(parse_toml("a = 1\nb = =").unwrap_err().0[0].key, "line 2");
    }

    #[test]
    fn the_environment_overrides_its_own_sections_only() {
        let mut document = parse_toml("[vendor_analytics]\nenabled = true").unwrap();
        let variables = [
            ("PROSE_VENDOR_ANALYTICS__ENABLED", "false"),
            ("PROSE_VENDOR_ANALYTICS__PRESET", "gdpr"),
            ("PROSE_VENDOR_ANALYTICS__USAGE__USER_LANG__MAX_LOCALES", "1"),
            ("PROSE_SERVER__DOMAIN", "example.org"),
            ("HOME", "/root"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        overlay_environment(&mut document, "PROSE_", &["vendor_analytics"], variables).unwrap();
        let expected =
            "[vendor_analytics]\nenabled = false\npreset = 'gdpr'\nusage.user_lang.max_locales = 1";
        assert_eq!(document, parse_toml(expected).unwrap());
    }

    #[test]
    fn a_variable_below_a_value_is_a_mistake() {
        let mut document = parse_toml("[vendor_analytics]\nusage = 7").unwrap();
        let variables = [("PROSE_VENDOR_ANALYTICS__USAGE__ENABLED".to_owned(), "true".to_owned())];
        let mistakes =
            overlay_environment(&mut document, "PROSE_", &["vendor_analytics"], variables).unwrap_err();
        assert!(mistakes.to_string().contains("`vendor_analytics.usage` is not a section"), "{mistakes}");
    }

    #[test]
    fn durations_are_iso_8601() {
        assert_eq!(parse_duration("P90D"), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(parse_duration("PT0.5S"), Some(Duration::from_millis(500)));
        for odd in ["", "1h", "PT", "-PT1S", "P1M", "P1Y", "3600"] {
            assert_eq!(parse_duration(odd), None, "{odd}");
        }
    }
}
