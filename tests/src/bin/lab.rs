//! `lab`: pairs of the real programs in network namespaces behind simulated NATs, judged from outside.
#![expect(clippy::print_stdout, reason = "a command-line tool that prints its findings")]

/// Exit code when the lab itself could not work; a pair that did not do well is 1.
#[cfg(target_os = "linux")]
const LAB_FAILED: u8 = 2;

#[cfg(target_os = "linux")]
#[expect(clippy::print_stderr, reason = "a command-line tool that says why it ends")]
fn main() -> std::process::ExitCode {
    linux::main().unwrap_or_else(|error| {
        eprintln!("lab: {error:#}");
        LAB_FAILED.into()
    })
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    println!("{}", tests::lab::unavailable().unwrap_or_default());
    std::process::ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;
    use std::time::Duration;

    use anyhow::{Result, bail};
    use clap::{Args, Parser, Subcommand};
    use tests::bench::stats::Samples;
    use tests::lab::access::{ALL, Access, EASY, names};
    use tests::lab::change::{self, Change};
    use tests::lab::matrix::campaign::Campaign;
    use tests::lab::matrix::report::{self, Sum};
    use tests::lab::matrix::{Cell, Order, Pair, cells, pairs, places};
    use tests::lab::scene::{End, Plan, Scene};
    use tests::lab::trial::{self, Outcome, Over, Setup};
    use tests::lab::{catch_interrupts, interrupted, unavailable};

    /// Most trials at the same time.
    const MAX_JOBS: u64 = 16;

    /// Runs the real `rendezvous` and `client` in network namespaces behind simulated NATs: homes 80 ms apart
    /// and 50 ms from the server. Needs root and /dev/net/tun.
    #[derive(Debug, Parser)]
    #[command(name = "lab")]
    struct Cli {
        /// Where `rendezvous` and `client` are, if not beside this program.
        #[arg(long, global = true)]
        bin_dir: Option<PathBuf>,
        #[command(subcommand)]
        command: Command,
    }

    #[derive(Debug, Subcommand)]
    enum Command {
        /// Two newcomers meet in the lobby and chat one line each way.
        Pair(PairArgs),
        /// The same for every pair of several kinds of NAT.
        Matrix(MatrixArgs),
        /// Two talk, and UDP is blocked for one of them: how long they are silent, and when they are direct over TCP.
        Change(ChangeArgs),
        /// Brings the scene up without programs and says how to enter it, until Ctrl-C.
        Shell(ShellArgs),
    }

    #[derive(Debug, Args)]
    struct PairArgs {
        /// Kind of the first home: public, a NAT profile, or several joined by `+` from the home outwards.
        #[arg(long)]
        a: String,
        /// Kind of the second home.
        #[arg(long)]
        b: String,
        /// How often.
        #[arg(long, default_value_t = 1)]
        runs: u64,
        /// One JSON object a run.
        #[arg(long)]
        json: bool,
        /// Writes a capture at the server (of the last run).
        #[arg(long)]
        pcap: Option<PathBuf>,
        /// Seed of the first run's NATs; each further run takes the next.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    }

    #[derive(Debug, Args)]
    struct MatrixArgs {
        /// Kinds to pair, or `easy` for those that every NAT must reach (default: all kinds, with pairs in one place and
        /// pairs with IPv6).
        #[arg(long, alias = "kinds", value_delimiter = ',')]
        profiles: Vec<String>,
        /// How often each pair.
        #[arg(long, default_value_t = 1)]
        runs: u64,
        /// One JSON object a pair, and one for the sum.
        #[arg(long)]
        json: bool,
        /// Runs at the same time: quicker, and less exact on a busy machine.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=MAX_JOBS))]
        jobs: u64,
        /// Each pair both ways round.
        #[arg(long)]
        ordered: bool,
        /// Seed of the first run's NATs; each further run takes the next.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where the outcome of each run is kept: a matrix that was broken off goes on where it ended, as long as the
        /// programs are the same.
        #[arg(long, default_value = "target/lab-matrix.jsonl")]
        results: PathBuf,
        /// Forget what is kept and begin anew.
        #[arg(long)]
        fresh: bool,
        /// Where to write matrix.md, matrix.json and matrix.svg (default: docs if all kinds are paired, else nowhere).
        #[arg(long)]
        out: Option<PathBuf>,
    }

    #[derive(Debug, Args)]
    struct ChangeArgs {
        /// Kinds of the home that loses UDP.
        #[arg(long, value_delimiter = ',', default_value = "eim_apdf_preserving,eim_apdf_random,cgnat")]
        losers: Vec<String>,
        /// Kinds of the other home.
        #[arg(long, value_delimiter = ',', default_value = "public,eim_apdf_preserving,eim_apdf_random")]
        others: Vec<String>,
        /// What is blocked (default: one after the other).
        #[arg(long)]
        change: Option<Change>,
        /// How often each pair.
        #[arg(long, default_value_t = 1)]
        runs: u64,
        /// One JSON object a run.
        #[arg(long)]
        json: bool,
        /// Seed of the first run's NATs; each further run takes the next.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    }

    #[derive(Debug, Args)]
    struct ShellArgs {
        /// Kind of the first home.
        #[arg(long, default_value = "eim_apdf_preserving")]
        a: String,
        /// Kind of the second home.
        #[arg(long, default_value = "cgnat")]
        b: String,
        /// Writes a capture at the server.
        #[arg(long)]
        pcap: Option<PathBuf>,
    }

    pub(super) fn main() -> Result<ExitCode> {
        let cli = Cli::parse();
        if let Some(reason) = unavailable() {
            bail!("{reason}");
        }
        catch_interrupts()?;
        let bin_dir = cli.bin_dir.unwrap_or_else(trial::default_bin_dir);
        // Programs start in their own directories.
        let bin_dir = std::path::absolute(bin_dir)?;
        match cli.command {
            Command::Pair(args) => pair(&args, &bin_dir),
            Command::Matrix(args) => matrix(&args, &bin_dir),
            Command::Change(args) => change(&args, &bin_dir),
            Command::Shell(args) => shell(args, &bin_dir),
        }
    }

    fn pair(args: &PairArgs, bin_dir: &Path) -> Result<ExitCode> {
        trial::check_binaries(bin_dir)?;
        let (a, b) = (Access::by_name(&args.a)?, Access::by_name(&args.b)?);
        let mut outcomes = Vec::new();
        for run in 0..args.runs {
            let setup = Setup { bin_dir: bin_dir.to_owned(), seed: args.seed + run, pcap: args.pcap.clone() };
            let outcome = trial::run(&a, &b, &setup)?;
            if args.json {
                println!("{}", serde_json::to_string(&outcome)?);
            } else {
                println!("{}", told(&outcome));
            }
            outcomes.push(outcome);
        }
        let cell = Cell::of(&Pair { a, b }, &outcomes);
        if !args.json && args.runs > 1 {
            println!("\n{}\n{}", Cell::header(), cell.row());
        }
        Ok(exit_code(cell.is_well()))
    }

    fn matrix(args: &MatrixArgs, bin_dir: &Path) -> Result<ExitCode> {
        trial::check_binaries(bin_dir)?;
        let is_whole = args.profiles.is_empty();
        let kinds: Vec<String> = match args.profiles.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => ALL.map(str::to_owned).to_vec(),
            ["easy"] => EASY.map(str::to_owned).to_vec(),
            _ => args.profiles.clone(),
        };
        let mut names = pairs(&kinds, if args.ordered { Order::Both } else { Order::Once });
        if is_whole {
            names.extend(places());
        }
        if args.fresh && args.results.exists() {
            std::fs::remove_file(&args.results)?;
        }
        let campaign = Campaign {
            pairs: names.iter().map(|(a, b)| Pair::by_names(a, b)).collect::<Result<_>>()?,
            runs: args.runs,
            seed: args.seed,
            jobs: args.jobs,
            bin_dir: bin_dir.to_owned(),
            results: args.results.clone(),
        };
        let outcomes = campaign.run(tell_progress)?;
        let cells = cells(&campaign.pairs, &outcomes);
        let sum = Sum::of(&cells);
        if args.json {
            for cell in &cells {
                println!("{}", serde_json::to_string(cell)?);
            }
            println!("{}", serde_json::json!({ "sum": sum }));
        } else {
            println!("{}", Cell::header());
            cells.iter().for_each(|cell| println!("{}", cell.row()));
            println!("\n{}", sum.words());
        }
        let docs = is_whole.then(|| PathBuf::from("docs")).filter(|docs| docs.is_dir());
        if let Some(dir) = args.out.clone().or(docs) {
            let profile = if cfg!(debug_assertions) { "" } else { "--release " };
            let (runs, jobs) = (args.runs, args.jobs);
            let command =
                format!("cargo run {profile}-p tests --bin lab -- matrix --runs {runs} --jobs {jobs}");
            report::write(&dir, &cells, &kinds, &command)?;
        }
        Ok(exit_code(sum.failed == 0))
    }

    fn change(args: &ChangeArgs, bin_dir: &Path) -> Result<ExitCode> {
        trial::check_binaries(bin_dir)?;
        let by_name =
            |names: &[String]| names.iter().map(|name| Access::by_name(name)).collect::<Result<_>>();
        let (losers, others): (Vec<_>, Vec<_>) = (by_name(&args.losers)?, by_name(&args.others)?);
        let mut well = true;
        for change in Change::ALL.into_iter().filter(|change| args.change.is_none_or(|only| only == *change))
        {
            let mut outcomes = Vec::new();
            for (a, b) in losers.iter().flat_map(|a| others.iter().map(move |b| (a, b))) {
                for seed in args.seed..args.seed + args.runs {
                    let setup = Setup { bin_dir: bin_dir.to_owned(), seed, pcap: None };
                    let outcome = change::run(a, b, change, &setup)?;
                    if args.json {
                        println!("{}", serde_json::to_string(&outcome)?);
                    } else {
                        println!("{}", told_of_change(&outcome));
                    }
                    outcomes.push(outcome);
                }
            }
            well &= outcomes.iter().all(|outcome| outcome.failure.is_none() && outcome.direct_ms.is_some());
            if !args.json {
                tell_spread(change, &outcomes);
            }
        }
        Ok(exit_code(well))
    }

    fn told_of_change(outcome: &change::Outcome) -> String {
        let change::Outcome { a, b, change, gap_ms, direct_ms, late_ms, failure, .. } = outcome;
        let (gap, direct) = (time(*gap_ms), time(*direct_ms));
        let failure = failure.as_ref().map(|failure| format!("\n{failure}")).unwrap_or_default();
        format!(
            "{a} x {b}, {change:?} blocked: longest silence {gap}, direct over TCP {direct} (the lab was \
             {late_ms:.0} ms late){failure}"
        )
    }

    fn tell_spread(change: Change, outcomes: &[change::Outcome]) {
        type Pick = fn(&change::Outcome) -> Option<f64>;
        let picks: [(&str, Pick); 2] =
            [("longest silence", |outcome| outcome.gap_ms), ("direct over TCP", |outcome| outcome.direct_ms)];
        for (what, pick) in picks {
            let samples: Samples = outcomes.iter().filter_map(pick).collect();
            let (of, all) = (outcomes.iter().filter_map(pick).count(), outcomes.len());
            let [p50, p95, p100] = [50, 95, 100].map(|percent| time(Some(samples.percentile(percent))));
            println!("{change:?} blocked: {what} {of} of {all}, p50 {p50}, p95 {p95}, most {p100}");
        }
    }

    fn time(ms: Option<f64>) -> String {
        ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms:.0} ms"))
    }

    /// One line a trial, for whoever waits.
    #[expect(clippy::print_stderr, reason = "progress is not what was asked for")]
    fn tell_progress(outcome: &Outcome, left: usize) {
        eprintln!("{left:>5} left; {}", told(outcome).lines().next().unwrap_or_default());
    }

    fn shell(args: ShellArgs, bin_dir: &Path) -> Result<ExitCode> {
        let homes = vec![Access::by_name(&args.a)?, Access::by_name(&args.b)?];
        let mut plan = Plan::standard(homes, bin_dir);
        plan.pcap = args.pcap;
        let scene = Scene::build(&plan)?;
        println!("Kinds: {}", names().join(", "));
        println!("The scene is up; Ctrl-C removes it. In other terminals:");
        let bin = bin_dir.display();
        let server = scene.place(End::Server).netns.name();
        println!("  ip netns exec {server} {bin}/rendezvous --bind 0.0.0.0:5000 --data-dir /tmp/lab-server");
        for (home, kind) in [&args.a, &args.b].into_iter().enumerate() {
            let place = scene.place(End::Home(home));
            let (netns, addr) = (place.netns.name(), scene.server_addr());
            println!(
                "  ip netns exec {netns} {bin}/client --server {addr} --data-dir /tmp/lab-{home}  # {kind}"
            );
        }
        while !interrupted() {
            std::thread::sleep(Duration::from_millis(100));
        }
        let counts = scene.router().with(|network, _| network.counts().clone())?;
        println!("{}", serde_json::to_string(&counts)?);
        Ok(ExitCode::SUCCESS)
    }

    fn told(outcome: &Outcome) -> String {
        let verdict = match outcome {
            outcome if outcome.is_success() => "well",
            Outcome { failure: None, sealed: true, direct_ms: None, .. } => "relayed",
            _ => "NOT WELL",
        };
        let mut text = format!(
            "{} x {}: {verdict}; connected {}, direct {}, in use {}; chat {} ({}); {}",
            outcome.a,
            outcome.b,
            time(outcome.connected_ms),
            time(outcome.direct_ms),
            time(outcome.in_use_ms),
            time(outcome.chat_ms),
            match (outcome.chat_direct, outcome.over) {
                (true, Some(Over::Tcp)) => "direct over TCP",
                (true, _) => "direct",
                (false, _) => "not direct",
            },
            if outcome.sealed { "nothing in the open" } else { "not seen to be sealed" },
        );
        if let Some(failure) = &outcome.failure {
            text.push('\n');
            text.push_str(failure);
        }
        text
    }

    fn exit_code(well: bool) -> ExitCode {
        if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
