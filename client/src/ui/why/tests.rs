use std::time::Duration;

use common::identity::Identity;
use common::traversal::cause::{Access, Passes};
use common::traversal::nat::{Allocation, Mapping, Nat, PortRange};

use super::*;
use crate::net::{PathChange, Via};

const RANDOM: Nat = Nat::new(Mapping::PortDependent, Allocation::Random(PortRange::ALL));

fn why(cause: Cause, via: Via) -> Why {
    let peer = Identity::from_seed([2; 32]).peer_id();
    let path = PathChange { peer, via, remote: None, rtt: Some(Duration::from_millis(80)) };
    let outlook = Outlook {
        mine: RANDOM,
        theirs: Nat::default(),
        access: [Access::default(), Access { udp: Passes::No, tcp: Passes::Yes }],
        method: Method::Unknown,
        failures: 0,
        packets: 0,
        checks: 12,
        answered: 0,
        is_trying: false,
    };
    let tcp = TcpOutlook { state: TcpState::GivenUp, failed: 1 };
    let insight = Insight { path, cause, outlook, tcp, mapped: None, asks_router: true, has_ipv6: false };
    Why { peer, insight: Some(insight), since_ms: Some(5_000), online: true, trouble: None }
}

#[test]
fn a_relayed_connection_is_explained() {
    let why = why(Cause::BlockedAndRandom { blocked: Whose::Theirs }, Via::Relay);
    let expected = [
        "Bob: over the relay, 80 ms, for 90 s",
        "your network: hard to reach, another public port for each connection, at random",
        "Bob's network: UDP does not pass",
        "tried: 12 direct packets over UDP, 0 answered; TCP: 1 round failed, given up",
        "why not better: UDP does not pass in Bob's network, and the router of your network gives each connection \
         a random port, which nobody can foresee",
        "what would help, one of these:",
        "- let outgoing UDP pass in the firewall of Bob's network",
        "- switch on port mapping (UPnP, PCP or NAT-PMP) in the router of your network; yours was asked and did \
         not give one",
        "- IPv6 on both sides; you have none",
        "- another network, such as a telephone's hotspot or a home instead of an office",
    ];
    assert_eq!(lines(&why, "Bob", 95_000), expected);
}

#[test]
fn what_is_best_needs_no_advice() {
    let lines = lines(&why(Cause::Direct, Via::Udp), "Bob", 5_000);
    assert_eq!(lines.len(), 5);
    assert!(lines[4].starts_with("this is the best there is"));
}

#[test]
fn who_is_away_is_said_to_be() {
    let why =
        Why { insight: None, trouble: Some("no \u{1b}[2Janswer".to_owned()), ..why(Cause::Direct, Via::Udp) };
    assert_eq!(lines(&why, "Bob", 0), ["Bob: online, but not connected", "the last time: no [2Janswer"]);
}
