//! A minimal NAT for trying the lab: endpoint-independent mapping that preserves ports, address-and-port
//! dependent filtering. It answers to every profile name and models none of the differences.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The flags of a TCP segment that a NAT looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags {
    /// SYN.
    pub syn: bool,
    /// ACK.
    pub ack: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proto {
    /// UDP.
    Udp,
    /// TCP.
    Tcp(TcpFlags),
}

/// One packet as a NAT sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Protocol.
    pub proto: Proto,
    /// Source.
    pub src: SocketAddr,
    /// Destination.
    pub dst: SocketAddr,
}

/// Why a packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Nobody inside asked for it.
    Filtered,
}

/// How a packet was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// ICMP port unreachable.
    PortUnreachable,
    /// A TCP segment with RST.
    TcpReset,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, rewritten.
    Forward(Flow),
    /// It is dropped silently.
    Drop(DropReason),
    /// It is refused with an answer.
    Reject(Rejection),
    /// It turns round inside the NAT, rewritten.
    Hairpin(Flow),
}

/// A kind of NAT.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
}

const NAMES: [&str; 11] = [
    "full_cone",
    "eim_adf",
    "eim_apdf_preserving",
    "eim_apdf_random",
    "adm_apdf",
    "symmetric_random",
    "symmetric_block",
    "symmetric_sequential",
    "cgnat",
    "udp_blocked",
    "web_only",
];

impl Profile {
    /// The profile of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|n| **n == name).map(|name| Self { name })
    }

    /// All profiles.
    #[must_use]
    pub fn all() -> Vec<Self> {
        NAMES.iter().map(|name| Self { name }).collect()
    }
}

/// A NAT.
#[derive(Debug)]
pub struct Nat {
    profile: Profile,
    public: IpAddr,
    mapped: BTreeMap<SocketAddr, u16>,
    permitted: BTreeSet<(u16, SocketAddr)>,
    shift: u16,
}

impl Nat {
    /// A NAT of this kind.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the shape the full model has")]
    pub fn new(profile: Profile, public_ips: Vec<IpAddr>, _seed: u64) -> Self {
        Self { profile, public: public_ips[0], mapped: BTreeMap::new(), permitted: BTreeSet::new(), shift: 0 }
    }

    /// A packet from inside.
    pub fn outbound(&mut self, now: Duration, flow: Flow) -> Verdict {
        if self.profile.name == "udp_blocked" && flow.proto == Proto::Udp {
            return Verdict::Reject(Rejection::PortUnreachable);
        }
        let port =
            *self.mapped.entry(flow.src).or_insert_with(|| flow.src.port().wrapping_add(self.shift).max(1));
        let mapped = Flow { src: SocketAddr::new(self.public, port), ..flow };
        if flow.dst.ip() == self.public {
            return match self.inbound(now, mapped) {
                Verdict::Forward(flow) => Verdict::Hairpin(flow),
                other => other,
            };
        }
        self.permitted.insert((port, flow.dst));
        Verdict::Forward(mapped)
    }

    /// A packet from outside.
    pub fn inbound(&mut self, _now: Duration, flow: Flow) -> Verdict {
        let inside = self.mapped.iter().find(|(_, port)| **port == flow.dst.port());
        match inside {
            None if matches!(flow.proto, Proto::Tcp(flags) if flags.syn) => {
                Verdict::Reject(Rejection::TcpReset)
            }
            Some((inside, port)) if self.permitted.contains(&(*port, flow.src)) => {
                Verdict::Forward(Flow { dst: *inside, ..flow })
            }
            _ => Verdict::Drop(DropReason::Filtered),
        }
    }

    /// Forgets all mappings and takes new ports.
    pub fn rebind(&mut self) {
        self.mapped.clear();
        self.permitted.clear();
        self.shift = self.shift.wrapping_add(1_000);
    }

    /// Takes new public addresses.
    #[expect(clippy::needless_pass_by_value, reason = "the shape the full model has")]
    pub fn set_public_ips(&mut self, ips: Vec<IpAddr>) {
        self.public = ips[0];
        self.rebind();
    }
}
