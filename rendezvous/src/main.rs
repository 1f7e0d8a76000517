//! The rendezvous as a program.

mod cli;

use std::io::{self, IsTerminal as _, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use cli::{Cli, LogLevel, Options};
use rendezvous::Server;
use tracing::{error, info};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Wrong flags or configuration file.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.man || cli.completions.is_some() {
        return document(&cli);
    }
    let options = match cli.resolve() {
        Ok(options) => options,
        Err(error) => return complain(&error, ExitCode::from(USAGE)),
    };
    if cli.check_config {
        return check(&options);
    }
    log_to_stderr(options.log, options.json_log);
    match run(options) {
        Ok(code) => code,
        Err(error) => complain(&error, ExitCode::FAILURE),
    }
}

/// Prints what is made from the command line itself.
fn document(cli: &Cli) -> ExitCode {
    let mut text = Vec::new();
    match cli.completions {
        Some(shell) => clap_complete::generate(shell, &mut Cli::command(), "rendezvous", &mut text),
        None => {
            if let Err(error) = clap_mangen::Man::new(Cli::command()).render(&mut text) {
                return complain(&error.into(), ExitCode::FAILURE);
            }
        }
    }
    // Whoever reads may have seen enough.
    let _ = io::stdout().write_all(&text);
    ExitCode::SUCCESS
}

/// Says whether a server can be started like this.
fn check(options: &Options) -> ExitCode {
    match Server::check_alternates(&options.config) {
        Ok(in_use) => {
            for addr in in_use {
                say(&format!(
                    "UDP port {} on {} is in use, if not by this server by another program",
                    addr.port(),
                    addr.ip()
                ));
            }
            say("the configuration is good");
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error.into(), ExitCode::from(USAGE)),
    }
}

fn run(options: Options) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let code = runtime.block_on(serve(options));
    // What a second signal has left behind must not hold up the end.
    runtime.shutdown_background();
    code
}

async fn serve(options: Options) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let mut server = Server::bind(options.config).await?;
    say(&greeting(&server));
    tokio::select! {
        () = signals.next() => {}
        lost = server.failed() => return Err(lost.into()),
    }
    info!("ending as asked; once more to end at once");
    tokio::select! {
        () = server.shutdown() => Ok(ExitCode::SUCCESS),
        () = signals.next() => {
            error!("ended at once");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What the operator needs: where it listens, its key, and what to type elsewhere.
fn greeting(server: &Server) -> String {
    let addrs = server.local_addrs();
    let listening = addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let key = server.peer_id();
    let host = addrs
        .iter()
        .find_map(reachable)
        .unwrap_or_else(|| format!("HOST:{}", addrs.first().map_or(0, SocketAddr::port)));
    format!("listening on {listening} (UDP)\nkey {key}\non the other machines: client --server {host}#{key}")
}

/// The address under which others may reach what listens on `addr`, as far as this machine can know.
fn reachable(addr: &SocketAddr) -> Option<String> {
    let ip = if addr.ip().is_unspecified() { outward(addr)? } else { addr.ip() };
    Some(SocketAddr::new(ip, addr.port()).to_string())
}

/// The address of this machine that packets to the internet would carry. Nothing is sent: connecting a UDP socket
/// only looks up the route. The destinations are the blocks set aside for documentation.
fn outward(addr: &SocketAddr) -> Option<IpAddr> {
    let there: IpAddr = match addr {
        SocketAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 1).into(),
        SocketAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let socket = UdpSocket::bind((addr.ip(), 0)).ok()?;
    socket.connect((there, 9)).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// Addresses of clients stay out of the log below debug, also those that the QUIC library would report.
fn log_to_stderr(level: LogLevel, json: bool) {
    let (level, quinn, udp) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR, LevelFilter::OFF),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::ERROR, LevelFilter::OFF),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::ERROR, LevelFilter::OFF),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::DEBUG, LevelFilter::DEBUG),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE, LevelFilter::TRACE),
    };
    let libraries = [("quinn", quinn), ("quinn_proto", quinn), ("quinn_udp", udp)];
    let filter = Targets::new().with_default(level).with_targets(libraries);
    let to_stderr =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let layer = if json { to_stderr.json().boxed() } else { to_stderr.boxed() };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    // A closed stdout is no reason not to serve.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn complain(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    let _ = writeln!(io::stderr(), "rendezvous: {error:#}");
    code
}

/// Requests to end.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Requests to end.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a way to be asked, the server goes on.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
