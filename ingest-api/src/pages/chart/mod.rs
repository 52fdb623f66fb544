//! Numbers over time → SVG, drawn twice: for wide and for narrow screens, so that the text stays legible.
//!
//! Colours are classes of the style sheet, because light and dark mode differ and inline styles are
//! forbidden. The name of a line or area stands where it ends; the name of an area that ended earlier, where
//! it was largest. So readers need not match colours with a legend.

mod area;
mod lines;

use jiff::civil::Date;
use maud::{Markup, html};

use super::text;
use crate::window::WindowKind;

pub(super) use area::area;
pub(super) use lines::lines;

#[derive(Debug)]
pub(super) struct Series {
    pub(super) label: String,
    pub(super) tone: String,
    /// One for each window; `None` where nothing was published.
    pub(super) values: Vec<Option<f64>>,
}

#[derive(Debug)]
pub(super) struct Chart<'a> {
    /// Unique in the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// The chart in words, for readers who cannot see it.
    pub(super) description: &'a str,
    pub(super) kind: WindowKind,
    /// The first days of the windows, in order.
    pub(super) starts: &'a [Date],
    pub(super) series: &'a [Series],
    /// Whether values are shares from 0 to 1 rather than counts.
    pub(super) shares: bool,
    /// A line across the chart, at that value.
    pub(super) guide: Option<f64>,
}

/// The size of a drawing and the margins of its plot, in units of SVG: about a pixel.
#[derive(Clone, Copy, Debug)]
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    /// How many windows the axis names.
    ticks: usize,
    /// The length of a label with its number, in letters.
    letters: usize,
}

const FRAMES: [Frame; 2] = [
    Frame { class: "wide", width: 800.0, height: 320.0, left: 52.0, right: 190.0, ticks: 6, letters: 26 },
    Frame { class: "narrow", width: 360.0, height: 280.0, left: 44.0, right: 132.0, ticks: 3, letters: 18 },
];
const TOP: f64 = 14.0;
const BOTTOM: f64 = 30.0;
/// The smallest distance between labels.
const LINE: f64 = 17.0;

impl Frame {
    fn x(&self, chart: &Chart<'_>, at: usize) -> f64 {
        let (Some(first), Some(last), Some(day)) =
            (chart.starts.first(), chart.starts.last(), chart.starts.get(at))
        else {
            return self.left;
        };
        // Every point needs this, so it avoids a span of years, months and days.
        let days = |to: &Date| to.duration_since(*first).as_hours() as f64 / 24.0;
        self.left + days(day) / days(last).max(1.0) * (self.width - self.left - self.right)
    }

    /// The height of a part of the axis: 0 is the bottom, 1 the top.
    fn y(&self, part: f64) -> f64 {
        let bottom = self.height - BOTTOM;
        bottom - part.clamp(0.0, 1.0) * (bottom - TOP)
    }

    fn end(&self) -> f64 {
        self.width - self.right
    }
}

/// A figure with both drawings. `draw` fills the plot.
fn figure(chart: &Chart<'_>, top: f64, draw: impl Fn(&Frame) -> Markup) -> Markup {
    html! {
        figure.chart {
            @for frame in &FRAMES {
                @let (title, description) = (format!("{}-{}-title", chart.id, frame.class), format!("{}-{}-desc", chart.id, frame.class));
                svg class=(frame.class) role="img" viewBox=(format!("0 0 {} {}", frame.width, frame.height))
                    aria-labelledby=(title) aria-describedby=(description) {
                    title id=(title) { (chart.title) }
                    desc id=(description) { (chart.description) }
                    (axes(chart, frame, top))
                    (draw(frame))
                }
            }
        }
    }
}

fn axes(chart: &Chart<'_>, frame: &Frame, top: f64) -> Markup {
    let last = chart.starts.len().saturating_sub(1);
    // Back from the newest in equal steps, so that the newest has a name.
    let step = last.div_ceil(frame.ticks - 1).max(1);
    let ticks: Vec<usize> = (0..=last).rev().step_by(step).collect();
    html! {
        @for n in 0..=4 {
            @let part = f64::from(n) / 4.0;
            @let y = number(frame.y(part));
            line.grid x1=(frame.left) x2=(frame.end()) y1=(y) y2=(y) {}
            text.tick x=(frame.left - 8.0) y=(y) dy="0.35em" text-anchor="end" {
                @if chart.shares { (format!("{:.0}", part * top * 100.0)) "\u{a0}%" } @else { (text::count((part * top).round() as u64)) }
            }
        }
        @for at in &ticks {
            text.tick x=(number(frame.x(chart, *at))) y=(frame.height - 8.0)
                text-anchor=(if *at == last { "end" } else if *at == 0 { "start" } else { "middle" }) {
                (text::short(chart.kind, chart.starts.get(*at).copied().unwrap_or_default()))
            }
        }
    }
}

