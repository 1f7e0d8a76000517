//! Paths that die and come back under a live conversation.

use std::time::Duration;

use client::engine::Event;
use client::net::{PathChange, Via};
use tests::nat::Profile;
use tests::world::{Access, Client, Home, PEER_RTT, SERVER_RTT, World, now};

async fn two(world: &mut World, a: &Access, b: &Access) -> ([Home; 2], [Client; 2]) {
    let homes = [world.home(a), world.home(b)];
    let mut alice = world.client(&homes[0]).await;
    let mut bob = world.client(&homes[1]).await;
    alice.wait_connected().await;
    bob.wait_connected().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    (homes, [alice, bob])
}

fn easy() -> Access {
    Access::Nat(Profile::eim_apdf_random())
}

async fn path(client: &Client, peer: &Client) -> PathChange {
    let people = client.engine.people().await.expect("the store works");
    let person = people.iter().find(|person| person.contact.peer == peer.id()).expect("a contact");
    let connected = person.connected.as_ref().expect("a connection");
    connected.path.expect("a connection has a path")
}

async fn via(client: &Client, peer: &Client) -> Via {
    path(client, peer).await.via
}

/// The round trip over the relay, twice that to the server, was measured.
async fn assert_relayed(client: &Client, peer: &Client) {
    let path = path(client, peer).await;
    let near = Duration::from_millis(95)..Duration::from_millis(125);
    assert!(path.via == Via::Relay && path.rtt.is_some_and(|rtt| near.contains(&rtt)), "{path:?}");
}

async fn say(from: &Client, to: &mut Client, text: &str) {
    from.engine.send(to.id(), text).await.expect("a message is stored");
    assert_eq!(to.wait_text().await, text);
}

