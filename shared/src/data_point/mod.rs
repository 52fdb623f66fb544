//! The registry of data points. Each is declared in a file of its own and named in [one list](REGISTRY); all else follows.
//!
//! What is not registered does not pass the proxy, and the vendor does not store it. From the list follow the keys of the
//! configuration and its presets, what the proxy lets out, what is counted and how it is folded, the insights, their pages,
//! and the tables of the documentation. `shared/ADDING-A-DATA-POINT.md` tells how to add one.

mod docs;
mod meta_user_count;
mod options;
mod path;
mod pod_domain;
mod pod_version;
mod registry;
mod user_app_version;
mod user_lang;
mod user_platform;
#[cfg(feature = "theme")]
mod user_theme;

pub use docs::{GENERATED, markdown, markdown_table};
pub use meta_user_count::MetaUserCount;
pub use options::{DataPointOption, OptionKind, Options, Value};
pub use path::{NOT_REPORTED, Path};
pub use pod_domain::PodDomain;
pub use pod_version::PodVersion;
pub use user_app_version::{AppVersion, UserAppVersion};
pub use user_lang::UserLang;
pub use user_platform::UserPlatform;
#[cfg(feature = "theme")]
pub use user_theme::{Theme, UserTheme};

use path::version_path;
use registry::registry;

use crate::code::Coded;
use crate::event::{App, Pod, UNRECOGNISED};
use crate::preset::Named;

// Every data point there is. Within a line, append only: the records of open windows hold the codes in this order.
registry! {
    counted in Pod: PodVersion, MetaUserCount;
    counted in App: UserAppVersion, UserPlatform, UserLang, #[cfg(feature = "theme")] UserTheme;
    listed in Pod: PodDomain;
}

/// What a data point is, as far as it is data.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The key of its section below `vendor_analytics`: category, dot, name.
    pub key: &'static str,
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
    /// The named presets in which somebody decided that it is on, besides `all` and `default`. In any other named preset it
    /// is off, so that a preset stays what it was when data points are added.
    pub on_in: &'static [Named],
    /// How it is published; `None` if it is not counted.
    pub family: Option<Family>,
}

/// A data point in the [list](REGISTRY).
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    /// Who is counted by it.
    pub unit: Unit,
    /// What it is.
    pub declaration: Declaration,
}

impl std::ops::Deref for Registered {
    type Target = Declaration;

    fn deref(&self) -> &Declaration {
        &self.declaration
    }
}

/// How a data point that is counted is published.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name of its family and insight.
    pub name: &'static str,
    /// The title of its page.
    pub title: &'static str,
    /// What one of its values is called, as the heading of a column.
    pub value: &'static str,
    /// What its page is like.
    pub shape: Shape,
    /// Values as they may be on the wire, for fleets that do not exist.
    pub examples: &'static [&'static str],
    /// A label as readers know it (`German` for `de`); `None` if the label says it.
    pub reader_label: fn(&str) -> Option<String>,
}

/// What the page of a data point is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Versions and their adoption.
    Versions {
        /// Whether each app has versions of its own.
        of_each_app: bool,
    },
    /// Shares of values, some of which belong together.
    Distribution {
        /// The words around a line at a share that the reader chooses, if there is one.
        guide: Option<Guide>,
    },
    /// Ordered bins.
    Bins {
        /// What has the bins, such as `Sizes of Pods`.
        title: &'static str,
    },
}

/// The words around a line at a share that the reader chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guide {
    /// `No language is preferred by` 20 % or more.
    pub none: &'static str,
    /// `Preferred by` 20 % or more: German.
    pub some: &'static str,
    /// How the numbers are to be read.
    pub note: &'static str,
}

/// A data point: one fact that may be shared with the vendor.
pub trait DataPoint {
    /// The part of the event that it is in: an [`App`] speaks for an installation, a [`Pod`] for itself.
    type In;
    /// What it is, in words and flags.
    const DECLARATION: Declaration;

    /// Copies what may leave under these options, in its normal form. `to` says nothing of it before.
    fn share(options: Options<'_>, from: &Self::In, to: &mut Self::In);
}

/// A data point that is counted.
pub trait Counted: DataPoint {
    /// Its normal form. The greater of two values wins a merge.
    type Value: Coded + Ord;

