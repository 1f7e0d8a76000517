//! Figures, not verdicts: searching and opening a conversation of a million messages, and the memory that takes.
//!
//! `cargo test --release -p client --test search_bench -- --ignored --nocapture searches`, with `MESSAGES=100000` for fewer

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::log::{Content, ConversationId, Head, Message};
use client::store::{Search, Selection, Store, Term};
use common::identity::{Identity, PeerId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const MESSAGES: u64 = 1_000_000;
/// Different words; which of them is taken follows a power law, as in languages.
const WORDS: u32 = 50_000;
/// Messages that are taken in together.
const BATCH: u64 = 2_000;
const START_MS: u64 = 1_700_000_000_000;
/// Between two messages.
const STEP_MS: u64 = 60_000;
/// Searches of each kind.
const SEARCHES: usize = 200;
const PAGE: usize = 20;
/// Where the store lies, for the process that builds it.
const PLACE: &str = "HOBNOB_BENCH_STORE";

fn identities() -> [Identity; 2] {
    [1, 2].map(|seed| Identity::from_seed([seed; 32]))
}

fn count() -> u64 {
    std::env::var("MESSAGES").map_or(MESSAGES, |count| count.parse().unwrap())
}

fn word(number: u32) -> String {
    const SYLLABLES: [&str; 16] =
        ["ka", "ro", "mi", "te", "su", "na", "lo", "be", "di", "fa", "gu", "ho", "ja", "pe", "wi", "zo"];
    let (mut word, mut rest) = (String::new(), number + 16);
    while rest > 0 {
        word += SYLLABLES[usize::try_from(rest % 16).unwrap()];
        rest /= 16;
    }
    word
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below WORDS")]
fn pick(rng: &mut StdRng) -> u32 {
    let at: f64 = rng.random();
    (f64::from(WORDS).powf(at) - 1.0) as u32
}

fn text(rng: &mut StdRng) -> String {
    let len = rng.random_range(1..16);
    (0..len).map(|_| word(pick(rng))).collect::<Vec<_>>().join(" ")
}

/// Fills the store at [`PLACE`]; run in a process of its own, so that its memory does not count.
#[tokio::test]
#[ignore = "part of a measurement"]
async fn build() {
    let Ok(path) = std::env::var(PLACE) else { return };
    let [me, other] = identities();
    let conversation = ConversationId::direct(me.peer_id(), other.peer_id());
    let store = Store::open(Path::new(&path), me.peer_id()).await.unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let mut heads: Vec<Head> = Vec::new();
    for first in (0..count()).step_by(usize::try_from(BATCH).unwrap()) {
        let mut batch: Vec<Bytes> = Vec::new();
        for n in first..first + BATCH {
            let author = if rng.random_ratio(1, 10) { &other } else { &me };
            let content = Content::text(text(&mut rng));
            let label = START_MS + n * STEP_MS;
            let message = Message::compose(author, conversation, &heads, content, label, n).unwrap();
            heads = vec![Head { id: message.id(), depth: n + 1, author: author.peer_id() }];
            batch.push(message.bytes().clone());
        }
        store.ingest(other.peer_id(), batch, START_MS + first * STEP_MS).await.unwrap();
    }
    store.close().await;
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
async fn timed(work: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    work.await;
    start.elapsed()
}

/// Most memory that this process ever had, in KiB.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned()
}

fn searches(kind: &str, rng: &mut StdRng, [me, other]: [PeerId; 2]) -> Search {
    let end = START_MS + count() * STEP_MS;
    let some = pick(rng);
    let term = |words: String| vec![Term { words, is_prefix: false }];
    let mut search = Search { terms: term(word(some)), limit: PAGE, ..Search::default() };
    match kind {
        "word" => {}
        "commonest word" => search.terms = term(word(rng.random_range(0..20))),
        "two words" => search.terms.extend(term(word(pick(rng)))),
        "phrase" => search.terms = term(format!("{} {}", word(some), word(pick(rng)))),
        "phrase of common words" => {
            search.terms = term(format!("{} {}", word(rng.random_range(0..9)), word(rng.random_range(0..9))));
        }
        "prefix of 2 to 6 letters" => {
            let letters = rng.random_range(2..7).min(word(some).len());
            search.terms = vec![Term { words: word(some)[..letters].to_owned(), is_prefix: true }];
        }
        "word, by the other" => search.authors = vec![other],
        "word, in a conversation" => search.conversations = vec![ConversationId::direct(me, other)],
        "word, within some days" => {
            let from = rng.random_range(START_MS..end);
            (search.from_ms, search.until_ms) =
                (Some(from), Some(from + rng.random_range(1..10_000_000_000)));
        }
        "word, before a day" => search.until_ms = Some(rng.random_range(START_MS..end)),
        "common word that is nowhere then" => {
            search.terms = term(word(rng.random_range(0..20)));
            search.until_ms = Some(START_MS);
        }
        _ => panic!("unknown kind"),
    }
    search
}

async fn measure(store: &Store, kind: &str) -> Vec<Duration> {
    let mut rng = StdRng::seed_from_u64(2);
    let people = identities().map(|identity| identity.peer_id());
    let (mut times, mut found) = (Vec::new(), 0);
    for _ in 0..SEARCHES {
        let search = searches(kind, &mut rng, people);
        let took = timed(async { found += store.search(search).await.unwrap().len() }).await;
        times.push(took);
    }
    times.sort_unstable();
    let (p50, p99, max) = (times[SEARCHES / 2], times[SEARCHES * 99 / 100], times[SEARCHES - 1]);
    println!("{kind:>34}: p50 {p50:>9.1?}  p99 {p99:>9.1?}  max {max:>9.1?}  {found} found");
    times
}

#[tokio::test]
#[ignore = "a measurement"]
async fn searches_in_a_million_messages() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let path: PathBuf = dir.path().join("db");
    let took = timed(async {
        let mut build = Command::new(std::env::current_exe().unwrap());
        build.args(["--exact", "build", "--ignored"]).env(PLACE, &path);
        assert!(build.output().unwrap().status.success());
    })
    .await;
    let size = std::fs::metadata(&path).unwrap().len();
    println!("{} messages: built in {took:.1?}, {} MB; {}", count(), size / 1_000_000, peak());

    let [me, other] = identities().map(|identity| identity.peer_id());
    let conversation = ConversationId::direct(me, other);
    let took = timed(async {
        let store = Store::open(&path, me).await.unwrap();
        let page = Selection { conversation, before: None, limit: 100 };
        assert_eq!(store.history(page).await.unwrap().len(), 100);
        store.close().await;
    })
    .await;
    println!("opening the store and the newest 100 of the conversation: {took:.1?}; {}", peak());

    let store = Store::open(&path, me).await.unwrap();
    let mut all = Vec::new();
    for kind in [
        "word",
        "commonest word",
        "two words",
        "phrase",
        "phrase of common words",
        "prefix of 2 to 6 letters",
        "word, by the other",
        "word, in a conversation",
        "word, within some days",
        "word, before a day",
        "common word that is nowhere then",
    ] {
        all.extend(measure(&store, kind).await);
    }
    all.sort_unstable();
    println!("all: p99 {:.1?}, max {:.1?}; {}", all[all.len() * 99 / 100], all[all.len() - 1], peak());
    store.close().await;
}
