//! Networks that change under a conversation, in virtual time: the silence that the two notice, and the time until
//! packets go directly both ways again, judged by what the network delivered.
//!
//! Each writes a line every 20 ms. All lines must arrive.

use std::time::Duration;

use super::stats::Samples;
use super::talk::Talk;
use super::{Figure, Report, Target, ms, virtual_time};
use crate::world::{Access, Home, PEER_RTT, World, now};

/// Between two lines of one side.
const LINE: Duration = Duration::from_millis(20);
/// How long both write after the change.
const AFTER: Duration = Duration::from_secs(6);
/// Until all lines have arrived.
const REST: Duration = Duration::from_secs(30);
/// Packets each way after which the direct path counts as back.
const PROOF: u64 = 3;
/// The longest silence, as the project's aims have it.
const MAX_GAP: Duration = Duration::from_millis(700);
/// The longest way back to a direct path.
const MAX_DIRECT: Duration = Duration::from_millis(1_500);

/// What happens to the first of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Its machine goes into another network, and sees that.
    Network,
    /// Its outermost NAT starts again with fresh ports; no machine sees that.
    Restart,
    /// Its outermost NAT gets another public address; no machine sees that.
    PublicAddress,
}

impl Change {
    const ALL: [(&str, Self); 3] = [
        ("into another network", Self::Network),
        ("NAT restarts with fresh ports", Self::Restart),
        ("NAT with a new public address", Self::PublicAddress),
    ];
}

struct Outcome {
    gap: Duration,
    direct: Duration,
}

/// Measures `runs` conversations of each pair of access kinds and each change.
///
/// # Errors
/// If a line is lost, or nothing works at all.
pub fn run(runs: u64, report: &mut Report) -> anyhow::Result<()> {
    let kinds = Access::easy();
    let peers = [&kinds[0].1, &kinds[4].1, &kinds[5].1];
    for (name, change) in Change::ALL {
        let mut outcomes = Vec::new();
        for (kind, access) in &kinds {
            if matches!(access, Access::Public) && change != Change::Network {
                continue;
            }
            for peer in peers {
                for seed in 0..runs {
                    let outcome = virtual_time()?.block_on(once(seed, change, access, peer));
                    outcomes
                        .push(outcome.map_err(|error| error.context(format!("{name}: {kind}, {peer:?}")))?);
                }
            }
        }
        for (what, limit, pick) in [
            ("longest silence", MAX_GAP, (|o| o.gap) as fn(&Outcome) -> Duration),
            ("direct again", MAX_DIRECT, |o| o.direct),
        ] {
            let samples: Samples = outcomes.iter().map(|outcome| ms(pick(outcome))).collect();
            for percent in [50, 95, 100] {
                let name = format!("{name}: {what}, p{percent} of {}", samples.len());
                let figure = Figure::new("roam", name, "ms", samples.percentile(percent));
                let target = Target::AtMost(ms(limit));
                report.add(if percent == 95 { figure.target(target) } else { figure });
            }
        }
    }
    Ok(())
}

async fn once(seed: u64, change: Change, access: &Access, peer: &Access) -> anyhow::Result<Outcome> {
    let mut world = World::new(seed);
    let kinds = Access::easy();
    let begins_at = if change == Change::Network { &kinds[4].1 } else { access };
    let homes = [world.home(begins_at), world.home(peer)];
    let elsewhere = world.home(access);
    let mut clients = [world.client(&homes[0]).await, world.client(&homes[1]).await];
    for client in &mut clients {
        client.wait_connected().await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;

    let network = clients[0].network.clone();
    let mut conversation = Talk::start(clients, lines(), LINE);
    // Not in step with the lines and checks.
    tokio::time::sleep(Duration::from_secs(2) + Duration::from_millis(seed * 7)).await;
    let changed = now();
    match change {
        Change::Network => {
            world.move_into(&homes[0], &elsewhere);
            network.send_replace(());
        }
        Change::Restart => world.net.rebind(*homes[0].nats.last().expect("it has a NAT")),
        Change::PublicAddress => world.move_home(&homes[0]),
    }
    let direct = direct_again(&world, &homes).await;
    tokio::time::sleep(AFTER + REST).await;
    let gap = conversation.longest_gap(changed, changed + AFTER)?;
    Ok(Outcome { gap, direct })
}

fn lines() -> usize {
    usize::try_from(((AFTER + Duration::from_secs(3)).as_millis()) / LINE.as_millis()).unwrap_or(usize::MAX)
}

/// Time from now until packets were delivered directly in both directions.
async fn direct_again(world: &World, homes: &[Home; 2]) -> Duration {
    let began = now();
    let [a, b] = [homes[0].host, homes[1].host];
    let delivered = || [world.net.delivered(a, b).packets, world.net.delivered(b, a).packets];
    // What was on its way when the network changed has arrived by then.
    tokio::time::sleep(PEER_RTT / 2 + Duration::from_millis(2)).await;
    let before = delivered();
    loop {
        let so_far = delivered();
        let elapsed = now() - began;
        if so_far.iter().zip(before).all(|(now, before)| *now >= before + PROOF) || elapsed > REST {
            return elapsed;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
