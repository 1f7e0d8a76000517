//! Figures, not verdicts: what a person at the keyboard notices while a backlog of 100,000 messages comes in.
//!
//! `cargo test --release -p client --test backlog_bench -- --ignored --nocapture`, with `MESSAGES=20000` for fewer

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::{Duration, Instant};

use client::log::exchange::{self, Exchange, WallClock};
use client::log::{Content, ConversationId};
use client::store::{Selection, Store};
use common::identity::{Identity, PeerId};
use tokio::io::{duplex, split};
use tokio::sync::{broadcast, mpsc};

const MESSAGES: u64 = 100_000;
/// Bytes of a text.
const TEXT_LEN: usize = 65;
/// Between two looks at how late the runtime is, two pages that are read, and two messages that are typed.
const TICK: Duration = Duration::from_millis(5);
const TYPING: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

async fn say(store: &Store, from: &Identity, to: PeerId, nonce: u64) {
    let conversation = ConversationId::direct(from.peer_id(), to);
    store.compose(from, conversation, &[to], Content::text("x".repeat(TEXT_LEN)), 1, nonce).await.unwrap();
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!(
        "{what:>44}: p50 {:>8.1?}  p95 {:>8.1?}  p99 {:>8.1?}  max {:>8.1?}  of {}",
        at(50),
        at(95),
        at(99),
        at(100),
        times.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn typing_while_a_backlog_comes() {
    let count = std::env::var("MESSAGES").map_or(MESSAGES, |count| count.parse().unwrap());
    let dir = tempfile::tempdir_in(".").unwrap();
    let [away, me] = [1, 2].map(|seed| Identity::from_seed([seed; 32]));
    let conversation = ConversationId::direct(away.peer_id(), me.peer_id());
    let theirs = Store::open(&dir.path().join("theirs"), away.peer_id()).await.unwrap();
    let mine = Store::open(&dir.path().join("mine"), me.peer_id()).await.unwrap();
    for first in (0..count).step_by(500) {
        let group = (first..first + 500).map(|n| say(&theirs, &away, me.peer_id(), n));
        futures_util::future::join_all(group).await;
    }
    let (events, mut seen) = mpsc::channel(1024);
    let exchange = |store: &Store, peer| Exchange {
        store: store.clone(),
        peer,
        events: events.clone(),
        clock: WallClock(|| 1),
        typing: broadcast::Sender::new(1),
    };
    let (left, right) = duplex(1024 * 1024);
    let ((ra, wa), (rb, wb)) = (split(left), split(right));
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    let tasks = [
        tokio::spawn(exchange::run(exchange(&theirs, me.peer_id()), ra, wa)),
        tokio::spawn(exchange::run(exchange(&mine, away.peer_id()), rb, wb)),
        tokio::spawn(async move {
            while seen.recv().await.is_some() {}
            Ok(())
        }),
    ];
    let (mut late, mut pages, mut typed) = (Vec::new(), Vec::new(), Vec::new());
    let ticking = async {
        loop {
            let due = now() + TICK;
            tokio::time::sleep(TICK).await;
            late.push(now().saturating_duration_since(due));
        }
    };
    let reading = async {
        loop {
            tokio::time::sleep(TYPING).await;
            let start = now();
            mine.history(Selection { conversation, before: None, limit: 50 }).await.unwrap();
            pages.push(start.elapsed());
        }
    };
    let typing = async {
        for nonce in 0.. {
            tokio::time::sleep(TYPING).await;
            let start = now();
            say(&mine, &me, away.peer_id(), nonce).await;
            typed.push(start.elapsed());
        }
    };
    let start = now();
    let arriving = async {
        while !theirs.unsent(1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! { () = arriving => {}, () = ticking => {}, () = reading => {}, () = typing => {} }
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "counts here are small")]
    let rate = count as f64 / seconds;
    println!("{count} messages delivered in {seconds:.1} s: {rate:.0} a second, meanwhile");
    print("a task is later than it wanted by", late);
    print("the newest page of 50 is read in", pages);
    print("a message that is typed is durable after", typed);
    for task in tasks {
        task.abort();
    }
}