    /// What a report says of it.
    ///
    /// # Errors
    /// If what it says is no value at all. The report is rejected.
    fn value(said: &Self::In) -> Result<Self::Value, Unfit>;

    /// Where a value stands among those that it may be folded with.
    fn path(value: Self::Value) -> Path;

    /// Takes over what another report of the same reporter says, if that is greater.
    fn merge(kept: &mut Self::In, other: &Self::In) {
        if Self::value(other).ok() > Self::value(kept).ok() {
            Self::share(Options::default(), other, kept);
        }
    }
}

/// Fields that hold no value of their data point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Unfit {
    /// The stable name of the reason, for metrics.
    pub label: &'static str,
    /// What would be right. Quotes nothing that the sender wrote.
    pub problem: &'static str,
}

/// A part of the event that data points are in: [`App`] or [`Pod`].
pub trait Reporter: Sized + 'static {
    /// The codes of its data points that are counted, in the order of the registry.
    type Codes: Copy + AsRef<[u64]> + AsMut<[u64]> + Default;
    /// Who it speaks for.
    const UNIT: Unit;
    /// Its data points that are counted, in that order.
    const COUNTED: &'static [CountedPoint];
    /// What may leave of each of its data points.
    const SHARED: &'static [SharedPoint<Self>];

    /// The codes of what it says.
    ///
    /// # Errors
    /// If one of the values is none.
    fn codes(&self) -> Result<Self::Codes, Unfit>;

    /// Takes over, data point by data point, what another report of the same reporter says if it is greater.
    fn merge(&mut self, other: &Self);
}

/// A data point as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct CountedPoint {
    /// What it is.
    pub declaration: Declaration,
    /// How it is published.
    pub family: Family,
    /// How many bytes its code has.
    pub bytes: usize,
    /// Where the value with that code stands.
    pub path: fn(u64) -> Path,
}

/// A data point as it leaves a Pod.
#[derive(Debug)]
pub struct SharedPoint<R> {
    /// What it is.
    pub declaration: Declaration,
    /// See [`DataPoint::share`].
    pub share: fn(Options<'_>, &R, &mut R),
}

const fn counted<P: Counted>() -> CountedPoint {
    let Some(family) = P::DECLARATION.family else { panic!("a data point that is counted has a family") };
    let path = |code| P::Value::from_code(code).map_or_else(|| Path::of([UNRECOGNISED]), P::path);
    CountedPoint { declaration: P::DECLARATION, family, bytes: P::Value::BYTES, path }
}

const fn shared<P: DataPoint>() -> SharedPoint<P::In> {
    SharedPoint { declaration: P::DECLARATION, share: P::share }
}

/// What some codes say of one data point.
pub fn decode<P: Counted<In: Reporter>>(codes: &<P::In as Reporter>::Codes) -> Option<P::Value> {
    let place = P::In::COUNTED.iter().position(|point| point.declaration.key == P::DECLARATION.key)?;
    P::Value::from_code(*codes.as_ref().get(place)?)
}

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A self-hosted server.
    Pod,
    /// An app on a device of a user.
    Installation,
    /// A domain whose operator opted in.
    Domain,
}

impl Unit {
    /// The word for one of them.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Installation => "installation",
            Self::Domain => "domain",
        }
    }
}

impl Declaration {
    /// The part of the key before the dot.
    pub fn category(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(category, _)| category)
    }

    /// Whether a named preset turns it on. **A new data point is off in every preset except `all` and `default`** until
    /// somebody decides otherwise in its declaration.
    pub fn is_on_in(&self, preset: Named) -> bool {
        match preset {
            Named::All => true,
            Named::Default => !self.identifies,
            Named::Gdpr | Named::Lgpd => !self.identifies && self.on_in.contains(&preset),
        }
    }
}

/// The categories of `registry`, each once, in its order.
pub fn categories(registry: &[Registered]) -> Vec<&'static str> {
    let mut categories = Vec::new();
    for category in registry.iter().map(|point| point.category()) {
        if !categories.contains(&category) {
            categories.push(category);
        }
    }
    categories
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_data_point_that_identifies_is_on_in_all_only() {
        for point in REGISTRY.iter().filter(|point| point.identifies) {
            let on_in: Vec<_> = Named::ALL.into_iter().filter(|preset| point.is_on_in(*preset)).collect();
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
