//! Two people meet: lobby, relay, punching, chat, and meeting again.

use tests::nat::Profile;
use tests::world::{Access, World, now};

#[tokio::test(start_paused = true)]
async fn newcomers_are_paired_and_talk_directly() {
    let mut world = World::new(1);
    let (a, b) = (
        world.home(&Access::Nat(Profile::eim_apdf_preserving())),
        world.home(&Access::Nat(Profile::eim_apdf_random())),
    );
    let mut alice = world.client(&a).await;
    let mut bob = world.client(&b).await;

    let (peer, words) = alice.wait_connected().await;
    assert_eq!((peer, words), (bob.id(), bob.wait_connected().await.1));
    alice.wait_direct().await;
    bob.wait_direct().await;

    alice.engine.send(bob.id(), "hello").await.unwrap();
    assert_eq!(bob.wait_text().await, "hello");
    bob.engine.send(alice.id(), "hi").await.unwrap();
    assert_eq!(alice.wait_text().await, "hi");
}

/// Issue table: every pair of the easy kinds goes direct; S + R is 130 ms.
#[tokio::test(start_paused = true)]
async fn every_pair_of_easy_nats_goes_direct() {
    for (name_a, a) in Access::easy() {
        for (name_b, b) in Access::easy() {
            let mut world = World::new(7);
            let (a, b) = (world.home(&a), world.home(&b));
            let mut alice = world.client(&a).await;
            let start = now();
            let mut bob = world.client(&b).await;
            alice.wait_connected().await;
            let connected = start.elapsed();
            alice.wait_direct().await;
            let direct = start.elapsed();
            bob.wait_direct().await;
            println!("{name_a} - {name_b}: connected {connected:?}, direct {direct:?}");
        }
    }
}
