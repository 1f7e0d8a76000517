//! No message is lost, doubled or out of order, whatever goes wrong and whoever is killed: many seeds of the
//! simulated world.
//!
//! `HOBNOB_SEEDS=1000 cargo test --release -p tests --test chaos_seeds` tries more of them
//! (`HOBNOB_FROM=5000` others);
//! `HOBNOB_SEED=17 cargo test -p tests --test chaos_seeds -- --nocapture` tells the story of one, with
//! what `RUST_LOG` asks for.

#![expect(clippy::print_stdout, reason = "the test tells its story")]

use std::time::Duration;

use tests::chaos::{CROWDS, ROOMS, run_many, run_seed};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Seeds of a usual run: as many as take about a minute.
const USUAL: u64 = 120;

/// Seeds of rooms of a usual run.
const USUAL_ROOMS: u64 = 40;

/// Seeds of crowds of a usual run.
const USUAL_CROWDS: u64 = 16;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Seeds that once failed, each for a reason of its own:
/// - 22: without server and direct path a client was busy for ever, on a timer that could not be served.
/// - 59: a session was given up together with its refused early data, and its connection stayed.
/// - 172, 301, 499: two met, one was killed before it had noted whom, and the other never found it again.
/// - rooms 14, 93, 126: early data went to somebody who was away; the attempt was given up, but not its connection, whose
///   session then waited for ever to hear how the handshake ended.
/// - crowds 1060: who had no room on the disk closed a connection and took it for a farewell; what told the other of that
///   was lost, who then waited for ten minutes.
/// - 106464: a handshake took seconds because of a server that was lost, and its first words were missed only four minutes later.
/// - rooms 80018: a message came to somebody who did not know the room yet, a third brought that with the message, and nobody acknowledged it.
const ONCE_FAILED: [u64; 11] =
    [22, 59, 172, 301, 499, 106_464, ROOMS + 14, ROOMS + 93, ROOMS + 126, ROOMS + 80_018, CROWDS + 1060];

#[test]
fn what_once_failed_holds() {
    for seed in ONCE_FAILED {
        run_many(seed..seed + 1, |(_, outcome)| {
            outcome.unwrap_or_else(|error| panic!("{error}"));
        });
    }
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    if let Some(seed) = number("HOBNOB_SEED") {
        let levels: Targets = std::env::var("RUST_LOG").unwrap_or_default().parse().unwrap();
        let log = tracing_subscriber::fmt::layer().without_time();
        tracing_subscriber::registry().with(log.with_filter(levels)).init();
        match run_seed(seed, true) {
            Ok(summary) => return println!("{summary:?}"),
            Err(error) => panic!("{error}"),
        }
    }
    let first = number("HOBNOB_FROM").unwrap_or(0);
    try_seeds(first, number("HOBNOB_SEEDS").unwrap_or(USUAL));
}

#[test]
fn a_room_is_the_same_for_all() {
    let first = ROOMS + number("HOBNOB_FROM").unwrap_or(0);
    try_seeds(first, number("HOBNOB_SEEDS").unwrap_or(USUAL_ROOMS));
}

#[test]
fn a_crowd_with_full_disks_loses_nothing() {
    let first = CROWDS + number("HOBNOB_FROM").unwrap_or(0);
    try_seeds(first, number("HOBNOB_SEEDS").unwrap_or(USUAL_CROWDS));
}

fn try_seeds(first: u64, count: u64) {
    let mut failures = Vec::new();
    let (mut accepted, mut unknown, mut runs) = (0, 0, 0);
    let (mut length, mut healing) = (Duration::ZERO, Vec::new());
    run_many(first..first + count, |(seed, outcome)| match outcome {
        Ok(summary) => {
            accepted += summary.accepted;
            unknown += summary.unknown;
            runs += summary.runs;
            length += summary.length;
            healing.push((summary.healing, seed));
        }
        Err(error) => {
            println!("{error}");
            failures.push(seed);
        }
    });
    healing.sort();
    let median = healing.get(healing.len() / 2).map(|(time, _)| *time);
    println!(
        "{count} seeds, {length:?} of virtual time: {accepted} messages accepted, {unknown} cut off, {runs} runs of \
         clients; all was there {median:?} (median) and {:?} (longest, with its seed) after all was healed",
        healing.last()
    );
    failures.sort_unstable();
    assert!(failures.is_empty(), "{} seeds failed: {failures:?}", failures.len());
}
