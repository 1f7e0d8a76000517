//! The real programs in the lab behind NATs that plain punching does not get through.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail and print like tests")]

#[path = "support/lab.rs"]
mod support;

use tests::lab::matrix::{Pair, fault};
use tests::lab::physics::{Expected, expected};
use tests::lab::trial::{self, Over, Setup};

/// Two newcomers of these kinds meet, go direct over UDP, and chat. A try may fail by bad luck, as one in a hundred is
/// meant to; two in a row do not.
fn meet_over_udp(a: &str, b: &str) {
    let bin_dir = match support::binaries() {
        Ok(dir) => dir,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let pair = Pair::by_names(a, b).unwrap();
    assert_eq!(expected(&pair.a, &pair.b), Expected::Direct);
    let setup = |seed| Setup { bin_dir: bin_dir.clone(), seed, pcap: None };
    let outcomes = [1, 2].map(|seed| trial::run(&pair.a, &pair.b, &setup(seed)).unwrap());
    let went = outcomes
        .iter()
        .any(|outcome| fault(Expected::Direct, outcome).is_none() && outcome.over == Some(Over::Udp));
    assert!(went, "{a} x {b}: {outcomes:?}");
}

#[test]
fn an_easy_nat_meets_random_ports() {
    meet_over_udp("eim_apdf_random", "symmetric_random");
}

#[test]
fn an_easy_nat_meets_a_block() {
    meet_over_udp("symmetric_block", "eim_apdf_preserving");
}

#[test]
fn an_easy_nat_meets_a_busy_counter() {
    meet_over_udp("eim_apdf_random", "symmetric_sequential_noisy");
}
