//! Contacts find each other where they were seen last while the server is down. `docs/protocol.md` §12.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::engine::{Choice, Event, Visibility};
use client::net::Via;
use common::identity::PeerId;
use tests::nat::Profile;
use tests::simnet::Link;
use tests::world::{Access, Client, Home, World, now};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);

async fn is_up(client: &mut Client) {
    client.wait("the server", |event| matches!(event, Event::ServerUp { .. }).then_some(())).await;
}

async fn is_down(client: &mut Client) {
    client.wait("the server's end", |event| matches!(event, Event::ServerDown { .. }).then_some(())).await;
}

async fn is_connected(client: &Client, peer: PeerId) -> bool {
    let people = client.engine.people().await.unwrap();
    people.iter().any(|person| person.contact.peer == peer && person.connected.is_some())
}

async fn is_direct(client: &Client, peer: PeerId) -> bool {
    let people = client.engine.people().await.unwrap();
    let person = people.into_iter().find(|person| person.contact.peer == peer);
    person.and_then(|person| person.connected?.path).is_some_and(|path| path.via != Via::Relay)
}

/// Two who are connected directly, each of whom has seen the other so.
async fn two(world: &mut World, access: [&Access; 2]) -> ([Home; 2], [Client; 2]) {
    let homes = access.map(|access| world.home(access));
    let mut alice = world.client(&homes[0]).await;
    is_up(&mut alice).await;
    let mut bob = world.client(&homes[1]).await;
    is_up(&mut bob).await;
    bob.engine.connect(alice.id()).await;
    bob.wait_direct().await;
    alice.wait_direct().await;
    sleep(2 * MINUTE).await;
    (homes, [alice, bob])
}

/// One says something to the other, which arrives within `limit` although there is no server.
async fn hears(from: &Client, to: &mut Client, text: &str, limit: Duration) {
    let start = now();
    from.engine.send(to.id(), text).await.unwrap();
    assert_eq!(to.wait_text().await, text);
    assert!(start.elapsed() < limit, "{text:?} arrived after {:?}", start.elapsed());
}

fn easy() -> [(Access, Access); 3] {
    let nat = || Access::Nat(Profile::eim_apdf_preserving());
    [(Access::Public, Access::Public), (nat(), Access::Public), (nat(), nat())]
}

/// How one of two goes away and comes back.
#[derive(Clone, Copy, PartialEq)]
enum Leave {
    InGoodOrder,
    Killed,
}

