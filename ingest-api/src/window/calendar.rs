//! A moment → the windows that it falls into. Pure; all times are UTC.

use std::fmt;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowKind {
    /// A UTC day.
    Day,
    /// An ISO week, from Monday.
    Week,
    /// A calendar month.
    Month,
}

impl WindowKind {
    /// Every kind, shortest first. The index of a kind is its number.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A half-open interval `[start, end)` of whole UTC days, in which distinct reporters are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    kind: WindowKind,
    start: Date,
}

impl Window {
    /// The window of that kind that contains `moment`.
    pub fn containing(kind: WindowKind, moment: Timestamp) -> Self {
        Self::of_day(kind, moment.to_zoned(TimeZone::UTC).date())
    }

    /// The window of that kind that contains the day.
    pub fn of_day(kind: WindowKind, day: Date) -> Self {
        let start = match kind {
            WindowKind::Day => day,
            WindowKind::Week => day.saturating_sub(i64::from(day.weekday().since(Weekday::Monday)).days()),
            WindowKind::Month => day.first_of_month(),
        };
        Self { kind, start }
    }

    /// Its kind.
    pub fn kind(&self) -> WindowKind {
        self.kind
    }

    /// Its first day.
    pub fn start(&self) -> Date {
        self.start
    }

    /// The day after its last day.
    pub fn end(&self) -> Date {
        let length = match self.kind {
            WindowKind::Day => 1.day(),
            WindowKind::Week => 1.week(),
            WindowKind::Month => 1.month(),
        };
        self.start.saturating_add(length)
    }

    /// Whether it is over at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.end() <= now.to_zoned(TimeZone::UTC).date()
    }
}

/// `day 2026-11-22`, which is also the syntax on the command line.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(moment: &str, kind: WindowKind, start: &str, end: &str) {
        let window = Window::containing(kind, moment.parse().unwrap());
        assert_eq!(
            (window.start().to_string(), window.end().to_string()),
            (start.to_owned(), end.to_owned())
        );
    }

    #[test]
    fn a_moment_falls_into_one_window_of_each_kind() {
        check("2026-11-22T23:59:59.999Z", WindowKind::Day, "2026-11-22", "2026-11-23");
        check("2026-11-22T23:59:59.999Z", WindowKind::Week, "2026-11-16", "2026-11-23");
        check("2026-11-23T00:00:00Z", WindowKind::Week, "2026-11-23", "2026-11-30");
        check("2027-01-01T00:00:00Z", WindowKind::Week, "2026-12-28", "2027-01-04");
        check("2026-12-31T12:00:00Z", WindowKind::Month, "2026-12-01", "2027-01-01");
    }

    #[test]
    fn a_window_is_over_at_its_end_and_not_before() {
        let window = Window::containing(WindowKind::Day, "2026-11-22T10:00:00Z".parse().unwrap());
        assert!(!window.is_over("2026-11-22T23:59:59.999999999Z".parse().unwrap()));
        assert!(window.is_over("2026-11-23T00:00:00Z".parse().unwrap()));
    }
}
