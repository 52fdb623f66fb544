//! What is counted, how, and what we do not know. Open to everybody.

use maud::{Markup, html};

use super::Page;
use super::layout::{self, Guest};
use crate::release::Threshold;

pub(crate) fn methodology_page(guest: &Guest) -> String {
    layout::page(
        guest,
        Page::Methodology,
        html! {
            article.prose {
                header.page {
                    h1 { "Methodology" }
                    p.question { "What we count, how we count it, and what we do not know." }
                }
                (layout::section("counted", "What we count", &counted()))
                (layout::section("windows", "How we count", &windows()))
                (layout::section("groups", "What makes a group large enough", &groups()))
                (layout::section("reading", "How to read the pages", &reading()))
                (layout::section("unknown", "What we do not know", &unknown()))
                (layout::section("decides", "Who decides what is reported", &decides()))
            }
        },
    )
}

fn counted() -> Markup {
    html! {
        p {
            "Prose is a team chat that companies host themselves. One such server is a " strong { "Pod" } ". An "
            strong { "installation" } " is one app on one device of one user. We count Pods and installations. A person with a phone and a "
            "laptop has two installations, and we do not know that they belong together. So no number here counts people."
        }
        p { "At its start and once a day, an app reports its name and version, its platform and the preferred languages of the device. A Pod reports its version, a range for the number of its accounts and, if its operator turns that on, its domain. That is all: no message, contact or name of a person is reported. We keep the first language with its region, and no network address." }
        p { "If an app belongs to a Pod, its report goes through the Pod, which removes what its operator does not share. An app on any other XMPP server reports directly. We show these two populations side by side and never add them." }
    }
}

fn windows() -> Markup {
    html! {
        ul {
            li { "A window is a day, a week from Monday, or a calendar month, in UTC. In a window, each installation and each Pod counts once, however often it reports. If it reports two versions, the newer one counts." }
            li { "A report counts when it arrives. A delayed report counts in the window in which it arrives." }
            li { "An installation reports under a pseudonym, which we scramble with a random key. Each window has a key of its own. When the window ends, we release its numbers, delete the reports and destroy the key. After that, nobody can tell which installation was in which window, and neither can we." }
            li { "A release is written once and never changed. We publish nothing about a window before it has ended." }
            li { strong { "Never add the numbers of several windows." } " An installation that reports on two days is in both of them. The week counts it once." }
        }
    }
}

fn groups() -> Markup {
    let threshold = Threshold::default();
    let floor = Threshold::FLOOR;
    html! {
        p {
            "We publish a number about installations if it is about at least " (threshold.installations()) " of them from at least "
            (threshold.pods()) " Pods, and if at least " (threshold.without_largest()) " remain without those of the largest Pod. "
            "A number about Pods is about at least " (threshold.pod_count()) " of them. The operator of this service may have chosen other limits, "
            "but none below " (floor.installations()) ", " (floor.pods()) ", " (floor.without_largest()) " and " (floor.pod_count()) "."
        }
        p { "It is not enough to hide a group that is too small: anybody could subtract the others from the total. So the group is " strong { "folded" } ": its reporters count in a larger group instead. A rare version is folded into its series, a region into its language, and what is still too small into “everything else”. If even that is too small, nothing is published." }
        p { "Every published number is rounded to the nearest 5, and to three digits from 1,000 on. We do not keep the exact numbers." }
    }
}

fn reading() -> Markup {
    html! {
        dl {
            dt { "Share" }
            dd { "The part of everybody who reported in the window, including those who did not report this value. Each page names the number that its shares are parts of." }
            dt { "Everything else" }
            dd { "The folded values. We do not publish which ones they are." }
            dt { "Not reported" }
            dd { "The operator does not share this value, or the app does not report it." }
            dt { "Below a version" }
            dd { "Two numbers, with the truth between them. The lower one counts who is certainly below, with each number at the lower end of its rounding. The upper one adds who may be below: folded, rounded away, or without a reported version." }
            dt { "Adopted" }
            dd { "The part that runs a version or a newer one, of those who reported a version. Days count from the first window in which the version was published on its own. That is later than its release, because the first few are too small a group." }
            dt { "Pods, at least" }
            dd { "The number of different Pods that reported in one window, at the lower end of its rounding." }
        }
    }
}

fn unknown() -> Markup {
    html! {
        ul {
            li { "Pods that report nothing, and everybody on them. Each operator can turn analytics off, as a whole or value by value, and some Pods have no connection to the outside. They may run other things than those that report." }
            li { "Whether a Pod or an installation is real. Reports carry no proof, so somebody with many addresses can invent some. The size that a Pod declares limits what it can add. Anybody who knows the domain of a Pod can also report in its name: a version that is too high, a larger size, a domain that its operator did not share, or so many installations that real ones are left out." }
            li { "Who is behind a number. No way leads from a number back to an installation, a Pod or a company." }
            li { "Whether the same installation was there a month ago. Keys differ from window to window, so nobody has a history, and we cannot say who came and who left." }
            li { "What several numbers reveal together. Each is about a group that is large enough. We do not claim that nothing at all can be inferred from comparing many of them." }
        }
    }
}

fn decides() -> Markup {
    html! {
        p {
            "The operator of each Pod, in its configuration: " code { "[vendor_analytics] enabled = false" }
            " turns everything off, " code { "preset = \"gdpr\"" } " shares less than usual, and every value has a switch of its own. "
            "The domain of a Pod is reported only if its operator turns that on. Domains are kept apart from all numbers, and deleted after "
            "two closed weeks without a report."
        }
    }
}
