//! The places of a simulated network: sites of the core, NATs, hosts, and what they are attached to.

use std::net::IpAddr;

use crate::nat::Nat;

/// A place on the public core; delays are between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub(super) usize);

/// One NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(pub(super) usize);

/// One host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(super) usize);

/// What a host's address or a NAT's outside is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The public core, at a site.
    Core(SiteId),
    /// The network on the inside of a NAT, which is its default gateway.
    Behind(NatId),
}

impl Segment {
    /// Within which space the addresses of this segment are unique.
    pub(super) const fn space(self) -> Space {
        match self {
            Self::Core(_) => Space::Core,
            Self::Behind(nat) => Space::Lan(nat),
        }
    }
}

/// An address space: all sites of the core share one, every NAT has its own inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Space {
    /// Public addresses.
    Core,
    /// Addresses behind one NAT.
    Lan(NatId),
}

/// Where a packet is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Station {
    /// At a host that has the destination address.
    Host(HostId),
    /// At a NAT, coming from its inside.
    Inside(NatId),
    /// At a NAT, coming from its outside.
    Outside(NatId),
}

/// A NAT in its place.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) outside: Segment,
    pub(super) nat: Nat,
}

/// One address of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) segment: Segment,
    pub(super) ip: IpAddr,
}
