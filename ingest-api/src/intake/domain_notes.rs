//! Domains of Pods that opted in, waiting for the database.
//!
//! They wait in memory and are written together from time to time, never together with the report that named
//! them: the transaction numbers of two rows written one after the other would link them. A Pod reports a
//! domain again the next day, so a crash loses nothing for long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::civil::Date;
use shared::domain::Domain;

/// A shared handle to the domains that were reported and are not written yet.
#[derive(Clone, Debug, Default)]
pub struct DomainNotes(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    /// Each domain, with the Monday of the week of its last report.
    pending: BTreeMap<String, Date>,
    /// The domains written this week: each costs one write a week.
    written: BTreeSet<String>,
    week: Option<Date>,
}

impl DomainNotes {
    /// Notes that a domain was reported in the week that starts on `week`.
    pub fn note(&self, domain: &Domain, week: Date) {
        let mut notes = self.notes();
        if notes.week != Some(week) {
            notes.week = Some(week);
            notes.written.clear();
        }
        if !notes.written.contains(domain.as_str()) {
            notes.pending.insert(domain.as_str().to_owned(), week);
        }
    }

    /// Takes the domains to write, by week, in alphabetical order.
    pub fn take(&self) -> BTreeMap<Date, Vec<String>> {
        let mut notes = self.notes();
        let pending = std::mem::take(&mut notes.pending);
        let mut by_week = BTreeMap::<Date, Vec<String>>::new();
        for (domain, week) in pending {
            if notes.week == Some(week) {
                notes.written.insert(domain.clone());
            }
            by_week.entry(week).or_default().push(domain);
        }
        by_week
    }

    /// Puts back domains that could not be written.
    pub fn give_back(&self, week: Date, domains: Vec<String>) {
        let mut notes = self.notes();
        for domain in domains {
            notes.written.remove(&domain);
            notes.pending.entry(domain).or_insert(week);
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
