//! Answers → text: tables with bars for people, CSV for spreadsheets.

use std::borrow::Cow;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use crate::insight::{Answer, AnsweredWindow, DomainsAnswer};

/// The longest bar, in characters.
const BAR: f64 = 30.0;

/// An empty table with rules between the columns.
pub(crate) fn ruled<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn indented(table: &Table) -> String {
    table.to_string().lines().map(|line| format!("  {line}\n")).collect()
}

/// The newest window of each population, as tables.
pub fn render(answer: &Answer) -> String {
    let mut text = format!("{} – {}\n", answer.insight, answer.question);
    let Some(newest) = answer.windows.iter().map(|window| &window.start).max() else {
        return text + &format!("  No {} has been released yet.\n", answer.window);
    };
    for window in answer.windows.iter().filter(|window| window.start == *newest) {
        text += &render_window(answer, window);
    }
    text
}

fn render_window(answer: &Answer, window: &AnsweredWindow) -> String {
    let population = match window.population.as_deref() {
        Some("direct") => ", without a Pod",
        Some(_) if answer.unit == "installation" => ", through a Pod",
        _ => "",
    };
    let mut text = format!("  {} of {}{population}: ", &answer.window, window.start);
    if window.blocks.is_empty() {
        return text + "too few reported for anything to be published\n";
    }
    text += &match window.total {
        Some(total) => format!("{total} {}s\n", answer.unit),
        // We compare the two populations and do not add them: some installations reported in both ways.
        None if window.blocks.len() > 1 => "two numbers that are never added\n".to_owned(),
        None => "no share can be told, because one side had too few reporters\n".to_owned(),
    };
    let mut table = ruled(["value", "count", "share", ""]);
    for block in &window.blocks {
        let share = block.share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let bar = "█".repeat((block.share.unwrap_or(0.0) * BAR).round() as usize);
        table.add_row([block.label.clone(), block.count.to_string(), share, bar]);
    }
    for column in table.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    text += &indented(&table);
    if let Some(below) = &window.below {
        text += &format!(
            "  below {}{}: from {} to {} {}s, {:.1} % to {:.1} %\n",
            below.app.as_ref().map(|app| format!("{app} ")).unwrap_or_default(),
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
    let text = format!("{} – {}\n", answer.insight, answer.question);
    if answer.domains.is_empty() {
        return text + "  Nobody has opted in, or two weeks have closed without a report of those who had.\n";
    }
    let mut table = ruled(["domain", "last reported in the week of"]);
    for domain in &answer.domains {
        table.add_row([&domain.domain, &domain.last_seen_week]);
    }
    text + &indented(&table)
}

/// Lines of a CSV (RFC 4180) in which no spreadsheet finds a formula.
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

/// Puts an apostrophe before a cell that would be a formula; to spreadsheets, it means that text follows. No
/// number here is negative, so this changes none.
fn inert(cell: &str) -> Cow<'_, str> {
    match cell.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n') => Cow::Owned(format!("'{cell}")),
        _ => Cow::Borrowed(cell),
    }
}

/// An answer as CSV: one line for each published number or, with `below`, for each window.
///
/// # Errors
/// Never, because it writes to memory.
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
                &answer.window,
                &window.start,
                &window.end,
                window.population.as_deref().unwrap_or(""),
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
                &answer.window,
                &window.start,
                &window.end,
                window.population.as_deref().unwrap_or(""),
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
/// Never, because it writes to memory.
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

    /// Domains are the only text that we did not choose. None begins like this, but if one did, it would stay
    /// text.
    #[test]
    fn no_cell_of_a_csv_is_a_formula() {
        let odd = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "a\"b,c"];
        let domain = |domain: &str| AnsweredDomain {
            domain: domain.to_owned(),
            last_seen_week: "2026-11-16".to_owned(),
        };
        let answer = DomainsAnswer {
            insight: Insight::Domains.as_str().into(),
            question: Insight::Domains.question().into(),
            domains: odd.map(domain).to_vec(),
        };
        let text = domains_csv(&answer).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let cells: Vec<_> = reader.records().map(|line| line.unwrap()[0].to_owned()).collect();
        assert_eq!(cells, ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\r=1", "a\"b,c"]);
    }
}
