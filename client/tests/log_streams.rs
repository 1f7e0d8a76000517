//! Two stores talk through a stream that breaks again and again: nothing is lost, doubled or out of order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::log::exchange::{self, Exchange, ExchangeEvent, WallClock};
use client::log::{Content, ConversationId, MessageId};
use client::store::{Faults, HistoryRow, MessageRow, Options, Point, Selection, State, Store, StoreError};
use common::identity::{Identity, PeerId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{duplex, split};
use tokio::sync::{broadcast, mpsc};

/// Longest time that a pair may take, in virtual time.
const LIMIT: Duration = Duration::from_secs(3600);

struct Side {
    identity: Identity,
    dir: tempfile::TempDir,
    store: Store,
    events: mpsc::Sender<ExchangeEvent>,
    seen: mpsc::Receiver<ExchangeEvent>,
}

impl Side {
    async fn new(seed: u8) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), identity.peer_id()).await.unwrap();
        let (events, seen) = mpsc::channel(100_000);
        Self { identity, dir, store, events, seen }
    }

    fn peer(&self) -> PeerId {
        self.identity.peer_id()
    }

    fn exchange(&self, peer: PeerId) -> Exchange {
        Exchange {
            store: self.store.clone(),
            peer,
            events: self.events.clone(),
            clock: WallClock(|| 1),
            typing: broadcast::Sender::new(1),
        }
    }

    async fn reopen(&mut self, options: Options) {
        self.store.close().await;
        let path = self.dir.path().join("db");
        self.store = Store::open_with(&path, self.peer(), options).await.unwrap();
    }

    /// Keeps a copy of the database as it is now.
    async fn keep(&mut self) {
        self.store.close().await;
        let path = self.dir.path().join("db");
        std::fs::copy(&path, path.with_extension("old")).unwrap();
        self.store = Store::open(&path, self.peer()).await.unwrap();
    }

    /// Goes back to that copy.
    async fn put_back(&mut self) {
        self.store.close().await;
        let path = self.dir.path().join("db");
        std::fs::copy(path.with_extension("old"), &path).unwrap();
        self.store = Store::open(&path, self.peer()).await.unwrap();
    }

    async fn history(&self, conversation: ConversationId) -> Vec<MessageRow> {
        let selection = Selection { conversation, before: None, limit: 1_000_000 };
        let rows = self.store.history(selection).await.unwrap();
        rows.into_iter()
            .map(|row| match row {
                HistoryRow::Message(row) => *row,
                HistoryRow::Gap { .. } => panic!("a gap was left"),
            })
            .collect()
    }

    /// Messages that were announced since the last call.
    fn announced(&mut self) -> Vec<MessageId> {
        let mut ids = Vec::new();
        while let Ok(event) = self.seen.try_recv() {
            if let ExchangeEvent::Message(row) = event {
                ids.push(row.id());
            }
        }
        ids
    }
}

fn number(row: &MessageRow) -> u64 {
    let Some(text) = row.content.as_text() else { panic!("not a text") };
    text.split(' ').next().unwrap().parse().unwrap()
}

async fn say(store: &Store, identity: &Identity, to: PeerId, n: u64) -> Result<MessageRow, StoreError> {
    let conversation = ConversationId::direct(identity.peer_id(), to);
    let text = format!("{n} {}", "x".repeat(usize::try_from(n * 37 % 200).unwrap()));
    store.compose(identity, conversation, &[to], Content::text(text), 1_000 + n % 5, n).await
}

/// Writes `count` messages in small groups, with pauses.
async fn talk(store: Store, identity: Identity, to: PeerId, seed: u64, count: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut n = 0;
    while n < count {
        let group = rng.random_range(1..=64.min(count - n));
        let writes = (n..n + group).map(|n| say(&store, &identity, to, n));
        // In order, as the front ends do it: tokio's fairness would send some to the back of the line.
        for row in tokio::task::unconstrained(futures_util::future::join_all(writes)).await {
            row.unwrap();
        }
        n += group;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
    }
}

/// Runs streams between the two, each cut off after a random time, until `done`.
async fn connect_until_delivered(a: &Side, b: &Side, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        let (one, two) = duplex(rng.random_range(100..100_000));
        let ((ra, wa), (rb, wb)) = (split(one), split(two));
        let life = Duration::from_millis(rng.random_range(1..400));
        let cut = async {
            tokio::time::sleep(life).await;
            a.store.unsent(1).await.unwrap().is_empty() && b.store.unsent(1).await.unwrap().is_empty()
        };
        let streams = async {
            tokio::join!(
                exchange::run(a.exchange(b.peer()), ra, wa),
                exchange::run(b.exchange(a.peer()), rb, wb)
            )
        };
        tokio::select! {
            done = cut => if done { return },
            ended = streams => panic!("a stream ended by itself: {ended:?}"),
        }
    }
}

