//! Names on the server, and what becomes of them. `docs/protocol.md` §10.

use client::engine::{EngineError, Event, Pinning};
use client::net::NameFailure;
use tests::nat::Profile;
use tests::world::{Access, Client, Home, World};

async fn client(world: &mut World) -> (Home, Client) {
    let home = world.home(&Access::Nat(Profile::eim_apdf_random()));
    let mut client = world.client(&home).await;
    client.wait("the server", |event| matches!(event, Event::ServerUp { .. }).then_some(())).await;
    (home, client)
}

fn failure<T: std::fmt::Debug>(result: Result<T, EngineError>) -> NameFailure {
    match result {
        Err(EngineError::Names(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_is_found_by_their_name_and_called() {
    let mut world = World::new(61);
    let (_, mut alice) = client(&mut world).await;
    // Two who are in the lobby would meet by themselves.
    let (_, mut carol) = client(&mut world).await;
    alice.wait_connected().await;
    carol.wait_connected().await;
    let (_, bob) = client(&mut world).await;

    let taken = alice.engine.take_name("Alice", false).await.unwrap();
    assert_eq!((taken.name.as_str(), taken.peer), ("alice", alice.id()));
    assert_eq!(failure(bob.engine.take_name("ALICE", true).await), NameFailure::Taken);
    assert!(matches!(bob.engine.take_name("a b", true).await, Err(EngineError::Name(_))));
    assert_eq!(bob.engine.find_name("ali", Pinning::Keep).await.unwrap(), [], "it is not listed");
    let found = bob.engine.find_name("aLiCe", Pinning::Keep).await.unwrap();
    assert_eq!((found.len(), found[0].peer, found[0].was), (1, alice.id(), None));
    bob.engine.send(found[0].peer, "is it you?").await.unwrap();
    assert_eq!(alice.wait_text().await, "is it you?");
    assert_eq!(alice.engine.own_names().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_changes_hands_is_told_and_not_believed() {
    let mut world = World::new(62);
    let (_, alice) = client(&mut world).await;
    let (_, bob) = client(&mut world).await;
    let (_, carol) = client(&mut world).await;
    alice.engine.take_name("nick", true).await.unwrap();
    assert_eq!(carol.engine.find_name("ni", Pinning::Keep).await.unwrap()[0].name, "nick");
    assert_eq!(carol.engine.find_name("nick", Pinning::Keep).await.unwrap()[0].was, None);
    assert_eq!(failure(bob.engine.drop_name("nick").await), NameFailure::NotYours);
    alice.engine.drop_name("nick").await.unwrap();
    bob.engine.take_name("nick", true).await.unwrap();
    for _ in 0..2 {
        let found = carol.engine.find_name("nick", Pinning::Keep).await.unwrap();
        assert_eq!((found[0].peer, found[0].was), (bob.id(), Some(alice.id())));
    }
    assert_eq!(carol.engine.find_name("nick", Pinning::Renew).await.unwrap()[0].was, None);
    assert_eq!(carol.engine.find_name("nick", Pinning::Keep).await.unwrap()[0].was, None);
}

#[tokio::test(start_paused = true)]
async fn without_a_server_there_are_no_names() {
    let mut world = World::new(63);
    let (_, mut alice) = client(&mut world).await;
    world.kill_server();
    assert_eq!(failure(alice.engine.own_names().await), NameFailure::Silent);
    alice.wait("the server's end", |event| matches!(event, Event::ServerDown { .. }).then_some(())).await;
    assert_eq!(failure(alice.engine.own_names().await), NameFailure::NoServer);
}
