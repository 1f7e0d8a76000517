//! One trial: two newcomers meet in the lobby, get a direct path, and chat one line each way.
//!
//! What counts is what passed on the wire. The programs' own events only say when to go on to the next step.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::app::App;
use super::network::HostId;
use super::scene::{End, Plan, Scene};
use super::sys;
use super::tap::{self, Sort, Tallies};

/// How long programs may take to start and to be paired.
const MEET_PATIENCE: Duration = Duration::from_secs(10);
/// A pair counts as direct when it is within this time.
pub const DIRECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a chat line may take until it is shown and acknowledged.
const CHAT_PATIENCE: Duration = Duration::from_secs(10);
/// Between looks at the tap.
const GLANCE: Duration = Duration::from_millis(10);
/// Length of a chat line: long enough to stand out from heartbeats to the server.
const LINE_LEN: usize = 1_000;
/// Programs switch to a direct path when they have measured it, a little after its first packets; chatting
/// begins when this much application data has moved direct each way or this time has passed.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);
/// Packets of QUIC each way after which a direct path counts as in use.
const SETTLED_PACKETS: u64 = 2;

/// What came of a trial. Times are in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Kind of the first home.
    pub a: String,
    /// Kind of the second home.
    pub b: String,
    /// Seed of the NATs.
    pub seed: u64,
    /// From both ready to both connected, by their own word.
    pub connected_ms: Option<f64>,
    /// From both ready to the first direct packets having arrived both ways, seen from outside.
    pub direct_ms: Option<f64>,
    /// The same from when both said that they were connected; negative when direct came first.
    pub direct_after_connected_ms: Option<f64>,
    /// From both ready to the first direct QUIC packets having arrived both ways.
    pub in_use_ms: Option<f64>,
    /// The slower of the two lines, from stdin to the other's event.
    pub chat_ms: Option<f64>,
    /// Both lines went over the direct path and not over the server.
    pub chat_direct: bool,
    /// What the direct path runs over, by the QUIC packets of the chat.
    pub over: Option<Over>,
    /// Direct packets of both, until both ways worked and in the whole trial.
    pub direct_packets: u64,
    /// Packets that both sent to addresses of the other, arrived or not, until both ways worked or it was waited for
    /// no longer.
    pub tries: u64,
    /// No line was seen in the open.
    pub sealed: bool,
    /// What went wrong, if anything.
    pub failure: Option<String>,
}

impl Outcome {
    /// Whether everything that a pair of easy NATs must do was done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failure.is_none() && self.direct_ms.is_some() && self.chat_direct && self.sealed
    }
}

/// What a direct path runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

impl Over {
    /// What carried most of what two homes sent each other between two looks at the tap.
    fn of(before: &Tallies, after: &Tallies, a: HostId, b: HostId) -> Option<Self> {
        let bytes = |tallies: &Tallies, sort: Sort| {
            [(a, b), (b, a)].map(|(from, to)| tap::sum(tallies, from, to, |other| other == sort).bytes)
        };
        let sent = |sort| {
            let (before, after) = (bytes(before, sort), bytes(after, sort));
            after.iter().sum::<u64>() - before.iter().sum::<u64>()
        };
        match (sent(Sort::Quic), sent(Sort::TcpQuic)) {
            (0, 0) => None,
            (udp, tcp) if udp >= tcp => Some(Self::Udp),
            _ => Some(Self::Tcp),
        }
    }
}

/// What a trial needs to know.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where `rendezvous` and `client` are.
    pub bin_dir: PathBuf,
    /// Seed of the NATs.
    pub seed: u64,
    /// Where to write a capture at the server.
    pub pcap: Option<PathBuf>,
}

/// Runs one trial. The outcome holds what failed; only a lab that cannot work is an error.
///
/// # Errors
/// When the scene cannot be built, or Ctrl-C is pressed.
pub fn run(a: &Access, b: &Access, setup: &Setup) -> Result<Outcome> {
    let mut plan = Plan::standard(vec![a.clone(), b.clone()], &setup.bin_dir);
    plan.seed = setup.seed;
    plan.pcap.clone_from(&setup.pcap);
    let mut scene = Scene::build(&plan)?;
    let mut outcome =
        Outcome { a: a.name.clone(), b: b.name.clone(), seed: setup.seed, ..Outcome::default() };
    let steps = attempt(&mut scene, &mut outcome);
    if sys::interrupted() {
        bail!("interrupted");
    }
    if let Err(error) = steps {
        outcome.failure = Some(format!("{error:#}\n{}", scene.explain()));
    }
    Ok(outcome)
}

