//! What was found, as data; front ends put it into words.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::identity::PeerId;
use common::traversal::nat::Class;
use common::traversal::survey::lifetime::Lifetime;
use common::traversal::survey::{Filtering, Findings};

use crate::net::server::{ServerError, Way};
use crate::net::tunnel::{Carrier, Route};

/// What was found out.
#[derive(Debug)]
pub struct Report {
    /// How the rendezvous is reached, if it was asked.
    pub server: Option<ServerReport>,
    /// What happens to UDP.
    pub udp: Findings,
    /// STUN servers of the user's choice that did not answer, or whose names did not resolve.
    pub silent: Vec<String>,
    /// This machine's own addresses.
    pub own: Vec<IpAddr>,
    /// How long an unused mapping lives, if that was measured.
    pub lifetime: Option<Lifetime>,
    /// Whether there is IPv6.
    pub ipv6: Ipv6,
    /// What the router answered to each protocol; empty if no router is known.
    pub port_mapping: Vec<MappingProtocol>,
}

/// How a server is reached.
#[derive(Debug)]
pub struct ServerReport {
    /// `HOST:PORT`, as the user named it.
    pub address: String,
    /// What came of registering there, as a client does.
    pub outcome: Result<Registered, ServerError>,
    /// Every way by itself.
    pub ways: Vec<WayReport>,
}

/// A registration that stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The server's key.
    pub key: PeerId,
    /// The way that was the first.
    pub route: Route,
    /// How long it took.
    pub after: Duration,
}

/// One way to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayReport {
    /// Which.
    pub route: Route,
    /// The address, for UDP.
    pub address: Option<SocketAddr>,
    /// How long the handshake took with the server, or why there was none.
    pub outcome: Result<Duration, String>,
}

impl From<Way> for WayReport {
    fn from(way: Way) -> Self {
        Self { route: way.route, address: way.address, outcome: way.outcome }
    }
}

/// What there is of IPv6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ipv6 {
    /// An address of this machine that is good outside.
    pub address: Option<IpAddr>,
    /// Whom the firewall lets in.
    pub filtering: Filtering,
}

/// What the router answered to one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingProtocol {
    /// Its name.
    pub name: &'static str,
    /// The router's address outside, or why it gives no ports.
    pub outcome: Result<IpAddr, String>,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody answered at all.
    Unknown,
    /// The server is reached, but not over UDP.
    Blocked,
    /// Packets leave as they are.
    Open,
    /// A NAT of this class.
    Nat(Class),
}

impl Report {
    /// What it comes to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let is_reached = |server: &ServerReport| server.ways.iter().any(|way| way.outcome.is_ok());
        match self.is_translated() {
            Some(true) => Kind::Nat(self.udp.nat.class()),
            Some(false) => Kind::Open,
            None if self.server.as_ref().is_some_and(is_reached) => Kind::Blocked,
            None => Kind::Unknown,
        }
    }

    /// Whether a NAT changes the source of packets; `None` if no UDP server answered.
    #[must_use]
    pub fn is_translated(&self) -> Option<bool> {
        let seen = self.udp.seen.first()?;
        let ip = seen.mapped.ip();
        Some(!(ip.is_loopback() || self.own.contains(&ip)))
    }

    /// How long the server takes over UDP and IPv6, if it is reached so.
    #[must_use]
    pub fn over_ipv6(&self) -> Option<Duration> {
        let ways = self.server.iter().flat_map(|server| &server.ways);
        let mut over_v6 = ways.filter(|way| {
            way.route.carrier == Carrier::Udp && way.address.is_some_and(|addr| addr.is_ipv6())
        });
        over_v6.find_map(|way| way.outcome.clone().ok())
    }

    /// Whether the router gives ports to whoever asks.
    #[must_use]
    pub fn maps_ports(&self) -> bool {
        self.port_mapping.iter().any(|protocol| protocol.outcome.is_ok())
    }
}
