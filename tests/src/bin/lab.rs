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
    use tests::lab::access::{Access, EASY, names};
    use tests::lab::matrix::{Cell, Order, pairs};
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
        /// Kinds to pair (default: the six easy ones).
        #[arg(long, value_delimiter = ',')]
        kinds: Vec<String>,
        /// How often each pair.
        #[arg(long, default_value_t = 1)]
        runs: u64,
        /// One JSON object a pair.
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
        let cell = Cell::of(&args.a, &args.b, &outcomes);
        if !args.json && args.runs > 1 {
            println!("\n{}\n{}", Cell::header(), cell.row());
        }
        Ok(exit_code(cell.succeeded == cell.runs))
    }

    fn matrix(args: &MatrixArgs, bin_dir: &Path) -> Result<ExitCode> {
        trial::check_binaries(bin_dir)?;
        let easy = || EASY.map(str::to_owned).to_vec();
        let kinds = if args.kinds.is_empty() { easy() } else { args.kinds.clone() };
        let order = if args.ordered { Order::Both } else { Order::Once };
        if !args.json {
            println!("{}", Cell::header());
        }
        let mut all_well = true;
        for (a, b) in pairs(&kinds, order) {
            let (first, second) = (Access::by_name(&a)?, Access::by_name(&b)?);
            let outcomes = trials(&first, &second, args, bin_dir)?;
            let cell = Cell::of(&a, &b, &outcomes);
            all_well &= cell.succeeded == cell.runs;
            if args.json {
                println!("{}", serde_json::to_string(&cell)?);
            } else {
                println!("{}", cell.row());
                // The first failure of a pair tells more than their number.
                for failure in outcomes.iter().filter_map(|outcome| outcome.failure.as_ref()).take(1) {
                    println!("{failure}");
                }
            }
        }
        Ok(exit_code(all_well))
    }

    /// All trials of one pair, by as many threads as there are jobs: programs die with the thread that starts
    /// them, so each thread builds its own scenes.
    fn trials(a: &Access, b: &Access, args: &MatrixArgs, bin_dir: &Path) -> Result<Vec<Outcome>> {
        let share = |job: u64| -> Result<Vec<Outcome>> {
            let seeds = (0..args.runs).filter(|run| run % args.jobs == job).map(|run| args.seed + run);
            let run = |seed| trial::run(a, b, &Setup { bin_dir: bin_dir.to_owned(), seed, pcap: None });
            seeds.map(run).collect()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..args.jobs).map(|job| scope.spawn(move || share(job))).collect();
            let mut outcomes = Vec::new();
            for thread in threads {
                let done = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                outcomes.extend(done?);
            }
            Ok(outcomes)
        })
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
        let time = |ms: Option<f64>| ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms:.0} ms"));
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
