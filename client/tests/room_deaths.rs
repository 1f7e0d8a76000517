//! A room of three of whom two never meet: whoever of them dies, at whichever durable step, nothing that was confirmed is
//! lost, and nothing is there twice.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::log::exchange::{self, Exchange, WallClock};
use client::log::room::Act;
use client::log::{Content, ConversationId, Head, Message, MessageId, SignedMessage};
use client::store::{Faults, HistoryRow, Options, Point, Selection, Store};
use common::identity::{Identity, PeerId};
use tokio::io::{duplex, split};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{sleep, timeout};

/// Longest time that anything may take, in virtual time.
const LIMIT: Duration = Duration::from_secs(60);
const PEOPLE: usize = 3;
/// Messages that the two at the ends write.
const MESSAGES: u64 = 12;

/// Dies when a point was reached for the nth time.
#[derive(Debug)]
struct DieAt {
    point: Point,
    left: AtomicU64,
}

impl Faults for DieAt {
    fn dies(&self, point: Point) -> bool {
        point == self.point && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

struct Room {
    people: [Identity; PEOPLE],
    room: ConversationId,
    dir: tempfile::TempDir,
    stores: Vec<Store>,
}

fn events(people: &[Identity]) -> (ConversationId, Vec<SignedMessage>) {
    let room = ConversationId::room(people[0].peer_id(), 1, 1, "room");
    let mut log: Vec<SignedMessage> = Vec::new();
    let mut say = |author: &Identity, act: Act| {
        let head =
            |last: &SignedMessage| Head { id: last.id(), depth: last.message().depth, author: last.author() };
        let heads: Vec<_> = log.last().map(head).into_iter().collect();
        log.push(Message::compose(author, room, &heads, Content::Room(act), 1, 1).unwrap());
    };
    say(&people[0], Act::Create { name: "room".to_owned() });
    for other in &people[1..] {
        say(&people[0], Act::Add(other.peer_id()));
        say(other, Act::Accept);
    }
    (room, log)
}

impl Room {
    async fn new() -> Self {
        let people = [1, 2, 3].map(|seed| Identity::from_seed([seed; 32]));
        let (room, log) = events(&people);
        let dir = tempfile::tempdir().unwrap();
        let mut stores = Vec::new();
        for person in &people {
            let path = dir.path().join(person.peer_id().to_string());
            let store = Store::open(&path, person.peer_id()).await.unwrap();
            let bytes = log.iter().map(|message| message.bytes().clone()).collect();
            store.ingest(people[0].peer_id(), bytes, 1).await.unwrap();
            stores.push(store);
        }
        Self { people, room, dir, stores }
    }

    fn id(&self, who: usize) -> PeerId {
        self.people[who].peer_id()
    }

    async fn reopen(&mut self, who: usize, options: Options) {
        self.stores[who].close().await;
        let path = self.dir.path().join(self.id(who).to_string());
        self.stores[who] = Store::open_with(&path, self.id(who), options).await.unwrap();
    }

    /// A stream between two; ends when one of its ends does.
    async fn connect(&self, a: usize, b: usize) {
        let (one, two) = duplex(64 * 1024);
        let ((ra, wa), (rb, wb)) = (split(one), split(two));
        let exchange = |who: usize, peer: usize| {
            let (events, mut seen) = mpsc::channel(64);
            let (store, peer) = (self.stores[who].clone(), self.id(peer));
            let typing = broadcast::Sender::new(1);
            let exchange = Exchange { store, peer, events, clock: WallClock(|| 1), typing };
            (exchange, async move { while seen.recv().await.is_some() {} })
        };
        let ((left, heard), (right, also_heard)) = (exchange(a, b), exchange(b, a));
        tokio::select! {
            _ = exchange::run(left, ra, wa) => {}
            _ = exchange::run(right, rb, wb) => {}
            () = async { tokio::join!(heard, also_heard); } => {}
        }
    }

    /// The two at the ends write, as long as their stores take it; what was confirmed is put down.
    async fn talk(&self, confirmed: &mut Vec<MessageId>) {
        for nonce in 0..MESSAGES {
            let who = usize::try_from(nonce % 2).unwrap() * 2;
            let text = Content::text(nonce.to_string());
            let written =
                self.stores[who].compose(&self.people[who], self.room, &[], text, 1, 100 + nonce).await;
            confirmed.extend(written.ok().map(|row| row.id()));
            sleep(Duration::from_millis(150)).await;
        }
    }

    async fn shown(&self, who: usize) -> Vec<MessageId> {
        let page = Selection { conversation: self.room, before: None, limit: 1_000 };
        let rows = self.stores[who].history(page).await.unwrap();
        rows.into_iter()
            .map(|row| match row {
                HistoryRow::Message(row) => row.id(),
                HistoryRow::Gap { .. } => panic!("a gap was left"),
            })
            .collect()
    }

    async fn is_alike(&self) -> bool {
        let heads = self.stores[0].heads(self.room).await.unwrap();
        heads == self.stores[1].heads(self.room).await.unwrap()
            && heads == self.stores[2].heads(self.room).await.unwrap()
    }
}

/// Returns whether somebody died at all.
async fn survives(point: Point, after: u64, who: usize) -> bool {
    let mut room = Room::new().await;
    let faults = Arc::new(DieAt { point, left: AtomicU64::new(after) });
    room.reopen(who, Options { faults: Some(Arc::clone(&faults) as _), ..Options::default() }).await;
    let mut confirmed = Vec::new();
    // A stream that has ended stays away until all have come back.
    let streams = async {
        tokio::join!(room.connect(0, 1), room.connect(1, 2));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = streams => {}
        () = async { room.talk(&mut confirmed).await; sleep(Duration::from_secs(2)).await } => {}
    }
    let has_died = i64::try_from(faults.left.load(Ordering::Relaxed)).map_or(true, |left| left <= 0);
    for who in 0..PEOPLE {
        room.reopen(who, Options::default()).await;
    }
    let whole = async {
        while !room.is_alike().await {
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        () = async { tokio::join!(room.connect(0, 1), room.connect(1, 2)); } => panic!("a stream ended by itself"),
        done = timeout(LIMIT, whole) => done.unwrap_or_else(|_| panic!("{point:?} at {who}: never alike")),
    }
    let all = room.shown(0).await;
    assert_eq!(all, room.shown(1).await, "{point:?} at {who}");
    assert_eq!(all, room.shown(2).await, "{point:?} at {who}");
    assert!(confirmed.iter().all(|id| all.contains(id)), "{point:?} at {who}: something is lost");
    let texts = all.len() - (2 * PEOPLE - 1);
    // A writer may have died after a commit and before its answer.
    assert!(texts <= confirmed.len() + 1, "{point:?} at {who}: {texts} of {}", confirmed.len());
    has_died
}

/// All three get to every point: who writes, and who hands on.
#[tokio::test(start_paused = true)]
async fn death_at_every_durable_step_in_a_room() {
    for point in Point::ALL {
        for who in 0..PEOPLE {
            let mut deaths = 0;
            for after in [1, 2, 6] {
                deaths += usize::from(Box::pin(survives(point, after, who)).await);
            }
            assert!(deaths > 0, "nobody dies at {point:?} of {who}");
        }
    }
}
