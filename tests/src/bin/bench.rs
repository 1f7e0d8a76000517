//! Runs the project's measurements, prints a table, and writes JSON if asked to.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tests::bench::{Report, bulk, connect, switch};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Time until connected and direct, all pairs of easy access kinds, simulated.
    Connect,
    /// A transfer that changes paths, simulated.
    Switch,
    /// Processor time of a transfer over loopback.
    Bulk,
    /// All of them.
    All,
}

/// Measures the project beside its alternatives.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// What to measure.
    #[arg(value_enum)]
    which: Which,
    /// Also write the figures as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Repetitions: seeds of each pair in `connect` (100 unless said), turns in the others (5 unless said).
    #[arg(long)]
    runs: Option<u64>,
    /// Megabytes of each transfer in `bulk`.
    #[arg(long, default_value_t = 256)]
    megabytes: u64,
    /// Tries single knobs in `bulk`.
    #[arg(long)]
    knobs: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let wanted = |which| args.which == which || args.which == Which::All;
    let mut report = Report::default();
    if wanted(Which::Connect) {
        connect::run(args.runs.unwrap_or(100), &mut report)?;
    }
    if wanted(Which::Switch) {
        switch::run(args.runs.unwrap_or(5), &mut report)?;
    }
    if wanted(Which::Bulk) {
        let knobs = if args.knobs { bulk::Knobs::Try } else { bulk::Knobs::Skip };
        bulk::run(args.runs.unwrap_or(5), args.megabytes, knobs, &mut report)?;
    }
    print!("{report}");
    println!("{} figures, {} miss their targets", report.figures.len(), report.missed());
    if let Some(path) = args.json {
        let file =
            std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        serde_json::to_writer_pretty(file, &report).context("cannot write the figures")?;
    }
    Ok(())
}
