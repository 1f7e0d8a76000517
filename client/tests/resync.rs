//! Two members of a room, or two who write to each other, who differ in ten messages find them in a few packets (`docs/protocol.md` §7.4).
//!
//! `cargo test --release -p client --test resync -- --ignored --nocapture` does it with a million messages.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::print_stdout, reason = "the test tells its figures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::log::exchange::{Exchange, WallClock, run};
use client::log::room::Act;
use client::log::{Content, ConversationId, Head, Message, MessageId, SignedMessage};
use client::store::Store;
use common::identity::{Identity, PeerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// One way between the two.
const DELAY: Duration = Duration::from_millis(50);
const MISSING: usize = 10;
const MAX_BYTES: usize = 16 * 1024;
const MAX_ROUND_TRIPS: u32 = 3;
/// Messages that are taken in at once.
const BATCH: usize = 500;

fn head(message: &SignedMessage) -> Head {
    Head { id: message.id(), depth: message.message().depth, author: message.author() }
}

/// A room of three in which the third wrote `count` texts.
fn room(people: &[Identity; 3], count: usize) -> (ConversationId, Vec<SignedMessage>) {
    let room = ConversationId::room(people[0].peer_id(), 1, 1, "room");
    let mut log: Vec<SignedMessage> = Vec::new();
    let mut say = |author: &Identity, content: Content| {
        let heads: Vec<_> = log.last().map(head).into_iter().collect();
        log.push(Message::compose(author, room, &heads, content, 1, 1).unwrap());
    };
    say(&people[0], Content::Room(Act::Create { name: "room".to_owned() }));
    for other in &people[1..] {
        say(&people[0], Content::Room(Act::Add(other.peer_id())));
        say(other, Content::Room(Act::Accept));
    }
    for n in 0..count {
        say(&people[2], Content::text(format!("message {n} of the one who is away now")));
    }
    (room, log)
}

/// Carries bytes one way, late, and counts them.
async fn carry(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, count: Arc<AtomicUsize>) {
    let (sender, mut queue) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let reading = async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(len @ 1..) = from.read(&mut buffer).await {
            count.fetch_add(len, Ordering::Relaxed);
            #[expect(clippy::disallowed_methods, reason = "the test's own clock, paused")]
            let at = Instant::now() + DELAY;
            sender.send((at, buffer[..len].to_vec())).await.unwrap();
        }
    };
    let writing = async move {
        while let Some((at, bytes)) = queue.recv().await {
            sleep_until(at).await;
            to.write_all(&bytes).await.unwrap();
        }
    };
    tokio::join!(reading, writing);
}

async fn serve(store: Store, peer: PeerId, stream: DuplexStream) {
    let (events, mut seen) = mpsc::channel(64);
    let typing = broadcast::Sender::new(1);
    let exchange = Exchange { store, peer, events, clock: WallClock(|| 1), typing };
    let (reader, writer) = split(stream);
    let drain = async { while seen.recv().await.is_some() {} };
    let _ = tokio::join!(run(exchange, reader, writer), drain);
}

/// What it came to.
struct Cost {
    bytes: usize,
    took: Duration,
}

impl Cost {
    fn check(&self) {
        assert!(self.bytes <= MAX_BYTES, "{} bytes", self.bytes);
        assert!(self.took <= 2 * DELAY * MAX_ROUND_TRIPS, "{:?}", self.took);
    }
}

/// Connects the two until both have `heads`, and then until nothing happens any more.
async fn connect(people: [&Identity; 2], stores: &[Store], at: ConversationId, heads: &[MessageId]) -> Cost {
    tokio::time::pause();
    let (bytes, mut tasks) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let ((a, far_a), (b, far_b)) = (duplex(1 << 20), duplex(1 << 20));
    let ((ra, wa), (rb, wb)) = (split(far_a), split(far_b));
    tasks.spawn(carry(ra, wb, Arc::clone(&bytes)));
    tasks.spawn(carry(rb, wa, Arc::clone(&bytes)));
    #[expect(clippy::disallowed_methods, reason = "the test's own clock, paused")]
    let begin = Instant::now();
    tasks.spawn(serve(stores[0].clone(), people[1].peer_id(), a));
    tasks.spawn(serve(stores[1].clone(), people[0].peer_id(), b));
    let all = async {
        for store in stores {
            let mut newest = store.newest();
            while store.heads(at).await.unwrap() != heads {
                newest.changed().await.unwrap();
            }
        }
    };
    timeout(Duration::from_secs(60), all).await.expect("what is missing comes");
    let took = begin.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    Cost { bytes: bytes.load(Ordering::Relaxed), took }
}

