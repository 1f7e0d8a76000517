//! A transfer under way changes from the relay to a direct path and back, in virtual time.
//!
//! The alternative is plain quinn on a link that becomes another one below it: quinn is not told, so it keeps the
//! window, the threshold and the round trip of the link that is gone.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bare::{Bare, SIMULATED_SERVER};
use super::flow::{self, Record};
use super::plain::{self, Setup};
use super::stats::Samples;
use super::{Figure, Report, Target, ms, virtual_time};
use crate::simnet::{HostId, Link, Segment, SimNet, SiteId};
use crate::world::{Access, Home, PEER_RTT, SERVER_RTT, World};

/// Rate of the direct path: 100 Mbit/s in bytes per second.
const DIRECT: u64 = 12_500_000;
/// Rate of each home's link to the server: 20 Mbit/s.
const RELAYED: u64 = 2_500_000;
/// Room before the bottlenecks: half a bandwidth-delay product of the direct path, a quarter second of the relay's.
const QUEUE: u64 = 512 << 10;
/// Rates are looked at in bins of this length.
const BIN: Duration = Duration::from_millis(100);
/// How long each phase lasts.
const PHASE: Duration = Duration::from_secs(4);

/// Times and records of one transfer.
struct Outcome {
    record: Record,
    /// Packets take the direct path from here on.
    direct_at: Duration,
    /// The direct path is dead from here on.
    killed_at: Duration,
    /// The relay carries them again, by the sender's own knowledge.
    relayed_at: Duration,
}

/// Measures `runs` transfers (at least three) of each kind.
///
/// # Errors
/// If a byte is lost or changed, or nothing works at all.
pub fn run(runs: u64, report: &mut Report) -> anyhow::Result<()> {
    let runs = runs.clamp(3, 10);
    let mut ours = Vec::new();
    let mut kept = Vec::new();
    for seed in 0..runs {
        let outcome = virtual_time()?.block_on(ours_once(seed))?;
        let silence = outcome.relayed_at - outcome.killed_at;
        kept.push(virtual_time()?.block_on(plain_once(seed, silence))?);
        ours.push(outcome);
    }
    let fresh = virtual_time()?.block_on(fresh_rate())?;
    relay_to_direct(&ours, &kept, fresh, report);
    direct_to_relay(&ours, &kept, report);
    Ok(())
}

fn direct_link() -> Link {
    Link::new(PEER_RTT / 2).limited(DIRECT, QUEUE)
}

fn server_link() -> Link {
    Link::new(SERVER_RTT / 2).limited(RELAYED, QUEUE)
}

async fn ours_once(seed: u64) -> anyhow::Result<Outcome> {
    let mut world = World::new(seed);
    let kinds = Access::easy();
    let homes = [world.home(&kinds[4].1), world.home(&kinds[4].1)];
    world.net.set_link(homes[0].site, homes[1].site, direct_link());
    for home in &homes {
        world.net.set_link(home.site, world.server_site, server_link());
    }
    let server = (SIMULATED_SERVER, world.server_key());
    let links = |home: &Home| (vec![world.net.bind(home.host, 40_000)], world.bind_extra(home));
    let mut a = Bare::start(2 * seed, links(&homes[0]), server).await?;
    let mut b = Bare::start(2 * seed + 1, links(&homes[1]), server).await?;
    world.net.cut_pair(homes[0].host, homes[1].host);
    a.net.dial(b.id).await;
    let (from, to) = (a.connected().await?, b.connected().await?);

    let record = Record::new();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(flow::write(from.connection, stopped));
    tasks.spawn(flow::read(to.connection, record.clone()));
    tokio::time::sleep(PHASE).await;
    world.net.heal_pair(homes[0].host, homes[1].host);
    a.direct().await?;
    let direct_at = record.elapsed();
    tokio::time::sleep(PHASE).await;
    world.net.cut_pair(homes[0].host, homes[1].host);
    let killed_at = record.elapsed();
    a.relayed().await?;
    let relayed_at = record.elapsed();
    tokio::time::sleep(PHASE).await;
    stop.send_replace(true);
    settle(tasks).await?;
    Ok(Outcome { record, direct_at, killed_at, relayed_at })
}

/// Both ends must have come to their end with the same number of bytes.
async fn settle(mut tasks: JoinSet<anyhow::Result<u64>>) -> anyhow::Result<()> {
    let mut totals = Vec::new();
    while let Some(total) = tasks.join_next().await {
        totals.push(total??);
    }
    ensure!(totals.windows(2).all(|pair| pair[0] == pair[1]), "not all that was sent arrived: {totals:?}");
    Ok(())
}

/// Two public hosts with a link of their own.
fn two_hosts(seed: u64, link: Link) -> (SimNet, [(SiteId, HostId); 2], SocketAddr) {
    let net = SimNet::new(seed);
    let ip = |n: u8| IpAddr::from([198, 51, 100, n]);
    let hosts = [1, 2].map(|n| {
        let site = net.site();
        (site, net.host(Segment::Core(site), ip(n)))
    });
    net.set_link(hosts[0].0, hosts[1].0, link);
    (net, hosts, SocketAddr::new(ip(2), 40_000))
}

