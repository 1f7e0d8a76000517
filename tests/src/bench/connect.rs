//! How long two peers take to each other, for every pair of easy access kinds, in virtual time and judged from
//! outside.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use client::engine;
use client::net::{BindExtra, Event, Via};
use client::store::{self, State};
use quinn::AsyncUdpSocket;
use tokio::sync::mpsc;

use super::bare::{Bare, SIMULATED_SERVER as SERVER, is_early};
use super::stats::Samples;
use super::{Figure, Report, Target, ms, virtual_time};
use crate::simnet::Link;
use crate::world::{Access, Home, PEER_RTT, SERVER_RTT, World, now};

/// A pair that is not direct by then counts as not direct.
const PATIENCE: Duration = Duration::from_secs(10);
/// How exactly the counters of the network are looked at; tokio's clock knows nothing finer.
const TICK: Duration = Duration::from_millis(1);
/// After this long a peer that left is forgotten, its paths included.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Times that iroh 1.4.1 took in the same topology, in milliseconds (direct packets: the lower end of its range).
const IROH_RELAYED: f64 = 106.0;
const IROH_DIRECT_PACKETS: f64 = 255.0;
const IROH_IN_USE: f64 = 375.0;

/// What one run showed. Times from the connect request on.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    relayed: Option<Duration>,
    packets_both_ways: Option<Duration>,
    in_use: Option<Duration>,
    sent: u64,
}

/// The weather on all links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Nothing is lost, every packet takes the same time.
    Fair,
    /// One packet in a hundred is lost, and each takes up to five milliseconds more.
    Foul,
}

/// Runs every ordered pair `runs` times.
///
/// # Errors
/// If something does not work at all; a pair that does not get direct is a figure.
pub fn run(runs: u64, report: &mut Report) -> anyhow::Result<()> {
    let kinds = Access::easy();
    let mut all = Vec::new();
    for (place_a, (name_a, a)) in kinds.iter().enumerate() {
        for (place_b, (name_b, b)) in kinds.iter().enumerate() {
            let first = (place_a * kinds.len() + place_b) as u64 * runs;
            let pair = pair_runs(first..first + runs, Weather::Fair, a, b)?;
            summarise(&format!("{name_a} > {name_b}"), &pair, report);
            all.extend(pair);
        }
    }
    overall(Weather::Fair, &all, report);
    overall(Weather::Foul, &foul_runs(runs, &kinds)?, report);
    first_messages(report)
}

fn pair_runs(
    seeds: std::ops::Range<u64>,
    weather: Weather,
    a: &Access,
    b: &Access,
) -> anyhow::Result<Vec<Run>> {
    seeds.map(|seed| virtual_time()?.block_on(one_run(seed, weather, a, b))).collect()
}

/// Each pair gets its share of `runs`, at least three.
fn foul_runs(runs: u64, kinds: &[(&str, Access)]) -> anyhow::Result<Vec<Run>> {
    let share = (runs / 10).max(3);
    let mut all = Vec::new();
    let pairs = kinds.iter().flat_map(|(_, a)| kinds.iter().map(move |(_, b)| (a, b)));
    for (place, (a, b)) in (0u64..).zip(pairs) {
        let first = 1_000_000 + place * share;
        all.extend(pair_runs(first..first + share, Weather::Foul, a, b)?);
    }
    Ok(all)
}

fn socket(world: &World, home: &Home) -> (Vec<Arc<dyn AsyncUdpSocket>>, BindExtra) {
    (vec![world.net.bind(home.host, 40_000)], world.bind_extra(home))
}

