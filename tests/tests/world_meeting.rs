//! Two people meet: lobby, relay, punching, chat, and meeting again.

use std::time::Duration;

use client::engine::Event;
use client::store::State;
use common::code::{self, Failure};
use tests::nat::Profile;
use tests::world::{Access, Client, SERVER_RTT, World, now, text_of};

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

/// Issue table: with a peer met before, the first message is delivered and acknowledged in one relayed round trip.
#[tokio::test(start_paused = true)]
async fn a_peer_met_before_gets_a_message_in_the_first_flight() {
    /// Tokio's clock moves in whole milliseconds, and a relayed packet is handed on several times.
    const ROUNDING: Duration = Duration::from_millis(8);

    let mut world = World::new(21);
    let hard = Access::Nat(Profile::symmetric_random());
    let (a, b) = (world.home(&hard), world.home(&hard));
    let mut alice = world.client(&a).await;
    let mut bob = world.client(&b).await;
    alice.wait_connected().await;
    bob.wait_connected().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Bob came later, so he dialled then, and has a ticket.
    bob.engine.disconnect(alice.id()).await;
    for client in [&mut alice, &mut bob] {
        let left = |event: &Event| matches!(event, Event::Disconnected { .. }).then_some(());
        client.wait("the end of the connection", left).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    let alice_id = alice.id();
    bob.engine.send(alice_id, "again").await.unwrap();
    let start = now();
    bob.engine.connect(alice_id).await;
    let arrival = alice.wait("the message", |event| match event {
        Event::Message { message, .. } if text_of(message) == "again" => Some(start.elapsed()),
        _ => None,
    });
    let delivery = bob.wait("the acknowledgement", |event| match event {
        Event::State { state: State::Delivered, .. } => Some(start.elapsed()),
        _ => None,
    });
    let (arrived, delivered) = tokio::join!(arrival, delivery);
    println!("arrived after {arrived:?}, acknowledged after {delivered:?}");
    assert!(arrived <= SERVER_RTT + ROUNDING, "arrived after {arrived:?}");
    assert!(delivered <= SERVER_RTT * 2 + ROUNDING, "acknowledged after {delivered:?}");
}

/// Waits for the next news of codes.
async fn wait_code(client: &mut Client) -> code::News {
    let news = |event: &Event| if let Event::Code(news) = event { Some(news.clone()) } else { None };
    client.wait("news of a code", news).await
}

/// `docs/protocol.md` §8.
#[tokio::test(start_paused = true)]
async fn two_meet_by_a_spoken_code_past_the_lobby() {
    let mut world = World::new(31);
    let homes: Vec<_> = (0..3).map(|_| world.home(&Access::Nat(Profile::eim_apdf_random()))).collect();
    let mut alice = world.client(&homes[0]).await;
    let _carol = world.client(&homes[1]).await;
    alice.wait_connected().await;
    let mut bob = world.client(&homes[2]).await;

    bob.wait("the server", |event| matches!(event, Event::ServerUp { .. }).then_some(())).await;
    alice.engine.offer_code().await;
    let code::News::Offered(wrong) = wait_code(&mut alice).await else { panic!("no code") };
    bob.engine.claim_code(&format!("{}-zoo-zoo-zoo", wrong.number)).await.unwrap();
    assert_eq!(wait_code(&mut bob).await, code::News::Failed(Failure::Wrong));
    assert_eq!(wait_code(&mut alice).await, code::News::Failed(Failure::Guessed));
    bob.engine.claim_code(&wrong.to_string()).await.unwrap();
    assert_eq!(wait_code(&mut bob).await, code::News::Failed(Failure::Unknown), "one wrong guess burns it");

    alice.engine.offer_code().await;
    let code::News::Offered(code) = wait_code(&mut alice).await else { panic!("no code") };
    bob.engine.claim_code(&code.to_string()).await.unwrap();
    assert_eq!(wait_code(&mut bob).await, code::News::Met { peer: alice.id(), dial: true });
    assert_eq!(wait_code(&mut alice).await, code::News::Met { peer: bob.id(), dial: false });
    assert_eq!(bob.wait_connected().await.0, alice.id());
    bob.wait_direct().await;
    bob.engine.send(alice.id(), "it is me").await.unwrap();
    assert_eq!(alice.wait_text().await, "it is me");
}
