//! Pages that were made → kept for whoever asks for the same again: to make one of a year of days takes longer than all else that
//! a reader waits for.
//!
//! A page about releases follows from who asks, what was chosen, which windows have been released, for a release never
//! changes, and whether the next is late. So nothing that is found here is stale.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use jiff::civil::Date;

use crate::pages::{Fresh, Guest, View};
use crate::window::{Window, WindowKind};

/// How many pages are kept; the largest have some 400 kB.
const MAX_KEPT: usize = 32;
/// … and for one guest; those who come without a token are one.
const MAX_OF_ONE: usize = 16;

/// All that a page about releases follows from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recipe {
    /// Who asks.
    pub(super) guest: Guest,
    /// Which page, and what was chosen there.
    pub(super) view: View,
    /// The first and last day on which its windows start.
    pub(super) days: Option<(Date, Date)>,
    /// The newest release of each kind of window, in the order of the kinds.
    pub(super) fresh: [Fresh; WindowKind::ALL.len()],
    /// Its windows that have been released.
    pub(super) windows: Vec<Window>,
}

/// The pages that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct MadePages(Mutex<VecDeque<(Recipe, Bytes)>>);

impl MadePages {
    /// The page, if it was made.
    pub(super) fn get(&self, recipe: &Recipe) -> Option<Bytes> {
        let mut kept = self.kept();
        let place = kept.iter().position(|(other, _)| other == recipe)?;
        let found = kept.remove(place)?;
        let page = found.1.clone();
        kept.push_front(found);
        Some(page)
    }

    /// Keeps a page: in the place of what it was before another release, and of the one that nobody has asked for longest; of the
    /// same guest, who has so many.
    pub(super) fn keep(&self, recipe: Recipe, page: Bytes) {
        let mut kept = self.kept();
        kept.retain(|(other, _)| (&other.guest, &other.view) != (&recipe.guest, &recipe.view));
        let of_this_guest = |(other, _): &(Recipe, Bytes)| other.guest == recipe.guest;
        if kept.iter().filter(|page| of_this_guest(page)).count() >= MAX_OF_ONE
            && let Some(oldest) = kept.iter().rposition(of_this_guest)
        {
            kept.remove(oldest);
        }
        kept.push_front((recipe, page));
        kept.truncate(MAX_KEPT);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(Recipe, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::Insight;
    use crate::pages::{Page, Query};

    fn recipe(name: usize) -> Recipe {
        let kind = WindowKind::Day;
        let fresh = WindowKind::ALL.map(|kind| Fresh { kind, newest: None, is_late: false });
        Recipe {
            guest: Guest { name: Some(name.to_string()), readable: vec![Insight::Pods] },
            view: View::of(Page::Insight(Insight::Pods), &Query::default()).unwrap(),
            days: None,
            fresh,
            windows: vec![Window::of_day(kind, jiff::civil::date(2026, 11, 22))],
        }
    }

    #[test]
    fn a_page_is_found_for_who_asked_for_the_same_windows_and_for_nobody_else() {
        let made = MadePages::default();
        made.keep(recipe(1), Bytes::from_static(b"page"));
        assert_eq!(made.get(&recipe(1)).unwrap(), "page");
        assert_eq!(made.get(&recipe(2)), None);
        let mut purged = recipe(1);
        purged.windows.clear();
        assert_eq!(made.get(&purged), None);
        let mut late = recipe(1);
        late.fresh[WindowKind::Month as usize].is_late = true;
        assert_eq!(made.get(&late), None);
    }

    #[test]
    fn a_page_takes_the_place_of_what_it_was_before() {
        let made = MadePages::default();
        made.keep(recipe(1), Bytes::new());
        let mut later = recipe(1);
        later.windows.push(Window::of_day(WindowKind::Day, jiff::civil::date(2026, 11, 23)));
        made.keep(later, Bytes::new());
        assert_eq!(made.kept().len(), 1);
    }

    #[test]
    fn one_guest_leaves_room_to_others() {
        let made = MadePages::default();
        made.keep(recipe(1), Bytes::new());
        for guide in 1..=40 {
            let query: Query =
                serde_json::from_value(serde_json::json!({ "guide": guide.to_string() })).unwrap();
            let view = View::of(Page::Insight(Insight::Languages), &query).unwrap();
            made.keep(Recipe { view, ..recipe(2) }, Bytes::new());
        }
        assert!(made.get(&recipe(1)).is_some());
        assert_eq!(made.kept().len(), 1 + MAX_OF_ONE);
    }

    #[test]
    fn those_that_nobody_asks_for_make_room() {
        let made = MadePages::default();
        for name in 0..MAX_KEPT {
            made.keep(recipe(name), Bytes::new());
        }
        assert!(made.get(&recipe(0)).is_some());
        made.keep(recipe(MAX_KEPT), Bytes::new());
        assert!(made.get(&recipe(0)).is_some() && made.get(&recipe(1)).is_none());
        assert_eq!(made.kept().len(), MAX_KEPT);
    }
}
