//! Domains of Pods that opted in, on their way to the database.
//!
//! They are held in memory and written together from time to time, never in the wake of the report that brought them:
//! two rows that are written one after the other could be joined by their transaction numbers. What a stop or a crash
//! loses is reported again the next day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::civil::Date;
use shared::domain::Domain;

/// A handle to what has been reported and is still to be written.
#[derive(Clone, Debug, Default)]
pub struct DomainNotes(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    /// Domain and Monday of the week of its last report.
    pending: BTreeMap<String, Date>,
    /// Those that have been written this week, so that each costs one write a week.
    written: BTreeSet<String>,
    week: Option<Date>,
}

impl DomainNotes {
    /// Notes that a domain was reported in the week that starts with `week`.
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

    /// What is to be written, by week, in alphabetical order.
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

    /// What was taken could not be written.
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
