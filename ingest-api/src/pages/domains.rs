//! The domains of operators who opted in.

use maud::html;

use super::layout::{self, Guest};
use super::view::View;
use super::{Page, text};
use crate::insight::{DomainsAnswer, Insight};

/// The page.
pub(crate) fn domains_page(guest: &Guest, view: &View, answer: &DomainsAnswer) -> String {
    layout::page(
        guest,
        Page::Insight(Insight::Domains),
        html! {
            header.page {
                h1 { "Domains" }
                p.question { (Insight::Domains.question()) }
            }
            section aria-labelledby="domains" {
                h2 id="domains" { (text::of_unit(answer.domains.len() as u64, "domain")) }
                @if answer.domains.is_empty() {
                    p.empty { "Nobody has opted in, or two weeks have closed without a report of those who had." }
                } @else {
                    div.scroll role="region" tabindex="0" aria-label="Domains" {
                        table {
                            caption { "Domains whose operators tell us their name" }
                            thead { tr { th scope="col" { "Domain" } th scope="col" { "Last reported in the week of" } } }
                            tbody {
                                @for seen in &answer.domains {
                                    tr data-label=(seen.domain) {
                                        th scope="row" { (seen.domain) }
                                        td data-start=(seen.last_seen_week) {
                                            (seen.last_seen_week.parse().map(text::day).unwrap_or_default())
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                p.note {
                    "These are names of companies: for the eyes of those who were given the right to them. They stand apart from all numbers; "
                    "nothing joins a domain to a version, a size or a count. A domain is deleted after two closed weeks without a report."
                }
            }
            section.source aria-labelledby="source" {
                h2 id="source" { "The same data" }
                ul.downloads {
                    li { a href=(view.api(Insight::Domains, None, None, true)) { "CSV" } }
                    li { a href=(view.api(Insight::Domains, None, None, false)) { "JSON" } }
                }
            }
        },
    )
}
