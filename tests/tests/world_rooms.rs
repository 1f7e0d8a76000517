//! Rooms between real clients in the simulated world (`docs/protocol.md` §7.3, §7.4).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::time::Duration;

use client::engine::{Draft, Event, Kind};
use client::log::{ConversationId, Reaction, Standing};
use client::store::{HistoryRow, MessageRow, State};
use common::identity::PeerId;
use tests::world::{Access, Client, Home, World};
use tokio::time::sleep;

/// More than the longest wait between two looks for somebody.
const LONG: Duration = Duration::from_secs(90);

fn words(text: &str) -> Draft {
    Draft::from(text.to_owned())
}

async fn rows(client: &Client, conversation: ConversationId) -> Vec<MessageRow> {
    let rows = client.engine.history(conversation, None, 10_000).await.unwrap();
    rows.into_iter()
        .map(|row| match row {
            HistoryRow::Message(row) => *row,
            HistoryRow::Gap(_) => panic!("a gap"),
        })
        .collect()
}

async fn texts(client: &Client, conversation: ConversationId) -> Vec<String> {
    let rows = rows(client, conversation).await;
    rows.iter().filter_map(|row| row.content.as_text()).map(str::to_owned).collect()
}

async fn members(client: &Client, room: ConversationId) -> Vec<(PeerId, Standing)> {
    let info = client.engine.conversation(room).await.unwrap().unwrap();
    let Kind::Room { members, .. } = info.kind else { panic!("not a room") };
    members.into_iter().map(|member| (member.peer, member.standing)).collect()
}

/// Waits for an invitation and takes it.
async fn join(client: &mut Client) -> ConversationId {
    let room = client
        .wait("an invitation", |event| match event {
            Event::Invited { conversation, .. } => Some(*conversation),
            _ => None,
        })
        .await;
    client.engine.accept(room).await.unwrap();
    room
}

