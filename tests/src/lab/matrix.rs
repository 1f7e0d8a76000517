//! Many trials, and what they come to.

use serde::Serialize;

use super::trial::Outcome;

/// The spread of a measured time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl Spread {
    /// The spread of some values; none when there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            // The nearest rank: the smallest value that at least this share does not exceed.
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        Some(Self { p50: at(50)?, p95: at(95)?, p99: at(99)? })
    }
}

/// All trials of one pair of kinds.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// Kind of the first home.
    pub a: String,
    /// Kind of the second home.
    pub b: String,
    /// Trials.
    pub runs: usize,
    /// Trials in which packets passed direct both ways in time.
    pub direct: usize,
    /// Trials in which all was as it must be: direct, chat direct, nothing in the open.
    pub succeeded: usize,
    /// From both ready to both connected.
    pub connected: Option<Spread>,
    /// From both ready to the first direct packets both ways.
    pub time_to_direct: Option<Spread>,
    /// From both ready to the first direct QUIC packets both ways.
    pub time_to_use: Option<Spread>,
}

impl Cell {
    /// Sums up the trials of one pair.
    #[must_use]
    pub fn of(a: &str, b: &str, outcomes: &[Outcome]) -> Self {
        let spread = |get: fn(&Outcome) -> Option<f64>| Spread::of(outcomes.iter().filter_map(get));
        Self {
            a: a.to_owned(),
            b: b.to_owned(),
            runs: outcomes.len(),
            direct: outcomes.iter().filter(|outcome| outcome.direct_ms.is_some()).count(),
            succeeded: outcomes.iter().filter(|outcome| outcome.is_success()).count(),
            connected: spread(|outcome| outcome.connected_ms),
            time_to_direct: spread(|outcome| outcome.direct_ms),
            time_to_use: spread(|outcome| outcome.in_use_ms),
        }
    }

    /// The headings above [`Self::row`].
    #[must_use]
    pub fn header() -> String {
        format!(
            "{:<22}{:<22}{:>9}{:>9}  {:>23}  {:>23}",
            "a", "b", "direct", "all well", "direct p50/p95/p99 ms", "connected p50/p95/p99"
        )
    }

    /// One line of the table.
    #[must_use]
    pub fn row(&self) -> String {
        format!(
            "{:<22}{:<22}{:>9}{:>9}  {:>23}  {:>23}",
            self.a,
            self.b,
            format!("{}/{}", self.direct, self.runs),
            format!("{}/{}", self.succeeded, self.runs),
            shown(self.time_to_direct),
            shown(self.connected),
        )
    }
}

fn shown(spread: Option<Spread>) -> String {
    spread
        .map_or_else(|| "-".to_owned(), |Spread { p50, p95, p99 }| format!("{p50:.0} / {p95:.0} / {p99:.0}"))
}

/// Every pair of kinds, once; with `ordered`, both ways round.
#[must_use]
pub fn pairs(kinds: &[String], order: Order) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (index, a) in kinds.iter().enumerate() {
        let from = if order == Order::Both { 0 } else { index };
        pairs.extend(kinds[from..].iter().map(|b| (a.clone(), b.clone())));
    }
    pairs
}

/// Whether it matters who comes first to the lobby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each pair once.
    Once,
    /// Each pair both ways round.
    Both,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spread = Spread::of((1..=100).map(f64::from)).unwrap();
        assert_eq!((spread.p50, spread.p95, spread.p99), (50.0, 95.0, 99.0));
        assert_eq!(Spread::of([7.0]).unwrap(), Spread { p50: 7.0, p95: 7.0, p99: 7.0 });
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn pairs_are_complete() {
        let kinds: Vec<String> = (0..6).map(|kind| kind.to_string()).collect();
        assert_eq!(pairs(&kinds, Order::Once).len(), 21);
        assert_eq!(pairs(&kinds, Order::Both).len(), 36);
    }

    #[test]
    fn a_cell_counts_successes() {
        let good = Outcome { direct_ms: Some(100.0), chat_direct: true, sealed: true, ..Outcome::default() };
        let relayed = Outcome { sealed: true, ..Outcome::default() };
        let cell = Cell::of("a", "b", &[good, relayed]);
        assert_eq!((cell.runs, cell.direct, cell.succeeded), (2, 1, 1));
        assert!(cell.row().contains("100 / 100 / 100"));
    }
}
