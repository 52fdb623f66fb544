//! A page as it was sent → the numbers on it.

use std::collections::{BTreeMap, BTreeSet};

use e2e::served::Reader;
use scraper::{ElementRef, Html, Selector};

/// A page, and functions that find its parts.
pub(crate) struct Page(Html);

impl Page {
    pub(crate) async fn get(reader: &Reader, path: &str) -> Self {
        let text = reader.get(path).await.unwrap();
        assert!(text.starts_with("<!DOCTYPE html>"), "{path}: {text}");
        Self(Html::parse_document(&text))
    }

    pub(crate) fn all(&self, css: &str) -> Vec<ElementRef<'_>> {
        self.0.select(&Selector::parse(css).unwrap()).collect()
    }

    pub(crate) fn text(&self, css: &str) -> String {
        let found = self.all(css);
        text(*found.first().unwrap_or_else(|| panic!("nothing is {css}")))
    }

    /// The count and share of each row of the table of bars, by label and by whether it is part of the row
    /// above.
    pub(crate) fn rows(&self) -> BTreeMap<(bool, String), (u64, f64)> {
        let rows = self.all("table.bars tbody tr");
        let count = rows.len();
        let mut bars = BTreeMap::new();
        for row in rows {
            let cell = |css: &str| text(row.select(&Selector::parse(css).unwrap()).next().unwrap());
            let is_part = row.value().classes().any(|class| class == "part");
            let shown = (number(&cell("[data-is=count]")), percent(&cell("[data-is=share]")));
            bars.insert((is_part, row.attr("data-label").unwrap().to_owned()), shown);
        }
        assert_eq!(bars.len(), count, "no row is there twice");
        bars
    }

    /// The same of a table without parts.
    pub(crate) fn bars(&self) -> BTreeMap<String, (u64, f64)> {
        let whole = |((is_part, label), shown): ((bool, String), _)| {
            assert!(!is_part, "{label}");
            (label, shown)
        };
        self.rows().into_iter().map(whole).collect()
    }

    /// The numbers of the chart: by window and column.
    pub(crate) fn history(&self) -> BTreeMap<(String, String), String> {
        let columns: Vec<_> = self
            .all("details.numbers thead th[data-label]")
            .iter()
            .map(|th| th.attr("data-label").unwrap().to_owned())
            .collect();
        let mut cells = BTreeMap::new();
        for row in self.all("details.numbers tbody tr") {
            let start = row.attr("data-start").unwrap();
            let tds = Selector::parse("td").unwrap();
            for (column, cell) in columns.iter().zip(row.select(&tds)) {
                cells.insert((start.to_owned(), column.clone()), text(cell));
            }
        }
        cells
    }
}

pub(crate) fn text(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().trim().to_owned()
}

pub(crate) fn number(text: &str) -> u64 {
    text.chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or_else(|_| panic!("{text:?}"))
}

/// In percent.
pub(crate) fn percent(text: &str) -> f64 {
    text.trim_end_matches(['%', '\u{a0}']).parse().unwrap_or_else(|_| panic!("{text:?}"))
}

/// Charts with lines and areas are followed by their numbers, and show no others.
#[track_caller]
pub(crate) fn every_chart_has_its_table(page: &Page) {
    let (charts, tables) = (page.all("figure.chart").len(), page.all("figure.chart ~ details.numbers").len());
    assert_eq!(charts, tables);
    let cells: BTreeSet<String> = page.all("details.numbers td").into_iter().map(text).collect();
    for value in page.all("figure.chart .label .value").into_iter().map(text) {
        assert!(cells.contains(&value), "{value:?} is in the chart and not in its table");
    }
}

/// The whole that a page says its shares refer to.
#[track_caller]
pub(crate) fn denominator(page: &Page) -> u64 {
    let notes = page.all("p.note");
    let note = notes.into_iter().find(|note| text(*note).starts_with("Shares are parts of")).unwrap();
    number(&text(note.select(&Selector::parse("strong").unwrap()).next().unwrap()))
}
