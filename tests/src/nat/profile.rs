//! What kind of NAT it is: every knob of the model, and the kinds met in the wild by name.

use std::time::Duration;

/// How much of the remote endpoint a decision depends on (RFC 4787 §4.1 for mapping, §5 for filtering).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Behavior {
    /// Nothing of it.
    EndpointIndependent,
    /// Its address.
    AddressDependent,
    /// Its address and port.
    AddressAndPortDependent,
}

/// How the external port of a new mapping is chosen (RFC 4787 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allocation {
    /// The internal port if it is free, else a random one. Never overloaded (RFC 4787 REQ-3).
    Preserving,
    /// The last one given out plus `step`, skipping what is taken.
    Sequential {
        /// Distance between two ports given out one after the other.
        step: u16,
    },
    /// Any free one (RFC 6056).
    Random,
    /// Any free one within one block per internal host (RFC 6888, RFC 7422).
    Block {
        /// Ports in a block.
        size: u16,
    },
    /// A random one that is even or odd as the internal one is (RFC 4787 REQ-4).
    Parity,
}

/// Which public address an internal host gets when there are several (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pooling {
    /// The same for all its mappings (REQ-2).
    Paired,
    /// Any one for each mapping.
    Arbitrary,
}

/// Which TCP destination ports pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcpPorts {
    /// All of them.
    All,
    /// 80 and 443 only.
    Web,
}

impl TcpPorts {
    /// Whether a connection to this port may leave.
    #[must_use]
    pub const fn passes(self, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Web => matches!(port, 80 | 443),
        }
    }
}

/// What is done with a packet from outside that nobody inside asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unsolicited {
    /// It vanishes.
    Drop,
    /// Its sender gets an ICMP error or a TCP reset.
    Reject,
    /// As `Reject`, and the flow is remembered for a while, as Linux connection tracking does: an outbound
    /// flow to the same remote endpoint that would use the same external endpoint gets another port.
    KeepState,
    /// A SYN is kept back for [`SYN_HOLD`](super::SYN_HOLD) and answered only if no SYN from inside met
    /// it by then (RFC 5382 REQ-4); anything else vanishes.
    HoldSyn,
}

/// Everything that distinguishes one NAT from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Its name in tables and on command lines.
    pub name: &'static str,
    /// When two flows of one internal endpoint share an external endpoint.
    pub mapping: Behavior,
    /// Who may send to an external endpoint.
    pub filtering: Behavior,
    /// How external ports are chosen.
    pub allocation: Allocation,
    /// How public addresses are chosen.
    pub pooling: Pooling,
    /// Whether packets from inside to a public endpoint of this NAT find their way back inside.
    pub hairpin: bool,
    /// Whether UDP passes at all.
    pub udp: bool,
    /// Which TCP destination ports pass.
    pub tcp_ports: TcpPorts,
    /// How long a UDP mapping, and a permission in its filter, lives without being refreshed.
    pub udp_lifetime: Duration,
    /// Whether a packet from inside refreshes (RFC 4787 REQ-6).
    pub outbound_refresh: bool,
    /// Whether a packet from outside that was let in refreshes (RFC 4787 REQ-6a).
    pub inbound_refresh: bool,
    /// If set, a mapping dies at this age however busy it is.
    pub absolute_lifetime: Option<Duration>,
    /// How long an open TCP session may be idle (RFC 5382 REQ-5).
    pub tcp_established_lifetime: Duration,
    /// How long a TCP session that is opening or closing may be idle (RFC 5382 REQ-5).
    pub tcp_transitory_lifetime: Duration,
    /// Mappings the table holds; a flow that needs one more is dropped.
    pub max_mappings: usize,
    /// Remote endpoints the table holds over all mappings; likewise.
    pub max_sessions: usize,
    /// What is done with packets nobody asked for.
    pub unsolicited: Unsolicited,
}

/// RFC 4787 REQ-5: not under two minutes.
const UDP_LIFETIME: Duration = Duration::from_secs(120);
/// RFC 5382 REQ-5: not under two hours and four minutes.
const TCP_ESTABLISHED_LIFETIME: Duration = Duration::from_secs(2 * 3600 + 4 * 60);
/// RFC 5382 REQ-5: not under four minutes.
const TCP_TRANSITORY_LIFETIME: Duration = Duration::from_secs(240);
/// What a home router holds.
const HOME_MAPPINGS: usize = 4_096;
/// The usual size of a home router's connection table.
const HOME_SESSIONS: usize = 16_384;
/// What a carrier's machine holds in this model: the ports of one address.
const CARRIER_MAPPINGS: usize = 64_512;
/// Sessions of a carrier's machine in this model.
const CARRIER_SESSIONS: usize = 262_144;
/// The port block per subscriber of a carrier's machine.
const CARRIER_BLOCK: u16 = 2_048;

use Allocation::{Block, Preserving, Random, Sequential};
use Behavior::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

impl Profile {
    /// What all profiles below start from: a home router that keeps the RFCs where they do not differ.
    const fn home(
        name: &'static str,
        mapping: Behavior,
        filtering: Behavior,
        allocation: Allocation,
    ) -> Self {
        Self {
            name,
            mapping,
            filtering,
            allocation,
            pooling: Pooling::Paired,
            hairpin: false,
            udp: true,
            tcp_ports: TcpPorts::All,
            udp_lifetime: UDP_LIFETIME,
            outbound_refresh: true,
            inbound_refresh: false,
            absolute_lifetime: None,
            tcp_established_lifetime: TCP_ESTABLISHED_LIFETIME,
            tcp_transitory_lifetime: TCP_TRANSITORY_LIFETIME,
            max_mappings: HOME_MAPPINGS,
            max_sessions: HOME_SESSIONS,
            unsolicited: Unsolicited::Drop,
        }
    }

