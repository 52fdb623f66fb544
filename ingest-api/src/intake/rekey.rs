//! [`ValidReport`] + the key of a window → the records of that window. Pure.

use super::validate::ValidReport;
use crate::window::record::{Installation, Pod, Record, Records};
use crate::window::{Population, Subject, WindowKey};

/// Re-keys reports for the window with that key: one record for each installation, and one for each Pod that
/// forwarded any.
pub fn rekey<'r>(
    key: &WindowKey,
    reports: impl IntoIterator<Item = &'r ValidReport, IntoIter: Clone>,
) -> Records {
    let reports = reports.into_iter();
    let ids = reports.clone().flat_map(|report| {
        // A Pod's own report has no user. Zeros take its place, and nobody uses that subject.
        let user = report.installation().map_or([0; 8], |installation| *installation.id.as_bytes());
        [*report.pod().as_bytes(), user]
    });
    let subjects = Subject::of_all(key, ids);
    let (subjects, _) = subjects.as_chunks();
    let (mut records, mut pods) = (Vec::new(), Vec::<Pod>::new());
    for (report, [pod, user]) in reports.zip(subjects.iter().copied()) {
        let population = report.population();
        if population == Population::Pod {
            let said = Pod { subject: pod, codes: *report.pod_codes() };
            // In a batch, the reports of a Pod follow one another.
            match pods.last_mut().filter(|last| last.subject == pod) {
                Some(last) => last.merge(&said),
                None => pods.push(said),
            }
        }
        if let Some(said) = report.installation() {
            let installation = Installation { subject: user, population, pod, codes: said.codes };
            records.push(Record::Installation(installation));
        }
    }
    records.extend(pods.into_iter().map(Record::Pod));
    records.into()
}
#[cfg(test)]
mod tests {
    use shared::data_point::{MetaUserCount, PodVersion, decode};

    use super::*;
    use crate::keys::KeyDirectory;
    use crate::window::codes::unpack;
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
            let records = rekey(key, &[report("19a124bd2f89edfe", "1.0.0")]);
            let of = |is_pod| records.iter().find(|record| matches!(record, Record::Pod(_)) == is_pod);
            [false, true].map(|is_pod| of(is_pod).unwrap().subject())
        };
        let (subjects_today, subjects_tomorrow) = (subjects(&today), subjects(&tomorrow));
        assert_eq!(subjects(&today), subjects_today);
        assert!(subjects_today.iter().all(|subject| !subjects_tomorrow.contains(subject)));
    }

    #[test]
    fn each_report_is_of_its_own_pod_and_its_own_user_whichever_others_there_are() {
        let key = WindowKey::new(&[7; WindowKey::LEN]);
        let said = |proxied: bool, pod: u8, user: Option<u8>, more: serde_json::Value| {
            let user = user.map(|user| format!("{user:016x}"));
            let mut pod = serde_json::json!({ "domain_hash": format!("{pod:016x}"), "user_hash": user });
            pod.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let event = serde_json::json!({ "proxied": proxied, "origin": { "pod": pod } });
            ValidReport::from_json(event.to_string().as_bytes()).unwrap()
        };
        let report = |proxied, pod, user| said(proxied, pod, user, serde_json::json!({}));
        let reports = [
            said(true, 1, Some(1), serde_json::json!({ "version": "0.4.0" })),
            said(true, 1, None, serde_json::json!({ "user_count_min": 20, "user_count_max": 49 })),
            report(false, 2, Some(2)),
            report(true, 3, None),
            report(true, 3, Some(3)),
            report(true, 1, Some(4)),
        ];
        let alone = reports.each_ref().map(|report| rekey(&key, [report]));
        let alone: Vec<_> = alone.iter().flat_map(Records::iter).copied().collect();
        let found = rekey(&key, &reports);
        assert_eq!(found, Records::from(alone));
        let first = Subject::new(&key, &1_u64.to_be_bytes());
        let pod = found.iter().find_map(|record| match record {
            Record::Pod(pod) if pod.subject == first => Some(unpack::<shared::event::Pod>(&pod.codes)),
            _ => None,
        });
        let version = pod.and_then(|codes| decode::<PodVersion>(&codes)).flatten().unwrap();
        assert_eq!(version.to_string(), "0.4.0");
        let size = pod.and_then(|codes| decode::<MetaUserCount>(&codes)).flatten();
        assert_eq!(size, reports[1].pod_size(), "all that its reports say");
        for (user, pod) in [(1_u64, 1_u64), (2, 2), (3, 3), (4, 1)] {
            let subject = Subject::new(&key, &user.to_be_bytes());
            let of_user = |found: &Record| match found {
                Record::Installation(installation) if installation.subject == subject => {
                    Some(installation.pod)
                }
                _ => None,
            };
            let found: Vec<_> = found.iter().filter_map(of_user).collect();
            assert_eq!(found, [Subject::new(&key, &pod.to_be_bytes())], "{user}");
        }
    }

    #[test]
    fn reports_of_one_reporter_merge_to_the_greater_value_in_any_order() {
        let key = WindowKey::new(&[7; WindowKey::LEN]);
        let user = "19a124bd2f89edfe";
        let (old, new) = (report(user, "1.0.9"), report(user, "1.0.10"));
        let forward = rekey(&key, [&old, &new, &old]);
        assert_eq!(forward, rekey(&key, [&new, &old]));
        assert_eq!(forward, rekey(&key, [&new]));
    }
}
