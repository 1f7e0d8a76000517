//! Contacts introduce each other while the server is down. `docs/protocol.md` §6.7.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::time::Duration;

use client::engine::{Event, LINK_LIFETIME, Terms};
use client::net::Via;
use common::identity::PeerId;
use tests::nat::Profile;
use tests::world::{Access, Client, World, now};

const MINUTE: Duration = Duration::from_secs(60);

async fn is_up(client: &mut Client) {
    client.wait("the server", |event| matches!(event, Event::ServerUp { .. }).then_some(())).await;
}

async fn is_down(client: &mut Client) {
    client.wait("the server's end", |event| matches!(event, Event::ServerDown { .. }).then_some(())).await;
}

async fn is_gone(client: &mut Client, whom: PeerId) {
    let gone =
        |event: &Event| matches!(event, Event::Disconnected { peer, .. } if *peer == whom).then_some(());
    client.wait("the end of a connection", gone).await;
}

async fn is_direct(client: &mut Client, whom: PeerId) {
    let direct = |event: &Event| match event {
        Event::Path(change) => (change.peer == whom && change.via != Via::Relay).then_some(()),
        _ => None,
    };
    client.wait("a direct path", direct).await;
}

/// `guest` comes by a link of `host`: nobody meets anybody else.
async fn link(host: &Client, guest: &Client) {
    let terms = Terms { room: None, uses: 1, lifetime: LINK_LIFETIME };
    let link = host.engine.make_link(terms).await.unwrap();
    guest.engine.join(&link).await.unwrap();
}

/// Carol, and Alice and Bob, who know her and are connected with her; `do_know` tells whether they know each other.
async fn three(world: &mut World, do_know: bool) -> [Client; 3] {
    let access = Access::Nat(Profile::eim_apdf_random());
    let homes: Vec<_> = (0..4).map(|_| world.home(&access)).collect();
    let mut carol = world.client(&homes[0]).await;
    is_up(&mut carol).await;
    let terms = Terms { room: None, uses: 2, lifetime: LINK_LIFETIME };
    let to_carol = carol.engine.make_link(terms).await.unwrap();
    let mut guests = Vec::new();
    for home in &homes[1..3] {
        let mut guest = world.guest(home, to_carol.clone()).await;
        is_direct(&mut guest, carol.id()).await;
        guests.push(guest);
    }
    let [mut alice, mut bob]: [Client; 2] = guests.try_into().unwrap();
    if do_know {
        link(&bob, &alice).await;
        is_direct(&mut alice, bob.id()).await;
    }
    world.kill_server();
    is_down(&mut alice).await;
    is_down(&mut bob).await;
    if do_know {
        alice.engine.disconnect(bob.id()).await;
        is_gone(&mut alice, bob.id()).await;
        is_gone(&mut bob, alice.id()).await;
        tokio::time::sleep(MINUTE).await;
        let people = alice.engine.people().await.unwrap();
        let bob_there = people.iter().find(|person| person.contact.peer == bob.id()).unwrap();
        assert_eq!(bob_there.connected, None, "who took leave is not called by itself");
    }
    [carol, alice, bob]
}

#[tokio::test(start_paused = true)]
async fn two_contacts_find_each_other_again_through_a_third() {
    let mut world = World::new(71);
    let [_carol, mut alice, mut bob] = three(&mut world, true).await;
    let start = now();
    alice.engine.send(bob.id(), "still there?").await.unwrap();
    // It may come before the greeting.
    assert_eq!(bob.wait_text().await, "still there?");
    println!("arrived {:?} after it was written", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(3), "after {:?}", start.elapsed());
    is_direct(&mut alice, bob.id()).await;
    bob.engine.send(alice.id(), "yes").await.unwrap();
    assert_eq!(alice.wait_text().await, "yes");
}

/// Who is sought answers only people it knows: the one between tells nobody that it is there.
#[tokio::test(start_paused = true)]
async fn strangers_are_not_introduced() {
    let mut world = World::new(72);
    let [_carol, alice, mut bob] = three(&mut world, false).await;
    alice.engine.connect(bob.id()).await;
    alice.engine.send(bob.id(), "who are you?").await.unwrap();
    let heard = tokio::time::timeout(MINUTE, bob.wait_connected()).await;
    assert!(heard.is_err(), "{heard:?}");
}
