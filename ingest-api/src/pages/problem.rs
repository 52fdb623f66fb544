//! What went wrong → a page, for those who come with a browser.

use maud::html;
use shared::problem::Problem;

use super::layout;

/// The page.
pub(crate) fn problem_page(problem: &Problem) -> String {
    let (title, way_out) = match problem.status() {
        401 => ("You are not logged in", Some(("/login", "Log in"))),
        403 => ("This is not for your token", Some(("/", "Back to the overview"))),
        404 => ("There is no such page", Some(("/", "Back to the overview"))),
        400 | 422 => {
            ("The address says something that is not understood", Some(("/", "Back to the overview")))
        }
        500.. => ("Something of ours failed", None),
        _ => (problem.title(), None),
    };
    layout::plain(
        title,
        &html! {
            section.problem {
                p.status aria-hidden="true" { (problem.status()) }
                h1 { (title) }
                @if let Some(detail) = problem.detail() { p { (detail) } }
                @if problem.status() >= 500 { p { "It has been logged. Try again in a moment." } }
                @if let Some((path, name)) = way_out { p { a.button href=(path) { (name) } } }
            }
        },
    )
}