async fn one_run(seed: u64, weather: Weather, a: &Access, b: &Access) -> anyhow::Result<Run> {
    let mut world = World::new(seed);
    let [home_a, home_b] = [world.home(a), world.home(b)];
    let server = (SERVER, world.server_key());
    let mut a = Bare::start(2 * seed, socket(&world, &home_a), server).await?;
    let mut b = Bare::start(2 * seed + 1, socket(&world, &home_b), server).await?;
    if weather == Weather::Foul {
        let foul = |rtt: Duration| Link::new(rtt / 2).lossy(0.01).jittery(Duration::from_millis(5));
        world.net.set_default_link(foul(PEER_RTT));
        for site in [home_a.site, home_b.site] {
            world.net.set_link(site, world.server_site, foul(SERVER_RTT));
        }
    }
    // Registering is over and done with.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.net.reset_counters();
    let start = now();
    a.net.dial(b.id).await;
    let mut run = Run::default();
    let (mut a_direct, mut b_direct) = (false, false);
    while (run.in_use.is_none() || run.relayed.is_none()) && start.elapsed() < PATIENCE {
        tokio::time::sleep(TICK).await;
        let elapsed = start.elapsed();
        while let Ok(event) = a.events.try_recv() {
            if let Event::Connected(_) = event {
                run.relayed = run.relayed.or(Some(elapsed));
            }
            a_direct = direct_now(&event).unwrap_or(a_direct);
        }
        while let Ok(event) = b.events.try_recv() {
            b_direct = direct_now(&event).unwrap_or(b_direct);
        }
        let passed = |from: &Home, to: &Home| world.net.delivered(from.host, to.host).packets > 0;
        if passed(&home_a, &home_b) && passed(&home_b, &home_a) {
            run.packets_both_ways = run.packets_both_ways.or(Some(elapsed));
        }
        if a_direct && b_direct && run.in_use.is_none() {
            run.in_use = Some(elapsed);
            run.sent = world.net.sent(home_a.host).packets + world.net.sent(home_b.host).packets;
        }
    }
    Ok(run)
}

fn direct_now(event: &Event) -> Option<bool> {
    match event {
        Event::Path(change) => Some(change.via != Via::Relay),
        _ => None,
    }
}

fn times(runs: &[Run], of: impl Fn(&Run) -> Option<Duration>) -> Samples {
    runs.iter().filter_map(of).map(ms).collect()
}

/// The share of a hundred runs that got direct.
fn direct_share(runs: &[Run]) -> f64 {
    let direct = runs.iter().filter(|run| run.in_use.is_some()).count();
    100.0 * direct as f64 / runs.len() as f64
}

fn summarise(name: &str, runs: &[Run], report: &mut Report) {
    report.add(
        Figure::new("connect", format!("{name}: direct"), "% of runs", direct_share(runs))
            .target(Target::AtLeast(100.0)),
    );
    let packets = times(runs, |run| run.packets_both_ways);
    for percent in [50, 95, 99, 100] {
        let figure = Figure::new(
            "connect",
            format!("{name}: packets both ways, p{percent}"),
            "ms",
            packets.percentile(percent),
        );
        report.add(match percent {
            50 => figure.beside("iroh 1.4.1", IROH_DIRECT_PACKETS).target(median_target()),
            99 => figure.target(tail_target()),
            _ => figure,
        });
    }
}

fn median_target() -> Target {
    Target::AtMost(1.15 * ms(SERVER_RTT + PEER_RTT))
}

fn tail_target() -> Target {
    Target::AtMost(2.0 * ms(SERVER_RTT + PEER_RTT))
}

fn overall(weather: Weather, runs: &[Run], report: &mut Report) {
    let mut add = |figure| report.add(figure);
    // The targets are those of fair weather; foul weather may lose packets, but no connection.
    let (name, targeted) = match weather {
        Weather::Fair => ("all pairs", true),
        Weather::Foul => ("all pairs, 1 % loss, 5 ms jitter", false),
    };
    let name = format!("{name} ({} runs)", runs.len());
    add(Figure::new("connect", format!("{name}: direct"), "% of runs", direct_share(runs))
        .target(Target::AtLeast(100.0)));
    let kinds = [
        ("relayed", times(runs, |run| run.relayed), IROH_RELAYED),
        ("packets both ways", times(runs, |run| run.packets_both_ways), IROH_DIRECT_PACKETS),
        ("direct in use at both ends", times(runs, |run| run.in_use), IROH_IN_USE),
    ];
    for (what, samples, iroh) in kinds {
        for percent in [50, 95, 99, 100] {
            let figure = Figure::new(
                "connect",
                format!("{name}: {what}, p{percent}"),
                "ms",
                samples.percentile(percent),
            );
            let figure = if percent == 50 { figure.beside("iroh 1.4.1", iroh) } else { figure };
            add(match (what, percent) {
                // Each of the four hops, and the look at the clock, comes up to a millisecond late.
                ("relayed", 50) if targeted => figure.target(Target::AtMost(2.0 * ms(SERVER_RTT) + 6.0)),
                ("packets both ways", 50) if targeted => figure.target(median_target()),
                ("packets both ways", 99) if targeted => figure.target(tail_target()),
                _ => figure,
            });
        }
    }
    let sent: Samples = runs.iter().filter(|r| r.in_use.is_some()).map(|r| r.sent as f64).collect();
    for percent in [50, 100] {
        let value = sent.percentile(percent);
        add(Figure::new("connect", format!("{name}: sent until then, p{percent}"), "packets", value));
    }
}