#[tokio::test(start_paused = true)]
async fn hard_nats_talk_over_the_relay() {
    let mut world = World::new(3);
    let hard = Access::Nat(Profile::symmetric_random());
    let (_, [alice, mut bob]) = two(&mut world, &hard, &hard).await;
    assert_relayed(&alice, &bob).await;
    say(&alice, &mut bob, "over the relay").await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_direct_path_falls_back_to_the_relay_and_comes_back() {
    let mut world = World::new(4);
    let (homes, [alice, mut bob]) = two(&mut world, &easy(), &easy()).await;
    assert_eq!(via(&alice, &bob).await, Via::Udp);
    world.net.cut_pair(homes[0].host, homes[1].host);
    say(&alice, &mut bob, "the direct path is dead").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(via(&alice, &bob).await, Via::Relay);
    world.net.heal_pair(homes[0].host, homes[1].host);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(via(&alice, &bob).await, Via::Udp);
    say(&alice, &mut bob, "and alive again").await;
}

#[tokio::test(start_paused = true)]
async fn a_rebound_nat_heals() {
    let mut world = World::new(5);
    let (homes, [mut alice, mut bob]) = two(&mut world, &easy(), &easy()).await;
    for round in 0..5 {
        world.net.rebind(homes[round % 2].nats[0]);
        say(&alice, &mut bob, &format!("ping {round}")).await;
        say(&bob, &mut alice, &format!("pong {round}")).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(via(&alice, &bob).await, Via::Udp, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_does_not_disturb_a_direct_conversation() {
    let mut world = World::new(6);
    let (_, [mut alice, mut bob]) = two(&mut world, &easy(), &easy()).await;
    world.kill_server();
    for minute in 0..5 {
        say(&alice, &mut bob, &format!("minute {minute}")).await;
        say(&bob, &mut alice, &format!("echo {minute}")).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    world.start_server();
    tokio::time::sleep(Duration::from_secs(60)).await;
    say(&alice, &mut bob, "the server is back").await;
}

/// Both homes change their addresses, inside and outside, while messages go both ways five times a second.
#[tokio::test(start_paused = true)]
async fn a_conversation_survives_new_addresses() {
    for access in [Access::Public, easy()] {
        let mut world = World::new(8);
        let (homes, [mut alice, mut bob]) = two(&mut world, &access, &easy()).await;
        for i in 0..300 {
            match i {
                50 => world.move_host(&homes[0]),
                100 => world.move_home(&homes[1]),
                150 => world.move_host(&homes[1]),
                200 => world.move_home(&homes[0]),
                _ => {}
            }
            alice.engine.send(bob.id(), &format!("a {i}")).await.unwrap();
            bob.engine.send(alice.id(), &format!("b {i}")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for i in 0..300 {
            assert_eq!(bob.wait_text().await, format!("a {i}"));
            assert_eq!(alice.wait_text().await, format!("b {i}"));
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(via(&alice, &bob).await, Via::Udp);
        assert_eq!(via(&bob, &alice).await, Via::Udp);
    }
}

/// Without a server and without a path there is nothing to do but to wait, and waiting costs nothing.
#[test]
fn waiting_for_everything_is_no_busy_loop() {
    let (done, result) = std::sync::mpsc::channel();
    // A client that is busy for ever keeps the virtual clock from moving, so another thread has to look.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut world = World::new(9);
            let (homes, [alice, mut bob]) = two(&mut world, &easy(), &easy()).await;
            world.kill_server();
            tokio::time::sleep(Duration::from_secs(40)).await;
            world.net.cut_pair(homes[0].host, homes[1].host);
            alice.engine.send(bob.id(), "is anybody there?").await.expect("a message is stored");
            tokio::time::sleep(Duration::from_secs(20)).await;
            world.net.heal_pair(homes[0].host, homes[1].host);
            world.start_server();
            assert_eq!(bob.wait_text().await, "is anybody there?");
        });
        done.send(()).expect("the test waits");
    });
    result.recv_timeout(Duration::from_secs(60)).expect("the virtual minute ends");
}

/// The machine goes into another network and sees that, twice, the second time into one of another kind.
#[tokio::test(start_paused = true)]
async fn a_conversation_moves_into_another_network_at_once() {
    let mut world = World::new(10);
    let (homes, [mut alice, mut bob]) = two(&mut world, &easy(), &easy()).await;
    for (round, access) in [easy(), Access::Public].iter().enumerate() {
        let other = world.home(access);
        say(&alice, &mut bob, "here").await;
        say(&bob, &mut alice, "here").await;
        let before = world.net.delivered(homes[1].host, homes[0].host).packets;
        let moved = now();
        world.move_into(&homes[0], &other);
        alice.network.send_replace(());
        alice.engine.send(bob.id(), "there").await.expect("a message is stored");
        bob.engine.send(alice.id(), "where?").await.expect("a message is stored");
        assert_eq!(bob.wait_text().await, "there");
        assert_eq!(alice.wait_text().await, "where?");
        let silence = now() - moved;
        assert!(silence < Duration::from_millis(700), "round {round}: {silence:?} of silence");
        tokio::time::sleep(Duration::from_millis(1_500).saturating_sub(silence)).await;
        assert!(
            world.net.delivered(homes[1].host, homes[0].host).packets > before,
            "round {round}: nothing came directly within 1.5 s"
        );
        assert_eq!(via(&alice, &bob).await, Via::Udp);
        assert_eq!(via(&bob, &alice).await, Via::Udp);
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

async fn assert_direct_packets_within(world: &World, homes: &[Home; 2], time: Duration) {
    world.net.reset_counters();
    let begun = now();
    let passed = |from: &Home, to: &Home| world.net.delivered(from.host, to.host).packets > 0;
    while !(passed(&homes[0], &homes[1]) && passed(&homes[1], &homes[0])) {
        assert!(now() - begun <= time, "not both ways after {:?}", now() - begun);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What plain punching cannot do: both NATs map anew for each remote endpoint, and one of the routers gives a port.
#[tokio::test(start_paused = true)]
async fn a_mapped_port_makes_hard_nats_direct() {
    for is_mapped in [false, true] {
        let mut world = World::new(11);
        let hard = Access::Nat(Profile::symmetric_random());
        let mut homes = [world.home(&hard), world.home(&hard)];
        homes[0].maps_ports = is_mapped;
        let mut alice = world.client(&homes[0]).await;
        let mut bob = world.client(&homes[1]).await;
        bob.wait("the server", |event| matches!(event, Event::ServerUp { .. }).then_some(())).await;
        if is_mapped {
            assert_direct_packets_within(&world, &homes, (SERVER_RTT + PEER_RTT).mul_f64(1.15)).await;
        }
        alice.wait_connected().await;
        bob.wait_connected().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let expected = if is_mapped { Via::Udp } else { Via::Relay };
        assert_eq!(via(&alice, &bob).await, expected);
        assert_eq!(via(&bob, &alice).await, expected);
        say(&alice, &mut bob, "through the open door").await;
    }
}

/// The carrier's NAT turns nothing around, so that the endpoints which the server sees are of no use; the ports of the
/// homes' own routers lie within the carrier's network.
#[tokio::test(start_paused = true)]
async fn two_homes_behind_one_carrier_meet_at_their_routers() {
    let carrier = Profile { hairpin: false, ..Profile::cgnat() };
    for is_mapped in [false, true] {
        let mut world = World::new(12);
        let mut homes = world.neighbours(&Profile::eim_apdf_preserving(), &carrier);
        homes[1].maps_ports = is_mapped;
        let mut alice = world.client(&homes[0]).await;
        let mut bob = world.client(&homes[1]).await;
        alice.wait_connected().await;
        bob.wait_connected().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let expected = if is_mapped { Via::Udp } else { Via::Relay };
        assert_eq!(via(&alice, &bob).await, expected);
        assert_eq!(via(&bob, &alice).await, expected);
        say(&bob, &mut alice, "next door").await;
    }
}
