//! Messages survive absence, kills and restarts.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::time::Duration;

use bytes::Bytes;
use client::engine::{Choice, Event};
use client::log::{Content, ConversationId};
use client::store::{Gap, HistoryRow, Options, Point, Selection, State, Store};
use common::identity::PeerId;
use tests::chaos::Deadly;
use tests::nat::Profile;
use tests::simnet::Link;
use tests::world::{Access, Client, Home, World, now, text_of};

/// Long enough to be connected and to have said everything.
const SETTLE: Duration = Duration::from_secs(30);

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
    // Once they are connected he has everything again, and would write on top of it.
    let mut bob = world.client(&b).await;
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

/// Kills a client and keeps a copy of its data as it is then.
async fn keep(world: &World, home: &Home, client: Client) -> Client {
    client.kill().await;
    let database = world.database(home);
    std::fs::copy(&database, database.with_extension("old")).unwrap();
    world.client(home).await
}

/// Kills a client and puts the copy back.
async fn put_back(world: &World, home: &Home, client: Client) -> Client {
    client.kill().await;
    let database = world.database(home);
    std::fs::copy(database.with_extension("old"), &database).unwrap();
    world.client(home).await
}

/// What the two have said to each other, as `client` has it: each text with how far it got if it is an own one.
async fn said(client: &Client, to: PeerId) -> Vec<(String, Option<State>)> {
    let conversation = ConversationId::direct(client.id(), to);
    let selection = Selection { conversation, before: None, limit: 100 };
    let history = client.engine.store().history(selection).await.unwrap();
    let rows = history.into_iter().filter_map(|line| match line {
        HistoryRow::Message(row) => Some(*row),
        HistoryRow::Gap(_) => None,
    });
    rows.map(|row| (text_of(&row), row.states.first().map(|(_, state)| *state))).collect()
}

/// Both say `text`, each with their own name, and it arrives.
async fn both_say(alice: &mut Client, bob: &mut Client, text: &str) {
    let (from_alice, from_bob) = (format!("alice {text}"), format!("bob {text}"));
    alice.engine.send(bob.id(), &from_alice).await.unwrap();
    while bob.wait_text().await != from_alice {}
    bob.engine.send(alice.id(), &from_bob).await.unwrap();
    while alice.wait_text().await != from_bob {}
}

/// `docs/protocol.md` §7.4: nobody writes, and yet all that the other still has is there again.
#[tokio::test(start_paused = true)]
async fn an_old_copy_is_made_whole_on_connecting() {
    let mut world = World::new(24);
    let (a, b) = (world.home(&easy()), world.home(&easy()));
    let mut alice = world.client(&a).await;
    let mut bob = world.client(&b).await;
    alice.wait_connected().await;
    bob.wait_connected().await;
    let (alice_id, bob_id) = (alice.id(), bob.id());
    both_say(&mut alice, &mut bob, "one").await;
    bob = keep(&world, &b, bob).await;
    bob.wait_connected().await;
    both_say(&mut alice, &mut bob, "two").await;
    tokio::time::sleep(SETTLE).await;
    let before = said(&bob, alice_id).await;
    assert_eq!(before.len(), 4);

    // One goes back to an old copy.
    bob = put_back(&world, &b, bob).await;
    assert_eq!(said(&bob, alice_id).await.len(), 2);
    tokio::time::sleep(SETTLE).await;
    assert_eq!(said(&bob, alice_id).await, before);

    // And now both, to different ones.
    alice = keep(&world, &a, alice).await;
    alice.wait_connected().await;
    both_say(&mut alice, &mut bob, "three").await;
    bob = keep(&world, &b, bob).await;
    bob.wait_connected().await;
    both_say(&mut alice, &mut bob, "four").await;
    bob.kill().await;
    alice = put_back(&world, &a, alice).await;
    let bob = world.client(&b).await;
    let bob = put_back(&world, &b, bob).await;
    tokio::time::sleep(SETTLE).await;
    let [mine, theirs] = [said(&alice, bob_id).await, said(&bob, alice_id).await];
    let texts =
        |said: &[(String, Option<State>)]| said.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>();
    assert_eq!(
        texts(&mine),
        ["one", "two", "three"].map(|n| [format!("alice {n}"), format!("bob {n}")]).concat()
    );
    assert_eq!(texts(&mine), texts(&theirs));
    assert!(
        [mine, theirs].concat().iter().all(|(_, state)| state.is_none_or(|state| state >= State::Delivered))
    );
}

/// Who is blocked gets nothing back, until they are not blocked any more.
#[tokio::test(start_paused = true)]
async fn who_is_blocked_gets_nothing_back() {
    let mut world = World::new(25);
    let (a, b) = (world.home(&easy()), world.home(&easy()));
    let mut alice = world.client(&a).await;
    let mut bob = world.client(&b).await;
    alice.wait_connected().await;
    bob.wait_connected().await;
    let (alice_id, bob_id) = (alice.id(), bob.id());
    bob = keep(&world, &b, bob).await;
    bob.wait_connected().await;
    both_say(&mut alice, &mut bob, "one").await;
    alice.engine.choose(Choice::Block { peer: bob_id, is_on: true }).await.unwrap();
    bob = put_back(&world, &b, bob).await;
    tokio::time::sleep(SETTLE).await;
    assert_eq!(said(&bob, alice_id).await, []);
    alice.engine.choose(Choice::Block { peer: bob_id, is_on: false }).await.unwrap();
    tokio::time::sleep(10 * SETTLE).await;
    assert_eq!(said(&bob, alice_id).await.len(), 2);
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

/// Somebody is called for seconds before they can answer, and packets overtake each other: what is lost of the first words is
/// noticed soon nevertheless.
#[tokio::test(start_paused = true)]
async fn a_long_handshake_does_not_slow_what_follows() {
    let mut slowest = Duration::ZERO;
    for seed in 0..30 {
        let mut world = World::new(seed);
        let (a, b) = (world.home(&easy()), world.home(&easy()));
        let mut alice = world.client(&a).await;
        let mut bob = world.client(&b).await;
        let bob_id = alice.wait_connected().await.0;
        bob.wait_connected().await;
        alice.engine.shutdown().await;
        tokio::time::sleep(SETTLE).await;
        alice.kill().await;
        world.net.set_default_link(Link::new(Duration::from_millis(20)).jittery(Duration::from_millis(100)));
        let mut alice = world.client(&a).await;
        alice.wait("the server", |event| matches!(event, Event::ServerUp { .. }).then_some(())).await;
        world.net.cut(b.host);
        tokio::time::sleep(Duration::from_millis(6_500)).await;
        world.net.heal(b.host);
        let healed = now();
        alice.engine.send(bob_id, "there you are").await.unwrap();
        assert_eq!(bob.wait_text().await, "there you are");
        slowest = slowest.max(healed.elapsed());
    }
    assert!(slowest < Duration::from_secs(8), "{slowest:?}");
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
