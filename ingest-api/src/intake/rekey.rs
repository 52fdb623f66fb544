//! [`ValidReport`] + the key of a window → the records of that window. Pure.

use super::code;
use super::record::{Record, Records, Reporter};
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
        Self::of_tag(key.tag(id))
    }

    /// The subjects of some identifiers, in their order.
    fn of_all(key: &WindowKey, ids: impl IntoIterator<Item = [u8; 8]>) -> Vec<Self> {
        key.tags(ids).into_iter().map(Self::of_tag).collect()
    }

    fn of_tag(tag: i64) -> Self {
        Self(tag >> 8 & ((1 << 56) - 1))
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

impl Records {
    /// What some reports say in the window with that key: one record for each installation, and for each Pod that forwarded some.
    pub fn new<'r>(
        key: &WindowKey,
        reports: impl IntoIterator<Item = &'r ValidReport, IntoIter: Clone>,
    ) -> Self {
        let reports = reports.into_iter();
        let ids = reports.clone().flat_map(|report| {
            // The Pod's own reports are few.
            let user = report.installation().map_or([0; 8], |installation| *installation.id.as_bytes());
            [*report.pod().as_bytes(), user]
        });
        let subjects = Subject::of_all(key, ids);
        let (subjects, _) = subjects.as_chunks();
        let mut records = Vec::new();
        for (report, [pod, user]) in reports.zip(subjects.iter().copied()) {
            let proxied = report.population() == Population::Pod;
            if proxied {
                records.push(Record {
                    subject: pod,
                    reporter: Reporter::Pod,
                    pod,
                    version: code::of_version(report.pod_version()),
                    language_or_size: code::of_size(report.pod_size()),
                    platform: 0,
                });
            }
            if let Some(installation) = report.installation() {
                records.push(Record {
                    subject: user,
                    reporter: match proxied {
                        true => Reporter::ProxiedInstallation,
                        false => Reporter::DirectInstallation,
                    },
                    pod,
                    version: code::of_app_version(installation.app_version),
                    language_or_size: code::of_language(installation.language),
                    platform: code::of_platform(installation.platform),
                });
            }
        }
        records.into()
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
            let records = Records::new(key, &[report("19a124bd2f89edfe", "1.0.0")]);
            let of = |reporter| records.iter().find(|record| record.reporter == reporter).unwrap().subject;
            [of(Reporter::ProxiedInstallation), of(Reporter::Pod)]
        };
        let (subjects_today, subjects_tomorrow) = (subjects(&today), subjects(&tomorrow));
        assert_eq!(subjects(&today), subjects_today);
        assert!(subjects_today.iter().all(|subject| !subjects_tomorrow.contains(subject)));
    }

    #[test]
    fn reports_of_one_reporter_merge_to_the_greater_value_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::open(folder.path()).unwrap();
        let key =
            keys.read_or_create(Window::of_day(WindowKind::Day, "2026-11-22".parse().unwrap())).unwrap();
        let user = "19a124bd2f89edfe";
        let (old, new) = (report(user, "1.0.9"), report(user, "1.0.10"));
        let forward = Records::new(&key, [&old, &new, &old]);
        assert_eq!(forward, Records::new(&key, [&new, &old]));
        assert_eq!(forward, Records::new(&key, [&new]));
    }
}
