//! Real clients behind hard NATs in the simulated world.

use std::time::Duration;

use client::net::Via;
use common::traversal::nat::Mapping;
use tests::nat::Profile;
use tests::world::{Access, Client, Home, World, now};
use tokio::task::JoinSet;

/// Two clients that meet in the lobby.
async fn meet(world: &mut World, a: &Access, b: &Access) -> ([Home; 2], [Client; 2]) {
    let homes = [world.home(a), world.home(b)];
    let mut alice = world.client(&homes[0]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut bob = world.client(&homes[1]).await;
    alice.wait_connected().await;
    bob.wait_connected().await;
    (homes, [alice, bob])
}

async fn via(client: &Client, peer: &Client) -> Via {
    let people = client.engine.people().await.expect("the store works");
    let person = people.iter().find(|person| person.contact.peer == peer.id()).expect("a contact");
    person.connected.as_ref().and_then(|connected| connected.path).expect("a path").via
}

/// Somebody else behind the NATs of `home` opens twenty flows a second.
fn noise(world: &World, home: &Home, tasks: &mut JoinSet<()>) {
    let (net, host) = (world.net.clone(), home.host);
    let elsewhere = world.server_addr();
    tasks.spawn(async move {
        loop {
            let socket = net.bind_at(host, ([0, 0, 0, 0], 0).into()).expect("a free port");
            socket.send_to(b"hello", elsewhere).expect("a way out");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

fn hard() -> [(&'static str, Profile); 4] {
    [
        ("sequential", Profile::symmetric_sequential()),
        ("random", Profile::symmetric_random()),
        ("address-dependent", Profile::adm_apdf()),
        ("block", Profile::symmetric_block(2048)),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_easy_nat_reaches_every_hard_one_and_talks() {
    for (n, (name, profile)) in (0..).zip(hard()) {
        for hard_first in [false, true] {
            let mut world = World::new(100 + n);
            let easy = Access::Nat(Profile::eim_apdf_random());
            let hard = Access::Nat(profile);
            let [a, b] = if hard_first { [hard, easy] } else { [easy, hard] };
            let start = now();
            let (homes, [mut alice, mut bob]) = meet(&mut world, &a, &b).await;
            let mut others = JoinSet::new();
            noise(&world, &homes[0], &mut others);
            noise(&world, &homes[1], &mut others);
            alice.wait_direct().await;
            bob.wait_direct().await;
            let took = start.elapsed();
            // Two seconds of them before the second client comes.
            assert!(took < Duration::from_secs(6), "{name}: {took:?}");
            alice.engine.send(bob.id(), "directly").await.expect("stored");
            assert_eq!(bob.wait_text().await, "directly");
            tokio::time::sleep(Duration::from_secs(120)).await;
            assert_eq!([via(&alice, &bob).await, via(&bob, &alice).await], [Via::Udp; 2], "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_counters_meet() {
    for seed in 0..4 {
        let mut world = World::new(200 + seed);
        let hard = Access::Nat(Profile::symmetric_sequential());
        let (homes, [mut alice, mut bob]) = meet(&mut world, &hard, &hard).await;
        let mut others = JoinSet::new();
        noise(&world, &homes[0], &mut others);
        noise(&world, &homes[1], &mut others);
        alice.wait_direct().await;
        bob.wait_direct().await;
        alice.engine.send(bob.id(), "between counters").await.expect("stored");
        assert_eq!(bob.wait_text().await, "between counters");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_way_stays_on_the_relay() {
    let (counter, random) = (Profile::symmetric_sequential(), Profile::symmetric_random());
    for (a, b) in [(random, random), (counter, random), (Profile::adm_apdf(), Profile::symmetric_block(2048))]
    {
        let mut world = World::new(300);
        let (homes, [alice, mut bob]) = meet(&mut world, &Access::Nat(a), &Access::Nat(b)).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        for home in &homes {
            let mappings = world.net.with_nat(home.nats[0], |nat| nat.mappings());
            assert!(mappings < 32, "{mappings} mappings for nothing");
        }
        assert_eq!(via(&alice, &bob).await, Via::Relay);
        alice.engine.send(bob.id(), "over the relay").await.expect("stored");
        assert_eq!(bob.wait_text().await, "over the relay");
    }
}

/// A path through a hard NAT lives in one mapping of one socket. When that is gone another is found.
#[tokio::test(start_paused = true)]
async fn a_rebound_nat_is_got_through_again() {
    for (n, profile) in
        [Profile::symmetric_sequential(), Profile::symmetric_block(2048)].into_iter().enumerate()
    {
        let mut world = World::new(400);
        let easy = Access::Nat(Profile::eim_apdf_random());
        let (homes, [mut alice, mut bob]) = meet(&mut world, &easy, &Access::Nat(profile)).await;
        alice.wait_direct().await;
        bob.wait_direct().await;
        for round in 0..4 {
            world.net.rebind(homes[round % 2].nats[0]);
            alice.engine.send(bob.id(), &format!("ping {round}")).await.expect("stored");
            assert_eq!(bob.wait_text().await, format!("ping {round}"));
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(via(&alice, &bob).await, Via::Udp, "profile {n}, round {round}");
        }
    }
}

/// A client behind a hard NAT has several friends: two tries one after the other, and the next when the NAT has forgotten
/// those.
#[tokio::test(start_paused = true)]
async fn tries_take_turns() {
    let mut world = World::new(500);
    let home = world.home(&Access::Nat(Profile { max_mappings: 1024, ..Profile::symmetric_random() }));
    let me = world.client(&home).await;
    let mut friends = Vec::new();
    for _ in 0..3 {
        let home = world.home(&Access::Nat(Profile::eim_apdf_random()));
        friends.push(world.client(&home).await);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for friend in &friends {
        me.engine.connect(friend.id()).await;
    }
    for (wait, direct) in [(20, 2), (130, 3)] {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let mut count = 0;
        for friend in &friends {
            count += u32::from(via(friend, &me).await == Via::Udp);
        }
        assert_eq!(count, direct, "after {wait} s");
        let mappings = world.net.with_nat(home.nats[0], |nat| nat.mappings());
        assert!(mappings < 512, "{mappings}");
    }
}

/// A server with one address cannot tell whether other addresses see the same. Two friends can; it is kept apart from what was
/// seen, for friends may lie.
#[tokio::test(start_paused = true)]
async fn friends_tell_what_a_server_with_one_address_cannot() {
    for (profile, hard_after) in
        [(Profile::adm_apdf(), [false, true]), (Profile::eim_apdf_random(), [false, false])]
    {
        let mut world = World::new(600);
        world.start_single_server();
        let home = world.home(&Access::Nat(profile));
        let me = world.client(&home).await;
        let mut friends = Vec::new();
        for said_to_be_hard in hard_after {
            let home = world.home(&Access::Public);
            let friend = world.client(&home).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            me.engine.connect(friend.id()).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert_eq!(via(&me, &friend).await, Via::Udp);
            let mine = me.engine.why(friend.id()).await.insight.expect("connected").outlook.mine;
            assert_eq!((mine.mapping, mine.said_to_be_hard), (Mapping::OneAddress, said_to_be_hard));
            friends.push(friend);
        }
    }
}
