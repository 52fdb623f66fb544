//! The days that a reader asks about → the range of days on which windows start. Pure.

use jiff::civil::Date;

/// The longest period that is answered, in days: a year of daily releases, and a bit.
pub const MAX_DAYS: i32 = 400;

/// Why a period is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// The beginning is after the end.
    #[error("`from` is after `to`")]
    Reversed,
    /// No end was given, and nothing has been released since the beginning.
    #[error("`from` is after the newest release")]
    NotYet,
    /// It has more than [`MAX_DAYS`] days, or begins before `FIRST`.
    #[error("a period has at most {MAX_DAYS} days, and starts in 2000 or later")]
    TooLong,
}

/// The first and last day on which windows start. Without an end, the period ends with the newest release.
/// Without a beginning, it is as long as allowed. With neither, it is the newest release alone. `None` if
/// nothing has been released.
///
/// # Errors
/// If the given days are not a valid period.
pub fn period(
    from: Option<Date>,
    to: Option<Date>,
    newest: Option<Date>,
) -> Result<Option<(Date, Date)>, PeriodError> {
    if from.into_iter().chain(to).any(|day| day < FIRST) {
        return Err(PeriodError::TooLong);
    }
    let (start, end) = match (from, to, newest) {
        (None, Some(to), _) => (to.saturating_sub(longest()).max(FIRST), to),
        (Some(from), Some(to), _) | (Some(from), None, Some(to)) => (from, to),
        (None, None, Some(newest)) => (newest, newest),
        (_, None, None) => return Ok(None),
    };
    if start > end {
        return Err(if to.is_some() { PeriodError::Reversed } else { PeriodError::NotYet });
    }
    if start.saturating_add(longest()) < end {
        return Err(PeriodError::TooLong);
    }
    Ok(Some((start, end)))
}

/// Nothing was released before this day.
const FIRST: Date = jiff::civil::date(2000, 1, 1);

fn longest() -> jiff::Span {
    jiff::Span::new().days(MAX_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_a_beginning_and_an_end_in_that_order() {
        let day = |text: &str| text.parse::<Date>().ok();
        let newest = day("2026-11-22");
        let both = |from: &str, to: &str| Ok(day(from).zip(day(to)));
        assert_eq!(period(None, None, newest), both("2026-11-22", "2026-11-22"));
        assert_eq!(period(day("2026-11-01"), None, newest), both("2026-11-01", "2026-11-22"));
        assert_eq!(period(day("2026-01-01"), day("2026-12-31"), newest), both("2026-01-01", "2026-12-31"));
        assert_eq!(period(None, None, None), Ok(None));
        assert_eq!(period(None, day("2026-11-01"), newest), both("2025-09-27", "2026-11-01"));
        assert_eq!(period(None, day("2000-01-02"), None), both("2000-01-01", "2000-01-02"));
        assert_eq!(period(day("2026-12-01"), None, newest), Err(PeriodError::NotYet));
        assert_eq!(period(day("2026-12-01"), day("2026-11-01"), newest), Err(PeriodError::Reversed));
        assert_eq!(period(day("2026-12-01"), day("2026-11-01"), None), Err(PeriodError::Reversed));
        assert_eq!(period(day("1999-12-31"), None, None), Err(PeriodError::TooLong));
        assert_eq!(period(None, day("1999-12-31"), newest), Err(PeriodError::TooLong));
        assert_eq!(period(day("2024-12-01"), None, newest), Err(PeriodError::TooLong));
        assert_eq!(period(day("-009999-01-01"), day("-009999-01-01"), newest), Err(PeriodError::TooLong));
    }
}
