//! Two members of a room who differ in ten messages find them in a few packets (`docs/protocol.md` §7.4).
//!
//! `cargo test --release -p client --test resync -- --ignored --nocapture` does it with a million messages.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::print_stdout, reason = "the test tells its figures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::log::exchange::{Exchange, WallClock, run};
use client::log::room::Act;
use client::log::{Content, ConversationId, Head, Message, SignedMessage};
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

async fn resync(count: usize) {
    let people = [1, 2, 3].map(|seed| Identity::from_seed([seed; 32]));
    let dir = tempfile::tempdir().unwrap();
    let mut stores = Vec::new();
    let (room, log) = room(&people, count);
    for (n, leave_out) in [(0, 0), (1, MISSING)] {
        let store = Store::open(&dir.path().join(n.to_string()), people[n].peer_id()).await.unwrap();
        for batch in log[..log.len() - leave_out].chunks(BATCH) {
            let bytes = batch.iter().map(|message| message.bytes().clone()).collect();
            let taken = store.ingest(people[2].peer_id(), bytes, 1).await.unwrap();
            assert!(taken.iter().all(|taken| taken.delivered.len() == 1), "{:?}", taken[0]);
        }
        stores.push(store);
    }
    let last = log.last().unwrap().id();
    drop(log);
    tokio::time::pause();
    let (bytes, mut tasks) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let ((a, far_a), (b, far_b)) = (duplex(1 << 20), duplex(1 << 20));
    let ((ra, wa), (rb, wb)) = (split(far_a), split(far_b));
    tasks.spawn(carry(ra, wb, Arc::clone(&bytes)));
    tasks.spawn(carry(rb, wa, Arc::clone(&bytes)));
    let mut newest = stores[1].newest();
    #[expect(clippy::disallowed_methods, reason = "the test's own clock, paused")]
    let begin = Instant::now();
    tasks.spawn(serve(stores[0].clone(), people[1].peer_id(), a));
    tasks.spawn(serve(stores[1].clone(), people[0].peer_id(), b));
    let all = async {
        while stores[1].heads(room).await.unwrap() != [last] {
            newest.changed().await.unwrap();
        }
    };
    timeout(Duration::from_secs(60), all).await.expect("what is missing comes");
    let took = begin.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let bytes = bytes.load(Ordering::Relaxed);
    println!(
        "{count} messages, {MISSING} missing: {bytes} bytes both ways in all, there after {took:?} at {DELAY:?} one way"
    );
    assert!(bytes <= MAX_BYTES, "{bytes} bytes");
    assert!(took <= 2 * DELAY * MAX_ROUND_TRIPS, "{took:?}");
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
