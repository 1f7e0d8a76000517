//! People come by links: to a person and into a room, and are told why when they cannot. `docs/protocol.md` §9.

use std::time::Duration;

use client::engine::{EngineError, Event, Kind, LINK_LIFETIME, Link, LinkError, LinkNews, LinkSecret, Terms};
use client::log::{ConversationId, Standing};
use common::identity::Identity;
use tests::nat::Profile;
use tests::world::{Access, Client, Home, World, now, text_of};

const HOUR: Duration = Duration::from_secs(3600);

fn nat() -> Access {
    Access::Nat(Profile::eim_apdf_random())
}

fn terms(room: Option<ConversationId>, uses: u32) -> Terms {
    Terms { room, uses, lifetime: LINK_LIFETIME }
}

async fn news(client: &mut Client) -> LinkNews {
    let news = |event: &Event| if let Event::Link(news) = event { Some(news.clone()) } else { None };
    client.wait("news of a link", news).await
}

async fn server_up(client: &mut Client) {
    client.wait("the server", |event| matches!(event, Event::ServerUp { .. }).then_some(())).await;
}

async fn failure(client: &mut Client) -> String {
    match news(client).await {
        LinkNews::Failed { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// Somebody who waits in no lobby.
async fn host(world: &mut World) -> (Home, Client) {
    let home = world.home(&nat());
    let mut client = world.client(&home).await;
    server_up(&mut client).await;
    (home, client)
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_comes_by_a_link_to_the_inviter_and_to_nobody_else() {
    let mut world = World::new(51);
    let (_, mut alice) = host(&mut world).await;
    let link = alice.engine.make_link(terms(None, 1)).await.unwrap();
    let link: Link = link.to_string().parse().unwrap();
    assert_eq!((link.server, link.inviter), (world.server_key(), alice.id()));

    let b = world.home(&nat());
    let start = now();
    let mut bob = world.guest(&b, link.clone()).await;
    assert_eq!(news(&mut bob).await, LinkNews::Joined { peer: alice.id(), room: None });
    assert!(start.elapsed() < Duration::from_secs(2), "after {:?}", start.elapsed());
    assert_eq!(news(&mut alice).await, LinkNews::Admitted { peer: bob.id(), room: None });
    bob.engine.send(alice.id(), "it is me").await.unwrap();
    assert_eq!(alice.wait_text().await, "it is me");
    assert_eq!(world.server_stats().core.paired, 0, "who follows a link does not wait for strangers");

    let c = world.home(&nat());
    let mut carol = world.guest(&c, link.clone()).await;
    assert!(failure(&mut carol).await.contains("used by as many"));
    bob.engine.join(&link).await.unwrap();
    assert_eq!(news(&mut bob).await, LinkNews::Joined { peer: alice.id(), room: None }, "it is still Bob's");
}

#[tokio::test(start_paused = true)]
async fn a_link_into_a_room_waits_for_the_inviter_over_restarts_of_both() {
    let mut world = World::new(52);
    let (a, mut alice) = host(&mut world).await;
    let room = alice.engine.create_room("Club").await.unwrap();
    let link = alice.engine.make_link(terms(Some(room), 2)).await.unwrap();
    alice.kill().await;

    let b = world.home(&nat());
    let mut bob = world.guest(&b, link).await;
    server_up(&mut bob).await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    bob.kill().await;
    let mut bob = world.client(&b).await;
    server_up(&mut bob).await;
    alice = world.client(&a).await;

    assert_eq!(news(&mut bob).await, LinkNews::Joined { peer: alice.id(), room: Some(room) });
    assert_eq!(news(&mut alice).await, LinkNews::Admitted { peer: bob.id(), room: Some(room) });
    let info = bob.engine.conversation(room).await.unwrap().unwrap();
    assert!(matches!(info.kind, Kind::Room { standing: Some(Standing::Member), .. }), "{info:?}");
    bob.engine.post(room, "hello all".to_owned().into()).await.unwrap();
    let said = |event: &Event| match event {
        Event::Message { message, .. } => (text_of(message) == "hello all").then_some(()),
        _ => None,
    };
    alice.wait("what Bob says in the room", said).await;
    assert_eq!(bob.engine.store().joins().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_come_in_is_told_why() {
    let mut world = World::new(53);
    let (_, alice) = host(&mut world).await;
    let b = world.home(&nat());
    let good = alice.engine.make_link(terms(None, 5)).await.unwrap();
    let mut bob = world.guest(&b, good.clone()).await;
    news(&mut bob).await;

    let wrong = Link { secret: LinkSecret::from_bytes([7; 16]), ..good.clone() };
    bob.engine.join(&wrong).await.unwrap();
    assert!(failure(&mut bob).await.contains("does not know the link"));

    let revoked = alice.engine.make_link(terms(None, 1)).await.unwrap();
    let id = revoked.secret.mark().to_hex()[..8].to_owned();
    client::engine::revoke_link(alice.engine.store(), &id).await.unwrap();
    bob.engine.join(&revoked).await.unwrap();
    assert!(failure(&mut bob).await.contains("taken back"));

    let room = alice.engine.create_room("Club").await.unwrap();
    let closed = alice.engine.make_link(terms(Some(room), 1)).await.unwrap();
    alice.engine.leave(room).await.unwrap();
    bob.engine.join(&closed).await.unwrap();
    assert!(failure(&mut bob).await.contains("may not let anybody"));

    let refused = |link: Link| {
        let engine = bob.engine.clone();
        async move {
            match engine.join(&link).await {
                Err(EngineError::Link(error)) => error,
                other => panic!("{other:?}"),
            }
        }
    };
    let stranger = Identity::from_seed([200; 32]).peer_id();
    let elsewhere = Link { address: "192.0.2.9:5000".to_owned(), server: stranger, ..good.clone() };
    assert!(matches!(refused(elsewhere).await, LinkError::OtherServer(_)));
    let forged = Link { server: stranger, ..good.clone() };
    assert!(matches!(refused(forged).await, LinkError::OtherKey { .. }), "a pinned key is not replaced");
    assert_eq!(refused(Link { inviter: bob.id(), ..good.clone() }).await, LinkError::Own);
    assert_eq!(refused(Link { expires_ms: 0, ..good }).await, LinkError::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_link_ends_with_its_time_also_for_who_waits_for_the_inviter() {
    let mut world = World::new(54);
    let (_, alice) = host(&mut world).await;
    let link = alice.engine.make_link(Terms { lifetime: HOUR, ..terms(None, 1) }).await.unwrap();
    alice.kill().await;
    let b = world.home(&nat());
    let mut bob = world.guest(&b, link).await;
    server_up(&mut bob).await;
    tokio::time::sleep(HOUR).await;
    assert!(failure(&mut bob).await.contains("expired"));
    assert_eq!(bob.engine.store().joins().await.unwrap(), []);
}

/// Of many wrong links on one connection only a few are looked at.
#[tokio::test(start_paused = true)]
async fn links_are_not_guessed_on_one_connection() {
    let mut world = World::new(55);
    let (_, mut alice) = host(&mut world).await;
    let good = alice.engine.make_link(terms(None, 1)).await.unwrap();
    let wrong = |number: u8| Link { secret: LinkSecret::from_bytes([number; 16]), ..good.clone() };
    let b = world.home(&nat());
    let mut bob = world.guest(&b, wrong(0)).await;
    failure(&mut bob).await;
    for number in 1..8 {
        bob.engine.join(&wrong(number)).await.unwrap();
        failure(&mut bob).await;
    }
    bob.engine.join(&good).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bob.engine.store().joins().await.unwrap().len(), 1, "not looked at, and not refused");
    bob.engine.disconnect(alice.id()).await;
    let gone = |event: &Event| matches!(event, Event::Disconnected { .. }).then_some(());
    bob.wait("the end of the connection", gone).await;
    bob.engine.connect(alice.id()).await;
    assert_eq!(news(&mut bob).await, LinkNews::Joined { peer: alice.id(), room: None });
    assert_eq!(news(&mut alice).await, LinkNews::Admitted { peer: bob.id(), room: None });
}
