//! Which pairs of NATs let two peers connect over TCP, played in virtual time.

use common::traversal::cause::Prospect;
use tests::nat::Profile;
use tests::tcp_duel::tcp_duel;

fn connects(a: Option<Profile>, b: Option<Profile>) -> bool {
    tcp_duel(a, b, Prospect::Fair).connects
}

/// NATs whose next port is seen or guessed.
const FORESEEABLE: [&str; 8] = [
    "full_cone",
    "eim_adf",
    "eim_apdf_preserving",
    "eim_apdf_random",
    "linux",
    "cgnat",
    "symmetric_sequential",
    "udp_blocked",
];

#[test]
fn every_pair_whose_ports_can_be_foreseen_connects() {
    for a in FORESEEABLE.map(|name| Profile::by_name(name).unwrap()) {
        for b in FORESEEABLE.map(|name| Profile::by_name(name).unwrap()) {
            assert!(connects(Some(a), Some(b)), "{} x {}", a.name, b.name);
        }
        assert!(connects(Some(a), None) && connects(None, Some(a)), "{} x public", a.name);
    }
}

#[test]
fn random_ports_connect_where_nobody_looks_at_ports_alone() {
    let random = Profile::symmetric_random();
    for (name, expected) in
        [("full_cone", true), ("eim_adf", true), ("eim_apdf_preserving", false), ("udp_blocked", false)]
    {
        assert_eq!(connects(Some(random), Profile::by_name(name)), expected, "symmetric_random x {name}");
    }
    assert!(connects(Some(random), None));
}

#[test]
fn nothing_connects_where_only_the_web_passes() {
    assert!(!connects(Some(Profile::web_only()), Some(Profile::full_cone())));
}
