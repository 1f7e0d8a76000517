//! What a network means for connecting, in sentences. Which way two NATs are got through is what
//! [`method`] says, so that this cannot promise what a client does not do.

use common::traversal::method::{Hopeless, Method, method};
use common::traversal::nat::{Choice, Class, PortRange};

use crate::net::netcheck::{Kind, Report};

/// Whom one may want to reach, and what they are behind.
const OTHERS: [(&str, Class); 3] = [
    ("Somebody with an ordinary home router, or none", Class::Easy),
    ("Somebody behind a NAT that counts its ports", Class::Hard(Choice::Counter(1))),
    ("Somebody behind a NAT that draws its ports at random", Class::Hard(Choice::Random(PortRange::ALL))),
];

/// What the network of `report` means.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let mut sentences = match report.kind() {
        Kind::Unknown => return unknown(report),
        Kind::Blocked => blocked(),
        Kind::Open => with(Class::Easy, "Two people on networks like this one", report),
        Kind::Nat(class) => with(class, "Two people with this kind of NAT", report),
    };
    if report.maps_ports() {
        sentences.push(
            "The router opens a port when asked, which a client does: whoever can send packets reaches it there, whatever \
             the NAT does."
                .to_owned(),
        );
    }
    if report.over_ipv6().is_some() {
        sentences.push("Between two people who both have IPv6 no NAT matters at all.".to_owned());
    }
    sentences
}

fn unknown(report: &Report) -> Vec<String> {
    let nobody = match &report.server {
        Some(_) => "The server was not reached in any way, so nothing can be told of the NAT.",
        None => {
            "No STUN server answered: UDP does not pass here, or they are down. --server HOST:PORT would tell which."
        }
    };
    let contacts =
        "Those who are connected already stay so; people in the same network still reach each other.";
    vec![nobody.to_owned(), contacts.to_owned()]
}

fn blocked() -> Vec<String> {
    vec![
        "UDP does not pass to the server. The client uses TCP to reach it, and everybody over its relay.".to_owned(),
        "Two people on networks like this one: direct over TCP if both routers keep the ports of TCP connections, as most do; \
         else over the relay."
            .to_owned(),
    ]
}

fn with(class: Class, both: &str, report: &Report) -> Vec<String> {
    let sentence = |who: &str, other: Class| format!("{who}: {}", outcome(method(class, other), other));
    let mut sentences: Vec<_> = OTHERS.iter().map(|(who, other)| sentence(who, *other)).collect();
    sentences.push(sentence(both, class));
    if report.udp.hairpin == Some(false) && report.is_translated() == Some(true) {
        sentences.push(
            "Two people behind this very NAT: direct at their addresses inside; not if there are further routers between \
             them, since this one sends nothing back in."
                .to_owned(),
        );
    }
    sentences
}

/// How two get through, with the times of `docs/measured.md`.
fn outcome(method: Method, other: Class) -> &'static str {
    match method {
        Method::Unknown => "not known; plain packets are tried, and the relay carries everything meanwhile.",
        Method::Plain | Method::Together => "direct, within moments.",
        Method::Lead(choice) => by_choice(choice),
        Method::Follow => match other {
            Class::Hard(choice) | Class::Doubtful(choice) => by_choice(choice),
            Class::Easy | Class::Unknown => "direct, within moments.",
        },
        Method::Both(_) => {
            "direct within moments if this NAT maps alike for all addresses, which this server cannot tell; else by guessing."
        }
        Method::Meet { .. } => "direct as a rule, within half a second: both counters are foretold.",
        Method::Hopeless(Hopeless::BothRandom | Hopeless::CounterAndRandom) => {
            "over the relay, which reads nothing: no packet can be aimed. A port from the router, IPv6 or TCP makes it direct."
        }
    }
}

/// The hard side of two chooses its ports like this.
fn by_choice(choice: Choice) -> &'static str {
    match choice {
        Choice::Counter(_) => "direct as a rule, within half a second: the next port is foretold.",
        Choice::Random(range) if range.is_block() => {
            "direct as a rule, within a second: the port is guessed within the block that they come from."
        }
        Choice::Random(_) => {
            "direct as a rule, within three seconds: the port is guessed, with up to 1,500 small packets."
        }
    }
}
