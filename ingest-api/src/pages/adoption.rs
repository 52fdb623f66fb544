//! How releases are adopted → a table in which each row draws its days.

use jiff::civil::Date;
use maud::{Markup, html};
use shared::app::AppName;

use super::{InsightPage, layout, text};
use crate::insight::{Adoption, Reached};

/// The adoption of each version of a software in the population that is shown.
pub(super) fn of<'a>(page: &InsightPage<'a>, app: Option<AppName>) -> Vec<&'a Adoption> {
    let (population, app) = (page.population().as_str(), app.map(AppName::as_str));
    let all = page.answer.adoption.iter().flatten();
    all.filter(|adoption| adoption.population == population && adoption.app.as_deref() == app).collect()
}

pub(super) fn section(page: &InsightPage<'_>, app: Option<AppName>, software: &str) -> Markup {
    let rows = of(page, app);
    let days = |reached: &Reached| reached.days_at_most.max(reached.days_at_least).unwrap_or(0);
    let longest =
        rows.iter().map(|row| days(&row.half).max(days(&row.nine_in_ten))).max().unwrap_or(0).max(1);
    let head = html! {
        th scope="col" { "Version" }
        th scope="col" { "First published" }
        th.number scope="col" { "Adopted now" }
        th.number scope="col" { span.mark.half aria-hidden="true" {} "50\u{a0}% after" }
        th.number scope="col" { span.mark.nine aria-hidden="true" {} "90\u{a0}% after" }
        td.bar aria-hidden="true" { "0 to " (longest) " days" }
    };
    let body = html! { @for row in &rows { (line(row, longest)) } };
    let caption = format!("Adoption of each release of {software}");
    layout::section(
        "adoption",
        "How fast releases are adopted",
        &html! {
            p.about {
                "Days from the first " (page.view.kind.as_str()) " in which a version of " (software)
                " was published on its own, until 50\u{a0}% and 90\u{a0}% of those who reported a version ran it or a newer one. "
                "If rounding and folding leave the day open, it is between the two numbers."
            }
            @if rows.is_empty() {
                p.empty { "No version was published on its own in this period." }
            } @else {
                (layout::table(Some("adoption"), "Adoption", &caption, &head, &body))
            }
        },
    )
}

fn line(row: &Adoption, longest: i32) -> Markup {
    html! {
        tr data-label=(row.version) {
            th.date scope="row" { (row.version) }
            td.date {
                @match &row.first_published {
                    Some(day) => (written(day)),
                    None => span.muted { "perhaps before this period" },
                }
            }
            td.number data-is="newest" { (text::percent_bounds(row.newest)) }
            td.number data-is="half" { (after(&row.half)) }
            td.number data-is="nine" { (after(&row.nine_in_ten)) }
            td.bar aria-hidden="true" {
                svg width="100%" height="100%" focusable="false" {
                    line.axis x1="0" x2="100%" y1="50%" y2="50%" {}
                    (mark(&row.nine_in_ten, "nine", longest))
                    (mark(&row.half, "half", longest))
                }
            }
        }
    }
}

/// A dot at the day. If the day is open, a bar from the first possible day to the last.
fn mark(reached: &Reached, class: &str, longest: i32) -> Markup {
    // Less than the whole width, so that a narrow screen cuts off no dot.
    let at = |days: i32| 7.0 + f64::from(days) / f64::from(longest) * 86.0;
    html! {
        @match (reached.days_at_least, reached.days_at_most) {
            (Some(least), Some(most)) if least < most => {
                rect class=(class) y="35%" height="30%" rx="3" x=(format!("{:.1}%", at(least)))
                    width=(format!("{:.1}%", at(most) - at(least))) {}
                circle class=(class) cy="50%" r="5" cx=(format!("{:.1}%", at(most))) {}
            }
            (_, Some(most)) => circle class=(class) cy="50%" r="5" cx=(format!("{:.1}%", at(most))) {},
            (Some(least), None) => circle class=(format!("{class} open")) cy="50%" r="5" cx=(format!("{:.1}%", at(least))) {},
            (None, None) => {}
        }
    }
}

/// When a mark was reached, in words.
fn after(reached: &Reached) -> String {
    let days = |n: i32| format!("{n}\u{a0}day{}", if n == 1 { "" } else { "s" });
    match (reached.days_at_least, reached.days_at_most) {
        (Some(least), Some(most)) if least < most => format!("{least} to {}", days(most)),
        (_, Some(most)) => days(most),
        (Some(least), None) => format!("perhaps {}", days(least)),
        (None, None) if reached.not_yet => "not yet".to_owned(),
        // It was reached before the period, and we do not know when.
        (None, None) => match &reached.not_after {
            Some(day) => format!("by {}", written(day)),
            None => "perhaps".to_owned(),
        },
    }
}

fn written(day: &str) -> String {
    day.parse::<Date>().map(text::date).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_that_is_open_is_between_two_numbers() {
        let reached = |least, most, not_yet| Reached {
            not_before: None,
            not_after: None,
            days_at_least: least,
            days_at_most: most,
            not_yet,
        };
        assert_eq!(after(&reached(Some(14), Some(21), false)), "14 to 21\u{a0}days");
        assert_eq!(after(&reached(Some(1), Some(1), false)), "1\u{a0}day");
        assert_eq!(after(&reached(Some(14), None, false)), "perhaps 14\u{a0}days");
        assert_eq!(after(&reached(None, None, true)), "not yet");
        let before = Reached { not_after: Some("2026-09-01".to_owned()), ..reached(None, None, false) };
        assert_eq!(after(&before), "by 1 Sep 2026");
    }
}