async fn resync(count: usize) {
    let people = [1, 2, 3].map(|seed| Identity::from_seed([seed; 32]));
    let dir = tempfile::tempdir().unwrap();
    let mut stores = Vec::new();
    let (room, log) = room(&people, count);
    for (n, leave_out) in [(0, 0), (1, MISSING)] {
        let store = Store::open(&dir.path().join(n.to_string()), people[n].peer_id()).await.unwrap();
        take_in(&store, people[2].peer_id(), &log[..log.len() - leave_out]).await;
        stores.push(store);
    }
    let last = log.last().unwrap().id();
    drop(log);
    let cost = connect([&people[0], &people[1]], &stores, room, &[last]).await;
    let Cost { bytes, took } = cost;
    println!(
        "{count} messages, {MISSING} missing: {bytes} bytes both ways in all, there after {took:?} at {DELAY:?} one way"
    );
    cost.check();
}

async fn take_in(store: &Store, bearer: PeerId, log: &[SignedMessage]) {
    for batch in log.chunks(BATCH) {
        let bytes = batch.iter().map(|message| message.bytes().clone()).collect();
        let taken = store.ingest(bearer, bytes, 1).await.unwrap();
        assert!(taken.iter().all(|taken| taken.delivered.len() == 1), "{:?}", taken[0]);
    }
}

/// Two who wrote to each other have the same `count` messages, and each some more that the other has lost.
async fn resync_two(count: usize, lost: usize) -> Cost {
    let people = [1, 2].map(|seed| Identity::from_seed([seed; 32]));
    let direct = ConversationId::direct(people[0].peer_id(), people[1].peer_id());
    let say = |author: &Identity, heads: &[Head], n: usize| {
        let content = Content::text(format!("message {n} of one of two who write to each other"));
        Message::compose(author, direct, heads, content, 1, n as u64).unwrap()
    };
    let mut common: Vec<SignedMessage> = Vec::new();
    for n in 0..count {
        let heads: Vec<_> = common.last().map(head).into_iter().collect();
        common.push(say(&people[n % 2], &heads, n));
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut stores, mut heads) = (Vec::new(), Vec::new());
    for (n, other) in [(0, 1), (1, 0)] {
        let store = Store::open(&dir.path().join(n.to_string()), people[n].peer_id()).await.unwrap();
        take_in(&store, people[other].peer_id(), &common).await;
        let mut last = common.last().unwrap().clone();
        // The other one's: they lost what they wrote.
        for more in 0..lost {
            let next = say(&people[other], &[head(&last)], count + more);
            take_in(&store, people[other].peer_id(), std::slice::from_ref(&next)).await;
            last = next;
        }
        heads.push(last.id());
        stores.push(store);
    }
    heads.sort_unstable();
    heads.dedup();
    drop(common);
    let cost = connect([&people[0], &people[1]], &stores, direct, &heads).await;
    let Cost { bytes, took } = cost;
    println!(
        "{count} messages between two, {lost} missing on each side: {bytes} bytes both ways in all, there after {took:?} at \
         {DELAY:?} one way"
    );
    cost
}

#[tokio::test]
async fn two_who_each_lost_half_of_ten() {
    resync_two(3_000, MISSING / 2).await.check();
}

#[tokio::test]
async fn two_who_agree_say_so_in_one_small_frame() {
    let Cost { bytes, took } = resync_two(3_000, 0).await;
    assert_eq!(took, Duration::ZERO);
    assert!(bytes <= 80, "{bytes} bytes");
}

#[tokio::test]
#[ignore = "takes minutes; for measuring"]
async fn two_with_a_million() {
    resync_two(1_000_000, MISSING / 2).await.check();
}

#[tokio::test]
async fn ten_of_some_thousand() {
    resync(3_000).await;
}

#[tokio::test]
#[ignore = "takes minutes; for measuring"]
async fn ten_of_a_million() {
    resync(1_000_000).await;
}
