//! A filtered report ↔ the key and value that the spool stores.
//!
//! The key of an installation is its salted pseudonym; that of the Pod's own report is empty. So there is one entry
//! for each, and the order of the keys says nothing about the order of arrival. Reports of one installation merge as
//! they do at the vendor, value by value to the greater one, so their order and number make no difference.

use shared::data_point::Reporter;
use shared::event::{App, EventName};
use shared::pseudonym::SaltedHash;

use crate::filter::{PodReport, Report, Sighting};

pub(super) type Key = Vec<u8>;

/// One entry at one moment. When another report takes its place, the number changes.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryId {
    pub(super) key: Key,
    pub(super) number: u64,
}

impl std::fmt::Debug for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EntryId[redacted]")
    }
}

/// What waits for the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: EntryId,
    /// `None` if it cannot be read: another version wrote it, or it is damaged.
    pub report: Option<Report>,
}

pub(super) fn encode(report: &Report) -> Result<(Key, Vec<u8>), serde_json::Error> {
    Ok(match report {
        Report::Installation(sighting) => {
            (sighting.installation().as_bytes().to_vec(), serde_json::to_vec(sighting.app())?)
        }
        Report::Pod(report) => (Key::new(), serde_json::to_vec(&report.name())?),
    })
}

/// Two values of one key → the one that is stored. It is the new one for the Pod's own reports, and if the old one cannot
/// be read.
pub(super) fn merge(key: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let app = |value: &[u8]| serde_json::from_slice::<App>(value).ok().filter(|_| !key.is_empty());
    let merged = app(old).zip(app(new)).map(|(mut kept, new)| {
        kept.merge(&new);
        kept
    });
    merged.and_then(|app| serde_json::to_vec(&app).ok()).unwrap_or_else(|| new.to_vec())
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Report> {
    if key.is_empty() {
        return match serde_json::from_slice(value).ok()? {
            EventName::PodStartup => Some(Report::Pod(PodReport::Startup)),
            EventName::PodDaily => Some(Report::Pod(PodReport::Daily)),
            EventName::AppStartup | EventName::AppDaily | EventName::Other => None,
        };
    }
    let installation = SaltedHash::from_bytes(key.try_into().ok()?);
    let app: App = serde_json::from_slice(value).ok()?;
    Some(Report::Installation(Sighting::restore(installation, app)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_back_as_it_was_kept() {
        let app = r#"{"name":"prose-app-web","version":"1.0.1","platform":"macos-aarch64","user_preferred_locales":["de-CH","und"]}"#;
        let installation = SaltedHash::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
        for app in [app, "{}"] {
            let sighting = Sighting::restore(installation, serde_json::from_str(app).unwrap());
            let report = Report::Installation(sighting);
            let (key, value) = encode(&report).unwrap();
            assert_eq!(String::from_utf8_lossy(&value), app);
            assert_eq!(decode(&key, &value), Some(report));
        }
        for report in [PodReport::Startup, PodReport::Daily].map(Report::Pod) {
            let (key, value) = encode(&report).unwrap();
            assert_eq!(decode(&key, &value), Some(report));
        }
    }

    #[track_caller]
    fn merged(one: &str, other: &str, expected: &str) {
        for (old, new) in [(one, other), (other, one), (expected, one), (expected, other)] {
            let value = merge(b"12345678", old.as_bytes(), new.as_bytes());
            assert_eq!(String::from_utf8(value).unwrap(), expected, "{old} {new}");
        }
    }

    #[test]
    fn reports_of_one_installation_merge_to_the_greater_value_in_any_order() {
        merged(
            r#"{"name":"prose-app-web","version":"1.0.9","platform":"web","user_preferred_locales":["de"]}"#,
            r#"{"name":"prose-app-web","version":"1.0.10","user_preferred_locales":["de","en"]}"#,
            r#"{"name":"prose-app-web","version":"1.0.10","platform":"web","user_preferred_locales":["de","en"]}"#,
        );
        merged("{}", r#"{"platform":"unrecognised"}"#, r#"{"platform":"unrecognised"}"#);
        merged(r#"{"platform":"web"}"#, r#"{"platform":"unrecognised"}"#, r#"{"platform":"web"}"#);
    }

    #[test]
    fn of_the_pods_own_reports_and_of_what_cannot_be_read_the_last_is_kept() {
        assert_eq!(merge(b"", b"\"pod:daily\"", b"\"pod:startup\""), b"\"pod:startup\"");
        assert_eq!(merge(b"12345678", b"{", b"{}"), b"{}");
    }

    #[test]
    fn what_cannot_be_read_is_no_report() {
        assert_eq!(decode(b"", b"\"app:daily\""), None);
        assert_eq!(decode(b"1234567", b"{}"), None);
        assert_eq!(decode(b"12345678", b"{"), None);
    }
}
