//! Blocking, invisibility and presence in the simulated world: what the others see, and what goes over the wire.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::engine::settings::Setting;
use client::engine::{Choice, Engine, Event, Visibility};
use client::log::ConversationId;
use client::store::{HistoryRow, Regard, State, Subject};
use common::control::MAX_WATCHED;
use common::identity::PeerId;
use tests::nat::Profile;
use tests::world::{Access, Client, Home, World, text_of, wall_clock};
use tokio::time::sleep;

const SETTLE: Duration = Duration::from_secs(20);
/// Long enough for every retry that a client makes by itself, at its slowest.
const LONG: Duration = Duration::from_secs(300);

fn nat() -> Access {
    Access::Nat(Profile::eim_apdf_random())
}

/// Everybody at home, met two by two.
async fn met(world: &mut World, count: usize) -> (Vec<Home>, Vec<Client>) {
    let homes: Vec<_> = (0..count).map(|_| world.home(&nat())).collect();
    let mut clients: Vec<Client> = Vec::new();
    for home in &homes {
        let mut client = world.client(home).await;
        online(&mut client).await;
        for other in &clients {
            client.engine.connect(other.id()).await;
        }
        clients.push(client);
        sleep(SETTLE).await;
    }
    clients.iter_mut().for_each(drain);
    (homes, clients)
}

async fn online(client: &mut Client) {
    client.wait("the server", |event| matches!(event, Event::ServerUp { .. }).then_some(())).await;
}

fn drain(client: &mut Client) {
    while client.events.try_recv().is_ok() {}
}

async fn block(engine: &Engine, peer: PeerId, is_on: bool) {
    engine.choose(Choice::Block { peer, is_on }).await.unwrap();
}

async fn invisible(engine: &Engine, but: &[PeerId]) {
    let visibility = Visibility::Invisible { but: but.to_vec() };
    engine.choose(Choice::Visibility(visibility)).await.unwrap();
}

async fn set(engine: &Engine, name: &str, value: &str) {
    let setting = Setting::find(name).unwrap();
    engine.choose(Choice::Set { setting, value: setting.value(value).unwrap() }).await.unwrap();
}

/// What a client has told of `peer` since the last look, without what differs from run to run.
fn told_of(client: &mut Client, peer: PeerId) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(event) = client.events.try_recv() {
        match event {
            Event::Connected { peer: who, .. } if who == peer => told.push("connected".to_owned()),
            Event::Disconnected { peer: who, reason } if who == peer => told.push(format!("gone: {reason}")),
            Event::Unreachable { peer: who, reason } if who == peer => {
                told.push(format!("unreachable: {reason}"));
            }
            Event::Presence { peer: who, online } if who == peer => told.push(format!("online: {online}")),
            Event::State { peer: who, state, .. } if who == peer => told.push(format!("state: {state}")),
            Event::Message { message, .. } if message.author == peer => told.push(text_of(&message)),
            _ => {}
        }
    }
    told
}

/// Counts the packets that one home puts on the core towards the public address of another, arriving or not.
struct Packets(Arc<AtomicU64>);

