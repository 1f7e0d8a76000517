//! What a connection costs while nobody says anything, and that NATs do not forget it meanwhile.
#![expect(clippy::print_stdout, reason = "the figures are worth reading")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use client::engine::Event;
use client::net::Via;
use tests::nat::Profile;
use tests::world::{Access, Client, World};

/// The heartbeats have grown to what they can by then.
const LEARNING: Duration = Duration::from_secs(300);
/// How long is counted.
const IDLE: Duration = Duration::from_secs(1_200);

fn nat(base: Profile, lifetime_secs: u64) -> Access {
    Access::Nat(Profile { udp_lifetime: Duration::from_secs(lifetime_secs), ..base })
}

/// Whether packets for somebody ever went elsewhere than directly.
fn was_lost(client: &mut Client) -> bool {
    std::iter::from_fn(|| client.events.try_recv().ok())
        .any(|event| matches!(event, Event::Path(change) if change.via == Via::Relay))
}

/// Two peers say nothing; returns the packets between them in a minute, both directions together.
async fn idle(accesses: [&Access; 2]) -> f64 {
    let mut world = World::new(21);
    let homes = accesses.map(|access| world.home(access));
    let mut clients = [world.client(&homes[0]).await, world.client(&homes[1]).await];
    for client in &mut clients {
        client.wait_direct().await;
    }
    tokio::time::sleep(LEARNING).await;
    for client in &mut clients {
        let _ = was_lost(client);
    }
    let public = [1, 2].map(|n| IpAddr::from([198, 51, 100, n]));
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    world.net.tap(move |packet| {
        if public.contains(&packet.src.ip()) && public.contains(&packet.dst.ip()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    tokio::time::sleep(IDLE).await;
    assert!(!clients.iter_mut().any(was_lost), "{accesses:?}: the path was lost");
    let per_minute = f64::from(count.load(Ordering::Relaxed)) / (IDLE.as_secs_f64() / 60.0);
    println!("{per_minute:.1} packets a minute: {accesses:?}");
    // What is said then goes directly, at once.
    let ids = [clients[0].id(), clients[1].id()];
    for (from, to) in [(0, 1), (1, 0)] {
        clients[from].engine.send(ids[to], "still there?").await.expect("a message is stored");
        let began = tests::world::now();
        assert_eq!(clients[to].wait_text().await, "still there?");
        assert!(tests::world::now() - began < Duration::from_millis(100), "{accesses:?}");
    }
    per_minute
}

#[tokio::test(start_paused = true)]
async fn an_idle_peer_costs_four_packets_a_minute_at_most() {
    let random = Profile::eim_apdf_random();
    for base in [random, Profile::eim_apdf_preserving(), Profile::linux()] {
        for [a, b] in [[60, 60], [120, 120], [300, 300], [30, 120], [60, 300]] {
            let cost = idle([&nat(base, a), &nat(random, b)]).await;
            assert!(cost <= 4.0, "{} {a} s, {b} s: {cost} packets a minute", base.name);
        }
    }
    let cost = idle([&nat(random, 30), &Access::Public]).await;
    assert!(cost <= 4.0, "30 s and public: {cost} packets a minute");
}

/// How long a NAT holds a silent mapping is remembered for its network.
#[tokio::test(start_paused = true)]
async fn what_was_learned_of_a_nat_outlives_the_program() {
    let mut world = World::new(22);
    let home = world.home(&nat(Profile::eim_apdf_random(), 120));
    let learner = world.client(&home).await;
    tokio::time::sleep(LEARNING).await;
    learner.kill().await;
    let again = world.client(&home).await;
    let learned = again.engine.store().setting("networks").await.expect("the store works");
    let learned: serde_json::Value =
        learned.and_then(|json| serde_json::from_str(&json).ok()).expect("it is JSON");
    let [network, hold] =
        learned["holds"][0].as_array().and_then(|pair| pair.first_chunk()).expect("a network");
    assert_eq!(network, "198.51.100.1");
    let survived = hold["survived"]["secs"].as_u64().expect("a time that was survived");
    assert!((80..120).contains(&survived), "{learned}");
}

/// Each side has to send something more often than twice a minute, so that it takes more than four.
#[tokio::test(start_paused = true)]
async fn two_nats_that_forget_within_half_a_minute_are_kept_as_well() {
    let short = nat(Profile::eim_apdf_random(), 30);
    let cost = idle([&short, &short]).await;
    assert!((4.0..=5.0).contains(&cost), "{cost} packets a minute");
}

/// A hard NAT has a mapping for each peer alone, which nothing else keeps alive; its ports are guessed anew if it is lost.
#[tokio::test(start_paused = true)]
async fn the_mapping_of_a_hard_nat_is_kept() {
    for lifetime in [30, 60, 120] {
        let hard = nat(Profile::symmetric_sequential(), lifetime);
        let cost = idle([&hard, &nat(Profile::eim_apdf_random(), 120)]).await;
        assert!(cost <= 4.0, "{lifetime} s: {cost} packets a minute");
    }
}

/// A NAT that forgets sooner than it did costs the path once or twice, and not every time.
#[tokio::test(start_paused = true)]
async fn what_a_nat_held_once_is_not_taken_for_granted() {
    let mut world = World::new(22);
    let access = nat(Profile::symmetric_sequential(), 120);
    let homes = [world.home(&access), world.home(&nat(Profile::eim_apdf_random(), 120))];
    let mut clients = [world.client(&homes[0]).await, world.client(&homes[1]).await];
    for client in &mut clients {
        client.wait_direct().await;
    }
    tokio::time::sleep(LEARNING).await;
    world.net.with_nat(homes[0].nats[0], |nat| {
        nat.set_profile(Profile { udp_lifetime: Duration::from_secs(30), ..*nat.profile() });
    });
    tokio::time::sleep(IDLE).await;
    for client in &mut clients {
        let _ = was_lost(client);
    }
    tokio::time::sleep(IDLE).await;
    assert!(!clients.iter_mut().any(was_lost), "it is lost again and again");
}
