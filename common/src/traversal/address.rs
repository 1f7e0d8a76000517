//! What an address alone says of itself.

use std::net::{IpAddr, SocketAddr};

use super::path::Tier;
use super::tcp::StreamId;
use crate::address::is_virtual;

/// The kind of path that goes to an address, judged by the address alone.
#[must_use]
pub fn tier(addr: SocketAddr) -> Tier {
    if StreamId::of(addr).is_some() {
        return Tier::Tcp;
    }
    let local = match addr.ip() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    };
    if local { Tier::Lan } else { Tier::Public }
}

/// Whether a peer or a server may make this machine send checks to `addr` at all: never to several machines at
/// once, not to what stands for something else, and to loopback only if the server itself is reached there.
#[must_use]
pub fn may_check(addr: SocketAddr, server_is_loopback: bool) -> bool {
    let ip = addr.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0
        && !is_virtual(addr)
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !broadcast
        && (server_is_loopback || !ip.is_loopback())
}
