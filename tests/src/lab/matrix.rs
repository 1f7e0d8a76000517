//! Many trials, and what they come to.

pub mod campaign;
pub mod heat;
pub mod report;

use anyhow::Result;
use serde::Serialize;

use super::access::{Access, PLACES};
use super::physics::{Expected, expected};
use super::trial::{Outcome, Over};

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

/// A pair of homes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The first.
    pub a: Access,
    /// The second.
    pub b: Access,
}

impl Pair {
    /// The pair of two kinds by their names.
    ///
    /// # Errors
    /// When one is not known.
    pub fn by_names(a: &str, b: &str) -> Result<Self> {
        Ok(Self { a: Access::by_name(a)?, b: Access::by_name(b)? })
    }

    /// Whether an outcome is one of this pair.
    #[must_use]
    pub fn is_of(&self, outcome: &Outcome) -> bool {
        (&*outcome.a, &*outcome.b) == (&*self.a.name, &*self.b.name)
    }
}

/// All trials of one pair of kinds.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// Kind of the first home.
    pub a: String,
    /// Kind of the second home.
    pub b: String,
    /// What the pair can come to at best.
    pub expected: Expected,
    /// Trials.
    pub runs: usize,
    /// Trials in which packets passed direct both ways in time.
    pub direct: usize,
    /// Trials in which the direct path was one over TCP.
    pub over_tcp: usize,
    /// Trials in which all was as it must be: direct if the pair can be, both lines delivered, nothing in the open.
    pub succeeded: usize,
    /// Trials that were direct and in which a line of chat went over the server as well.
    pub also_relayed: usize,
    /// Why the first trial that was not as it must be was not.
    pub failure: Option<String>,
    /// From both ready to both connected.
    pub connected: Option<Spread>,
    /// From both ready to the first direct packets both ways.
    pub time_to_direct: Option<Spread>,
    /// From both ready to the first direct QUIC packets both ways.
    pub time_to_use: Option<Spread>,
    /// Packets of both sides to each other's addresses until both ways worked, arrived or not.
    pub packets: Option<Spread>,
}

impl Cell {
    /// Sums up the trials of one pair.
    #[must_use]
    pub fn of(pair: &Pair, outcomes: &[Outcome]) -> Self {
        let spread = |get: fn(&Outcome) -> Option<f64>| Spread::of(outcomes.iter().filter_map(get));
        let count = |is: fn(&&Outcome) -> bool| outcomes.iter().filter(is).count();
        let expected = expected(&pair.a, &pair.b);
        let failures: Vec<_> = outcomes.iter().filter_map(|outcome| fault(expected, outcome)).collect();
        Self {
            a: pair.a.name.clone(),
            b: pair.b.name.clone(),
            expected,
            runs: outcomes.len(),
            direct: count(|outcome| outcome.direct_ms.is_some()),
            over_tcp: count(|outcome| outcome.over == Some(Over::Tcp)),
            succeeded: outcomes.len() - failures.len(),
            also_relayed: count(|outcome| outcome.direct_ms.is_some() && !outcome.chat_direct),
            failure: failures.into_iter().next(),
            connected: spread(|outcome| outcome.connected_ms),
            time_to_direct: spread(|outcome| outcome.direct_ms),
            time_to_use: spread(|outcome| outcome.in_use_ms),
            packets: spread(|outcome| {
                let tries = u32::try_from(outcome.tries).unwrap_or(u32::MAX);
                outcome.direct_ms.map(|_| f64::from(tries))
            }),
        }
    }