fn attempt(scene: &mut Scene, outcome: &mut Outcome) -> Result<()> {
    let lines = [line_of("from-alice"), line_of("from-bob")];
    let secrets = lines.clone();
    scene.router().with(move |network, _| {
        secrets.iter().for_each(|secret| network.tap().watch_for(&secret[..LINE_LEN / 4]));
    })?;
    let ready = meet(scene)?;
    let connected = both_connected(scene)?;
    outcome.connected_ms = Some(millis(ready, connected));
    // A connection that opens is no path yet: over TCP the first packet in it counts.
    let direct = wait_direct(scene, DIRECT_PATIENCE, |sort| sort != Sort::OtherTcp, 1)?;
    outcome.direct_ms = direct.map(|at| millis(ready, at));
    outcome.tries = tries(scene)?;
    outcome.direct_after_connected_ms = direct.map(|at| millis(connected, at));
    if direct.is_some() {
        let in_use = wait_direct(scene, SETTLE_PATIENCE, Sort::is_quic, SETTLED_PACKETS)?;
        outcome.in_use_ms = in_use.map(|at| millis(ready, at));
    }
    let (a, b) = hosts(scene);
    let before = tallies(scene)?;
    let first = chat(scene, 0, 1, &lines[0])?;
    let second = chat(scene, 1, 0, &lines[1])?;
    outcome.chat_ms = Some(first.took.max(second.took).as_secs_f64() * 1e3);
    outcome.chat_direct = first.direct && second.direct;
    let (tallies, sealed) = scene
        .router()
        .with(|network, _| (network.tap().tallies().clone(), network.tap().sightings().is_empty()))?;
    outcome.over = Over::of(&before, &tallies, a, b);
    outcome.direct_packets = tap::between(&tallies, a, b).packets + tap::between(&tallies, b, a).packets;
    outcome.sealed = sealed;
    Ok(())
}

/// Packets that both homes have sent to addresses of the other so far, or what they took for such.
fn tries(scene: &Scene) -> Result<u64> {
    let (a, b) = hosts(scene);
    let addressed = scene.router().with(|network, _| network.tap().addressed().clone())?;
    let tries = addressed.iter().filter(|((from, to), _)| [a, b].contains(from) && scene.is_peer(*to));
    Ok(tries.map(|(_, packets)| packets).sum())
}

/// Starts the server, then one client after the other; returns when both were ready.
///
/// # Errors
/// When a program does not start or is not ready in time.
pub fn meet(scene: &mut Scene) -> Result<Duration> {
    scene.start_server()?;
    let mut ready = Duration::ZERO;
    for client in &mut scene.clients {
        client.start()?;
        ready = client.wait_named("ready", MEET_PATIENCE)?.seen;
    }
    Ok(ready)
}

/// Waits until all clients are connected; returns when the last was.
///
/// # Errors
/// When one is not in time.
pub fn both_connected(scene: &mut Scene) -> Result<Duration> {
    let mut last = Duration::ZERO;
    for client in &mut scene.clients {
        last = last.max(client.wait_named("connected", MEET_PATIENCE)?.seen);
    }
    Ok(last)
}

/// Waits until `count` packets of some sorts have passed between the first two homes, each way, without the
/// server; returns when the first of the later direction arrived.
///
/// # Errors
/// When the router has ended or Ctrl-C is pressed.
pub fn wait_direct(
    scene: &Scene,
    patience: Duration,
    sorts: impl Fn(Sort) -> bool + Copy,
    count: u64,
) -> Result<Option<Duration>> {
    let (a, b) = hosts(scene);
    let clock = scene.router().clock();
    let deadline = clock.now() + patience;
    loop {
        let tallies = tallies(scene)?;
        let (there, back) = (tap::sum(&tallies, a, b, sorts), tap::sum(&tallies, b, a, sorts));
        if there.packets >= count && back.packets >= count {
            return Ok(there.first.max(back.first));
        }
        if clock.now() > deadline {
            return Ok(None);
        }
        if sys::interrupted() {
            bail!("interrupted");
        }
        std::thread::sleep(GLANCE);
    }
}

