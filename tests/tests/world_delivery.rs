//! Messages survive absence, kills and restarts.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::time::Duration;

use bytes::Bytes;
use client::engine::Event;
use client::log::{Content, ConversationId};
use client::store::{Gap, Options, Point, State, Store};
use common::identity::PeerId;
use tests::chaos::Deadly;
use tests::nat::Profile;
use tests::world::{Access, Client, Home, World};

fn easy() -> Access {
    Access::Nat(Profile::eim_apdf_random())
}

async fn wait_delivered(client: &mut Client, peer: PeerId, mut count: usize) {
    client
        .wait("delivery", |event| match event {
            Event::State { peer: to, state: State::Delivered, .. } if *to == peer => {
                count -= 1;
                (count == 0).then_some(())
            }
            _ => None,
        })
        .await;
}

/// Who goes back to an old copy of their data writes past what others have of them. Both are told, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn who_writes_on_an_old_copy_is_found_out() {
    let mut world = World::new(19);
    let (a, b) = (world.home(&easy()), world.home(&easy()));
    let mut alice = world.client(&a).await;
    let mut bob = world.client(&b).await;
    alice.wait_connected().await;
    bob.wait_connected().await;
    let (alice_id, bob_id) = (alice.id(), bob.id());
    for text in ["one", "two"] {
        bob.engine.send(alice_id, text).await.unwrap();
        assert_eq!(alice.wait_text().await, text);
        wait_delivered(&mut bob, alice_id, 1).await;
        if text == "one" {
            bob.kill().await;
            std::fs::copy(world.database(&b), world.database(&b).with_extension("old")).unwrap();
            bob = world.client(&b).await;
            bob.wait_connected().await;
        }
    }
    bob.kill().await;
    std::fs::rename(world.database(&b).with_extension("old"), world.database(&b)).unwrap();
    let mut bob = world.client(&b).await;
    bob.wait_connected().await;
    bob.engine.send(alice_id, "three").await.unwrap();
    assert_eq!(alice.wait_text().await, "three");
    let told = |event: &Event| match event {
        Event::Error { message } if message.contains("do not know of each other") => Some(message.clone()),
        _ => None,
    };
    assert!(!alice.wait("word of the fork", told).await.contains("yours"));
    alice.engine.send(bob_id, "what?").await.unwrap();
    assert!(bob.wait("word of the fork", told).await.starts_with("messages of yours"));
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_who_is_away_and_come_in_order() {
    let mut world = World::new(11);
    let (a, b) = (world.home(&easy()), world.home(&easy()));
    let mut alice = world.client(&a).await;
    let mut bob = world.client(&b).await;
    alice.wait_connected().await;
    bob.wait_connected().await;
    let bob_id = bob.id();
    bob.kill().await;

    for i in 0..20 {
        alice.engine.send(bob_id, &format!("message {i}")).await.unwrap();
    }
    // Alice restarts too before Bob comes back.
    alice.kill().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let mut alice = world.client(&a).await;
    let mut bob = world.client(&b).await;
    for i in 0..20 {
        assert_eq!(bob.wait_text().await, format!("message {i}"));
    }
    wait_delivered(&mut alice, bob_id, 20).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_peer_is_met_again_without_the_lobby() {
    let mut world = World::new(12);
    let (a, b) = (world.home(&easy()), world.home(&easy()));
    let mut alice = world.client(&a).await;
    let mut bob = world.client(&b).await;
    // Bob is killed first before he has noted whom he met, later at any time.
    alice.wait_connected().await;
    for round in 0..5 {
        bob.kill().await;
        tokio::time::sleep(Duration::from_secs(round * 13)).await;
        bob = world.client(&b).await;
        bob.wait_connected().await;
        alice.engine.send(bob.id(), &format!("round {round}")).await.unwrap();
        assert_eq!(bob.wait_text().await, format!("round {round}"));
    }
}

/// Bob dies in the moment in which he would have noted whom he met; Alice has noted him.
#[tokio::test(start_paused = true)]
async fn a_meeting_that_only_one_remembers_is_not_lost() {
    let mut world = World::new(14);
    let (a, b) = (world.home(&easy()), world.home(&easy()));
    let faults = std::sync::Arc::new(Deadly::default());
    let mut alice = world.client(&a).await;
    let options = Options { faults: Some(std::sync::Arc::clone(&faults) as _), ..Options::default() };
    let mut bob = world.client_with(&b, options).await;
    bob.wait("Alice", |event| matches!(event, Event::Paired { .. }).then_some(())).await;
    faults.doom(Point::Commit, 0);
    alice.wait_connected().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(faults.is_dead());
    alice.kill().await;
    bob.kill().await;

    let mut bob = world.client(&b).await;
    bob.wait("the lobby", |event| matches!(event, Event::Waiting).then_some(())).await;
    let alice = world.client(&a).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    alice.engine.send(bob.id(), "it was you").await.unwrap();
    assert_eq!(bob.wait_text().await, "it was you");
}

/// Who has a ticket of a peer that has been restarted since sends early data, which is refused.
#[tokio::test(start_paused = true)]
async fn early_data_that_is_refused_is_sent_again() {
    let mut world = World::new(13);
    let (a, b) = (world.home(&easy()), world.home(&easy()));
    let mut alice = world.client(&a).await;
    let mut bob = world.client(&b).await;
    alice.wait_connected().await;
    bob.wait_connected().await;
    // Bob came to the lobby later, so he dialled, and has Alice's ticket. He comes later again, and dials again.
    alice.kill().await;
    world.net.cut(b.host);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let mut alice = world.client(&a).await;
    bob.engine.send(alice.id(), "from before").await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.net.heal(b.host);
    assert_eq!(alice.wait_text().await, "from before");
    wait_delivered(&mut bob, alice.id(), 1).await;
}

/// What `home` has written to `to`, as it travels.
async fn written(home: &Home, to: PeerId) -> Vec<Bytes> {
    let identity = home.identity();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("hobnob.db"), identity.peer_id()).await.unwrap();
    let conversation = ConversationId::direct(identity.peer_id(), to);
    for text in ["one", "two", "three"] {
        store.compose(&identity, conversation, &[to], Content::text(text), 1_000, 1).await.unwrap();
    }
    store.outbox(to, 0, 10).await.unwrap().into_iter().map(|row| row.bytes).collect()
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_lasts_is_told_until_it_is_filled() {
    let mut world = World::new(23);
    let (a, b) = (world.home(&easy()), world.home(&easy()));
    let alice = world.client(&a).await;
    let mut messages = written(&b, alice.id()).await;
    let first = messages.remove(0);
    let conversation = ConversationId::direct(alice.id(), b.id());

    alice.engine.store().ingest(b.id(), messages, 1).await.unwrap();
    alice.kill().await;
    let mut alice = world.client(&a).await;
    let open = alice.wait("a gap", gap_in(conversation)).await;
    assert_eq!(open, Gap { waiting: 2, missing: 1 });
    alice.engine.store().ingest(b.id(), vec![first], 2).await.unwrap();
    assert_eq!(alice.wait("no gap", gap_in(conversation)).await, Gap::default());
}

fn gap_in(place: ConversationId) -> impl FnMut(&Event) -> Option<Gap> {
    move |event| match event {
        Event::Gap { conversation, gap } if *conversation == place => Some(*gap),
        _ => None,
    }
}
