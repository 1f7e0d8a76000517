//! The real programs in the lab where UDP does not pass between them: they find each other over TCP.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail and print like tests")]

#[path = "support/lab.rs"]
mod support;

use tests::lab::access::{Access, SERVER_UDP};
use tests::lab::trial::{self, Over, Setup};

/// Two newcomers of these kinds meet and chat directly over TCP.
fn meet_over_tcp(a: &str, b: &str) {
    let bin_dir = match support::binaries() {
        Ok(dir) => dir,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let setup = Setup { bin_dir, seed: 1, pcap: None };
    let outcome = trial::run(&Access::by_name(a).unwrap(), &Access::by_name(b).unwrap(), &setup).unwrap();
    if let Some(failure) = &outcome.failure {
        panic!("{a} x {b}: {failure}");
    }
    assert!(outcome.direct_ms.is_some(), "{a} x {b}: never direct: {outcome:?}");
    assert!(outcome.chat_direct, "{a} x {b}: the chat did not go direct: {outcome:?}");
    assert_eq!(outcome.over, Some(Over::Tcp), "{a} x {b}: {outcome:?}");
    assert!(outcome.sealed, "{a} x {b}: the chat was seen in the open");
}

#[test]
fn udp_to_the_server_alone_meets_a_public_address() {
    meet_over_tcp(SERVER_UDP, "public");
}

#[test]
fn udp_to_the_server_alone_meets_its_like() {
    meet_over_tcp(SERVER_UDP, SERVER_UDP);
}

#[test]
fn no_udp_at_all_on_either_side() {
    meet_over_tcp("udp_blocked", "udp_blocked");
}

#[test]
fn no_udp_at_all_meets_easy_nats() {
    for other in ["public", "full_cone", "eim_apdf_preserving", "cgnat"] {
        meet_over_tcp("udp_blocked", other);
    }
}

#[test]
fn no_udp_at_all_meets_a_nat_that_counts() {
    meet_over_tcp("udp_blocked", "symmetric_sequential");
}
