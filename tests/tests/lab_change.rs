//! The real programs in the lab when UDP is blocked under their conversation: no line is lost, and they go on directly.
#![cfg(target_os = "linux")]

#[path = "support/lab.rs"]
mod support;

use tests::lab::access::Access;
use tests::lab::change::{self, Change};
use tests::lab::trial::Setup;

#[test]
fn a_conversation_goes_on_over_tcp_when_udp_is_blocked() {
    let bin_dir = match support::binaries() {
        Ok(dir) => dir,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let [a, b] = ["eim_apdf_random", "eim_apdf_preserving"].map(|name| Access::by_name(name).unwrap());
    for what in Change::ALL {
        let setup = Setup { bin_dir: bin_dir.clone(), seed: 1, pcap: None };
        let outcome = change::run(&a, &b, what, &setup).unwrap();
        if let Some(failure) = &outcome.failure {
            panic!("{what:?}: {failure}");
        }
        println!("{outcome:?}");
        assert!(outcome.direct_ms.is_some(), "never direct over TCP: {outcome:?}");
    }
}