    /// Whether all trials came to what they can come to.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.succeeded == self.runs
    }

    /// The headings above [`Self::row`].
    #[must_use]
    pub fn header() -> String {
        format!(
            "{:<27}{:<27}{:>8}{:>9}  {:>23}  {:>16}  {:>23}",
            "a",
            "b",
            "direct",
            "as must",
            "direct p50/p95/p99 ms",
            "packets p50/p99",
            "connected p50/p95/p99"
        )
    }

    /// One line of the table.
    #[must_use]
    pub fn row(&self) -> String {
        let packets = self.packets.map_or_else(|| "-".to_owned(), |p| format!("{:.0} / {:.0}", p.p50, p.p99));
        let mut row = format!(
            "{:<27}{:<27}{:>8}{:>9}  {:>23}  {:>16}  {:>23}",
            self.a,
            self.b,
            format!("{}/{}", self.direct, self.runs),
            format!("{}/{}", self.succeeded, self.runs),
            shown(self.time_to_direct),
            packets,
            shown(self.connected),
        );
        match (self.expected, &self.failure) {
            (_, Some(failure)) => row.push_str(&format!("  FAILED: {failure}")),
            (Expected::Relayed(reason), None) => row.push_str(&format!("  {}", reason.words())),
            (Expected::Direct, None) => {}
        }
        row
    }
}

/// What was not as it must be in a trial, in one line.
#[must_use]
pub fn fault(expected: Expected, outcome: &Outcome) -> Option<String> {
    if let Some(failure) = &outcome.failure {
        return Some(failure.lines().next().unwrap_or_default().to_owned());
    }
    let fault = match outcome {
        Outcome { sealed: false, .. } => "a line was seen in the open",
        Outcome { direct_ms: None, .. } if expected == Expected::Direct => "no direct path within 10 s",
        Outcome { direct_ms: Some(_), in_use_ms: None, chat_direct: false, .. } => {
            "the direct path was found and not used"
        }
        _ => return None,
    };
    Some(fault.to_owned())
}

/// Trials by pair, those of one pair together in the order in which they ended.
#[must_use]
pub fn cells(pairs: &[Pair], outcomes: &[Outcome]) -> Vec<Cell> {
    let of = |pair: &Pair| -> Vec<Outcome> {
        outcomes.iter().filter(|outcome| pair.is_of(outcome)).cloned().collect()
    };
    pairs.iter().map(|pair| Cell::of(pair, &of(pair))).collect()
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

/// The pairs of the whole matrix that are no pairs of kinds.
#[must_use]
pub fn places() -> Vec<(String, String)> {
    PLACES.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()
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

    fn outcome() -> Outcome {
        let times = Outcome { direct_ms: Some(100.0), in_use_ms: Some(120.0), ..Outcome::default() };
        Outcome { chat_direct: true, sealed: true, tries: 7, ..times }
    }

    #[test]
    fn a_cell_counts_what_it_must() {
        let relayed = Outcome { sealed: true, ..Outcome::default() };
        let easy = Pair::by_names("public", "eim_adf").unwrap();
        let cell = Cell::of(&easy, &[outcome(), relayed.clone()]);
        assert_eq!((cell.runs, cell.direct, cell.succeeded, cell.is_well()), (2, 1, 1, false));
        assert!(cell.row().contains("100 / 100 / 100") && cell.row().contains("FAILED: no direct path"));
        assert_eq!(cell.packets.unwrap().p50, 7.0);
        let hard = Pair::by_names("symmetric_random", "symmetric_random").unwrap();
        assert!(Cell::of(&hard, &[relayed]).is_well());
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        let wrong = [
            Outcome { failure: Some("alice: no event\nand more".to_owned()), ..outcome() },
            Outcome { sealed: false, ..outcome() },
            Outcome { in_use_ms: None, chat_direct: false, ..outcome() },
        ];
        for outcome in wrong {
            assert!(fault(Expected::Direct, &outcome).is_some_and(|fault| !fault.contains('\n')));
        }
        assert_eq!(fault(Expected::Direct, &outcome()), None);
        let also = Outcome { chat_direct: false, ..outcome() };
        assert_eq!(Cell::of(&Pair::by_names("public", "public").unwrap(), &[also]).also_relayed, 1);
    }
}
