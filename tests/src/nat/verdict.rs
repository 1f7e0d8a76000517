//! What a NAT does with one packet.

use super::flow::Flow;

/// What becomes of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Sent on with this header, on the other side.
    Forward(Flow),
    /// Swallowed without a word.
    Drop(DropReason),
    /// Swallowed, and its sender is told so.
    Reject(Rejection),
    /// Came from inside and goes back inside with this header (RFC 4787 REQ-9).
    Hairpin(Flow),
}

/// Why a packet was swallowed. Real NATs do not say; tests want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The NAT passes no UDP at all.
    UdpBlocked,
    /// The TCP destination port is not among those the NAT passes.
    PortBlocked,
    /// No mapping has this external endpoint.
    NoMapping,
    /// There is a mapping, but its filter does not let this remote endpoint in.
    Filtered,
    /// A TCP segment other than a SYN without a session it could belong to.
    NoSession,
    /// The mapping table or the session table is full.
    TableFull,
    /// No external port is left for this host.
    NoPort,
    /// The NAT has no public address of the packet's family.
    NoAddress,
    /// The packet is for the NAT's own public address and the NAT does not hairpin.
    NoHairpin,
    /// The packet came from outside and is for an address that is not this NAT's.
    NotOurs,
    /// An unsolicited SYN that is kept back for a while (RFC 5382 REQ-4).
    SynHeld,
}

/// How the sender of a refused packet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// ICMP type 3 code 3, or its `ICMPv6` equivalent.
    PortUnreachable,
    /// A TCP segment with RST.
    TcpReset,
}