/// Waits until the client has a text in a conversation.
async fn has(client: &Client, conversation: ConversationId, text: &str) {
    for _ in 0..200 {
        if texts(client, conversation).await.iter().any(|t| t == text) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("{} has {:?} and not {text}", client.id().short(), texts(client, conversation).await);
}

fn homes(world: &mut World, count: usize) -> Vec<Home> {
    (0..count).map(|_| world.home(&Access::Public)).collect()
}

#[tokio::test(start_paused = true)]
async fn who_is_never_online_together_reads_through_a_third() {
    let mut world = World::new(1);
    let homes = homes(&mut world, 3);
    let a = world.client(&homes[0]).await;
    let mut b = world.client(&homes[1]).await;
    let room = a.engine.create_room("tea").await.unwrap();
    for home in &homes[1..] {
        a.engine.invite(room, home.id()).await.unwrap();
    }
    assert_eq!(join(&mut b).await, room);
    b.engine.post(room, words("from b")).await.unwrap();
    has(&a, room, "from b").await;
    b.kill().await;

    let mut c = world.client(&homes[2]).await;
    join(&mut c).await;
    has(&c, room, "from b").await;
    c.engine.post(room, words("from c")).await.unwrap();
    has(&a, room, "from c").await;
    let posted = rows(&c, room).await.pop().unwrap();
    let towards = |peer: PeerId| posted.states.iter().find(|(to, _)| *to == peer).map(|(_, state)| *state);
    assert_eq!(towards(homes[0].id()), Some(State::Delivered));
    assert_eq!(towards(homes[1].id()), Some(State::Pending), "b has not said that it has it");
    c.kill().await;

    let b = world.client(&homes[1]).await;
    has(&b, room, "from c").await;
    assert_eq!(rows(&a, room).await.len(), rows(&b, room).await.len());
    assert_eq!(texts(&a, room).await, texts(&b, room).await);
    assert_eq!(members(&a, room).await, members(&b, room).await);
    a.kill().await;

    // When the two meet at last, c learns that b has had it all along.
    let c = world.client(&homes[2]).await;
    sleep(LONG).await;
    let again = rows(&c, room).await.pop().unwrap();
    assert!(again.states.iter().any(|(to, state)| *to == b.id() && *state >= State::Delivered));
}

#[tokio::test(start_paused = true)]
async fn kinds_are_applied_and_rights_hold() {
    let mut world = World::new(2);
    let homes = homes(&mut world, 3);
    let a = world.client(&homes[0]).await;
    let (mut b, mut c) = (world.client(&homes[1]).await, world.client(&homes[2]).await);
    let room = a.engine.create_room("work").await.unwrap();
    a.engine.invite(room, b.id()).await.unwrap();
    a.engine.invite(room, c.id()).await.unwrap();
    join(&mut b).await;
    join(&mut c).await;
    a.engine.set_topic(room, "things").await.unwrap();
    let first = a.engine.post(room, words("helo")).await.unwrap();
    has(&b, room, "helo").await;
    a.engine.edit(room, first.id(), "hello").await.unwrap();
    b.engine.react(room, first.id(), "+1", Reaction::Add).await.unwrap();
    let answer = Draft { reply_to: Some(first.id()), mentions: vec![a.id()], ..words("hi") };
    let answer = b.engine.post(room, answer).await.unwrap();
    assert!(b.engine.edit(room, first.id(), "mine").await.is_err());
    assert!(b.engine.remove(room, c.id()).await.is_err(), "b owns nothing");
    has(&c, room, "hi").await;
    has(&c, room, "hello").await;
    sleep(Duration::from_secs(5)).await;
    let at_c = rows(&c, room).await;
    let shown = at_c.iter().find(|row| row.id() == first.id()).unwrap();
    assert!(shown.marks.edited);
    assert_eq!(shown.marks.reactions, [("+1".to_owned(), vec![b.id()])]);
    c.engine.mark_read(room).await.unwrap();
    b.wait("a read mark", |event| match event {
        Event::State { id, peer, state: State::Read } if *id == answer.id() => Some(*peer),
        _ => None,
    })
    .await;
    a.engine.typing(room).await.unwrap();
    b.wait("typing", |event| matches!(event, Event::Typing { .. }).then_some(())).await;
    a.engine.remove(room, c.id()).await.unwrap();
    b.engine.delete(room, answer.id()).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(members(&b, room).await.len(), 2);
    assert!(c.engine.post(room, words("still here")).await.is_err());
    a.engine.post(room, words("without c")).await.unwrap();
    sleep(LONG).await;
    assert!(!texts(&c, room).await.contains(&"without c".to_owned()));
    let gone = rows(&b, room).await.into_iter().find(|row| row.id() == answer.id()).unwrap();
    assert!(gone.marks.deleted);
}

#[tokio::test(start_paused = true)]
async fn what_waits_can_be_cancelled() {
    let mut world = World::new(3);
    let homes = homes(&mut world, 2);
    let a = world.client(&homes[0]).await;
    let room = a.engine.create_room("later").await.unwrap();
    a.engine.invite(room, homes[1].id()).await.unwrap();
    let kept = a.engine.post(room, words("keep")).await.unwrap();
    let regretted = a.engine.post(room, words("regret")).await.unwrap();
    assert!(a.engine.cancel(kept.id()).await.is_err(), "something builds on it");
    a.engine.cancel(regretted.id()).await.unwrap();
    assert_eq!(a.engine.unsent(100).await.unwrap().len(), 2);
    let last = a.engine.post(room, words("better")).await.unwrap();
    let mut b = world.client(&homes[1]).await;
    join(&mut b).await;
    has(&b, room, "better").await;
    assert_eq!(texts(&b, room).await, ["keep", "better"]);
    assert!(a.engine.cancel(last.id()).await.is_err(), "it has arrived");
}

/// Somebody who was invited while away and put out again has never heard of the room: nothing waits for them for ever.
#[tokio::test(start_paused = true)]
async fn nothing_waits_for_who_was_invited_and_put_out_again() {
    let mut world = World::new(4);
    let homes = homes(&mut world, 3);
    let a = world.client(&homes[0]).await;
    let room = a.engine.create_room("short").await.unwrap();
    a.engine.invite(room, homes[1].id()).await.unwrap();
    a.engine.post(room, words("hello")).await.unwrap();
    a.engine.invite(room, homes[2].id()).await.unwrap();
    a.engine.remove(room, homes[1].id()).await.unwrap();
    let waiting = a.engine.unsent(100).await.unwrap();
    assert!(waiting.iter().all(|(unsent, _)| unsent.recipient == homes[2].id()), "{waiting:?}");
    let mut c = world.client(&homes[2]).await;
    join(&mut c).await;
    has(&c, room, "hello").await;
    let b = world.client(&homes[1]).await;
    sleep(LONG).await;
    assert!(a.engine.unsent(100).await.unwrap().is_empty());
    assert!(b.engine.conversation(room).await.unwrap().is_none());
    // Who has heard of it hears that it is over.
    a.engine.remove(room, c.id()).await.unwrap();
    sleep(LONG).await;
    assert!(members(&c, room).await.iter().all(|(peer, _)| *peer != c.id()));
    assert!(a.engine.unsent(100).await.unwrap().is_empty());
}

/// In a large room each keeps connected to some of the others. If those are away, others take their place.
#[tokio::test(start_paused = true)]
async fn the_few_who_are_there_of_a_large_room_find_each_other() {
    let mut world = World::new(5);
    let homes = homes(&mut world, 24);
    let owner = world.client(&homes[0]).await;
    let room = owner.engine.create_room("hall").await.unwrap();
    for home in &homes[1..] {
        let mut guest = world.client(home).await;
        owner.engine.invite(room, home.id()).await.unwrap();
        assert_eq!(join(&mut guest).await, room);
        sleep(Duration::from_secs(2)).await;
        guest.kill().await;
    }
    owner.engine.post(room, words("all are here")).await.unwrap();
    for home in &homes[1..] {
        let guest = world.client(home).await;
        has(&guest, room, "all are here").await;
        guest.kill().await;
    }
    owner.kill().await;
    // They have never met.
    for pair in homes[1..].chunks_exact(2) {
        let one = world.client(&pair[0]).await;
        sleep(Duration::from_secs(60)).await;
        let other = world.client(&pair[1]).await;
        one.engine.post(room, words("anybody there?")).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert!(texts(&other, room).await.contains(&"anybody there?".to_owned()), "{:?}", pair[1]);
        one.kill().await;
        other.kill().await;
    }
}
