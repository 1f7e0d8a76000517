//! Figures, not verdicts: how many messages a second become durable, and how many get from one client to the other.
//!
//! `cargo test --release -p client --test store_bench -- --ignored --nocapture`

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use client::log::exchange::{self, Exchange, WallClock};
use client::log::{Content, ConversationId};
use client::store::{Selection, Store};
use common::identity::{Identity, PeerId};
use tokio::io::{duplex, split};
use tokio::sync::mpsc;

/// Bytes of a text.
const TEXT_LEN: usize = 65;

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
async fn timed(work: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    work.await;
    start.elapsed()
}

async fn say(store: &Store, from: &Identity, to: PeerId, nonce: u64) {
    let conversation = ConversationId::direct(from.peer_id(), to);
    let content = Content::text("x".repeat(TEXT_LEN));
    store.compose(from, conversation, &[to], content, 1, nonce).await.unwrap();
}

/// Writes `count` messages, `together` at a time; prints how many a second.
async fn compose(count: u64, together: u64) -> f64 {
    let dir = tempfile::tempdir_in(".").unwrap();
    let me = identity(1);
    let store = Store::open(&dir.path().join("db"), me.peer_id()).await.unwrap();
    let to = identity(2).peer_id();
    let took = timed(async {
        for first in (0..count).step_by(usize::try_from(together).unwrap()) {
            futures_util::future::join_all((first..first + together).map(|n| say(&store, &me, to, n))).await;
        }
    })
    .await;
    store.close().await;
    rate(count, took)
}

#[expect(clippy::cast_precision_loss, reason = "counts here are small")]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn durable_messages_a_second() {
    let single = compose(500, 1).await;
    println!("{:>8} together {single:>9.0} messages/s", 1);
    for together in [8, 64, 512] {
        let grouped = compose(together * 100, together).await;
        println!("{together:>8} together {grouped:>9.0} messages/s, {:>5.1} times", grouped / single);
    }
}

/// A backlog from one store to the other over a pipe, and then single messages back and forth.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn delivered_messages_a_second() {
    const BACKLOG: u64 = 20_000;
    const SINGLE: u64 = 200;
    let dir = tempfile::tempdir_in(".").unwrap();
    let (a, b) = (identity(1), identity(2));
    let one = Store::open(&dir.path().join("a"), a.peer_id()).await.unwrap();
    let two = Store::open(&dir.path().join("b"), b.peer_id()).await.unwrap();
    for first in (0..BACKLOG).step_by(500) {
        futures_util::future::join_all((first..first + 500).map(|n| say(&one, &a, b.peer_id(), n))).await;
    }
    let (events, mut seen) = mpsc::channel(1024);
    let exchange = |store: &Store, peer| Exchange {
        store: store.clone(),
        peer,
        events: events.clone(),
        clock: WallClock(|| 1),
        typing: tokio::sync::broadcast::Sender::new(1),
    };
    let (left, right) = duplex(1024 * 1024);
    let ((ra, wa), (rb, wb)) = (split(left), split(right));
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    let tasks = [
        tokio::spawn(exchange::run(exchange(&one, b.peer_id()), ra, wa)),
        tokio::spawn(exchange::run(exchange(&two, a.peer_id()), rb, wb)),
    ];
    let drain = async { while seen.recv().await.is_some() {} };
    let settled = async {
        while !one.unsent(1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let work = async {
        let took = timed(settled).await;
        println!("backlog of {BACKLOG}: {:.0} messages/s delivered", rate(BACKLOG, took));
        let mut newest = two.newest();
        newest.mark_unchanged();
        let took = timed(async {
            for nonce in 0..SINGLE {
                say(&one, &a, b.peer_id(), nonce).await;
                newest.changed().await.unwrap();
            }
        })
        .await;
        println!(
            "one at a time: {:?} from the key press to the other store",
            took / u32::try_from(SINGLE).unwrap()
        );
        let conversation = ConversationId::direct(a.peer_id(), b.peer_id());
        let page = Selection { conversation, before: None, limit: 50 };
        let took = timed(async { drop(two.history(page).await.unwrap()) }).await;
        println!("newest page of 50 out of {}: {took:?}", BACKLOG + SINGLE);
    };
    tokio::select! { () = work => {}, () = drain => {} }
    for task in tasks {
        task.abort();
    }
}
