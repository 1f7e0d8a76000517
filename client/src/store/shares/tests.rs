use bytes::Bytes;
use common::identity::{Identity, PeerId};

use super::*;
use crate::log::ingest::{Invalid, Outcome};
use crate::log::{Act, ConversationId};
use crate::store::Store;

const ME: usize = 0;
const LOUD: usize = 1;
const OTHER: usize = 2;

/// Three members of one room, each with a store of their own.
struct Room {
    _dir: tempfile::TempDir,
    people: Vec<(Identity, Store)>,
    id: ConversationId,
    nonce: u64,
}

impl Room {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut people = Vec::new();
        for seed in [1, 2, 3] {
            let identity = Identity::from_seed([seed; 32]);
            let path = dir.path().join(seed.to_string());
            let store = Store::open(&path, identity.peer_id()).await.unwrap();
            people.push((identity, store));
        }
        let id = ConversationId::room(people[ME].0.peer_id(), 1, 1, "club");
        let mut room = Self { _dir: dir, people, id, nonce: 0 };
        room.tell_all(ME, Content::Room(Act::Create { name: "club".to_owned() })).await;
        for n in [LOUD, OTHER] {
            room.tell_all(ME, Content::Room(Act::Add(room.peer(n)))).await;
            room.tell_all(n, Content::Room(Act::Accept)).await;
        }
        room
    }

    fn peer(&self, n: usize) -> PeerId {
        self.people[n].0.peer_id()
    }

    async fn write(&mut self, n: usize, content: Content) -> Result<Bytes, StoreError> {
        self.nonce += 1;
        let (identity, store) = &self.people[n];
        let nonce = self.nonce;
        let row = store.compose(identity, self.id, &[], content, 1, nonce).await?;
        let number = i64::try_from(row.arrival).unwrap();
        Ok(store.signed_rows(vec![number]).await?.pop().unwrap().bytes().clone())
    }

    async fn say(&mut self, n: usize) -> Bytes {
        self.write(n, Content::text("hello")).await.unwrap()
    }

    async fn hand(&self, from: usize, to: usize, bytes: &Bytes) -> Outcome {
        let taken = self.people[to].1.ingest(self.peer(from), vec![bytes.clone()], 1).await.unwrap();
        taken[0].outcome.clone()
    }

    async fn tell_all(&mut self, n: usize, content: Content) {
        let bytes = self.write(n, content).await.unwrap();
        for to in [ME, LOUD, OTHER].into_iter().filter(|to| *to != n) {
            assert_eq!(self.hand(n, to, &bytes).await, Outcome::Delivered);
        }
    }

    /// `at` is made to believe that `author` has said so much.
    async fn pretend(&self, at: usize, author: usize, said: u64) {
        let author = self.peer(author);
        let set = move |conn: &Connection| {
            let update = "UPDATE shares SET bytes = ?2 WHERE author = ?1";
            run(conn, update, params![author.as_bytes(), int(said)])
        };
        assert_eq!(self.people[at].1.write(set).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn who_has_said_too_much_is_not_heard_but_for_what_the_room_needs() {
    let mut room = Room::new().await;
    room.tell_all(LOUD, Content::text("hello")).await;
    room.pretend(ME, LOUD, MAX_SHARE - 1).await;
    let last = room.say(LOUD).await;
    assert_eq!(room.hand(LOUD, ME, &last).await, Outcome::Delivered);
    let (beyond, topic) = (room.say(LOUD).await, Content::Room(Act::Topic("x".to_owned())));
    assert_eq!(room.hand(LOUD, ME, &beyond).await, Outcome::Invalid(Invalid::TooMuch));
    assert_eq!(room.hand(LOUD, ME, &last).await, Outcome::Duplicate);
    room.tell_all(OTHER, Content::text("others are heard")).await;
    room.tell_all(OTHER, topic).await;
}

#[tokio::test]
async fn nobody_writes_what_others_would_not_take() {
    let mut room = Room::new().await;
    room.tell_all(ME, Content::text("hello")).await;
    room.pretend(ME, ME, MAX_SHARE).await;
    let refused = room.write(ME, Content::text("more")).await;
    assert_eq!(refused, Err(StoreError::NotAllowed(Invalid::TooMuch)));
    room.tell_all(ME, Content::Room(Act::Rename("events are no talk".to_owned()))).await;
}

#[tokio::test]
async fn each_member_who_builds_on_it_vouches_for_as_much_once_more() {
    let mut room = Room::new().await;
    room.tell_all(LOUD, Content::text("hello")).await;
    room.pretend(ME, LOUD, MAX_SHARE).await;
    for (said, expected) in [
        (MAX_SHARE, Outcome::Delivered),
        (2 * MAX_SHARE - 1, Outcome::Delivered),
        (2 * MAX_SHARE, Outcome::Invalid(Invalid::TooMuch)),
    ] {
        room.pretend(ME, LOUD, said).await;
        let loud = room.say(LOUD).await;
        assert_eq!(room.hand(LOUD, OTHER, &loud).await, Outcome::Delivered);
        let answer = room.say(OTHER).await;
        assert!(matches!(room.hand(OTHER, ME, &answer).await, Outcome::Waiting { .. }));
        assert_eq!(room.hand(OTHER, ME, &loud).await, expected, "after {said}");
        assert_eq!(room.hand(OTHER, LOUD, &answer).await, Outcome::Delivered);
    }
}

#[tokio::test]
async fn what_is_taken_back_does_not_count() {
    let mut room = Room::new().await;
    let bytes = room.say(ME).await;
    let id = crate::log::MessageId::of(&bytes);
    room.people[ME].1.cancel(id).await.unwrap();
    let said = |conn: &Connection| {
        Ok(conn.query_row("SELECT coalesce(sum(bytes), 0) FROM shares", [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(room.people[ME].1.read(said).await.unwrap(), 0);
}
