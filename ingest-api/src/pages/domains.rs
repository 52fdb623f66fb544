//! The domains of operators who opted in.

use maud::html;

use super::layout::{self, Guest};
use super::view::View;
use super::{Page, text};
use crate::insight::{DomainsAnswer, Insight};

pub(crate) fn domains_page(guest: &Guest, view: &View, answer: &DomainsAnswer) -> String {
    let head = html! { th scope="col" { "Domain" } th scope="col" { "Last reported in the week of" } };
    let body = html! {
        @for seen in &answer.domains {
            tr data-label=(seen.domain) {
                th scope="row" { (seen.domain) }
                td data-start=(seen.last_seen_week) { (seen.last_seen_week.parse().map(text::day).unwrap_or_default()) }
            }
        }
    };
    layout::page(
        guest,
        Page::Insight(Insight::Domains),
        html! {
            header.page {
                h1 { "Domains" }
                p.question { (Insight::Domains.question()) }
            }
            (layout::section("domains", &text::of_unit(answer.domains.len() as u64, "domain"), &html! {
                @if answer.domains.is_empty() {
                    p.empty { "No operator has opted in, or none has reported for two closed weeks." }
                } @else {
                    (layout::table(None, "Domains", "Domains that operators chose to report", &head, &body))
                }
                p.note {
                    "These are names of companies, for readers with the right to them. They are kept apart from all numbers: "
                    "nothing joins a domain to a version, a size or a count. A domain is deleted after two closed weeks without a report."
                }
            }))
            (layout::downloads(&html! {
                li { a href=(view.api(Insight::Domains, None, None, true)) { "CSV" } }
                li { a href=(view.api(Insight::Domains, None, None, false)) { "JSON" } }
            }, &html! {}))
        },
    )
}