impl Packets {
    fn between(world: &World, from: &Home, number_of_to: u8) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let (counted, host, to) = (Arc::clone(&count), from.host, IpAddr::from([198, 51, 100, number_of_to]));
        world.net.tap(move |packet| {
            if packet.from == host && packet.dst.ip() == to {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self(count)
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

async fn is_connected(client: &Client, peer: PeerId) -> bool {
    let people = client.engine.people().await.unwrap();
    people.iter().any(|person| person.contact.peer == peer && person.connected.is_some())
}

/// To a blocked person everything is as if the other had left, at the same moments.
#[tokio::test(start_paused = true)]
async fn who_is_blocked_sees_the_same_as_when_the_other_leaves() {
    let mut stories = Vec::new();
    for is_blocked in [false, true] {
        let mut world = World::new(41);
        let (homes, mut clients) = met(&mut world, 2).await;
        let packets = Packets::between(&world, &homes[0], 2);
        let (mut bob, alice) = (clients.pop().unwrap(), clients.pop().unwrap());
        let (a, b) = (alice.id(), bob.id());
        assert!(is_connected(&bob, a).await);
        if is_blocked {
            block(&alice.engine, b, true).await;
        } else {
            alice.engine.shutdown().await;
        }
        sleep(SETTLE).await;
        assert!(packets.count() > 0, "the farewell");
        let before = (packets.count(), world.server_stats().core.relayed);
        bob.engine.send(a, "are you there?").await.unwrap();
        sleep(LONG).await;
        bob.engine.connect(a).await;
        sleep(LONG).await;
        let after = (packets.count(), world.server_stats().core.relayed);
        assert_eq!(before, after, "nothing goes to the blocked");
        let mut told = told_of(&mut bob, a);
        let again = bob.engine.people().await.unwrap();
        told.push(format!(
            "{:?}",
            again.iter().map(|person| (person.online, person.connected.is_some())).collect::<Vec<_>>()
        ));
        stories.push(told);
    }
    assert_eq!(stories[0], stories[1]);
    assert!(stories[0].contains(&"gone: left".to_owned()), "{:?}", stories[0]);
}

/// The server is told of the last 200 who were blocked. Who was blocked before them is kept out by the client itself, over
/// restarts too.
#[tokio::test(start_paused = true)]
async fn who_was_blocked_before_many_others_stays_blocked() {
    let mut world = World::new(46);
    let (homes, mut clients) = met(&mut world, 2).await;
    let (mut bob, alice) = (clients.pop().unwrap(), clients.pop().unwrap());
    let (a, b) = (alice.id(), bob.id());
    block(&alice.engine, b, true).await;
    for n in 1..=MAX_WATCHED {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        block(&alice.engine, PeerId::from_bytes(key), true).await;
    }
    sleep(SETTLE).await;
    let packets = Packets::between(&world, &homes[0], 2);
    told_of(&mut bob, a);
    bob.engine.send(a, "are you there?").await.unwrap();
    bob.engine.connect(a).await;
    sleep(LONG).await;
    alice.kill().await;
    let alice = world.client(&homes[0]).await;
    bob.engine.connect(a).await;
    sleep(LONG).await;
    assert_eq!(packets.count(), 0, "nothing goes to the blocked");
    let told = told_of(&mut bob, a);
    assert!(told.iter().all(|told| told == "state: sent" || told.starts_with("unreachable")), "{told:?}");
    assert!(!is_connected(&bob, a).await && !is_connected(&alice, b).await);
}

/// What is written to the blocked waits, over restarts; unblocking brings everything, in both directions.
#[tokio::test(start_paused = true)]
async fn unblocking_brings_back_what_was_written_meanwhile() {
    let mut world = World::new(42);
    let (homes, mut clients) = met(&mut world, 2).await;
    let (mut bob, alice) = (clients.pop().unwrap(), clients.pop().unwrap());
    let (a, b) = (alice.id(), bob.id());
    block(&alice.engine, b, true).await;
    sleep(SETTLE).await;
    alice.engine.send(b, "in anger").await.unwrap();
    bob.engine.send(a, "sorry").await.unwrap();
    sleep(SETTLE).await;
    alice.kill().await;
    let mut alice = world.client(&homes[0]).await;
    sleep(LONG).await;
    assert!(!is_connected(&bob, a).await, "it is kept durably");
    let direct = alice.engine.direct(b);
    assert!(alice.engine.conversations().await.unwrap().iter().all(|info| info.id != direct));
    let unsent = alice.engine.unsent(9).await.unwrap();
    assert_eq!(unsent.iter().map(|(unsent, _)| unsent.state).collect::<Vec<_>>(), [State::Pending]);
    drain(&mut alice);
    drain(&mut bob);

    block(&alice.engine, b, false).await;
    assert_eq!(alice.wait_text().await, "sorry");
    assert_eq!(bob.wait_text().await, "in anger");
    assert!(alice.engine.conversations().await.unwrap().iter().any(|info| info.id == direct));
}

/// In a room messages of the blocked come by way of others, marked, and are answered by others.
#[tokio::test(start_paused = true)]
async fn the_blocked_vanish_from_rooms_and_come_back() {
    let mut world = World::new(43);
    let (homes, clients) = met(&mut world, 3).await;
    let room = clients[0].engine.create_room("club").await.unwrap();
    for n in [1, 2] {
        clients[0].engine.invite(room, clients[n].id()).await.unwrap();
        sleep(SETTLE).await;
        clients[n].engine.accept(room).await.unwrap();
        sleep(SETTLE).await;
    }
    block(&clients[0].engine, clients[1].id(), true).await;
    sleep(SETTLE).await;
    let packets = Packets::between(&world, &homes[0], 2);
    clients[1].engine.post(room, "spam".to_owned().into()).await.unwrap();
    sleep(SETTLE).await;
    clients[2].engine.post(room, "an answer".to_owned().into()).await.unwrap();
    sleep(SETTLE).await;
    clients[0].engine.post(room, "mine".to_owned().into()).await.unwrap();
    sleep(LONG).await;
    assert_eq!(packets.count(), 0);
    let texts = async |client: &Client| texts(client, room).await;
    let all = |regard| {
        [("spam", regard), ("an answer", Regard::Open), ("mine", Regard::Open)]
            .map(|(text, regard)| (text.to_owned(), regard))
    };
    assert_eq!(texts(&clients[0]).await, all(Regard::Hidden));
    assert_eq!(texts(&clients[1]).await, all(Regard::Open), "the blocked reads on by way of others");
    let info = clients[0].engine.conversation(room).await.unwrap().unwrap();
    assert_eq!(info.unread, 1, "the answer");
    block(&clients[0].engine, clients[1].id(), false).await;
    sleep(SETTLE).await;
    assert_eq!(texts(&clients[0]).await, all(Regard::Open));
    assert!(is_connected(&clients[0], clients[1].id()).await);
}

async fn texts(client: &Client, room: ConversationId) -> Vec<(String, Regard)> {
    let rows = client.engine.history(room, None, 100).await.unwrap();
    let text = |row| match row {
        HistoryRow::Message(row) => Some((row.content.as_text()?.to_owned(), row.regard)),
        HistoryRow::Gap(_) => panic!("a gap"),
    };
    rows.into_iter().filter_map(text).collect()
}

/// Nothing goes to those from whom one hides, whatever they try; what one writes goes out afterwards.
#[tokio::test(start_paused = true)]
async fn the_invisible_send_nothing_to_those_they_hide_from() {
    let mut world = World::new(44);
    let (homes, mut clients) = met(&mut world, 3).await;
    let (mut carol, mut bob, alice) =
        (clients.pop().unwrap(), clients.pop().unwrap(), clients.pop().unwrap());
    let (a, b, c) = (alice.id(), bob.id(), carol.id());
    invisible(&alice.engine, &[c]).await;
    sleep(SETTLE).await;
    assert!(is_connected(&alice, c).await && !is_connected(&alice, b).await);
    let to_bob = Packets::between(&world, &homes[0], 2);
    let introductions = world.server_stats().core.introductions;
    alice.engine.send(b, "from the dark").await.unwrap();
    alice.engine.connect(b).await;
    bob.engine.send(a, "anybody there?").await.unwrap();
    bob.engine.connect(a).await;
    alice.engine.send(c, "you see me").await.unwrap();
    assert_eq!(carol.wait_text().await, "you see me");
    sleep(LONG).await;
    assert_eq!((to_bob.count(), world.server_stats().core.introductions), (0, introductions));
    let told = told_of(&mut bob, a);
    assert!(told.contains(&"unreachable: not online".to_owned()), "{told:?}");
    assert!(told.iter().all(|line| line != "state: delivered" && line != "connected"), "{told:?}");

    // It holds from the first packet after a restart on.
    alice.kill().await;
    let mut alice = world.client(&homes[0]).await;
    sleep(LONG).await;
    assert_eq!(to_bob.count(), 0);
    assert!(is_connected(&alice, c).await && !is_connected(&alice, b).await);
    drain(&mut alice);

    alice.engine.choose(Choice::Visibility(Visibility::Visible)).await.unwrap();
    assert_eq!(bob.wait_text().await, "from the dark");
    assert_eq!(alice.wait_text().await, "anybody there?");
}

/// Somebody who knows nobody does not wait in the lobby while invisible, and does afterwards.
#[tokio::test(start_paused = true)]
async fn the_invisible_do_not_wait_for_newcomers() {
    let mut world = World::new(45);
    let (a, b) = (world.home(&nat()), world.home(&nat()));
    let mut alice = world.client(&a).await;
    alice.wait("the lobby", |event| matches!(event, Event::Waiting).then_some(())).await;
    invisible(&alice.engine, &[]).await;
    sleep(SETTLE).await;
    let bob = world.client(&b).await;
    sleep(LONG).await;
    assert_eq!(world.server_stats().core.paired, 0);
    assert!(alice.engine.meet().await.is_err() && alice.engine.claim_code("1-zoo-zoo-zoo").await.is_err());
    alice.engine.choose(Choice::Visibility(Visibility::Visible)).await.unwrap();
    assert_eq!(alice.wait_connected().await.0, bob.id());
}

/// Presence is told of only by mutual consent; what is written arrives all the same.
#[tokio::test(start_paused = true)]
async fn presence_that_is_taken_back_is_told_of_no_more() {
    let mut world = World::new(46);
    let (homes, mut clients) = met(&mut world, 2).await;
    let (mut bob, alice) = (clients.pop().unwrap(), clients.pop().unwrap());
    let (a, b) = (alice.id(), bob.id());
    alice.engine.choose(Choice::Presence { peer: b, is_shown: false }).await.unwrap();
    sleep(SETTLE).await;
    assert!(told_of(&mut bob, a).contains(&"online: false".to_owned()));
    // A connection that is lost is made again; one that was left is not.
    alice.engine.disconnect(b).await;
    sleep(SETTLE).await;
    alice.kill().await;
    let mut alice = world.client(&homes[0]).await;
    sleep(LONG).await;
    assert!(!told_of(&mut bob, a).contains(&"online: true".to_owned()));
    let people = alice.engine.people().await.unwrap();
    assert!(!people[0].online && people[0].connected.is_none(), "nor does the one who hides see the other");
    bob.engine.send(a, "all the same").await.unwrap();
    assert_eq!(alice.wait_text().await, "all the same");
    alice.engine.disconnect(b).await;
    sleep(SETTLE).await;
    alice.engine.choose(Choice::Presence { peer: b, is_shown: true }).await.unwrap();
    sleep(SETTLE).await;
    assert!(told_of(&mut bob, a).contains(&"online: true".to_owned()));
}

/// Without strangers only contacts and members of rooms find one, but for those who are told a code.
#[tokio::test(start_paused = true)]
async fn strangers_can_be_kept_from_finding_out() {
    let mut world = World::new(47);
    let (_homes, mut clients) = met(&mut world, 2).await;
    let (bob, mut alice) = (clients.pop().unwrap(), clients.pop().unwrap());
    set(&alice.engine, "strangers", "off").await;
    sleep(SETTLE).await;
    let d = world.home(&nat());
    let mut dora = world.client(&d).await;
    online(&mut dora).await;
    dora.engine.connect(alice.id()).await;
    sleep(SETTLE).await;
    let told = told_of(&mut dora, alice.id());
    assert!(told.contains(&"unreachable: not online".to_owned()), "{told:?}");
    assert!(is_connected(&alice, bob.id()).await, "a contact is no stranger");

    alice.engine.offer_code().await;
    let code = alice.wait("a code", |event| match event {
        Event::Code(common::code::News::Offered(code)) => Some(code.to_string()),
        _ => None,
    });
    let code = code.await;
    dora.engine.claim_code(&code).await.unwrap();
    assert_eq!(alice.wait_connected().await.0, dora.id());
}

/// A mute ends by itself, also if it does so while nobody looks.
#[tokio::test(start_paused = true)]
async fn mutes_end() {
    let mut world = World::new(48);
    let (homes, mut clients) = met(&mut world, 2).await;
    let (bob, alice) = (clients.pop().unwrap(), clients.pop().unwrap());
    let (a, b) = (alice.id(), bob.id());
    let hour = wall_clock() + 3_600_000;
    let mute = Choice::Mute { whom: Subject::Person(b), until_ms: Some(hour) };
    alice.engine.choose(mute).await.unwrap();
    bob.engine.send(a, "psst").await.unwrap();
    sleep(SETTLE).await;
    let regard = async |alice: &Client| {
        let info = alice.engine.conversation(alice.engine.direct(b)).await.unwrap().unwrap();
        (info.regard, info.unread)
    };
    assert_eq!(regard(&alice).await, (Regard::Quiet, 0));
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(regard(&alice).await, (Regard::Open, 1));

    let later = Choice::Mute { whom: Subject::Person(b), until_ms: Some(wall_clock() + 3_600_000) };
    alice.engine.choose(later).await.unwrap();
    alice.kill().await;
    sleep(Duration::from_secs(3600)).await;
    let alice = world.client(&homes[0]).await;
    assert_eq!(regard(&alice).await, (Regard::Open, 1));
    assert_eq!(alice.engine.whois(b).await.unwrap().muted, None);
}
