//! One test per behaviour, each named after the requirement it checks.

mod properties;
mod tcp;
mod udp;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;

/// The seed of every NAT whose random choices do not matter to its test.
const SEED: u64 = 7;

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A NAT with one public address, 198.51.100.1.
pub(super) fn nat(profile: Profile) -> Nat {
    Nat::new(profile, vec![ip("198.51.100.1")], SEED)
}

/// Sends a UDP packet out and returns its external endpoint.
pub(super) fn out(nat: &mut Nat, now: Duration, from: &str, to: &str) -> SocketAddr {
    match nat.outbound(now, Flow::udp(addr(from), addr(to))) {
        Verdict::Forward(flow) => {
            assert_eq!(flow.dst, addr(to), "a NAT does not touch the destination of what leaves");
            flow.src
        }
        verdict => panic!("{from} to {to}: {verdict:?}"),
    }
}

/// Sends a UDP packet in and returns the verdict.
pub(super) fn back(nat: &mut Nat, now: Duration, from: &str, to: SocketAddr) -> Verdict {
    nat.inbound(now, Flow::udp(addr(from), to))
}

/// The verdict that delivers a UDP packet to an internal endpoint.
pub(super) fn delivered(from: &str, to: &str) -> Verdict {
    Verdict::Forward(Flow::udp(addr(from), addr(to)))
}