async fn one_comes_back(how: Leave) {
    for (number, (first, second)) in (0..).zip(easy()) {
        // Whoever has the smaller key dials: both orders count.
        for seed in [91 + number, 191 + number] {
            let mut world = World::new(seed);
            let (homes, [mut alice, mut bob]) = two(&mut world, [&first, &second]).await;
            world.kill_server();
            is_down(&mut alice).await;
            is_down(&mut bob).await;
            if how == Leave::InGoodOrder {
                alice.engine.shutdown().await;
                sleep(Duration::from_secs(5)).await;
                alice.kill().await;
            } else {
                alice.kill().await;
                sleep(Duration::from_millis(300)).await;
            }
            let mut alice = world.client(&homes[0]).await;
            hears(&alice, &mut bob, "back again", Duration::from_secs(8)).await;
            hears(&bob, &mut alice, "so I see", Duration::from_secs(1)).await;
            // What they have found without the server stays when that is back.
            world.start_server();
            is_up(&mut alice).await;
            is_up(&mut bob).await;
            sleep(MINUTE).await;
            for (client, other) in [(&alice, bob.id()), (&bob, alice.id())] {
                assert!(is_direct(client, other).await, "{first:?} {second:?} {seed}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_left_in_good_order_is_met_again_without_the_server() {
    one_comes_back(Leave::InGoodOrder).await;
}

/// The other side still holds the old connection.
#[tokio::test(start_paused = true)]
async fn who_was_killed_and_started_again_is_met_without_the_server() {
    one_comes_back(Leave::Killed).await;
}

/// The other side still holds the connection to the server as well, which is gone.
#[tokio::test(start_paused = true)]
async fn who_is_killed_together_with_the_server_is_met_once_that_is_noticed() {
    for seed in [171, 172, 173, 174] {
        let mut world = World::new(seed);
        let nat = Access::Nat(Profile::eim_apdf_preserving());
        let (homes, [alice, mut bob]) = two(&mut world, [&nat, &nat]).await;
        world.kill_server();
        alice.kill().await;
        sleep(Duration::from_millis(300)).await;
        let mut alice = world.client(&homes[0]).await;
        hears(&alice, &mut bob, "back again", MINUTE).await;
        hears(&bob, &mut alice, "so I see", Duration::from_secs(1)).await;
    }
}

/// The one who comes back is at another address, from which it can reach the other one.
#[tokio::test(start_paused = true)]
async fn who_was_killed_is_met_again_also_elsewhere() {
    for seed in [111, 112, 113, 114] {
        let mut world = World::new(seed);
        let nat = Access::Nat(Profile::eim_apdf_preserving());
        let (homes, [alice, mut bob]) = two(&mut world, [&nat, &Access::Public]).await;
        world.kill_server();
        is_down(&mut bob).await;
        alice.kill().await;
        world.move_home(&homes[0]);
        let mut alice = world.client(&homes[0]).await;
        hears(&alice, &mut bob, "moved", Duration::from_secs(10)).await;
        hears(&bob, &mut alice, "so I see", Duration::from_secs(1)).await;
    }
}

/// Both have been away, and one waits for the other for as long as this.
async fn both_start_anew(seed: u64, wait: Duration, limit: Duration) {
    for (seed, (first, second)) in (seed..).zip(easy()) {
        let mut world = World::new(seed);
        let (homes, [mut alice, bob]) = two(&mut world, [&first, &second]).await;
        world.kill_server();
        is_down(&mut alice).await;
        alice.kill().await;
        bob.kill().await;
        sleep(10 * MINUTE).await;
        let mut alice = world.client(&homes[0]).await;
        sleep(wait).await;
        let mut bob = world.client(&homes[1]).await;
        let patience = async {
            while !is_connected(&bob, alice.id()).await {
                sleep(MINUTE / 60).await;
            }
        };
        tokio::time::timeout(limit, patience).await.unwrap();
        hears(&bob, &mut alice, "at last", MINUTE).await;
        hears(&alice, &mut bob, "I have waited", MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_who_both_start_anew_find_each_other() {
    both_start_anew(121, Duration::from_secs(20), Duration::from_secs(10)).await;
}

/// Packets pass two NATs only while both sides send.
#[tokio::test(start_paused = true)]
async fn one_who_has_waited_for_hours_is_found() {
    both_start_anew(151, 200 * MINUTE, 15 * MINUTE).await;
}

/// One of them is in a network without the server, and starts anew there.
#[tokio::test(start_paused = true)]
async fn the_server_need_not_be_out_of_reach_for_both() {
    for seed in 161..165 {
        let mut world = World::new(seed);
        let (homes, [alice, mut bob]) = two(&mut world, [&Access::Public, &Access::Public]).await;
        let nothing = Link { loss: 1.0, ..Link::new(MINUTE / 60) };
        world.net.set_link(homes[0].site, world.server_site, nothing);
        alice.kill().await;
        let mut alice = world.client(&homes[0]).await;
        hears(&alice, &mut bob, "no server here", Duration::from_secs(90)).await;
        hears(&bob, &mut alice, "but here", Duration::from_secs(1)).await;
    }
}

/// Counts the packets from one home to the public address of another.
fn packets(world: &World, from: &Home, number_of_to: u8) -> impl Fn() -> u64 + use<> {
    let count = Arc::new(AtomicU64::new(0));
    let (counted, host, to) = (Arc::clone(&count), from.host, IpAddr::from([198, 51, 100, number_of_to]));
    world.net.tap(move |packet| {
        if packet.from == host && packet.dst.ip() == to {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    move || count.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_to_the_blocked_nor_from_the_invisible() {
    for is_blocked in [true, false] {
        let mut world = World::new(131);
        let (homes, [alice, mut bob]) = two(&mut world, [&Access::Public, &Access::Public]).await;
        let choice = if is_blocked {
            Choice::Block { peer: bob.id(), is_on: true }
        } else {
            Choice::Visibility(Visibility::Invisible { but: Vec::new() })
        };
        alice.engine.choose(choice).await.unwrap();
        world.kill_server();
        is_down(&mut bob).await;
        let to_bob = packets(&world, &homes[0], 2);
        let to_alice = packets(&world, &homes[1], 1);
        sleep(5 * MINUTE).await;
        alice.kill().await;
        let alice = world.client(&homes[0]).await;
        alice.engine.send(bob.id(), "from the dark").await.unwrap();
        alice.engine.connect(bob.id()).await;
        sleep(30 * MINUTE).await;
        assert_eq!(to_bob(), 0, "blocked: {is_blocked}");
        assert!(to_alice() > 0, "who is not told goes on looking");
        // 35 minutes, in rounds that come ever more rarely.
        assert!(to_alice() < 12 * 24, "{} packets", to_alice());
        assert!(!is_connected(&alice, bob.id()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_looked_for_where_they_were_while_the_server_answers() {
    let mut world = World::new(141);
    let (homes, [alice, bob]) = two(&mut world, [&Access::Public, &Access::Public]).await;
    bob.kill().await;
    alice.kill().await;
    // The server notices that.
    sleep(MINUTE).await;
    let to_bob = packets(&world, &homes[0], 2);
    let mut alice = world.client(&homes[0]).await;
    is_up(&mut alice).await;
    alice.engine.send(homes[1].id(), "are you there?").await.unwrap();
    sleep(10 * MINUTE).await;
    assert_eq!(to_bob(), 0);
    world.kill_server();
    is_down(&mut alice).await;
    sleep(MINUTE).await;
    let tried = to_bob();
    assert!(tried > 0, "the server is gone");
    world.start_server();
    is_up(&mut alice).await;
    let tried = to_bob().max(tried);
    sleep(10 * MINUTE).await;
    assert_eq!(to_bob(), tried, "the server is back");
    let mut bob = world.client(&homes[1]).await;
    assert_eq!(bob.wait_text().await, "are you there?");
}
