//! Figures beside their alternatives and targets, as a table and as JSON.

use std::fmt;

use serde::Serialize;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Not above this.
    AtMost(f64),
    /// Not below this.
    AtLeast(f64),
}

impl Target {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {}", short(*limit)),
            Self::AtLeast(limit) => write!(f, ">= {}", short(*limit)),
        }
    }
}

/// One measured figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// Which bench it is of.
    pub bench: &'static str,
    /// What was measured.
    pub name: String,
    /// In this unit.
    pub unit: &'static str,
    /// The value.
    pub value: f64,
    /// What the value is compared with, and that one's value.
    pub alternative: Option<(String, f64)>,
    /// What it should be.
    pub target: Option<Target>,
    /// Whether it is so.
    pub holds: Option<bool>,
}

impl Figure {
    /// A figure by itself.
    #[must_use]
    pub fn new(bench: &'static str, name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { bench, name: name.into(), unit, value, alternative: None, target: None, holds: None }
    }

    /// The same beside `name`, which has `value`.
    #[must_use]
    pub fn beside(self, name: impl Into<String>, value: f64) -> Self {
        Self { alternative: Some((name.into(), value)), ..self }
    }

    /// The same with a target.
    #[must_use]
    pub fn target(self, target: Target) -> Self {
        Self { target: Some(target), holds: Some(target.holds(self.value)), ..self }
    }
}

/// All figures of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// In the order in which they were measured.
    pub figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure.
    pub fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Figures that miss their targets.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.figures.iter().filter(|figure| figure.holds == Some(false)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 5]> = self.figures.iter().map(row).collect();
        let head = ["figure", "value", "alternative", "target", ""].map(str::to_owned);
        let width = |column: usize| {
            rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..4).map(width).collect();
        for [name, value, alternative, target, verdict] in [&head].into_iter().chain(&rows) {
            let [w0, w1, w2, w3] = [widths[0], widths[1], widths[2], widths[3]];
            let line = format!("{name:w0$}  {value:>w1$}  {alternative:w2$}  {target:w3$}  {verdict}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn row(figure: &Figure) -> [String; 5] {
    let alternative = figure.alternative.as_ref().map(|(name, value)| format!("{} {name}", short(*value)));
    [
        format!("{}: {}", figure.bench, figure.name),
        format!("{} {}", short(figure.value), figure.unit).trim_end().to_owned(),
        alternative.unwrap_or_default(),
        figure.target.map(|target| target.to_string()).unwrap_or_default(),
        match figure.holds {
            Some(true) => "ok".to_owned(),
            Some(false) => "MISSED".to_owned(),
            None => String::new(),
        },
    ]
}

/// A number with about three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_judged_and_misses_counted() {
        let mut report = Report::default();
        report.add(Figure::new("a", "low", "ms", 3.0).target(Target::AtMost(3.0)));
        report.add(Figure::new("a", "high", "", 0.79).beside("plain", 1.0).target(Target::AtLeast(0.8)));
        report.add(Figure::new("a", "nothing", "ms", f64::NAN).target(Target::AtMost(1.0)));
        assert_eq!(
            report.figures.iter().map(|f| f.holds).collect::<Vec<_>>(),
            [Some(true), Some(false), Some(false)]
        );
        assert_eq!(report.missed(), 2);
    }

    #[test]
    fn the_table_has_a_line_for_each_figure() {
        let mut report = Report::default();
        report.add(Figure::new("x", "a name", "MB/s", 1234.56).beside("other", 0.5));
        let table = report.to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("x: a name") && lines[1].contains("1235 MB/s"));
        assert!(lines[1].contains("0.50 other"));
    }
}
