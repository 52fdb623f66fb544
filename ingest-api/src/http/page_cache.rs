//! Rendered pages → kept for the next reader who asks for the same: a year of days takes longer to render
//! than everything else that a reader waits for.
//!
//! A page about releases follows from its key alone, because a release never changes. So nothing in the cache
//! is stale.

use std::collections::VecDeque;

use axum::body::Bytes;
use jiff::civil::Date;
use parking_lot::Mutex;

use crate::pages::{Fresh, Guest, View};
use crate::window::{Window, WindowKind};

/// How many pages are kept; the largest have some 400 kB.
const MAX_KEPT: usize = 32;
/// How many of them are kept for one guest. All visitors without a token are one guest.
const MAX_OF_ONE: usize = 16;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PageKey {
    pub(super) guest: Guest,
    /// Which page, and what the reader chose there.
    pub(super) view: View,
    /// The first and last day on which its windows start.
    pub(super) days: Option<(Date, Date)>,
    /// The newest release of each kind of window, in the order of the kinds.
    pub(super) fresh: [Fresh; WindowKind::ALL.len()],
    /// Its windows that have been released.
    pub(super) windows: Vec<Window>,
}

/// The pages that were asked for last, the newest first.
#[derive(Debug, Default)]
pub(crate) struct PageCache(Mutex<VecDeque<(PageKey, Bytes)>>);

impl PageCache {
    pub(super) fn get(&self, key: &PageKey) -> Option<Bytes> {
        let mut kept = self.0.lock();
        let at = kept.iter().position(|(other, _)| other == key)?;
        let found = kept.remove(at)?;
        let page = found.1.clone();
        kept.push_front(found);
        Some(page)
    }

    /// Keeps a page. It replaces the same page of earlier releases, and the oldest page of the same guest or
    /// of all if there are too many.
    pub(super) fn insert(&self, key: PageKey, page: Bytes) {
        let mut kept = self.0.lock();
        kept.retain(|(other, _)| (&other.guest, &other.view) != (&key.guest, &key.view));
        let is_of_this_guest = |(other, _): &(PageKey, Bytes)| other.guest == key.guest;
        if kept.iter().filter(|page| is_of_this_guest(page)).count() >= MAX_OF_ONE
            && let Some(oldest) = kept.iter().rposition(is_of_this_guest)
        {
            kept.remove(oldest);
        }
        kept.push_front((key, page));
        kept.truncate(MAX_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::Insight;
    use crate::pages::{Page, Query};
    use shared::data_point::UserLang;

    fn key(name: usize) -> PageKey {
        let kind = WindowKind::Day;
        let fresh = WindowKind::ALL.map(|kind| Fresh { kind, newest: None, is_late: false });
        PageKey {
            guest: Guest { name: Some(name.to_string()), readable: vec![Insight::Pods] },
            view: View::of(Page::Insight(Insight::Pods), &Query::default()).unwrap(),
            days: None,
            fresh,
            windows: vec![Window::of_day(kind, jiff::civil::date(2026, 11, 22))],
        }
    }

    #[test]
    fn a_page_is_found_for_who_asked_for_the_same_windows_and_for_nobody_else() {
        let cache = PageCache::default();
        cache.insert(key(1), Bytes::from_static(b"page"));
        assert_eq!(cache.get(&key(1)).unwrap(), "page");
        assert_eq!(cache.get(&key(2)), None);
        let mut purged = key(1);
        purged.windows.clear();
        assert_eq!(cache.get(&purged), None);
        let mut late = key(1);
        late.fresh[WindowKind::Month as usize].is_late = true;
        assert_eq!(cache.get(&late), None);
    }

    #[test]
    fn a_page_takes_the_place_of_what_it_was_before() {
        let cache = PageCache::default();
        cache.insert(key(1), Bytes::new());
        let mut later = key(1);
        later.windows.push(Window::of_day(WindowKind::Day, jiff::civil::date(2026, 11, 23)));
        cache.insert(later, Bytes::new());
        assert_eq!(cache.0.lock().len(), 1);
    }

    #[test]
    fn one_guest_leaves_room_to_others() {
        let cache = PageCache::default();
        cache.insert(key(1), Bytes::new());
        for guide in 1..=40 {
            let query: Query =
                serde_json::from_value(serde_json::json!({ "guide": guide.to_string() })).unwrap();
            let view = View::of(Page::Insight(Insight::of::<UserLang>()), &query).unwrap();
            cache.insert(PageKey { view, ..key(2) }, Bytes::new());
        }
        assert!(cache.get(&key(1)).is_some());
        assert_eq!(cache.0.lock().len(), 1 + MAX_OF_ONE);
    }

    #[test]
    fn those_that_nobody_asks_for_make_room() {
        let cache = PageCache::default();
        for name in 0..MAX_KEPT {
            cache.insert(key(name), Bytes::new());
        }
        assert!(cache.get(&key(0)).is_some());
        cache.insert(key(MAX_KEPT), Bytes::new());
        assert!(cache.get(&key(0)).is_some() && cache.get(&key(1)).is_none());
        assert_eq!(cache.0.lock().len(), MAX_KEPT);
    }
}
