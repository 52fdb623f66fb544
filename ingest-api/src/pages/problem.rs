//! A problem → a page for browsers.

use maud::html;
use shared::problem::Problem;

use super::layout;

pub(crate) fn problem_page(problem: &Problem) -> String {
    let overview = Some(("/", "Back to the overview"));
    let (title, way_out) = match problem.status() {
        401 => ("You are not logged in", Some(("/login", "Log in"))),
        403 => ("This is not for your token", overview),
        404 => ("There is no such page", overview),
        400 | 422 => ("Part of the address is not understood", overview),
        500.. => ("Something failed on our side", None),
        _ => (problem.title(), None),
    };
    layout::plain(
        title,
        &html! {
            section.problem {
                p.status aria-hidden="true" { (problem.status()) }
                h1 { (title) }
                @if let Some(detail) = problem.detail() { p { (detail) } }
                @if problem.status() >= 500 { p { "The fault has been logged. Try again in a moment." } }
                @if let Some((path, name)) = way_out { p { a.button href=(path) { (name) } } }
            }
        },
    )
}
