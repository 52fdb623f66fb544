//! Results, each beside a limit measured in the same run and a goal → a Markdown table.

use std::fmt;

/// A goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The number is at most this.
    AtMost(f64),
    /// The number is at least this.
    AtLeast(f64),
    /// Its ratio to the limit is at most this.
    RatioAtMost(f64),
    /// Its ratio to the limit is at least this.
    RatioAtLeast(f64),
    /// No goal; the number is for information.
    None,
}

/// A measured number.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it measures.
    pub what: String,
    /// The unit of the number and its limit.
    pub unit: &'static str,
    /// The number.
    pub found: f64,
    /// The limit, measured in the same run.
    pub limit: Option<f64>,
    /// Its goal.
    pub goal: Goal,
}

impl Row {
    /// Its ratio to its limit.
    pub fn ratio(&self) -> Option<f64> {
        self.limit.filter(|limit| *limit > 0.0).map(|limit| self.found / limit)
    }

    /// Whether the goal is met; `None` without a goal. A ratio to nothing meets no goal.
    pub fn is_met(&self) -> Option<bool> {
        let ratio = self.ratio();
        match self.goal {
            Goal::AtMost(most) => Some(self.found <= most),
            Goal::AtLeast(least) => Some(self.found >= least),
            Goal::RatioAtMost(most) => Some(ratio.is_some_and(|ratio| ratio <= most)),
            Goal::RatioAtLeast(least) => Some(ratio.is_some_and(|ratio| ratio >= least)),
            Goal::None => None,
        }
    }
}

/// The numbers of a benchmark.
#[derive(Clone, Debug, Default)]
pub struct Table(pub Vec<Row>);

impl Table {
    /// Adds a number.
    pub fn row(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        found: f64,
        limit: Option<f64>,
        goal: Goal,
    ) {
        self.0.push(Row { what: what.into(), unit, found, limit, goal });
    }

    /// How many goals are missed.
    pub fn missed(&self) -> usize {
        self.0.iter().filter(|row| row.is_met() == Some(false)).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| What | measured | limit | ratio | goal | |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | --- |")?;
        for row in &self.0 {
            let Row { what, unit, found, limit, goal } = row;
            let limit = limit.map_or_else(|| "–".to_owned(), |limit| format!("{} {unit}", short(limit)));
            let ratio = row.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            let goal = match goal {
                Goal::AtMost(most) => format!("≤ {} {unit}", short(*most)),
                Goal::AtLeast(least) => format!("≥ {} {unit}", short(*least)),
                Goal::RatioAtMost(most) => format!("ratio ≤ {most}"),
                Goal::RatioAtLeast(least) => format!("ratio ≥ {least}"),
                Goal::None => "–".to_owned(),
            };
            let verdict = row.is_met().map_or("", |met| if met { "met" } else { "MISSED" });
            writeln!(f, "| {what} | {} {unit} | {limit} | {ratio} | {goal} | {verdict} |", short(*found))?;
        }
        Ok(())
    }
}

/// The power of its size with which something grows: the slope of the line that best fits the logarithms.
/// `None` for fewer than two sizes.
pub fn growth(points: &[(f64, f64)]) -> f64 {
    let points: Vec<_> = points.iter().map(|(size, found)| (size.ln(), found.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let together: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    together / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

/// The median of things by a number of each; the greater of the two middle ones if their number is even.
pub fn median<T>(mut things: Vec<T>, number: impl Fn(&T) -> f64) -> Option<T> {
    things.sort_by(|one, other| number(one).total_cmp(&number(other)));
    let middle = things.len() / 2;
    things.into_iter().nth(middle)
}

/// About three digits.
pub fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 || number.fract() == 0.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_is_found_again() {
        for power in [0.0, 1.0, 1.5] {
            let points = [1e4, 1e5, 1e6, 5e6].map(|size: f64| (size, 3.0 * size.powf(power)));
            assert!((growth(&points) - power).abs() < 1e-9, "{power}");
        }
        assert!(growth(&[(1.0, 1.0)]).is_nan());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |numbers: &[f64]| median(numbers.to_vec(), |number| *number);
        assert_eq!([of(&[]), of(&[3.0]), of(&[3.0, 1.0, 2.0])], [None, Some(3.0), Some(2.0)]);
    }

    #[test]
    fn a_goal_is_missed_by_what_is_beyond_it_and_by_a_ratio_to_nothing() {
        let met = |found, limit, goal| Row { what: String::new(), unit: "s", found, limit, goal }.is_met();
        assert_eq!(met(2.0, None, Goal::AtMost(2.0)), Some(true));
        assert_eq!(met(2.1, None, Goal::AtMost(2.0)), Some(false));
        assert_eq!(met(1.9, None, Goal::AtLeast(2.0)), Some(false));
        assert_eq!(met(9.0, Some(10.0), Goal::RatioAtLeast(0.9)), Some(true));
        assert_eq!(met(8.9, Some(10.0), Goal::RatioAtLeast(0.9)), Some(false));
        assert_eq!(met(16.0, Some(10.0), Goal::RatioAtMost(1.5)), Some(false));
        assert_eq!(met(1.0, None, Goal::RatioAtMost(1.5)), Some(false));
        assert_eq!(met(1.0, None, Goal::None), None);
    }
}
