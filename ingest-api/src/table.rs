//! Answers → text: tables with bars for people, CSV for spreadsheets.

use std::borrow::Cow;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use crate::insight::{Answer, AnsweredWindow, DomainsAnswer};

/// How long the longest bar is, in characters.
const BAR: f64 = 30.0;

/// The newest window of each population, as tables.
pub fn render(answer: &Answer) -> String {
    let mut text = format!("{} – {}\n", answer.insight, answer.question);
    let newest = answer.windows.iter().map(|window| &window.start).max();
    let Some(newest) = newest else {
        text += &format!("  No {} has been released yet.\n", answer.window);
        return text;
    };
    for window in answer.windows.iter().filter(|window| window.start == *newest) {
        text += &render_window(answer, window);
    }
    text
}

fn render_window(answer: &Answer, window: &AnsweredWindow) -> String {
    let population = match window.population {
        Some("direct") => ", without a Pod",
        Some(_) if answer.unit == "installation" => ", through a Pod",
        _ => "",
    };
    let mut text = format!("  {} of {}{population}: ", answer.window, window.start);
    if window.blocks.is_empty() {
        return text + "too few reported for anything to be published\n";
    }
    text += &match window.total {
        Some(total) => format!("{total} {}s\n", answer.unit),
        // The two populations are compared and not added: who reported in both ways is in both.
        None if window.blocks.len() > 1 => "two numbers that are never added\n".to_owned(),
        None => "no share can be told, because one side had too few reporters\n".to_owned(),
    };
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["value", "count", "share", ""]);
    for block in &window.blocks {
        let share = block.share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let bar = "█".repeat((block.share.unwrap_or(0.0) * BAR).round() as usize);
        table.add_row([block.label.clone(), block.count.to_string(), share, bar]);
    }
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.to_string().lines() {
        text += &format!("  {line}\n");
    }
    if let Some(below) = &window.below {
        text += &format!(
            "  below {}{}: from {} to {} {}s, {:.1} % to {:.1} %\n",
            below.app.map(|app| format!("{app} ")).unwrap_or_default(),
            below.version,
            below.count.at_least,
            below.count.at_most,
            answer.unit,
            below.share.at_least * 100.0,
            below.share.at_most * 100.0
        );
    }
    text
}

/// The opt-in domains, as a table.
pub fn render_domains(answer: &DomainsAnswer) -> String {
    let mut text = format!("{} – {}\n", answer.insight, answer.question);
    if answer.domains.is_empty() {
        return text + "  Nobody has opted in, or two weeks have closed without a report of those who had.\n";
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["domain", "last reported in the week of"]);
    for domain in &answer.domains {
        table.add_row([&domain.domain, &domain.last_seen_week]);
    }
    for line in table.to_string().lines() {
        text += &format!("  {line}\n");
    }
    text
}

/// Lines of a CSV (RFC 4180) in which no text is taken for a formula.
struct Lines(csv::Writer<Vec<u8>>);

impl Lines {
    fn new<const N: usize>(header: [&str; N]) -> Result<Self, csv::Error> {
        let mut lines = Self(csv::Writer::from_writer(Vec::new()));
        lines.push(header)?;
        Ok(lines)
    }

    fn push<const N: usize>(&mut self, cells: [&str; N]) -> Result<(), csv::Error> {
        self.0.write_record(cells.map(inert).map(|cell| cell.into_owned()))
    }

    fn finish(self) -> Result<String, csv::Error> {
        let bytes = self.0.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A text as a spreadsheet shows it: what would be a formula gets an apostrophe in front, which spreadsheets take for
/// "text follows". No number here is negative, so that none is touched.
fn inert(cell: &str) -> Cow<'_, str> {
    match cell.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n') => Cow::Owned(format!("'{cell}")),
        _ => Cow::Borrowed(cell),
    }
}

/// An answer as CSV: one line a published number; with `below`, one line a window.
///
/// # Errors
/// Never: it is written to memory.
pub fn csv(answer: &Answer) -> Result<String, csv::Error> {
    if answer.asked_below {
        let mut lines = Lines::new([
            "window",
            "start",
            "end",
            "population",
            "below",
            "count_at_least",
            "count_at_most",
            "share_at_least",
            "share_at_most",
        ])?;
        for window in &answer.windows {
            let Some(below) = &window.below else { continue };
            lines.push([
                answer.window,
                &window.start,
                &window.end,
                window.population.unwrap_or(""),
                &below.version,
                &below.count.at_least.to_string(),
                &below.count.at_most.to_string(),
                &below.share.at_least.to_string(),
                &below.share.at_most.to_string(),
            ])?;
        }
        return lines.finish();
    }
    let mut lines = Lines::new(["window", "start", "end", "population", "label", "count", "share"])?;
    for window in &answer.windows {
        for block in &window.blocks {
            lines.push([
                answer.window,
                &window.start,
                &window.end,
                window.population.unwrap_or(""),
                &block.label,
                &block.count.to_string(),
                &block.share.map(|share| share.to_string()).unwrap_or_default(),
            ])?;
        }
    }
    lines.finish()
}

/// The opt-in domains as CSV.
///
/// # Errors
/// Never: it is written to memory.
pub fn domains_csv(answer: &DomainsAnswer) -> Result<String, csv::Error> {
    let mut lines = Lines::new(["domain", "last_seen_week"])?;
    for domain in &answer.domains {
        lines.push([&domain.domain, &domain.last_seen_week])?;
    }
    lines.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::{AnsweredDomain, Insight};

    /// The domains are the only text that somebody else chose. No domain begins like this; should one ever do, it
    /// stays a text.
    #[test]
    fn no_cell_of_a_csv_is_a_formula() {
        let odd = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "a\"b,c"];
        let domain = |domain: &str| AnsweredDomain {
            domain: domain.to_owned(),
            last_seen_week: "2026-11-16".to_owned(),
        };
        let answer = DomainsAnswer {
            insight: Insight::Domains.as_str(),
            question: Insight::Domains.question(),
            domains: odd.map(domain).to_vec(),
        };
        let text = domains_csv(&answer).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let cells: Vec<_> = reader.records().map(|line| line.unwrap()[0].to_owned()).collect();
        assert_eq!(cells, ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\r=1", "a\"b,c"]);
    }
}
