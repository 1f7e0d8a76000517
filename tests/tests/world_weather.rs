//! Bad networks, and a network that changes while there is no server.

use std::time::Duration;

use client::net::Via;
use tests::bench::weather::weather;
use tests::duel::{Front, duel_in};
use tests::nat::Profile;
use tests::world::{Access, World};

#[test]
fn far_away_and_lossy_pairs_go_direct() {
    let easy = Front::quiet(Profile::eim_apdf_random());
    for (loss, rtt_ms, least) in [(0.12, 450, 95), (0.25, 800, 80)] {
        let direct = (0..100).filter(|seed| {
            duel_in([easy, easy], *seed, weather(loss, rtt_ms), Duration::from_secs(30)).direct.is_some()
        });
        let direct = direct.count();
        assert!(direct >= least, "{direct} of 100 with {loss} lost at {rtt_ms} ms");
    }
}

/// The live path is all there is: who has moved is heard from the new address where the other one can be reached.
#[tokio::test(start_paused = true)]
async fn a_network_change_heals_without_a_server() {
    for other in [Access::Public, Access::Nat(Profile::full_cone())] {
        let mut world = World::new(31);
        let easy = Access::Nat(Profile::eim_apdf_random());
        let homes = [world.home(&easy), world.home(&other)];
        let elsewhere = world.home(&easy);
        let mut alice = world.client(&homes[0]).await;
        let mut bob = world.client(&homes[1]).await;
        assert_eq!(alice.wait_connected().await.0, bob.id());
        bob.wait_direct().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.kill_server();
        tokio::time::sleep(Duration::from_secs(60)).await;
        world.move_into(&homes[0], &elsewhere);
        alice.network.send_replace(());
        let moved = tests::world::now();
        alice.engine.send(bob.id(), "I have moved").await.expect("a message is stored");
        assert_eq!(bob.wait_text().await, "I have moved");
        bob.engine.send(alice.id(), "I hear you").await.expect("a message is stored");
        assert_eq!(alice.wait_text().await, "I hear you");
        let took = tests::world::now() - moved;
        assert!(took < Duration::from_millis(1_500), "{other:?}: {took:?}");
        let people = bob.engine.people().await.expect("the store works");
        let path = people.iter().find_map(|person| person.connected.as_ref()?.path);
        assert_eq!(path.map(|path| path.via), Some(Via::Udp), "{other:?}");
    }
}