/// The first message and its acknowledgement, counted in relayed round trips.
fn first_messages(report: &mut Report) -> anyhow::Result<()> {
    let relayed = 2.0 * ms(SERVER_RTT);
    let newcomers = virtual_time()?.block_on(newcomers_message(1))?;
    report.add(
        Figure::new("connect", "newcomers: first message acknowledged", "ms", ms(newcomers))
            .beside("two relayed round trips", 2.0 * relayed)
            .target(Target::AtMost(2.0 * relayed + 5.0)),
    );
    let [first, again] = virtual_time()?.block_on(bare_messages(2))?;
    report.add(
        Figure::new("connect", "bare network: first bytes answered, first time", "ms", ms(first))
            .beside("two relayed round trips", 2.0 * relayed)
            .target(Target::AtMost(2.0 * relayed + 5.0)),
    );
    report.add(
        Figure::new("connect", "bare network: first bytes answered, met before", "ms", ms(again))
            .beside("one relayed round trip", relayed)
            .target(Target::AtMost(relayed + 5.0)),
    );
    Ok(())
}

/// Two engines that do not know each other are paired; how long after that a message of theirs is delivered.
async fn newcomers_message(seed: u64) -> anyhow::Result<Duration> {
    let mut world = World::new(seed);
    let kinds = Access::easy();
    let access = &kinds[4].1;
    let [home_a, home_b] = [world.home(access), world.home(access)];
    let mut a = world.client_with(&home_a, store::Options::default()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut b = world.client_with(&home_b, store::Options::default()).await;
    a.engine.send(b.id(), "hello").await?;
    b.engine.send(a.id(), "hello").await?;
    a.wait("a pairing", |event| matches!(event, engine::Event::Paired { .. }).then_some(())).await;
    let start = now();
    let delivered = |event: &engine::Event| {
        matches!(event, engine::Event::State { state: State::Delivered, .. }).then_some(())
    };
    tokio::select! {
        () = a.wait("a delivery", delivered) => {}
        () = b.wait("a delivery", delivered) => {}
    }
    Ok(start.elapsed())
}

/// Two bare networks: from the dial until a few bytes were answered; then the same after they have parted and
/// forgotten each other's paths.
async fn bare_messages(seed: u64) -> anyhow::Result<[Duration; 2]> {
    let mut world = World::new(seed);
    let kinds = Access::easy();
    let [home_a, home_b] = [world.home(&kinds[4].1), world.home(&kinds[4].1)];
    let server = (SERVER, world.server_key());
    let mut a = Bare::start(1, socket(&world, &home_a), server).await?;
    let mut b = Bare::start(2, socket(&world, &home_b), server).await?;
    let mut took = [Duration::ZERO; 2];
    for (round, took) in took.iter_mut().enumerate() {
        tokio::time::sleep(FORGOTTEN).await;
        let start = now();
        a.net.dial(b.id).await;
        let (done, mut wait) = mpsc::channel::<()>(1);
        let ask = async {
            let link = a.connected().await?;
            ensure!(is_early(&link) == (round > 0), "early data: {}", is_early(&link));
            let (mut send, mut recv) = link.connection.open_bi().await?;
            send.write_all(b"hello").await?;
            recv.read_exact(&mut [0; 5]).await.context("the answer")?;
            let took = start.elapsed();
            drop(done);
            Ok(took)
        };
        let answer = async {
            let link = b.connected().await?;
            let (mut send, mut recv) = link.connection.accept_bi().await?;
            let mut bytes = [0; 5];
            recv.read_exact(&mut bytes).await?;
            send.write_all(&bytes).await?;
            let _ = wait.recv().await;
            anyhow::Ok(())
        };
        let (asked, answered) = tokio::join!(ask, answer);
        answered?;
        *took = asked?;
        // The handshake may have to end before the connection can be ended in good order.
        tokio::time::sleep(Duration::from_secs(1)).await;
        a.net.disconnect(b.id).await;
        a.closed().await?;
        b.closed().await?;
    }
    Ok(took)
}
