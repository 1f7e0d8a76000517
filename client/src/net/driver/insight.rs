//! What the driver knows of the way to a peer.

use std::net::IpAddr;

use common::identity::PeerId;
use common::traversal::cause::{Access, Passes};
use common::traversal::{self, Tier};

use super::super::insight::Insight;
use super::super::tunnel::Carrier;
use super::super::{PortMapping, ServerTarget, tcp};
use super::{Driver, Instant, Server};

impl Driver {
    pub(super) fn insight(&mut self, id: PeerId) -> Option<Insight> {
        let current = self.peers.get(id)?.current.as_ref()?;
        let tcp = current.tcp.as_ref().map_or_else(Default::default, tcp::Handle::outlook);
        let (path, outlook) = self.socket.with_mux(|mux| Some((mux.path_of(id)?, mux.outlook(id)?)))?;
        let is_public_v6 = |addr: &std::net::SocketAddr| {
            matches!(addr.ip(), IpAddr::V6(_)) && traversal::tier(*addr) == Tier::Public
        };
        Some(Insight {
            mapped: *self.mapping.mapped.borrow(),
            asks_router: !matches!(self.config.surroundings.port_mapping, PortMapping::Off),
            has_ipv6: self.candidates.borrow().iter().any(is_public_v6),
            ..Insight::new(path, outlook, tcp)
        })
    }

    /// Tells the agents, and by them the peers, what gets out of this network: how the server is reached shows it.
    pub(super) fn publish_access(&self, now: Instant) {
        let Server::Up(link) = &self.server else { return };
        let own_port = self.config.server.as_ref().and_then(ServerTarget::port);
        let is_own_port = Some(link.route.port) == own_port && !link.route.is_proxied;
        let (udp, tcp) = match link.route.carrier {
            Carrier::Udp => (Passes::Yes, Passes::Unknown),
            Carrier::Tls | Carrier::WebSocket | Carrier::Http if is_own_port => (Passes::No, Passes::Yes),
            Carrier::Tls | Carrier::WebSocket | Carrier::Http => (Passes::No, Passes::Unknown),
        };
        self.socket.with_mux(|mux| mux.set_access(now, Access { udp, tcp }));
    }
}
