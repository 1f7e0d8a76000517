//! Mappings that end a minute after they began, however busy they are: two people write to each other for ten minutes, in
//! virtual time. What counts is how long packets did not go directly, and the longest silence.

use std::time::Duration;

use super::stats::Samples;
use super::talk::Talk;
use super::{Figure, Report, Target, ms, virtual_time};
use crate::nat::Profile;
use crate::world::{Access, World, now};

/// The age at which a mapping ends.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long both write.
const TIME: Duration = Duration::from_secs(600);
/// Between two lines of one side.
const LINE: Duration = Duration::from_millis(50);
/// Until all lines have arrived.
const REST: Duration = Duration::from_secs(10);
/// Per cent of the time, as the project's aims have it.
const MIN_DIRECT: f64 = 99.9;
/// The longest silence, likewise.
const MAX_GAP: Duration = Duration::from_millis(200);

/// What one conversation was like.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// The longest time for which one of the two heard nothing.
    pub gap: Duration,
    /// Per cent of the time for which packets went directly, both ways.
    pub direct: f64,
}

/// A NAT that ends its mappings at that age.
#[must_use]
pub fn mortal(profile: Profile) -> Access {
    Access::Nat(Profile { absolute_lifetime: Some(LIFETIME), ..profile })
}

/// Lets two talk for `time`.
///
/// # Errors
/// If a line is lost.
pub async fn talk(seed: u64, accesses: [&Access; 2], time: Duration) -> anyhow::Result<Outcome> {
    let mut world = World::new(seed);
    let homes = accesses.map(|access| world.home(access));
    let mut clients = [world.client(&homes[0]).await, world.client(&homes[1]).await];
    for client in &mut clients {
        client.wait_direct().await;
    }
    // Not in step with heartbeats and lives.
    tokio::time::sleep(Duration::from_millis(seed * 137 % 1_000)).await;
    let lines = usize::try_from(time.as_millis() / LINE.as_millis()).unwrap_or(usize::MAX);
    let began = now();
    let mut conversation = Talk::start(clients, lines, LINE);
    tokio::time::sleep(time).await;
    let ended = now();
    tokio::time::sleep(REST).await;
    let gap = conversation.longest_gap(began, ended)?;
    let indirect = conversation.indirect(began, ended);
    Ok(Outcome { gap, direct: 100.0 * (1.0 - indirect.as_secs_f64() / time.as_secs_f64()) })
}

/// Measures `runs` conversations of each pair, ten virtual minutes and a real one each.
///
/// # Errors
/// If a line is lost, or nothing works at all.
pub fn run(runs: u64, report: &mut Report) -> anyhow::Result<()> {
    let random = mortal(Profile::eim_apdf_random());
    let pairs = [
        ("random ports × public", [&random, &Access::Public]),
        ("random ports × EIM/APDF", [&random, &Access::Nat(Profile::eim_apdf_random())]),
        ("random ports, both", [&random, &random]),
        (
            "ports kept, both",
            [&mortal(Profile::eim_apdf_preserving()), &mortal(Profile::eim_apdf_preserving())],
        ),
        ("carrier NAT × random ports", [&mortal(Profile::cgnat()), &random]),
        (
            "counter × EIM/APDF",
            [&mortal(Profile::symmetric_sequential()), &Access::Nat(Profile::eim_apdf_random())],
        ),
    ];
    for (name, accesses) in pairs {
        let mut outcomes = Vec::new();
        for seed in 0..runs {
            outcomes.push(virtual_time()?.block_on(talk(seed, accesses, TIME))?);
        }
        let gaps: Samples = outcomes.iter().map(|outcome| ms(outcome.gap)).collect();
        let direct: Samples = outcomes.iter().map(|outcome| outcome.direct).collect();
        let figure =
            |what: &str, unit, value| Figure::new("lifetime", format!("{name}: {what}"), unit, value);
        report.add(figure("direct, worst", "%", direct.min()).target(Target::AtLeast(MIN_DIRECT)));
        report.add(figure("longest silence, worst", "ms", gaps.max()).target(Target::AtMost(ms(MAX_GAP))));
    }
    Ok(())
}
