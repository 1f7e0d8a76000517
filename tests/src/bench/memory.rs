//! Resident memory of real programs: the server with and without clients, and a client with one peer.
//!
//! What is measured runs in a process of its own; so do the clients that keep the server company.

use std::io::{BufRead as _, BufReader, Lines};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use client::net::ServerTarget;
use common::control::{self, Admit, InstanceId, Register, ToServer};
use common::frame::Message as _;
use common::identity::Identity;
use common::tls::{self, Trust};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{Figure, Report, Target, cpu, messages};

/// Idle clients at the server.
const CLIENTS: u32 = 500;
/// Clients from one address: below what the server allows.
const PER_ADDRESS: u32 = 200;
/// Clients that connect at the same time.
const AT_ONCE: usize = 2;
/// Memory has settled after this long.
const SETTLE: Duration = Duration::from_secs(3);
/// What a child process says when it is as far as it should get.
const READY: &str = "ready";

/// A process that ends with its handle.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(command: &mut Command) -> anyhow::Result<(Self, Lines<BufReader<ChildStdout>>)> {
        let name = command.get_program().to_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", name.display()))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        Ok((Self(child), BufReader::new(stdout).lines()))
    }

    fn kib(&self) -> anyhow::Result<f64> {
        let kib =
            cpu::resident_kib(self.0.id()).context("the process is gone, or the system does not tell")?;
        Ok(kib as f64)
    }
}

/// Measures the programs that stand beside this one. A program that is not there is built first with
/// `cargo build --release`; without `client`, an engine inside a child of this program stands in for it.
///
/// # Errors
/// If something does not work.
pub fn run(report: &mut Report) -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let mut command = Command::new(
        beside("rendezvous")?
            .context("there is no `rendezvous` beside this program: cargo build --release -p rendezvous")?,
    );
    // All clients of the measurement come from one address.
    command.args(["--bind", "127.0.0.1:0", "--log", "error", "--max-per-address", "100000"]);
    command.arg("--data-dir").arg(dir.path().join("server"));
    let (server, mut said) = Process::start(&mut command)?;
    let target = target(&mut said)?;
    std::thread::sleep(SETTLE);
    let empty = server.kib()?;
    report.add(
        Figure::new("messages", "memory: empty server", "MB", empty / 1024.0).target(Target::AtMost(10.0)),
    );
    idle_clients(&server, &target, empty, report)?;
    client_with_peer(&target, dir.path(), report)
}

/// A program in the directory of this one.
fn beside(name: &str) -> anyhow::Result<Option<PathBuf>> {
    let path = std::env::current_exe()?.with_file_name(name);
    Ok(path.exists().then_some(path))
}

/// The server's address and key, from the line that it prints for the other machines.
fn target(said: &mut impl Iterator<Item = std::io::Result<String>>) -> anyhow::Result<String> {
    for line in said {
        if let Some((_, target)) = line?.split_once("--server ") {
            return Ok(target.trim().to_owned());
        }
    }
    bail!("the server did not say how to reach it")
}

fn idle_clients(server: &Process, target: &str, empty: f64, report: &mut Report) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["child-clients", "--server", target]);
    let (_clients, mut said) = Process::start(&mut command)?;
    wait_ready(&mut said)?;
    std::thread::sleep(SETTLE);
    let full = server.kib()?;
    let each = (full - empty) / f64::from(CLIENTS);
    report.add(
        Figure::new("messages", format!("memory: server, each of {CLIENTS} idle clients"), "KB", each)
            .beside("quinn connection, slim, bare", 26.0)
            .target(Target::AtMost(30.0)),
    );
    Ok(())
}

fn wait_ready(said: &mut impl Iterator<Item = std::io::Result<String>>) -> anyhow::Result<()> {
    for line in said {
        if line?.contains(READY) {
            return Ok(());
        }
    }
    bail!("a child process ended early")
}

fn client_with_peer(target: &str, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    let program = beside("client")?;
    let start = |n: u8| {
        let data = dir.join(format!("client{n}"));
        match &program {
            Some(program) => {
                let mut command = Command::new(program);
                command.args(["--server", target, "--json", "--no-input", "--data-dir"]).arg(data);
                Process::start(&mut command)
            }
            None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["child-engine", "--server", target, "--data-dir"]).arg(data);
                Process::start(&mut command)
            }
        }
    };
    let (_other, _said) = start(1)?;
    let (measured, mut said) = start(2)?;
    for line in &mut said {
        let line = line?;
        if line.contains("\"connected\"") || line == READY {
            break;
        }
    }
    std::thread::sleep(2 * SETTLE);
    let what = if program.is_some() { "client program" } else { "engine in a child process" };
    report.add(
        Figure::new(
            "messages",
            format!("memory: {what}, idle with one peer"),
            "MB",
            measured.kib()? / 1024.0,
        )
        .beside("sendme, idle", 13.8)
        .target(Target::AtMost(14.0)),
    );
    Ok(())
}

/// The child process that holds `CLIENTS` registered clients without anything above QUIC.
///
/// # Errors
/// If one of them cannot register.
pub fn child_clients(target: &ServerTarget, ready: impl FnOnce(&str)) -> anyhow::Result<()> {
    let address: SocketAddr = target.address.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(Some(Duration::from_secs(12)));
        let transport = Arc::new(transport);
        let (mut connecting, mut connected) = (JoinSet::new(), Vec::new());
        for n in 0..CLIENTS {
            if connecting.len() == AT_ONCE {
                connected.extend(connecting.join_next().await.transpose()?.transpose()?);
            }
            // One socket each, as real clients have.
            let endpoint = Endpoint::client(SocketAddr::new(loopback(n / PER_ADDRESS), 0))?;
            connecting.spawn(register(endpoint, address, n, Arc::clone(&transport)));
        }
        while let Some(one) = connecting.join_next().await {
            connected.push(one??);
        }
        ready(READY);
        for (connection, _streams) in &connected {
            connection.closed().await;
        }
        Ok(())
    })
}

/// The loopback addresses that the clients come from.
fn loopback(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 1)) + n))
}

/// A connection, and its control stream: were that ended, the server would end the connection.
type Registered = (Connection, (SendStream, RecvStream));

async fn register(
    endpoint: Endpoint,
    address: SocketAddr,
    n: u32,
    transport: Arc<TransportConfig>,
) -> anyhow::Result<Registered> {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&n.to_le_bytes());
    let crypto = tls::client_config(&Identity::from_seed(seed), control::ALPN, Trust::FirstUse);
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport);
    let connection = endpoint.connect_with(config, address, tls::ANY_KEY)?.await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    let register =
        Register { instance: InstanceId(u64::from(n)), features: Vec::new(), admit: Admit::default() };
    send.write_all(&ToServer::from(register).to_bytes()).await?;
    recv.read_exact(&mut [0]).await?;
    Ok((connection, (send, recv)))
}

/// The child process that runs one engine and meets whoever waits in the lobby.
///
/// # Errors
/// If it cannot start.
pub fn child_engine(target: ServerTarget, data: &Path, ready: impl FnOnce(&str)) -> anyhow::Result<()> {
    std::fs::create_dir_all(data)?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let config = messages::config(data.join("hobnob.db"), Identity::from_seed(rand::random()), target)?;
        let (_engine, mut events) = client::engine::Engine::start(config).await?;
        let mut ready = Some(ready);
        while let Some(event) = events.recv().await {
            if let client::engine::Event::Connected { .. } = event
                && let Some(ready) = ready.take()
            {
                ready(READY);
            }
        }
        Ok(())
    })
}
