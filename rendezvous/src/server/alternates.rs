//! The other sockets of the server from which a STUN request can be answered (RFC 5780 §6.1).
//!
//! Which they are follows from the addresses alone. If one of the main addresses (a, p) has sockets for STUN at (a, q),
//! (b, p) and (b, q), these four answer for each other as the standard says. Any other socket has at most another port
//! of its own address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use common::stun::discovery::{Origin, Origins};
use quinn::AsyncUdpSocket;

/// A socket and its address.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) addr: SocketAddr,
    pub(super) socket: Arc<dyn AsyncUdpSocket>,
}

/// What one socket has beside it.
#[derive(Debug)]
pub(super) struct Alternates {
    own: SocketAddr,
    other_port: Option<Placed>,
    other_ip: Option<Placed>,
    other: Option<Placed>,
}

impl Alternates {
    /// Those of the socket at `own` among `mains` and `probes`.
    pub(super) fn of(own: SocketAddr, mains: &[Placed], probes: &[Placed]) -> Self {
        let find = |addr: SocketAddr| mains.iter().chain(probes).find(|placed| placed.addr == addr).cloned();
        let square = mains.iter().find_map(|main| {
            probes.iter().map(|probe| Square(main.addr, probe.addr)).find(|square| {
                square.is_one() && square.corners().contains(&own) && {
                    square.corners().iter().all(|corner| find(*corner).is_some())
                }
            })
        });
        if let Some(square) = square {
            let (ip, port) = square.opposite(own);
            return Self {
                own,
                other_port: find(SocketAddr::new(own.ip(), port)),
                other_ip: find(SocketAddr::new(ip, own.port())),
                other: find(SocketAddr::new(ip, port)),
            };
        }
        let beside = |placed: &&Placed| placed.addr.ip() == own.ip() && placed.addr != own;
        let other_port = probes.iter().chain(mains).find(beside).cloned();
        Self { own, other_port, other_ip: None, other: None }
    }

    /// What can be said of them to somebody who asked at `asked_ip`, where the system tells that.
    pub(super) fn origins(&self, asked_ip: Option<IpAddr>) -> Origins {
        let addr = |placed: &Option<Placed>| placed.as_ref().map(|placed| placed.addr);
        let at_asked = |addr: SocketAddr| match asked_ip {
            Some(ip) if addr.ip().is_unspecified() => SocketAddr::new(ip, addr.port()),
            _ => addr,
        };
        Origins {
            asked: at_asked(self.own),
            other_port: addr(&self.other_port).map(at_asked),
            other_ip: addr(&self.other_ip),
            other: addr(&self.other),
        }
    }

    /// The socket that an answer is to leave from; `None` for the one that was asked.
    pub(super) fn socket(&self, origin: Origin) -> Option<&Arc<dyn AsyncUdpSocket>> {
        let placed = match origin {
            Origin::Asked => None,
            Origin::OtherPort => self.other_port.as_ref(),
            Origin::OtherIp => self.other_ip.as_ref(),
            Origin::Other => self.other.as_ref(),
        };
        placed.map(|placed| &placed.socket)
    }

    /// The address to send from, where the socket has several: the one that was asked, if it is to stay.
    pub(super) fn shared_ip(&self, origin: Origin, asked_ip: Option<IpAddr>) -> Option<IpAddr> {
        asked_ip.filter(|_| matches!(origin, Origin::Asked | Origin::OtherPort))
    }
}

/// Two addresses, each with the other's port as well.
#[derive(Debug, Clone, Copy)]
struct Square(SocketAddr, SocketAddr);

impl Square {
    fn is_one(self) -> bool {
        let Self(a, b) = self;
        a.is_ipv4() == b.is_ipv4() && a.ip() != b.ip() && a.port() != b.port()
    }

    fn corners(self) -> [SocketAddr; 4] {
        let Self(a, b) = self;
        [a, SocketAddr::new(a.ip(), b.port()), SocketAddr::new(b.ip(), a.port()), b]
    }

    /// The IP address and the port that `corner` has not.
    fn opposite(self, corner: SocketAddr) -> (IpAddr, u16) {
        let Self(a, b) = self;
        let ip = if corner.ip() == a.ip() { b.ip() } else { a.ip() };
        (ip, if corner.port() == a.port() { b.port() } else { a.port() })
    }
}
