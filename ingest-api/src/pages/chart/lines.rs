//! Numbers over time → lines, each with its name at its end.

use maud::{Markup, html};

use super::super::text;
use super::{Chart, Frame, Series, figure, guide, labels, write_point};

/// Draws the series. A line has a gap where nothing was published.
pub(in super::super) fn lines(chart: &Chart<'_>) -> Markup {
    let values = chart.series.iter().flat_map(|series| series.values.iter().copied().flatten());
    let top = ceiling(values.chain(chart.guide).fold(0.0, f64::max), chart.shares);
    figure(chart, top, |frame| {
        let mut wanted = Vec::new();
        for series in chart.series {
            let Some((at, value)) = last(series) else { continue };
            // A line that ended earlier has no label: it would look like a current one.
            if at + 1 == chart.starts.len() {
                let written = if chart.shares { text::percent(value) } else { text::count(value as u64) };
                wanted.push((frame.y(value / top), series, written));
            }
        }
        html! {
            @for series in chart.series {
                path class=(format!("line {}", series.tone)) d=(path(chart, frame, series, top)) {}
                @if let Some((at, value)) = last(series) {
                    circle class=(format!("dot {}", series.tone)) r="3.5" cx=(super::number(frame.x(chart, at)))
                        cy=(super::number(frame.y(value / top))) {}
                }
            }
            (guide(chart, frame, top))
            (labels(frame, wanted))
        }
    })
}

fn last(series: &Series) -> Option<(usize, f64)> {
    let at = series.values.iter().rposition(Option::is_some)?;
    Some((at, series.values.get(at).copied().flatten()?))
}

fn path(chart: &Chart<'_>, frame: &Frame, series: &Series, top: f64) -> String {
    let mut path = String::with_capacity(series.values.len() * 12);
    let mut broken = true;
    for (at, value) in series.values.iter().enumerate() {
        let Some(value) = value else {
            broken = true;
            continue;
        };
        let command = if std::mem::take(&mut broken) { 'M' } else { 'L' };
        write_point(command, frame.x(chart, at), frame.y(value / top), &mut path);
    }
    path
}

/// The end of the axis: a number that divides well by four, not far above the greatest value.
fn ceiling(greatest: f64, shares: bool) -> f64 {
    if shares {
        let steps = [0.1, 0.2, 0.4, 0.6, 0.8, 1.0];
        return steps.into_iter().find(|step| greatest <= *step).unwrap_or(1.0);
    }
    let unit = 10.0_f64.powf(greatest.max(10.0).log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.0, 8.0, 10.0];
    let tops = steps.into_iter().map(|step| (step * unit).round());
    tops.filter(|top| top % 4.0 == 0.0).find(|top| greatest <= *top).unwrap_or(greatest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_a_little_above_the_greatest_value() {
        for (greatest, expected) in
            [(0.0, 12.0), (13.0, 16.0), (43.0, 60.0), (290.0, 320.0), (1_000.0, 1_000.0)]
        {
            assert_eq!(ceiling(greatest, false), expected, "{greatest}");
        }
        assert_eq!(ceiling(0.23, true), 0.4);
        assert_eq!(ceiling(0.97, true), 1.0);
    }
}
