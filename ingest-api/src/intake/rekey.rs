//! [`ValidReport`] + the key of a window → the rows of that window. Pure.

use std::collections::BTreeMap;

use super::code;
use super::validate::ValidReport;
use crate::keys::WindowKey;
use crate::release::Population;

/// A reporter, re-keyed for one window: for counting in it, and for nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(i64);

impl Subject {
    /// The subject of an identifier in the window with that key: seven bytes that the key gives. Of five million, two are the
    /// same once in six thousand windows.
    pub fn new(key: &WindowKey, id: &[u8; 8]) -> Self {
        Self(key.tag(id) >> 8 & ((1 << 56) - 1))
    }

    /// The number that stands for it in the database.
    pub fn as_i64(self) -> i64 {
        self.0
    }

    /// One that was [such a number](Self::as_i64).
    pub(super) fn from_i64(number: i64) -> Self {
        Self(number)
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subject[redacted]")
    }
}

/// What an open window holds of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstallationRow {
    /// Its Pod, or its XMPP server.
    pub pod: Subject,
    /// Code of app and version.
    pub app_version: i64,
    /// Code of the locale.
    pub language: i32,
    /// Code of the platform.
    pub platform: i16,
    /// Whether it belongs to the Pod population.
    pub proxied: bool,
}

/// What an open window holds of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodRow {
    /// Code of the version.
    pub version: i64,
    /// Code of the size bin.
    pub size: i32,
}

/// The rows of some reports in one window: one for each reporter, in the order of their subjects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Installations by subject. A subject is in one population only: a proxied hash is salted, a direct one is not.
    pub installations: BTreeMap<(Subject, bool), InstallationRow>,
    /// Pods by subject.
    pub pods: BTreeMap<Subject, PodRow>,
}

impl Rows {
    /// Re-keys some reports for the window with that key, merging those of one reporter.
    pub fn new<'r>(key: &WindowKey, reports: impl IntoIterator<Item = &'r ValidReport>) -> Self {
        let mut rows = Self::default();
        for report in reports {
            rows.add(key, report);
        }
        rows
    }

    fn add(&mut self, key: &WindowKey, report: &ValidReport) {
        let pod = Subject::new(key, report.pod().as_bytes());
        let proxied = report.population() == Population::Pod;
        if proxied {
            let (version, size) = (code::of_version(report.pod_version()), code::of_size(report.pod_size()));
            self.add_pod(pod, PodRow { version, size });
        }
        if let Some(installation) = report.installation() {
            let row = InstallationRow {
                pod,
                app_version: code::of_app_version(installation.app_version),
                language: code::of_language(installation.language),
                platform: code::of_platform(installation.platform),
                proxied,
            };
            self.add_installation(Subject::new(key, installation.id.as_bytes()), row);
        }
    }

    /// Adds a row of an installation, merging it with the one that is there.
    pub(super) fn add_installation(&mut self, subject: Subject, new: InstallationRow) {
        let row = self.installations.entry((subject, new.proxied)).or_insert(new);
        row.pod = row.pod.max(new.pod);
        row.app_version = row.app_version.max(new.app_version);
        row.language = row.language.max(new.language);
        row.platform = row.platform.max(new.platform);
    }

    /// Likewise of a Pod.
    pub(super) fn add_pod(&mut self, subject: Subject, new: PodRow) {
        let row = self.pods.entry(subject).or_default();
        row.version = row.version.max(new.version);
        row.size = row.size.max(new.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyDirectory;
    use crate::window::{Window, WindowKind};

    fn report(user: &str, version: &str) -> ValidReport {
        let event = serde_json::json!({
            "proxied": true,
            "origin": { "app": { "name": "prose-app-web", "version": version },
                        "pod": { "domain_hash": "bfabc37432958b06", "user_hash": user } }
        });
        ValidReport::from_json(event.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_subject_is_the_same_within_a_window_and_another_in_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::open(folder.path()).unwrap();
        let key =
            |day: &str| keys.read_or_create(Window::of_day(WindowKind::Day, day.parse().unwrap())).unwrap();
        let (today, tomorrow) = (key("2026-11-22"), key("2026-11-23"));
        let subjects = |key: &WindowKey| {
            let rows = Rows::new(key, &[report("19a124bd2f89edfe", "1.0.0")]);
            (
                rows.installations.keys().copied().collect::<Vec<_>>(),
                rows.pods.keys().copied().collect::<Vec<_>>(),
            )
        };
        assert_eq!(subjects(&today), subjects(&today));
        assert_ne!(subjects(&today).0, subjects(&tomorrow).0);
        assert_ne!(subjects(&today).1, subjects(&tomorrow).1);
    }

    #[test]
    fn reports_of_one_reporter_merge_to_the_greater_value_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::open(folder.path()).unwrap();
        let key =
            keys.read_or_create(Window::of_day(WindowKind::Day, "2026-11-22".parse().unwrap())).unwrap();
        let user = "19a124bd2f89edfe";
        let (old, new) = (report(user, "1.0.9"), report(user, "1.0.10"));
        let forward = Rows::new(&key, [&old, &new, &old]).installations;
        assert_eq!(forward, Rows::new(&key, [&new, &old]).installations);
        assert_eq!(forward, Rows::new(&key, [&new]).installations);
    }
}
