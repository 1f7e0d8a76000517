//! The matrix as a Markdown table, in words, and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::heat;
use super::{Cell, Spread};
use crate::lab::physics::Expected;

/// What all pairs come to together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Pairs.
    pub pairs: usize,
    /// Pairs that can be direct.
    pub can_be_direct: usize,
    /// Pairs of which all trials were direct.
    pub direct: usize,
    /// Pairs that cannot do without the relay.
    pub must_be_relayed: usize,
    /// Pairs of which some trial was not as it must be.
    pub failed: usize,
    /// Trials.
    pub trials: usize,
}

impl Sum {
    /// Adds up.
    #[must_use]
    pub fn of(cells: &[Cell]) -> Self {
        let count = |is: fn(&&Cell) -> bool| cells.iter().filter(is).count();
        let can_be_direct = count(|cell| cell.expected == Expected::Direct);
        Self {
            pairs: cells.len(),
            can_be_direct,
            direct: count(|cell| cell.direct == cell.runs && cell.runs > 0),
            must_be_relayed: cells.len() - can_be_direct,
            failed: count(|cell| !cell.is_well()),
            trials: cells.iter().map(|cell| cell.runs).sum(),
        }
    }

    /// The sum in one sentence.
    #[must_use]
    pub fn words(&self) -> String {
        format!(
            "{} trials of {} pairs: {} of the {} pairs that can be direct were so each time, {} must stay on the \
             relay, {} were not as they must be",
            self.trials, self.pairs, self.direct, self.can_be_direct, self.must_be_relayed, self.failed
        )
    }
}

/// Writes `matrix.md`, `matrix.json` and `matrix.svg` into a directory, which is made if need be; `command` is what made them.
///
/// # Errors
/// When it cannot be made, or a file not written.
pub fn write(dir: &Path, cells: &[Cell], kinds: &[String], command: &str) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let sum = Sum::of(cells);
    let json = serde_json::json!({ "command": command, "sum": sum, "pairs": cells });
    for (name, text) in [
        ("matrix.md", markdown(cells, command)),
        ("matrix.json", format!("{json:#}\n")),
        ("matrix.svg", heat::svg(cells, kinds)),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The table with its explanation.
#[must_use]
pub fn markdown(cells: &[Cell], command: &str) -> String {
    let mut text = format!(
        "# Every pair of networks\n\n`{command}`: the real programs in network namespaces, homes 80 ms from each other and \
         50 ms from a server with one address. {}.\n\n*Direct* is judged at the tap between the homes: packets that arrived \
         both ways without the server, within 10 s. Times are milliseconds from when both were ready (p50 / p95 / p99). \
         *Packets* are all that both sent to each other's addresses until then, arrived or not (p50 / p99). Kinds are those \
         of `tests/src/nat/profile.rs` and `tests/src/lab/access.rs`; why a pair must stay on the relay is decided by \
         `tests/src/lab/physics.rs` from the NATs alone.\n\n\
         | a | b | direct | time to direct | packets | connected | |\n|---|---|---|---|---|---|---|\n",
        Sum::of(cells).words()
    );
    for cell in cells {
        let packets = cell.packets.map_or_else(String::new, |p| format!("{:.0} / {:.0}", p.p50, p.p99));
        let _ = writeln!(
            text,
            "| {} | {} | {} of {} | {} | {packets} | {} | {} |",
            cell.a,
            cell.b,
            cell.direct,
            cell.runs,
            times(cell.time_to_direct),
            times(cell.connected),
            remark(cell)
        );
    }
    text
}

fn times(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |s| format!("{:.0} / {:.0} / {:.0}", s.p50, s.p95, s.p99))
}

fn remark(cell: &Cell) -> String {
    let mut remarks = Vec::new();
    if let Some(failure) = &cell.failure {
        remarks.push(format!("**{} failed: {failure}**", cell.runs - cell.succeeded));
    }
    if let Expected::Relayed(reason) = cell.expected {
        remarks.push(format!("relay: {}", reason.words()));
    }
    if cell.over_tcp > 0 {
        remarks.push(if cell.over_tcp == cell.direct {
            "TCP".to_owned()
        } else {
            format!("{} TCP", cell.over_tcp)
        });
    }
    if cell.also_relayed > 0 {
        remarks.push(format!("{} times a line went over the relay as well", cell.also_relayed));
    }
    remarks.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::matrix::Pair;
    use crate::lab::trial::Outcome;

    #[test]
    fn the_table_says_what_failed_and_what_must_stay_relayed() {
        let relayed = Outcome { sealed: true, ..Outcome::default() };
        let cell = |a, b| Cell::of(&Pair::by_names(a, b).unwrap(), std::slice::from_ref(&relayed));
        let cells = [cell("public", "eim_adf"), cell("web_only", "web_only")];
        let text = markdown(&cells, "lab -- matrix");
        assert!(
            text.contains(
                "| public | eim_adf | 0 of 1 |  |  |  | **1 failed: no direct path within 10 s** |"
            )
        );
        assert!(text.contains("relay: one side may open"));
        let sum = Sum::of(&cells);
        assert_eq!((sum.can_be_direct, sum.direct, sum.must_be_relayed, sum.failed), (1, 0, 1, 1));
    }
    #[test]
    fn the_directory_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("not/there");
        write(&out, &[], &[], "lab -- matrix").unwrap();
        assert_eq!(std::fs::read_dir(out).unwrap().count(), 3);
    }
}