/// How one line of chat went.
#[derive(Debug, Clone, Copy)]
pub struct ChatRun {
    /// From stdin to the other's event.
    pub took: Duration,
    /// It went over the direct path and not over the server.
    pub direct: bool,
}

/// Sends one line between two homes, waits until it is shown there and acknowledged here, and judges its way
/// by the bytes that passed meanwhile.
///
/// # Errors
/// When it does not arrive or is not acknowledged.
pub fn chat(scene: &mut Scene, from: usize, to: usize, line: &str) -> Result<ChatRun> {
    let hosts = (scene.place(End::Home(from)).host, scene.place(End::Home(to)).host);
    let server = scene.place(End::Server).host;
    let before = tallies(scene)?;
    let begun = scene.router().clock().now();
    let earlier = message_ids(&scene.clients[from]);
    scene.clients[from].say(line)?;
    let shown = scene.clients[to].wait("the line of chat", CHAT_PATIENCE, |event| {
        event.name == "message" && event.text("text") == line
    })?;
    scene.clients[from].wait("`state` delivered", CHAT_PATIENCE, |event| {
        let fresh = event.name == "state" && !earlier.contains(event.text("id"));
        fresh && event.text("state") == "delivered"
    })?;
    let after = tallies(scene)?;
    let bytes = |from: HostId, to: HostId| {
        tap::between(&after, from, to).bytes - tap::between(&before, from, to).bytes
    };
    let len = u64::try_from(line.len())?;
    // Sealed text is at least as long as the text: less than that cannot have carried it.
    let direct = bytes(hosts.0, hosts.1) >= len && bytes(hosts.0, server) < len;
    Ok(ChatRun { took: shown.seen.saturating_sub(begun), direct })
}

/// The messages whose state a program has told so far, over all runs: a late word about one of these says
/// nothing about the next.
#[must_use]
pub fn message_ids(app: &App) -> BTreeSet<String> {
    let events = app.events();
    let states = events.iter().filter(|event| event.name == "state");
    states.map(|event| event.text("id").to_owned()).collect()
}

/// A line of chat of the usual length that begins with `mark`; never the same byte for long.
#[must_use]
pub fn line_of(mark: &str) -> String {
    let words = (0..).map(|number| format!(" {mark}-{number}"));
    let mut line = String::from(mark);
    for word in words {
        if line.len() + word.len() > LINE_LEN {
            break;
        }
        line.push_str(&word);
    }
    line
}

/// Where the binaries are when nobody says: beside the lab's own executable, one up for a test.
#[must_use]
pub fn default_bin_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let dir = own.parent().unwrap_or(Path::new("."));
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_owned() } else { dir.to_owned() }
}

/// Whether both binaries are there.
///
/// # Errors
/// Which one is not, and what to do.
pub fn check_binaries(dir: &Path) -> Result<()> {
    for name in ["rendezvous", "client"] {
        if !dir.join(name).is_file() {
            bail!("{} is not built: run `cargo build -p rendezvous -p client`", dir.join(name).display());
        }
    }
    Ok(())
}

fn hosts(scene: &Scene) -> (HostId, HostId) {
    (scene.place(End::Home(0)).host, scene.place(End::Home(1)).host)
}

fn tallies(scene: &Scene) -> Result<Tallies> {
    scene.router().with(|network, _| network.tap().tallies().clone())
}

/// From one time to another, negative when the second came first.
fn millis(from: Duration, to: Duration) -> f64 {
    (to.as_secs_f64() - from.as_secs_f64()) * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_length_that_judging_needs() {
        let line = line_of("from-alice");
        assert!(line.len() > LINE_LEN - 30 && line.len() <= LINE_LEN);
        assert!(line.starts_with("from-alice from-alice-0 "));
    }
}
