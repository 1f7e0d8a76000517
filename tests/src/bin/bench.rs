//! Runs the project's measurements, prints a table, and writes JSON if asked to.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use client::net::ServerTarget;
use tests::bench::{
    Report, backlog, bulk, connect, hard, lifetime, memory, messages, roam, signatures, switch, weather,
};

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Which {
    /// Time until connected and direct, all pairs of easy access kinds, simulated.
    Connect,
    /// Pairs with a hard NAT, simulated.
    Hard,
    /// A transfer that changes paths, simulated.
    Switch,
    /// Conversations whose networks change under them, simulated.
    Roam,
    /// Easy pairs far away and over lossy networks, simulated.
    Weather,
    /// Ten minutes over mappings that end every minute, simulated.
    Lifetime,
    /// Processor time of a transfer over loopback.
    Bulk,
    /// Processor time of signatures: many together, beside one by one.
    Signatures,
    /// Durable messages between two engines, and resident memory.
    Messages,
    /// Writing while a backlog comes in.
    Backlog,
    /// Resident memory alone.
    Memory,
    /// All of them.
    All,
    /// Idle clients of a server: the company of a measured process.
    #[command(hide = true)]
    ChildClients {
        #[arg(long)]
        server: ServerTarget,
    },
    /// One engine: a measured process.
    #[command(hide = true)]
    ChildEngine {
        #[arg(long)]
        server: ServerTarget,
        #[arg(long)]
        data_dir: PathBuf,
    },
}

/// Measures the project beside its alternatives.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// What to measure.
    #[command(subcommand)]
    which: Which,
    /// Also write the figures as JSON to this file.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Repetitions: seeds of each pair in `connect` (100 unless said), tries of each row in `hard` (1,000), turns in the others (5 unless said).
    #[arg(long, global = true)]
    runs: Option<u64>,
    /// Megabytes of each transfer in `bulk`.
    #[arg(long, global = true, default_value_t = 256)]
    megabytes: u64,
    /// Tries single knobs in `bulk`.
    #[arg(long, global = true)]
    knobs: bool,
    /// Messages of each run in `messages` (20,000 unless said), and of the backlog in `backlog` (100,000).
    #[arg(long, global = true)]
    messages: Option<u64>,
    /// Where `messages` and `backlog` put their databases: on the disk that is to be measured.
    #[arg(long, global = true, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let say = |line: &str| println!("{line}");
    match &args.which {
        Which::ChildClients { server } => return memory::child_clients(server, say),
        Which::ChildEngine { server, data_dir } => {
            return memory::child_engine(server.clone(), data_dir, say);
        }
        _ => {}
    }
    let report = measure(&args)?;
    print!("{report}");
    println!("{} figures, {} miss their targets", report.figures.len(), report.missed());
    if let Some(path) = args.json {
        let file =
            std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        serde_json::to_writer_pretty(file, &report).context("cannot write the figures")?;
    }
    Ok(())
}

fn measure(args: &Args) -> anyhow::Result<Report> {
    let wanted = |which| args.which == which || args.which == Which::All;
    let turns = args.runs.unwrap_or(5);
    let mut report = Report::default();
    if wanted(Which::Connect) {
        connect::run(args.runs.unwrap_or(100), &mut report)?;
    }
    if wanted(Which::Hard) {
        hard::run(args.runs.unwrap_or(1000), &mut report);
    }
    if wanted(Which::Switch) {
        switch::run(turns, &mut report)?;
    }
    if wanted(Which::Roam) {
        roam::run(turns, &mut report)?;
    }
    if wanted(Which::Weather) {
        weather::run(args.runs.unwrap_or(30), &mut report);
    }
    if wanted(Which::Lifetime) {
        lifetime::run(turns, &mut report)?;
    }
    if wanted(Which::Bulk) {
        let knobs = if args.knobs { bulk::Knobs::Try } else { bulk::Knobs::Skip };
        bulk::run(turns, args.megabytes, knobs, &mut report)?;
    }
    if wanted(Which::Signatures) {
        signatures::run(turns, &mut report);
    }
    if wanted(Which::Messages) {
        messages::run(turns, args.messages.unwrap_or(20_000), &args.dir, &mut report)?;
    }
    if wanted(Which::Backlog) {
        backlog::run(args.messages.unwrap_or(100_000), &args.dir, &mut report)?;
    }
    if wanted(Which::Messages) || args.which == Which::Memory {
        // What was measured before is worth showing all the same.
        if let Err(error) = memory::run(&mut report) {
            println!("memory was not measured: {error:#}");
        }
    }
    Ok(report)
}
