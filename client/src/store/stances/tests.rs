use common::identity::Identity;

use super::*;
use crate::log::{Act, Content};
use crate::store::{HistoryRow, MessageRow, Search, Selection, Term};

/// Three members of one room, each with a store of their own.
struct Room {
    _dir: tempfile::TempDir,
    people: [(Identity, Store); 3],
    id: ConversationId,
}

const SPAN: Span = Span { since_ms: 1, until_ms: None };

impl Room {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identities = [1, 2, 3].map(|seed| Identity::from_seed([seed; 32]));
        let mut people = Vec::new();
        for identity in identities {
            let path = dir.path().join(identity.peer_id().to_string());
            let store = Store::open(&path, identity.peer_id()).await.unwrap();
            people.push((identity, store));
        }
        let me = people[0].0.peer_id();
        let id = ConversationId::room(me, 1, 1, "club");
        let mut room = Self { _dir: dir, people: people.try_into().unwrap(), id };
        room.write(0, Content::Room(Act::Create { name: "club".to_owned() })).await;
        for n in [1, 2] {
            room.write(0, Content::Room(Act::Add(room.peer(n)))).await;
        }
        for n in [1, 2] {
            room.write(n, Content::Room(Act::Accept)).await;
        }
        room
    }

    fn peer(&self, n: usize) -> PeerId {
        self.people[n].0.peer_id()
    }

    fn mine(&self) -> &Store {
        &self.people[0].1
    }

    /// One writes, all others get it from them.
    async fn write(&mut self, n: usize, content: Content) -> MessageRow {
        let (identity, store) = &self.people[n];
        let is_creation = matches!(content, Content::Room(Act::Create { .. }));
        let nonce = if is_creation { 1 } else { rand::random() };
        let row = store.compose(identity, self.id, &[], content, 1, nonce).await.unwrap();
        let bytes: Vec<_> = store.signed_rows(vec![i64::try_from(row.arrival).unwrap()]).await.unwrap();
        let bytes: Vec<_> = bytes.iter().map(|message| message.bytes().clone()).collect();
        for (other, (_, store)) in self.people.iter().enumerate() {
            if other != n {
                store.ingest(self.peer(n), bytes.clone(), 1).await.unwrap();
            }
        }
        row
    }

    async fn texts(&self) -> Vec<(String, Regard, usize)> {
        let selection = Selection { conversation: self.id, before: None, limit: 100 };
        let rows = self.mine().history(selection).await.unwrap();
        let shown = |row: HistoryRow| match row {
            HistoryRow::Message(row) => {
                Some((row.content.as_text()?.to_owned(), row.regard, row.marks.reactions.len()))
            }
            HistoryRow::Gap(_) => panic!("a gap"),
        };
        rows.into_iter().filter_map(shown).collect()
    }

    async fn unread(&self) -> usize {
        self.mine().conversation(self.id).await.unwrap().unwrap().unread
    }
}

#[tokio::test]
async fn the_blocked_are_marked_and_do_not_count_and_come_back() {
    let mut room = Room::new().await;
    let mine = room.write(0, Content::text("mine")).await;
    room.write(1, Content::text("bad apple")).await;
    room.write(2, Content::text("good apple")).await;
    let sign = |sign: &str| Content::React {
        target: mine.id(),
        sign: sign.to_owned(),
        reaction: crate::log::Reaction::Add,
    };
    room.write(1, sign("x")).await;
    room.write(2, sign("y")).await;
    let search = |authors: Vec<PeerId>| Search {
        terms: vec![Term { words: "apple".to_owned(), is_prefix: false }],
        authors,
        limit: 9,
        ..Search::default()
    };
    let before = (room.texts().await, room.unread().await);
    assert_eq!(before.1, 2);
    let blocked = Subject::Person(room.peer(1));
    room.mine().take_stance(Stance::Blocked, blocked, SPAN).await.unwrap();
    let text = |text: &str, regard, signs| (text.to_owned(), regard, signs);
    assert_eq!(
        room.texts().await,
        [
            text("mine", Regard::Open, 1),
            text("bad apple", Regard::Hidden, 0),
            text("good apple", Regard::Open, 0)
        ]
    );
    assert_eq!(room.unread().await, 1);
    assert_eq!(room.mine().search(search(Vec::new())).await.unwrap().len(), 1);
    let by_name = room.mine().search(search(vec![room.peer(1)])).await.unwrap();
    assert_eq!(by_name.len(), 1, "who is asked for by name is meant");
    // Others build on what the blocked say.
    room.write(2, Content::text("an answer")).await;
    assert_eq!(room.texts().await.last().unwrap().0, "an answer");

    assert!(room.mine().drop_stance(Stance::Blocked, blocked).await.unwrap());
    assert!(!room.mine().drop_stance(Stance::Blocked, blocked).await.unwrap());
    assert_eq!(room.texts().await[..3], before.0[..]);
    assert_eq!(room.unread().await, 3);
}

#[tokio::test]
async fn the_muted_are_quiet_until_their_time_is_over() {
    let mut room = Room::new().await;
    room.write(1, Content::text("a")).await;
    room.write(2, Content::text("b")).await;
    for (whom, left) in [(Subject::Person(room.peer(1)), 1), (Subject::Room(room.id), 0)] {
        let span = Span { since_ms: 1, until_ms: Some(100) };
        room.mine().take_stance(Stance::Muted, whom, span).await.unwrap();
        assert_eq!(room.unread().await, left);
        let stances = room.mine().stances().await.unwrap();
        assert_eq!((stances.next_end(), stances.regard(whom.as_bytes())), (Some(100), Regard::Quiet));
        let quiet = room.texts().await.iter().filter(|(_, regard, _)| *regard == Regard::Quiet).count();
        assert_eq!(quiet, 2 - left);
        assert!(!room.mine().drop_ended(99).await.unwrap());
        assert!(room.mine().drop_ended(100).await.unwrap());
        assert_eq!(room.unread().await, 2);
    }
}

#[tokio::test]
async fn those_blocked_last_come_first() {
    let room = Room::new().await;
    for (since_ms, n) in [(5, 1), (9, 2)] {
        let span = Span { since_ms, until_ms: None };
        room.mine().take_stance(Stance::Blocked, Subject::Person(room.peer(n)), span).await.unwrap();
    }
    assert_eq!(room.mine().stances().await.unwrap().people(Stance::Blocked), [room.peer(2), room.peer(1)]);
}
