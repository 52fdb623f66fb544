//! Shares over time → stacked areas that fill the chart.

use maud::{Markup, html};

use super::super::text;
use super::{Chart, Frame, LINE, Series, figure, labels, number, write_point};

/// Draws the series from the bottom up, and skips windows in which nothing was published.
pub(in super::super) fn area(chart: &Chart<'_>) -> Markup {
    let there: Vec<usize> = (0..chart.starts.len())
        .filter(|at| chart.series.iter().any(|series| series.values.get(*at).copied().flatten().is_some()))
        .collect();
    let value = |n: usize, at: usize| chart.series[n].values.get(at).copied().flatten().unwrap_or(0.0);
    // The upper edge of each series in each window.
    let mut edges = vec![vec![0.0; there.len()]];
    for n in 0..chart.series.len() {
        let below = &edges[n];
        let edge = there.iter().zip(below).map(|(at, below)| below + value(n, *at)).collect();
        edges.push(edge);
    }
    figure(chart, 1.0, |frame| {
        let mut wanted = Vec::new();
        if let Some(last) = there.last() {
            for (n, series) in chart.series.iter().enumerate().filter(|(n, _)| value(*n, *last) > 0.0) {
                let middle = (edges[n][there.len() - 1] + edges[n + 1][there.len() - 1]) / 2.0;
                wanted.push((frame.y(middle), series, text::percent(value(n, *last))));
            }
        }
        html! {
            @for (n, series) in chart.series.iter().enumerate() {
                path class=(format!("band {}", series.tone)) d=(outline(chart, frame, &there, &edges[n], &edges[n + 1])) {}
            }
            (labels(frame, wanted))
            @for (n, series) in chart.series.iter().enumerate() {
                (name_inside(chart, frame, &there, series, &edges[n], &edges[n + 1]))
            }
        }
    })
}

/// The name of an area that has ended, where it was largest, if there is room.
fn name_inside(
    chart: &Chart<'_>,
    frame: &Frame,
    there: &[usize],
    series: &Series,
    lower: &[f64],
    upper: &[f64],
) -> Markup {
    let share = |n: usize| upper[n] - lower[n];
    let has_ended = there.len().checked_sub(1).is_some_and(|last| share(last) <= 0.0);
    let largest = (0..there.len()).max_by(|a, b| share(*a).total_cmp(&share(*b)));
    let room = |n: &usize| frame.y(lower[*n]) - frame.y(upper[*n]) >= LINE + 4.0;
    html! {
        @if let Some(n) = largest.filter(room).filter(|_| has_ended) {
            // Half of its width, with letters of average width.
            @let half = series.label.chars().count() as f64 * 3.8;
            @let x = frame.x(chart, there[n]).clamp(frame.left + half, frame.end() - half);
            text.inside x=(number(x)) y=(number(frame.y((lower[n] + upper[n]) / 2.0))) dy="0.35em" text-anchor="middle" {
                (series.label)
            }
        }
    }
}

/// Along the upper edge, and back along the lower one.
fn outline(chart: &Chart<'_>, frame: &Frame, there: &[usize], lower: &[f64], upper: &[f64]) -> String {
    let mut path = String::with_capacity(there.len() * 24);
    let points = there.iter().zip(upper).chain(there.iter().zip(lower).rev());
    for (n, (at, edge)) in points.enumerate() {
        let command = if n == 0 { 'M' } else { 'L' };
        write_point(command, frame.x(chart, *at), frame.y(*edge), &mut path);
    }
    path + "Z"
}