    /// Anybody may send to a mapping once it is there. The easiest NAT.
    #[must_use]
    pub const fn full_cone() -> Self {
        let base = Self::home("full_cone", EndpointIndependent, EndpointIndependent, Preserving);
        Self { hairpin: true, ..base }
    }

    /// Whoever's address was sent to may answer from any port.
    #[must_use]
    pub const fn eim_adf() -> Self {
        let base = Self::home("eim_adf", EndpointIndependent, AddressDependent, Preserving);
        Self { hairpin: true, ..base }
    }

    /// The common home router: keeps ports, lets in only the endpoints that were sent to.
    #[must_use]
    pub const fn eim_apdf_preserving() -> Self {
        let base =
            Self::home("eim_apdf_preserving", EndpointIndependent, AddressAndPortDependent, Preserving);
        Self { hairpin: true, ..base }
    }

    /// The same with random external ports, and without hairpinning.
    #[must_use]
    pub const fn eim_apdf_random() -> Self {
        Self::home("eim_apdf_random", EndpointIndependent, AddressAndPortDependent, Random)
    }

    /// Linux masquerading as most home routers have it: port-preserving, refuses what nobody asked for and
    /// keeps state of it, which spoils the port for whoever punches too late.
    #[must_use]
    pub const fn linux() -> Self {
        let base = Self::home("linux", EndpointIndependent, AddressAndPortDependent, Preserving);
        Self { unsolicited: Unsolicited::KeepState, inbound_refresh: true, ..base }
    }

    /// One external port per remote address.
    #[must_use]
    pub const fn adm_apdf() -> Self {
        Self::home("adm_apdf", AddressDependent, AddressAndPortDependent, Random)
    }

    /// One random external port per remote endpoint. The hardest NAT.
    #[must_use]
    pub const fn symmetric_random() -> Self {
        Self::home("symmetric_random", AddressAndPortDependent, AddressAndPortDependent, Random)
    }

    /// One external port per remote endpoint, all within one block of `size` ports per internal host.
    #[must_use]
    pub const fn symmetric_block(size: u16) -> Self {
        let allocation = Block { size };
        Self::home("symmetric_block", AddressAndPortDependent, AddressAndPortDependent, allocation)
    }

    /// One external port per remote endpoint, each the last one plus one.
    #[must_use]
    pub const fn symmetric_sequential() -> Self {
        let allocation = Sequential { step: 1 };
        Self::home("symmetric_sequential", AddressAndPortDependent, AddressAndPortDependent, allocation)
    }

    /// A carrier's NAT that keeps RFC 6888: endpoint-independent mapping, port blocks, hairpinning, and a
    /// large table.
    #[must_use]
    pub const fn cgnat() -> Self {
        let allocation = Block { size: CARRIER_BLOCK };
        let base = Self::home("cgnat", EndpointIndependent, AddressAndPortDependent, allocation);
        Self { hairpin: true, max_mappings: CARRIER_MAPPINGS, max_sessions: CARRIER_SESSIONS, ..base }
    }

    /// An office firewall: TCP to anywhere, no UDP.
    #[must_use]
    pub const fn udp_blocked() -> Self {
        let base = Self::home("udp_blocked", EndpointIndependent, AddressAndPortDependent, Preserving);
        Self { udp: false, ..base }
    }

    /// A strict office firewall: nothing but TCP to ports 80 and 443.
    #[must_use]
    pub const fn web_only() -> Self {
        let base = Self::home("web_only", EndpointIndependent, AddressAndPortDependent, Preserving);
        Self { udp: false, tcp_ports: TcpPorts::Web, ..base }
    }

    /// What home routers do with IPv6: addresses stay as they are, and only who was sent to may answer (RFC 6092 §3.3).
    /// It is no NAT, and not among [`Self::all`].
    #[must_use]
    pub const fn ipv6_firewall() -> Self {
        Self::home("ipv6_firewall", EndpointIndependent, AddressAndPortDependent, Preserving)
    }

    /// Every named profile, the easy ones first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::full_cone(),
            Self::eim_adf(),
            Self::eim_apdf_preserving(),
            Self::eim_apdf_random(),
            Self::linux(),
            Self::cgnat(),
            Self::adm_apdf(),
            Self::symmetric_sequential(),
            Self::symmetric_block(CARRIER_BLOCK),
            Self::symmetric_random(),
            Self::udp_blocked(),
            Self::web_only(),
        ]
    }

    /// The profile of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|profile| profile.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_found_by_its_own_name() {
        for profile in Profile::all() {
            assert_eq!(Profile::by_name(profile.name), Some(profile));
        }
        assert_eq!(Profile::by_name("no such thing"), None);
    }

    /// RFC 4787 REQ-5, RFC 5382 REQ-5.
    #[test]
    fn no_profile_is_under_the_minimum_lifetimes() {
        for profile in Profile::all() {
            assert!(profile.udp_lifetime >= Duration::from_secs(120), "{}", profile.name);
            assert!(profile.tcp_established_lifetime >= Duration::from_secs(7_440), "{}", profile.name);
            assert!(profile.tcp_transitory_lifetime >= Duration::from_secs(240), "{}", profile.name);
        }
    }
}
