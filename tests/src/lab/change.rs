//! A conversation under which UDP is blocked: how long the two are silent, and when their packets go directly again,
//! over TCP now. The silence is that of the lines of chat; the way back is seen at the tap.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use super::access::Access;
use super::app::Event;
use super::network::UdpRule;
use super::scene::{Plan, Scene};
use super::sys;
use super::tap::Sort;
use super::trial::{self, DIRECT_PATIENCE, Setup};

/// Between two lines of one side.
const LINE: Duration = Duration::from_millis(20);
/// How long both write before the change, and after it.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(5);
/// How much later than with the seed before UDP is blocked: not always in step with lines and checks.
const SHIFT: Duration = Duration::from_millis(7);
/// How long the last line may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);
/// Packets of QUIC each way after which a direct path counts as in use.
const PROOF: u64 = 3;

/// What happens to UDP at the innermost NAT of the first home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It passes to and from the server alone.
    Peers,
    /// It does not pass at all.
    All,
}

impl Change {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Peers, Self::All];

    fn rule(self, scene: &Scene) -> UdpRule {
        match self {
            Self::Peers => UdpRule::Only(scene.server_addr().ip()),
            Self::All => UdpRule::Nothing,
        }
    }
}

/// What came of it. Times are in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Kind of the home that loses UDP.
    pub a: String,
    /// Kind of the other one.
    pub b: String,
    /// What it loses.
    pub change: Change,
    /// Seed of the NATs.
    pub seed: u64,
    /// The longest time without a line that one of the two noticed, from just before the change on.
    pub gap_ms: Option<f64>,
    /// From the change to the first direct packets over TCP having arrived both ways.
    pub direct_ms: Option<f64>,
    /// How late the lab itself was at most when it wrote a line: on a machine that has too much to do the programs were no
    /// better off.
    pub late_ms: f64,
    /// What went wrong, if anything: a line that is missing, or not in its place.
    pub failure: Option<String>,
}

/// Lets two homes of these kinds talk and takes UDP from the first. The outcome holds what failed; only a lab that cannot
/// work is an error.
///
/// # Errors
/// When the scene cannot be built, or Ctrl-C is pressed.
pub fn run(a: &Access, b: &Access, change: Change, setup: &Setup) -> Result<Outcome> {
    let mut plan = Plan::standard(vec![a.clone(), b.clone()], &setup.bin_dir);
    plan.seed = setup.seed;
    let mut scene = Scene::build(&plan)?;
    let (a, b) = (a.name.clone(), b.name.clone());
    let seed = setup.seed;
    let mut outcome =
        Outcome { a, b, change, seed, gap_ms: None, direct_ms: None, late_ms: 0.0, failure: None };
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
    trial::meet(scene)?;
    trial::both_connected(scene)?;
    let over_udp = trial::wait_direct(scene, DIRECT_PATIENCE, |sort| sort == Sort::Quic, PROOF)?;
    over_udp.context("never direct before the change")?;
    let shift = SHIFT * u32::try_from(outcome.seed % 16)?;
    let (lines, _) = write(scene, 0, BEFORE + shift)?;
    scene.set_udp(0, outcome.change.rule(scene))?;
    let changed = scene.router().clock().now();
    let (lines, late) = write(scene, lines, AFTER)?;
    outcome.late_ms = millis(late);
    for (home, client) in scene.clients.iter_mut().enumerate() {
        let last = line(1 - home, lines - 1);
        let is_last = |event: &Event| event.name == "message" && event.text("text") == last;
        client.wait("the last line", PATIENCE, is_last)?;
    }
    // A silence that goes on when the last line is written is over when that arrives.
    outcome.gap_ms = Some(millis(longest_silence(scene, lines, changed)?));
    let over_tcp = trial::wait_direct(scene, Duration::ZERO, |sort| sort == Sort::TcpQuic, PROOF)?;
    outcome.direct_ms = over_tcp.map(|at| millis(at.saturating_sub(changed)));
    Ok(())
}

/// What a home writes as its line of that number.
fn line(home: usize, number: usize) -> String {
    format!("{home}: {number}")
}

/// Both write a line now and then for `time`, from that number on; returns the next number, and how late a line was at most.
fn write(scene: &mut Scene, mut number: usize, time: Duration) -> Result<(usize, Duration)> {
    let clock = scene.router().clock();
    let (begun, mut count, mut late) = (clock.now(), 0, Duration::ZERO);
    while clock.now() - begun < time {
        late = late.max((clock.now() - begun).saturating_sub(LINE * count));
        for (home, client) in scene.clients.iter_mut().enumerate() {
            client.say(&line(home, number))?;
        }
        number += 1;
        count += 1;
        std::thread::sleep((begun + LINE * count).saturating_sub(clock.now()));
    }
    Ok((number, late))
}

/// The longest time between two lines that one of the two got, the second of them after `changed`; all must have come in
/// order.
fn longest_silence(scene: &Scene, lines: usize, changed: Duration) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for (home, client) in scene.clients.iter().enumerate() {
        let events = client.events();
        // One's own lines are told of as well.
        let own = line(home, 0);
        let is_theirs =
            |event: &&Event| event.name == "message" && !event.text("text").starts_with(&own[..1]);
        let theirs: Vec<_> = events.iter().filter(is_theirs).collect();
        ensure!(theirs.len() == lines, "{}: of {lines} lines came {}", client.name(), theirs.len());
        let in_order = (0..).zip(&theirs).all(|(number, event)| event.text("text") == line(1 - home, number));
        ensure!(in_order, "{}: lines came out of order", client.name());
        let pairs = theirs.windows(2).filter(|pair| pair[1].seen >= changed);
        longest = pairs.map(|pair| pair[1].seen - pair[0].seen).fold(longest, Duration::max);
    }
    Ok(longest)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
