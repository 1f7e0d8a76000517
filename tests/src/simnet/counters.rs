//! What went where, counted from outside the hosts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::place::HostId;
use crate::nat::DropReason;

/// One datagram as seen on the public core, before the link decides about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its source as written in it there.
    pub src: SocketAddr,
    /// Its destination as written in it there.
    pub dst: SocketAddr,
    /// The UDP payload.
    pub payload: Bytes,
    /// The time since the start of the network.
    pub at: Duration,
    /// The host that made it.
    pub from: HostId,
}

/// Why a datagram did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropCause {
    /// Random loss on a link.
    Lost,
    /// The queue before a bottleneck was full.
    QueueFull,
    /// Larger than a link's MTU.
    TooLarge,
    /// The host, or the pair of hosts, is cut off.
    Cut,
    /// Nobody has the destination address.
    NoRoute,
    /// The host has no socket on the destination port.
    NoSocket,
    /// The socket's receive buffer was full.
    ReceiveBufferFull,
    /// A NAT dropped it.
    Nat(DropReason),
    /// A NAT refused it. Sockets see nothing of that, as unconnected UDP sockets do not.
    Refused,
}

/// A number of datagrams and their payload bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Datagrams.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, size: usize) {
        self.packets += 1;
        self.bytes += u64::try_from(size).unwrap_or(u64::MAX);
    }
}

/// All counters of a network.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: BTreeMap<HostId, Count>,
    pub(super) delivered: BTreeMap<(HostId, HostId), Count>,
    pub(super) core: BTreeMap<(SocketAddr, SocketAddr), Count>,
    pub(super) dropped: BTreeMap<DropCause, u64>,
}

impl Counters {
    pub(super) fn note_sent(&mut self, from: HostId, size: usize) {
        self.sent.entry(from).or_default().add(size);
    }

    pub(super) fn note_delivered(&mut self, from: HostId, to: HostId, size: usize) {
        self.delivered.entry((from, to)).or_default().add(size);
    }

    pub(super) fn note_core(&mut self, src: SocketAddr, dst: SocketAddr, size: usize) {
        self.core.entry((src, dst)).or_default().add(size);
    }

    pub(super) fn note_dropped(&mut self, cause: DropCause) {
        *self.dropped.entry(cause).or_default() += 1;
    }
}

/// A running hash of everything that happened: when, from where, to where, how large. Contents do not count,
/// because cryptographic randomness is not the network's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace(u64);

/// The offset basis of 64-bit FNV-1a.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
/// The prime of 64-bit FNV-1a.
const FNV_PRIME: u64 = 0x0100_0000_01b3;

impl Trace {
    pub(super) const fn new() -> Self {
        Self(FNV_OFFSET)
    }

    pub(super) const fn hash(self) -> u64 {
        self.0
    }

    pub(super) fn note(&mut self, at: Duration, (src, dst): (SocketAddr, SocketAddr), size: usize) {
        self.mix(&at.as_nanos().to_le_bytes());
        for addr in [src, dst] {
            match addr.ip() {
                std::net::IpAddr::V4(ip) => self.mix(&ip.octets()),
                std::net::IpAddr::V6(ip) => self.mix(&ip.octets()),
            }
            self.mix(&addr.port().to_le_bytes());
        }
        self.mix(&size.to_le_bytes());
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }
}
