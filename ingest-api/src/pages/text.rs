//! Numbers and days → text, the same on all pages.

use jiff::civil::Date;

use crate::insight::{AnsweredWindow, Bounds};
use crate::window::{Window, WindowKind};

/// A space that does not break a line.
pub(super) const NBSP: char = '\u{a0}';

/// `1,230`
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 %`, of a share from 0 to 1.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}{NBSP}%", share * 100.0)
}

/// `12.3 % to 15.0 %`, rounded so that the bounds stay bounds; one number if they are the same.
pub(super) fn percent_bounds(share: Bounds<f64>) -> String {
    // A share has four decimals, and some shares have no exact binary form.
    let least = (share.at_least * 1_000.0 + 1e-6).floor() / 10.0;
    // Adding zero turns a negative zero into a positive one.
    let most = (share.at_most * 1_000.0 - 1e-6).ceil() / 10.0 + 0.0;
    if least >= most { format!("{most:.1}{NBSP}%") } else { format!("{least:.1}{NBSP}% to {most:.1}{NBSP}%") }
}

/// `120 to 150`; one number if they are the same.
pub(super) fn count_bounds(bounds: Bounds<u64>) -> String {
    let (least, most) = (count(bounds.at_least), count(bounds.at_most));
    if least == most { most } else { format!("{least} to {most}") }
}

/// `1 Pod`, `2 Pods`.
pub(super) fn of_unit(n: u64, unit: &str) -> String {
    format!("{} {unit}{}", count(n), if n == 1 { "" } else { "s" })
}

/// `Pod` for `pod`.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `22 November 2026`
pub(super) fn day(day: Date) -> String {
    day.strftime("%-d %B %Y").to_string()
}

/// `22 Nov`, or `Nov 2026` for a month: for the axis of a chart.
pub(super) fn short(kind: WindowKind, day: Date) -> String {
    match kind {
        WindowKind::Day | WindowKind::Week => day.strftime("%-d %b").to_string(),
        WindowKind::Month => day.strftime("%b %Y").to_string(),
    }
}

/// `the week of 16 November 2026`
pub(super) fn window(window: Window) -> String {
    match window.kind() {
        WindowKind::Day => day(window.start()),
        WindowKind::Week => format!("the week of {}", day(window.start())),
        WindowKind::Month => window.start().strftime("%B %Y").to_string(),
    }
}

/// `in the week of 16 November 2026`, or `on` a day.
pub(super) fn within(of: Window) -> String {
    let preposition = if of.kind() == WindowKind::Day { "on" } else { "in" };
    format!("{preposition} {}", window(of))
}

/// `16 Nov 2026`, or `November 2026` for a month: for the rows of a table.
pub(super) fn start(kind: WindowKind, start: Date) -> String {
    match kind {
        WindowKind::Day | WindowKind::Week => date(start),
        WindowKind::Month => window(Window::of_day(kind, start)),
    }
}

/// `16 Nov 2026`
pub(super) fn date(day: Date) -> String {
    day.strftime("%-d %b %Y").to_string()
}

/// The first day of a window. We wrote it ourselves, so it can be parsed.
pub(super) fn start_of(window: &AnsweredWindow) -> Date {
    window.start.parse().unwrap_or_default()
}

/// `days`, `weeks`, `months`
pub(super) fn windows(kind: WindowKind, n: usize) -> String {
    format!("{n} {}{}", kind.as_str(), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_so_that_they_can_be_read_and_bounds_stay_bounds() {
        assert_eq!(
            [count(5), count(995), count(1_000), count(1_230_000)],
            ["5", "995", "1,000", "1,230,000"]
        );
        assert_eq!(percent(0.6667), "66.7\u{a0}%");
        let bounds = |at_least, at_most| percent_bounds(Bounds { at_least, at_most });
        assert_eq!(bounds(0.2, 0.4667), "20.0\u{a0}% to 46.7\u{a0}%");
        assert_eq!(bounds(0.1239, 0.1241), "12.3\u{a0}% to 12.5\u{a0}%");
        assert_eq!(bounds(1.0, 1.0), "100.0\u{a0}%");
        assert_eq!(bounds(0.0, 0.0), "0.0\u{a0}%");
        assert_eq!(count_bounds(Bounds { at_least: 3, at_most: 1_007 }), "3 to 1,007");
    }
}
