//! One host: its addresses and its bound ports.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::inbox::{Inbox, Reception};
use super::place::{Attachment, Segment};

/// Where ports that the system chooses begin (RFC 6335).
const FIRST_EPHEMERAL: u16 = 49_152;

/// One host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) addresses: Vec<Attachment>,
    pub(super) reception: Reception,
    sockets: BTreeMap<SocketAddr, Inbox>,
    next_ephemeral: u16,
}

impl Host {
    pub(super) const fn new(addresses: Vec<Attachment>) -> Self {
        let sockets = BTreeMap::new();
        Self { addresses, reception: Reception::Single, sockets, next_ephemeral: FIRST_EPHEMERAL }
    }

    /// The wildcard address of the family this host speaks, IPv4 if both.
    pub(super) fn wildcard(&self) -> IpAddr {
        let v4 = self.addresses.is_empty() || self.addresses.iter().any(|address| address.ip.is_ipv4());
        if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
    }

    /// The segment an address of this host is attached to.
    pub(super) fn segment_of(&self, ip: IpAddr) -> Option<Segment> {
        self.addresses.iter().find(|address| address.ip == ip).map(|address| address.segment)
    }

    /// Whether a packet to this address ends here.
    pub(super) fn owns(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.segment_of(ip).is_some()
    }

    pub(super) fn bind(&mut self, wanted: SocketAddr, id: u64) -> io::Result<SocketAddr> {
        if !wanted.ip().is_unspecified() && !self.owns(wanted.ip()) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let local = if wanted.port() == 0 { self.choose_port(wanted.ip())? } else { wanted };
        if self.sockets.contains_key(&local) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.sockets.insert(local, Inbox::new(id, self.reception));
        Ok(local)
    }

    /// Unbinds a port, unless another socket has bound it since.
    pub(super) fn unbind(&mut self, local: SocketAddr, id: u64) {
        if self.inbox(local, id).is_some() {
            self.sockets.remove(&local);
        }
    }

    /// Unbinds all ports.
    pub(super) fn unbind_all(&mut self) {
        self.sockets.clear();
    }

    /// The inbox of a socket, unless it was unbound.
    pub(super) fn inbox(&mut self, local: SocketAddr, id: u64) -> Option<&mut Inbox> {
        self.sockets.get_mut(&local).filter(|inbox| inbox.id == id)
    }

    /// The inbox that a packet to `dst` goes to: one bound to that very address, or to all of its family.
    pub(super) fn inbox_for(&mut self, dst: SocketAddr) -> Option<&mut Inbox> {
        let any: IpAddr =
            if dst.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let local = if self.sockets.contains_key(&dst) { dst } else { SocketAddr::new(any, dst.port()) };
        self.sockets.get_mut(&local)
    }

    fn choose_port(&mut self, ip: IpAddr) -> io::Result<SocketAddr> {
        for _ in FIRST_EPHEMERAL..=u16::MAX {
            let local = SocketAddr::new(ip, self.next_ephemeral);
            self.next_ephemeral = self.next_ephemeral.checked_add(1).unwrap_or(FIRST_EPHEMERAL);
            if !self.sockets.contains_key(&local) {
                return Ok(local);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}
