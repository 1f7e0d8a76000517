//! The network tested with bare sockets and with plain quinn.

mod quic;
mod sockets;

use std::net::{IpAddr, SocketAddr};

use super::*;

pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A server on the core and two homes behind a NAT each: 25 ms from the server, 40 ms from each other.
pub(super) struct Homes {
    pub(super) net: SimNet,
    pub(super) sites: [SiteId; 3],
    pub(super) nats: [NatId; 2],
    pub(super) hosts: [HostId; 2],
    pub(super) server: HostId,
}

impl Homes {
    pub(super) fn new(seed: u64, a: Profile, b: Profile) -> Self {
        let net = SimNet::new(seed);
        let sites = [net.site(), net.site(), net.site()];
        net.set_link(sites[0], sites[1], Link::new(40 * MS));
        net.set_link(sites[0], sites[2], Link::new(25 * MS));
        net.set_link(sites[1], sites[2], Link::new(25 * MS));
        let nats = [
            net.nat(Segment::Core(sites[0]), a, &[ip("198.51.100.1")]),
            net.nat(Segment::Core(sites[1]), b, &[ip("198.51.100.2")]),
        ];
        let hosts = [
            net.host(Segment::Behind(nats[0]), ip("192.168.1.10")),
            net.host(Segment::Behind(nats[1]), ip("192.168.1.10")),
        ];
        let server = net.host(Segment::Core(sites[2]), ip("203.0.113.1"));
        Self { net, sites, nats, hosts, server }
    }
}