/// The guide line, above the series.
fn guide(chart: &Chart<'_>, frame: &Frame, top: f64) -> Markup {
    html! {
        @if let Some(guide) = chart.guide {
            @let y = number(frame.y(guide / top));
            line.guide x1=(frame.left) x2=(frame.end()) y1=(y) y2=(y) {}
        }
    }
}

/// Labels at the right, as close to their series as they fit, each with a dash in its colour.
fn labels(frame: &Frame, wanted: Vec<(f64, &Series, String)>) -> Markup {
    let mut placed = wanted;
    placed.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    let ys: Vec<f64> = placed.iter().map(|(y, ..)| *y).collect();
    let spread = spread(&ys, frame.y(1.0), frame.y(0.0));
    let x = frame.end();
    html! {
        @for ((from, series, value), y) in placed.iter().zip(spread) {
            path class=(format!("leader {}", series.tone)) d=(format!("M{:.1} {from:.1}L{:.1} {y:.1}", x + 2.0, x + 10.0)) {}
            text.label x=(x + 14.0) y=(number(y)) dy="0.35em" {
                (short(&series.label, frame.letters.saturating_sub(value.chars().count() + 1))) " " tspan.value { (value) }
            }
        }
    }
}

/// Moves labels apart that are too close, within the bounds if there is room.
fn spread(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut ys = wanted.to_vec();
    let mut least = top;
    for y in &mut ys {
        *y = y.max(least);
        least = *y + LINE;
    }
    let mut most = bottom;
    for y in ys.iter_mut().rev() {
        *y = y.min(most);
        most = *y - LINE;
    }
    ys
}

fn short(label: &str, letters: usize) -> String {
    if label.chars().count() <= letters {
        return label.to_owned();
    }
    let mut text: String = label.chars().take(letters.saturating_sub(1)).collect();
    text.truncate(text.trim_end_matches([' ', ',', '(']).len());
    text + "…"
}

fn number(value: f64) -> String {
    let mut text = String::new();
    write_number(value, &mut text);
    text
}

/// Writes one decimal, a tenth of a pixel. Like `{:.1}` except for ties, and faster, because a page has
/// thousands.
fn write_number(value: f64, text: &mut String) {
    let tenths = (value * 10.0).round() as i64;
    if tenths < 0 {
        text.push('-');
    }
    let tenths = tenths.unsigned_abs();
    text.push_str(itoa::Buffer::new().format(tenths / 10));
    text.push('.');
    text.push(char::from(b'0' + (tenths % 10) as u8));
}

/// Adds a point to a path, with the command that leads to it.
fn write_point(command: char, x: f64, y: f64, path: &mut String) {
    path.push(command);
    write_number(x, path);
    path.push(' ');
    write_number(y, path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_lie_on_each_other_and_stay_in_the_plot() {
        assert_eq!(spread(&[10.0, 100.0], 0.0, 200.0), [10.0, 100.0]);
        assert_eq!(spread(&[50.0, 51.0, 52.0], 0.0, 200.0), [50.0, 67.0, 84.0]);
        assert_eq!(spread(&[195.0, 199.0], 0.0, 200.0), [183.0, 200.0]);
    }

    #[test]
    fn a_coordinate_has_one_digit_behind_the_point() {
        for value in (-2_000..20_000).map(|n| f64::from(n) / 37.0) {
            assert_eq!(number(value), format!("{value:.1}").replace("-0.0", "0.0"));
        }
    }

    #[test]
    fn a_label_is_as_long_as_there_is_room() {
        assert_eq!(short("German (Switzerland)", 14), "German (Switz…");
        assert_eq!(short("0.4, everything else", 5), "0.4…");
        assert_eq!(short("German", 14), "German");
    }
}