/// As [`ours_once`] with plain quinn: the link becomes another one. `silence` is how long nothing passes before
/// the relay takes over; the multiplexer needed it to notice.
async fn plain_once(seed: u64, silence: Duration) -> anyhow::Result<Outcome> {
    let relay = Link::new(SERVER_RTT).limited(RELAYED, QUEUE);
    let (net, hosts, address) = two_hosts(seed, relay);
    let [a, b] = hosts;
    let sockets = [net.bind(a.1, 40_000), net.bind(b.1, 40_000)];
    let pair = plain::pair(sockets, address, &Setup::ours(|_| ())).await?;
    let record = Record::new();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(flow::write(pair.dialler.clone(), stopped));
    tasks.spawn(flow::read(pair.acceptor.clone(), record.clone()));
    tokio::time::sleep(PHASE).await;
    net.set_link(a.0, b.0, direct_link());
    let direct_at = record.elapsed();
    tokio::time::sleep(PHASE).await;
    net.cut_pair(a.1, b.1);
    let killed_at = record.elapsed();
    tokio::time::sleep(silence).await;
    net.set_link(a.0, b.0, relay);
    net.heal_pair(a.1, b.1);
    let relayed_at = record.elapsed();
    tokio::time::sleep(PHASE).await;
    stop.send_replace(true);
    settle(tasks).await?;
    Ok(Outcome { record, direct_at, killed_at, relayed_at })
}

/// The rate that a new plain connection on the direct path has in its second second, in Mbit/s.
async fn fresh_rate() -> anyhow::Result<f64> {
    let (net, [a, b], address) = two_hosts(1, direct_link());
    let sockets = [net.bind(a.1, 40_000), net.bind(b.1, 40_000)];
    let pair = plain::pair(sockets, address, &Setup::ours(|_| ())).await?;
    let record = Record::new();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(flow::write(pair.dialler.clone(), stopped));
    tasks.spawn(flow::read(pair.acceptor.clone(), record.clone()));
    tokio::time::sleep(PHASE).await;
    stop.send_replace(true);
    settle(tasks).await.context("a fresh connection")?;
    Ok(record.rate(Duration::from_secs(1), Duration::from_secs(2)))
}

fn median(outcomes: &[Outcome], of: impl Fn(&Outcome) -> f64) -> f64 {
    outcomes.iter().map(of).collect::<Samples>().median()
}

/// The rate in the second that begins one second after the switch, in Mbit/s.
fn second_second(outcome: &Outcome) -> f64 {
    let from = outcome.direct_at + Duration::from_secs(1);
    outcome.record.rate(from, from + Duration::from_secs(1))
}

/// How long after the switch the first bin was at least four fifths of the path's rate.
fn time_to_rate(outcome: &Outcome) -> f64 {
    let bins = outcome.record.bins(outcome.direct_at, BIN, 40);
    flow::reached(&bins, 0.8 * line_rate()).map_or(f64::NAN, |bin| ms(BIN) * (bin + 1) as f64)
}

/// The direct path's rate in Mbit/s.
fn line_rate() -> f64 {
    DIRECT as f64 * 8.0 / 1e6
}

fn relay_to_direct(ours: &[Outcome], kept: &[Outcome], fresh: f64, report: &mut Report) {
    let mut add = |name: &str, unit, value, alternative: (&str, f64), target| {
        let figure = Figure::new("switch", name, unit, value).beside(alternative.0, alternative.1);
        report.add(if let Some(target) = target { figure.target(target) } else { figure });
    };
    let before = |outcome: &Outcome| {
        outcome.record.rate(outcome.direct_at - Duration::from_secs(2), outcome.direct_at)
    };
    let kept_name = "state kept";
    add("rate on the relay", "Mbit/s", median(ours, before), (kept_name, median(kept, before)), None);
    for n in 0..10 {
        let bin = |outcome: &Outcome| outcome.record.bins(outcome.direct_at, BIN, 10)[n];
        let name = format!("relay > direct, {} to {} ms after", n * 100, n * 100 + 100);
        add(&name, "Mbit/s", median(ours, bin), (kept_name, median(kept, bin)), None);
    }
    let time = median(ours, time_to_rate);
    add(
        "relay > direct, until 80 % of the path's rate",
        "ms",
        time,
        (kept_name, median(kept, time_to_rate)),
        Some(Target::AtMost(1000.0)),
    );
    let share = |outcome: &Outcome| 100.0 * second_second(outcome) / line_rate();
    let name = "relay > direct, rate in the second second";
    add(
        name,
        "% of path",
        median(ours, share),
        (kept_name, median(kept, share)),
        Some(Target::AtLeast(80.0)),
    );
    add(name, "Mbit/s", median(ours, second_second), ("new connection", fresh), None);
}

fn direct_to_relay(ours: &[Outcome], kept: &[Outcome], report: &mut Report) {
    let silence = |outcome: &Outcome| ms(outcome.record.silence_after(outcome.killed_at));
    let stall =
        |outcome: &Outcome| ms(outcome.record.longest_gap(outcome.killed_at, outcome.killed_at + PHASE));
    let noticed = |outcome: &Outcome| ms(outcome.relayed_at - outcome.killed_at);
    let after = |outcome: &Outcome| {
        outcome.record.rate(outcome.killed_at, outcome.killed_at + Duration::from_secs(2))
    };
    report.add(Figure::new("switch", "direct killed: given up", "ms", median(ours, noticed)));
    report.add(
        Figure::new("switch", "direct killed: until data is read again", "ms", median(ours, silence))
            .beside("state kept", median(kept, silence))
            .target(Target::AtMost(300.0)),
    );
    let worst = ours.iter().map(silence).collect::<Samples>().max();
    report.add(
        Figure::new("switch", "direct killed: until data is read again, worst run", "ms", worst)
            .target(Target::AtMost(300.0)),
    );
    report.add(
        Figure::new("switch", "direct killed: longest stall in four seconds", "ms", median(ours, stall))
            .beside("state kept", median(kept, stall)),
    );
    report.add(
        Figure::new("switch", "direct killed: rate in the two seconds after", "Mbit/s", median(ours, after))
            .beside("state kept", median(kept, after)),
    );
}
