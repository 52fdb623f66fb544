//! Shares over time → areas on top of each other, that together fill the chart.

use std::fmt::Write;

use maud::{Markup, html};

use super::super::text;
use super::{Chart, Frame, figure, labels};

/// Draws the series from the bottom up. A window in which nothing was published is passed over.
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
        }
    })
}

/// Along the upper edge, and back along the lower one.
fn outline(chart: &Chart<'_>, frame: &Frame, there: &[usize], lower: &[f64], upper: &[f64]) -> String {
    let mut path = String::with_capacity(there.len() * 24);
    let points = there.iter().zip(upper).chain(there.iter().zip(lower).rev());
    for (n, (at, edge)) in points.enumerate() {
        let command = if n == 0 { 'M' } else { 'L' };
        // Writing to memory does not fail.
        let _ = write!(path, "{command}{:.1} {:.1}", frame.x(chart, *at), frame.y(*edge));
    }
    path + "Z"
}
