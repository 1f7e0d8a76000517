//! What each pair of homes can come to at best: a direct path, or the relay, and then why.
//!
//! It knows NATs and nothing of Hobnob, so that a table can tell what is missing from what cannot be had. "Cannot" is
//! meant within a packet budget that leaves other people's flows alive: two NATs with random ports would meet by chance
//! if each held tens of thousands of mappings.

use serde::{Deserialize, Serialize};

use super::access::{Access, Families, Shared, Udp};
use crate::nat::{Allocation, Behavior, Profile, TcpPorts};

/// The best that a pair can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// A direct path.
    Direct,
    /// The relay.
    Relayed(Reason),
}

/// Why a pair cannot do without the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Both take a random port for each peer.
    BothRandom,
    /// One counts, the other takes random ports.
    CounterAndRandom,
    /// UDP does not pass, and one takes a random TCP port for each peer.
    RandomTcp,
    /// One may only open connections to ports of the web, or to a proxy.
    WebOnly,
    /// Both are behind one NAT that does not lead packets from inside back inside.
    NoHairpin,
    /// They have no address family in common.
    NoFamily,
}

impl Reason {
    /// The reason in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::BothRandom => "both NATs take a random port for each peer",
            Self::CounterAndRandom => "one NAT counts and the other takes random ports",
            Self::RandomTcp => "no UDP on one side, and random TCP ports on the other",
            Self::WebOnly => "one side may open connections to ports 80 and 443, or to its proxy, alone",
            Self::NoHairpin => "one NAT for both, which leads nothing back inside",
            Self::NoFamily => "no address family in common",
        }
    }
}

/// How far the port is known that a peer has to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ports {
    /// The one that the server saw.
    Seen,
    /// Near the last one.
    Counted,
    /// Any.
    Random,
}

/// What this pair can come to at best.
#[must_use]
pub fn expected(a: &Access, b: &Access) -> Expected {
    if a.shares_with(b) {
        return together(a);
    }
    if a.families.has_v6() && b.families.has_v6() {
        return Expected::Direct;
    }
    if a.families == Families::V6 || b.families == Families::V6 {
        return Expected::Relayed(Reason::NoFamily);
    }
    let mut ports = [ports(a), ports(b)];
    ports.sort_unstable();
    if has_udp(a) && has_udp(b) {
        return match ports {
            [Ports::Seen, _] | [Ports::Counted, Ports::Counted] => Expected::Direct,
            [Ports::Counted, _] => Expected::Relayed(Reason::CounterAndRandom),
            [Ports::Random, _] => Expected::Relayed(Reason::BothRandom),
        };
    }
    match ports {
        _ if !has_tcp(a) || !has_tcp(b) => Expected::Relayed(Reason::WebOnly),
        [_, Ports::Random] => Expected::Relayed(Reason::RandomTcp),
        _ => Expected::Direct,
    }
}

/// Two homes behind one NAT.
fn together(access: &Access) -> Expected {
    let on_one_wire = access.chain.len() == 1 && access.shared == Shared::Nat;
    let turns_around = access.chain.last().is_some_and(|profile| profile.hairpin);
    if on_one_wire || turns_around { Expected::Direct } else { Expected::Relayed(Reason::NoHairpin) }
}

fn has_udp(access: &Access) -> bool {
    access.udp == Udp::Everywhere && access.chain.iter().all(|profile| profile.udp) && !access.is_proxied
}

fn has_tcp(access: &Access) -> bool {
    access.chain.iter().all(|profile| profile.tcp_ports == TcpPorts::All) && !access.is_proxied
}

/// The least known of the ports that the home's NATs choose.
fn ports(access: &Access) -> Ports {
    let of = |profile: &Profile| match (profile.mapping, profile.allocation) {
        (Behavior::EndpointIndependent, _) => Ports::Seen,
        (_, Allocation::Sequential { .. }) => Ports::Counted,
        (_, _) => Ports::Random,
    };
    access.chain.iter().map(of).max().unwrap_or(Ports::Seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::access::{ALL, EASY};

    fn of(a: &str, b: &str) -> Expected {
        expected(&Access::by_name(a).unwrap(), &Access::by_name(b).unwrap())
    }

    #[test]
    fn easy_nats_meet_everybody_who_has_udp() {
        for easy in EASY {
            for other in ALL.iter().filter(|kind| !["udp_blocked", "web_only", "proxy_only"].contains(kind)) {
                assert_eq!(of(easy, other), Expected::Direct, "{easy} {other}");
            }
        }
    }

    /// Of ten profiles and all hundred ordered pairs, these twelve stay on the relay.
    #[test]
    fn twelve_of_a_hundred_stay_relayed() {
        let ten = [
            "public",
            "full_cone",
            "eim_adf",
            "eim_apdf_preserving",
            "eim_apdf_random",
            "adm_apdf",
            "symmetric_random",
            "symmetric_sequential",
            "cgnat",
            "udp_blocked",
        ];
        let pairs = ten.iter().flat_map(|a| ten.iter().map(move |b| (a, b)));
        let relayed = pairs.filter(|(a, b)| matches!(of(a, b), Expected::Relayed(_)));
        assert_eq!(relayed.count(), 12);
    }

    #[test]
    fn reasons_are_told_apart() {
        for (a, b, reason) in [
            ("symmetric_random", "adm_apdf", Reason::BothRandom),
            ("symmetric_sequential_noisy", "symmetric_block", Reason::CounterAndRandom),
            ("symmetric_random", "udp_blocked", Reason::RandomTcp),
            ("web_only", "public", Reason::WebOnly),
            ("proxy_only", "symmetric_random", Reason::WebOnly),
            ("same_nat", "same_nat", Reason::NoHairpin),
            ("same_carrier", "same_carrier", Reason::NoHairpin),
            ("ipv6", "public", Reason::NoFamily),
        ] {
            assert_eq!(of(a, b), Expected::Relayed(reason), "{a} {b}");
        }
        for name in ["same_lan", "same_nat_hairpin", "same_carrier_hairpin", "ipv6", "dual_stack"] {
            assert_eq!(of(name, name), Expected::Direct, "{name}");
        }
    }
}