fn check(mine: &[MessageRow], theirs: &[MessageRow], count: u64) {
    let places = |rows: &[MessageRow]| rows.iter().map(|row| row.order).collect::<Vec<_>>();
    assert_eq!(places(mine), places(theirs), "both see the same");
    assert_eq!(mine.len() as u64, 2 * count);
    assert!(mine.is_sorted_by(|a, b| a.order < b.order));
    for rows in [mine, theirs] {
        let own: Vec<_> = rows.iter().filter(|row| row.own).collect();
        assert!(own.iter().all(|row| row.states[0].1 == State::Delivered));
        // What one author said keeps its order: by arrival here, and up to what was written at once also on screen.
        let mut other: Vec<_> = rows.iter().filter(|row| !row.own).collect();
        assert!(other.is_sorted_by_key(|row| number(row)), "in the order of its author");
        other.sort_by_key(|row| row.arrival);
        assert!(other.is_sorted_by_key(|row| number(row)), "arrived in the order of its author");
    }
}

async fn both_ways_over_breaking_streams(seed: u64, count: u64) {
    let (a, b) = (Side::new(1).await, Side::new(2).await);
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let talking = async {
        tokio::join!(
            talk(a.store.clone(), a.identity.clone(), b.peer(), seed, count),
            talk(b.store.clone(), b.identity.clone(), a.peer(), seed + 1000, count),
        );
    };
    let everything = async {
        tokio::join!(talking, connect_until_delivered(&a, &b, seed));
        // Once more, since the writers may have ended last.
        connect_until_delivered(&a, &b, seed + 1).await;
    };
    tokio::time::timeout(LIMIT, everything).await.expect("everything is delivered in time");
    let (mine, theirs) = (a.history(conversation).await, b.history(conversation).await);
    check(&mine, &theirs, count);
    assert_eq!(a.store.forks(conversation).await.unwrap(), []);
    assert_eq!(b.store.forks(conversation).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn thousands_both_ways_over_breaking_streams() {
    both_ways_over_breaking_streams(1, 2_000).await;
}

#[tokio::test(start_paused = true)]
async fn many_seeds_over_breaking_streams() {
    for seed in 10..20 {
        both_ways_over_breaking_streams(seed, 60).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_stream_announces_everything_once() {
    let (mut a, mut b) = (Side::new(1).await, Side::new(2).await);
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let (one, two) = duplex(64 * 1024);
    let ((ra, wa), (rb, wb)) = (split(one), split(two));
    let streams = async {
        tokio::join!(exchange::run(a.exchange(b.peer()), ra, wa), exchange::run(b.exchange(a.peer()), rb, wb))
    };
    let talking = async {
        tokio::join!(
            talk(a.store.clone(), a.identity.clone(), b.peer(), 1, 300),
            talk(b.store.clone(), b.identity.clone(), a.peer(), 2, 300),
        );
        while !(a.store.unsent(1).await.unwrap().is_empty() && b.store.unsent(1).await.unwrap().is_empty()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = talking => {},
        ended = streams => panic!("a stream ended by itself: {ended:?}"),
    }
    for side in [&mut a, &mut b] {
        let rows = side.history(conversation).await;
        let mut expected: Vec<_> = rows.iter().filter(|row| !row.own).collect();
        expected.sort_by_key(|row| row.arrival);
        let expected: Vec<_> = expected.into_iter().map(MessageRow::id).collect();
        assert_eq!(side.announced(), expected);
    }
}

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

/// Both sides talk; one of them dies at `point`, comes back, and they go on. What was confirmed to the writer is
/// there, and nothing is there twice.
async fn survives(point: Point, after: u64, sender_dies: bool) {
    let (mut a, mut b) = (Side::new(1).await, Side::new(2).await);
    let faults = Options {
        faults: Some(Arc::new(DieAt { point, left: AtomicU64::new(after) })),
        ..Options::default()
    };
    if sender_dies {
        a.reopen(faults).await;
    } else {
        b.reopen(faults).await;
    }
    let confirmed = Mutex::new(Vec::new());
    let talking = async {
        for n in 0..40 {
            match say(&a.store, &a.identity, b.peer(), n).await {
                Ok(row) => confirmed.lock().unwrap().push(row.id()),
                Err(error) => return assert_eq!(error, StoreError::Closed),
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        std::future::pending::<()>().await;
    };
    let (one, two) = duplex(64 * 1024);
    let ((ra, wa), (rb, wb)) = (split(one), split(two));
    let died = async {
        tokio::select! {
            () = talking => {},
            _ = exchange::run(a.exchange(b.peer()), ra, wa) => {},
            _ = exchange::run(b.exchange(a.peer()), rb, wb) => {},
        }
    };
    let died = tokio::time::timeout(Duration::from_secs(60), died).await.is_ok();
    a.reopen(Options::default()).await;
    b.reopen(Options::default()).await;
    connect_until_delivered(&a, &b, after).await;
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let (mine, theirs) = (a.history(conversation).await, b.history(conversation).await);
    assert_eq!(
        mine.iter().map(|row| row.order).collect::<Vec<_>>(),
        theirs.iter().map(|row| row.order).collect::<Vec<_>>()
    );
    let confirmed = confirmed.into_inner().unwrap();
    assert!(
        confirmed.iter().all(|id| mine.iter().any(|row| row.id() == *id)),
        "{point:?}: a message is lost"
    );
    // The writer may have died after a commit and before its answer: one message more at most.
    assert!(mine.len() <= confirmed.len() + 1, "{point:?}: {} of {}", mine.len(), confirmed.len());
    assert!(died || matches!(point, Point::Written | Point::Ack), "{point:?} was never reached");
}

#[tokio::test(start_paused = true)]
async fn death_at_every_durable_step_loses_and_doubles_nothing() {
    for point in Point::ALL {
        for after in [1, 2, 5, 17] {
            survives(point, after, true).await;
            survives(point, after, false).await;
        }
    }
}

/// `docs/protocol.md` §7.5: what there is no room for waits with its author, holds up nothing, and comes once there is, on
/// the same stream.
#[tokio::test(start_paused = true)]
async fn what_there_is_no_room_for_comes_once_there_is() {
    const COUNT: u64 = exchange::MAX_IN_FLIGHT as u64 + 100;

    let (mut a, b) = (Side::new(1).await, Side::new(2).await);
    let conversation = ConversationId::direct(a.peer(), b.peer());
    a.store.set_setting("disk", "0").await.unwrap();
    let writes = (0..COUNT).map(|n| say(&b.store, &b.identity, a.peer(), n));
    for row in tokio::task::unconstrained(futures_util::future::join_all(writes)).await {
        row.unwrap();
    }
    let (one, two) = duplex(10_000);
    let ((ra, wa), (rb, wb)) = (split(one), split(two));
    let (first, second) = (a.exchange(b.peer()), b.exchange(a.peer()));
    let story = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(a.history(conversation).await, []);
        assert_eq!(b.store.unsent(10_000).await.unwrap().len() as u64, COUNT);
        say(&a.store, &a.identity, b.peer(), 0).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(b.history(conversation).await.len() as u64, COUNT + 1, "the other way is open");
        a.store.set_setting("disk", "16").await.unwrap();
        say(&a.store, &a.identity, b.peer(), 1).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    };
    tokio::select! {
        () = story => {}
        ended = async { tokio::join!(exchange::run(first, ra, wa), exchange::run(second, rb, wb)) } => {
            panic!("a stream ended by itself: {ended:?}")
        }
    }
    let (mine, theirs) = (a.history(conversation).await, b.history(conversation).await);
    assert_eq!(mine.len() as u64, COUNT + 2);
    assert!(mine.iter().map(|row| row.order).eq(theirs.iter().map(|row| row.order)));
    assert!(b.store.unsent(1).await.unwrap().is_empty());
    let mut told = 0;
    while let Ok(event) = a.seen.try_recv() {
        told += usize::from(matches!(event, ExchangeEvent::Postponed { .. }));
    }
    assert_eq!(told, 1, "told once");
}

/// Lets the two talk over a whole stream until nothing happens any more.
async fn meet(a: &Side, b: &Side) {
    let (one, two) = duplex(64 * 1024);
    let ((ra, wa), (rb, wb)) = (split(one), split(two));
    let streams = async {
        tokio::join!(exchange::run(a.exchange(b.peer()), ra, wa), exchange::run(b.exchange(a.peer()), rb, wb))
    };
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(60)) => {}
        ended = streams => panic!("a stream ended by itself: {ended:?}"),
    }
}

/// Both write so many messages without hearing of each other, meet, and have read all of it.
async fn talk_and_read(a: &Side, b: &Side, numbers: std::ops::Range<u64>) {
    for n in numbers {
        say(&a.store, &a.identity, b.peer(), n).await.unwrap();
        say(&b.store, &b.identity, a.peer(), n).await.unwrap();
    }
    meet(a, b).await;
    let conversation = ConversationId::direct(a.peer(), b.peer());
    a.store.mark_read(conversation).await.unwrap();
    b.store.mark_read(conversation).await.unwrap();
    meet(a, b).await;
}

/// Both have the same, in which `count` messages are there once each; returns it as `a` and `b` have it.
async fn check_whole(a: &Side, b: &Side, count: usize) -> [Vec<MessageRow>; 2] {
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let [mine, theirs] = [a.history(conversation).await, b.history(conversation).await];
    let places = |rows: &[MessageRow]| rows.iter().map(|row| row.order).collect::<Vec<_>>();
    assert_eq!(places(&mine), places(&theirs), "both see the same");
    assert_eq!(mine.len(), count);
    for (side, other) in [(a, b), (b, a)] {
        assert_eq!(side.store.unsent(1).await.unwrap(), []);
        for own in side.history(conversation).await.iter().filter(|row| row.own) {
            assert!(matches!(own.states[..], [(to, State::Delivered | State::Read)] if to == other.peer()));
        }
    }
    [mine, theirs]
}

fn all_read(rows: &[MessageRow]) -> bool {
    rows.iter().filter(|row| row.own).all(|row| row.states[0].1 == State::Read)
}

/// `docs/protocol.md` §7.4: who goes back to an old copy gets the rest without anybody's writing, and what was theirs as
/// delivered and read. What the copy takes for unsent was sent.
#[tokio::test(start_paused = true)]
async fn who_lost_messages_gets_them_back_on_connecting() {
    for loser in [0, 1] {
        let mut sides = [Side::new(1).await, Side::new(2).await];
        talk_and_read(&sides[0], &sides[1], 0..20).await;
        // What is delivered and not read yet, and what is not sent yet.
        let to = sides[1 - loser].peer();
        say(&sides[loser].store, &sides[loser].identity, to, 50).await.unwrap();
        meet(&sides[0], &sides[1]).await;
        say(&sides[loser].store, &sides[loser].identity, to, 20).await.unwrap();
        sides[loser].keep().await;
        talk_and_read(&sides[0], &sides[1], 21..50).await;
        check_whole(&sides[0], &sides[1], 100).await;
        sides[loser].put_back().await;
        sides[loser].announced();
        let conversation = ConversationId::direct(sides[0].peer(), sides[1].peer());
        assert_eq!(sides[loser].history(conversation).await.len(), 42);

        meet(&sides[0], &sides[1]).await;
        let rows = check_whole(&sides[0], &sides[1], 100).await;
        assert!(rows.iter().all(|rows| all_read(rows)));
        assert_eq!(sides[loser].announced().len(), 58);
        assert_eq!(sides[loser].store.forks(conversation).await.unwrap(), []);
    }
}

/// Both lost something, the one more than the other, who wrote on before they met.
#[tokio::test(start_paused = true)]
async fn two_old_copies_come_to_all_that_is_left() {
    let (mut a, mut b) = (Side::new(1).await, Side::new(2).await);
    talk_and_read(&a, &b, 0..10).await;
    a.keep().await;
    talk_and_read(&a, &b, 10..20).await;
    b.keep().await;
    talk_and_read(&a, &b, 20..30).await;
    a.put_back().await;
    b.put_back().await;
    say(&a.store, &a.identity, b.peer(), 30).await.unwrap();
    meet(&a, &b).await;
    check_whole(&a, &b, 41).await;
}

#[tokio::test(start_paused = true)]
async fn who_lost_everything_gets_all_of_it() {
    for loser in [0, 1] {
        let mut sides = [Side::new(1).await, Side::new(2).await];
        sides[loser].keep().await;
        talk_and_read(&sides[0], &sides[1], 0..100).await;
        sides[loser].put_back().await;
        meet(&sides[0], &sides[1]).await;
        let rows = check_whole(&sides[0], &sides[1], 200).await;
        assert!(all_read(&rows[loser]), "what they had read they have read");
    }
}
