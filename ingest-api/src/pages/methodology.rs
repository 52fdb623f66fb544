//! What is counted, how, and what is not known: for whoever wants to know, with or without a token.

use maud::{Markup, html};

use super::Page;
use super::layout::{self, Guest};
use crate::release::Threshold;

/// The page.
pub(crate) fn methodology_page(guest: &Guest) -> String {
    layout::page(
        guest,
        Page::Methodology,
        html! {
            article.prose {
                header.page {
                    h1 { "Methodology" }
                    p.question { "What is counted, how, and what is not known." }
                }
                (counted())
                (windows())
                (groups())
                (reading())
                (unknown())
                (decides())
            }
        },
    )
}

fn counted() -> Markup {
    html! {
        section aria-labelledby="counted" {
            h2 id="counted" { "What is counted" }
            p {
                "Prose is a team chat that companies host themselves. One such server is a " strong { "Pod" } ". An "
                strong { "installation" } " is one app on one device of one user. We count Pods and installations; a person with a phone and a "
                "laptop has two installations, and we do not know that they belong together. So no number here is one of people."
            }
            p { "At its start and once a day, an app tells its name and version, its platform and the preferred languages of the device; a Pod tells its version and a range for the number of its accounts and, if its operator turns that on, its domain. That is all: no message, contact or name of anybody is reported. Of a language, we keep the first choice with its region, and we keep no network address." }
            p { "Where an app belongs to a Pod, its report goes through the Pod, which takes out whatever its operator does not want to share. An app on any other XMPP server reports by itself. These are two populations, shown side by side and never added to one number." }
        }
    }
}

fn windows() -> Markup {
    html! {
        section aria-labelledby="windows" {
            h2 id="windows" { "How it is counted" }
            ul {
                li { "A window is a day, a week from Monday or a calendar month, in UTC. Within it each installation and each Pod counts once, however often it reports. If it reports two versions, the newer one counts." }
                li { "What counts is when a report arrives. One that was held up counts in the window in which it arrives." }
                li { "An installation reports under a pseudonym, which is scrambled with a random key that each window has of its own. When the window ends, its numbers are released, the reports are deleted and the key is destroyed. Nobody can then tell which installation was in which window, we included." }
                li { "A release is written once and never changed. Nothing is told about a window before it has ended." }
                li { strong { "Numbers of several windows are never added." } " Whoever reports on two days is in both of them; the week counts them once." }
            }
        }
    }
}

fn groups() -> Markup {
    let threshold = Threshold::default();
    let floor = Threshold::FLOOR;
    html! {
        section aria-labelledby="groups" {
            h2 id="groups" { "What makes a group large enough" }
            p {
                "A number about installations is published if it is about at least " (threshold.installations()) " of them, from at least "
                (threshold.pods()) " Pods, and if at least " (threshold.without_largest()) " are left when those of the largest Pod are taken away. "
                "A number about Pods is about at least " (threshold.pod_count()) " of them. These are the least numbers unless whoever runs this service "
                "has chosen others; fewer than " (floor.installations()) ", " (floor.pods()) ", " (floor.without_largest()) " and "
                (floor.pod_count()) " cannot be chosen."
            }
            p { "A group that is too small is not just hidden, since it could be found by subtracting the others from the total. It is " strong { "folded" } ": a rare version into its series, a region into its language, and what is still too small into “everything else”. If even that is too small, nothing is published." }
            p { "Every published number is rounded to the nearest 5, and from 1,000 on to three digits. The exact ones are not kept." }
        }
    }
}

fn reading() -> Markup {
    html! {
        section aria-labelledby="reading" {
            h2 id="reading" { "How to read the pages" }
            dl {
                dt { "Share" }
                dd { "The part of everybody who reported in that window, those included who did not report the value. Each page names the number that its shares are parts of." }
                dt { "Everything else" }
                dd { "What was folded. Which values are in it is not published." }
                dt { "Not reported" }
                dd { "Those whose operator does not share this value, or whose app does not tell it." }
                dt { "Below a version" }
                dd { "Two numbers, with the truth between them. The lower one holds who is below for certain, with each number at the lower end of its rounding. The upper one adds whoever may be: folded, rounded away, or without a reported version." }
                dt { "Adopted" }
                dd { "The part that runs a version or a newer one, of those who told their version. Days are counted from the first window in which the version was published on its own, which is later than the day it came out, because a few early ones are too small a group." }
                dt { "Pods, at least" }
                dd { "So many different Pods reported within one window, taken at the lower end of the rounding." }
            }
        }
    }
}

fn unknown() -> Markup {
    html! {
        section aria-labelledby="unknown" {
            h2 id="unknown" { "What is not known" }
            ul {
                li { "Pods that report nothing, and everybody on them. Each operator can turn analytics off, as a whole or value by value, and some are never asked, having no connection to the outside. What they run may differ from what others run." }
                li { "Whether a Pod or an installation is real. Reports carry no proof; somebody with many addresses can invent some. What one Pod can add is limited by the size that it declares. Whoever knows the domain of a Pod can also report in its name: a version that is too high, a larger size, a domain that its operator did not share, or so many installations that real ones are left out." }
                li { "Who is behind a number. There is no way back from a number to an installation, a Pod or a company." }
                li { "Whether the same installation was there a month ago. Keys differ from window to window, so that no history of anybody can be made, and no statement about who came and who left." }
                li { "What several numbers tell together. Each is about a group that is large enough; that nothing at all can be inferred from comparing many of them, we do not claim." }
            }
        }
    }
}

fn decides() -> Markup {
    html! {
        section aria-labelledby="decides" {
            h2 id="decides" { "Who decides what is reported" }
            p {
                "The operator of each Pod, in its configuration: " code { "[vendor_analytics] enabled = false" }
                " turns everything off, " code { "preset = \"gdpr\"" } " keeps back more than usual, and every value has a switch of its own. "
                "The domain of a Pod is reported only if its operator turns that on; domains are kept apart from all numbers, and deleted after "
                "two closed weeks without a report."
            }
        }
    }
}
