//! The driver when the network under this machine changes: connections stay, sockets stay, for they are bound to no
//! address; everybody learns at once where we are now.

use std::net::IpAddr;

use common::control::Mapped;

use super::*;

/// How long the server may take to be heard after a change before it is connected anew.
const SERVER_PATIENCE: Duration = Duration::from_secs(3);

/// A connection to the server that is given up unless something comes from there.
#[derive(Debug)]
pub(super) struct ServerDoubt {
    pub(super) until: Instant,
    /// Datagrams that had come over it when the doubt arose.
    received: u64,
}

impl Driver {
    pub(super) fn handle_network_change(&mut self, now: Instant) {
        info!("the network has changed");
        self.publish_candidates();
        // It was seen in the old network.
        self.observed.send_replace(None);
        self.socket.with_mux(|mux| mux.handle_network_change(now));
        self.last_seen.start_afresh();
        for (_, peer) in self.peers.iter_mut() {
            peer.handle_network_change(now);
        }
        match &mut self.server {
            Server::Up(link) => {
                link.doubt();
                let received = link.connection.stats().udp_rx.datagrams;
                self.server_doubt = Some(ServerDoubt { until: now + SERVER_PATIENCE, received });
                // The first packet from the new address shows the server where we are.
                self.send_watch();
            }
            Server::Waiting(at) => {
                self.server_failures = 0;
                *at = now;
            }
            Server::None | Server::Connecting => {}
        }
    }

    /// Connects to the server anew if it was not heard since the network changed: the old connection may have been
    /// of an address family that is gone.
    pub(super) fn settle_server_doubt(&mut self, now: Instant) {
        let Some(doubt) = self.server_doubt.take_if(|doubt| doubt.until <= now) else { return };
        if let Server::Up(link) = &self.server
            && link.connection.stats().udp_rx.datagrams == doubt.received
        {
            // Its end is reported like any other.
            link.connection.close(VarInt::from_u32(control::close::BYE), b"no answer after a change");
        }
    }

    /// Tells the sessions with peers at which addresses of its own this machine may be reached.
    pub(super) fn publish_candidates(&self) {
        let locals = self.socket.local_addrs();
        let port_for =
            |ip: &IpAddr| locals.iter().find(|local| local.is_ipv4() == ip.is_ipv4()).map(SocketAddr::port);
        let addrs = (self.config.surroundings.interfaces)();
        let addrs = addrs.into_iter().filter_map(|ip| Some(SocketAddr::new(ip, port_for(&ip)?)));
        let mapped = *self.mapping.mapped.borrow();
        self.candidates.send_replace(mapped.into_iter().chain(addrs).collect());
    }

    /// A router leads packets to us from now on, or does not any more. The server hears of it, and the peers, for whom
    /// the endpoint may be good although the server does not see us behind it: another carrier's NAT is between.
    pub(super) fn handle_mapped(&self) {
        self.publish_candidates();
        self.send_mapped();
    }

    /// Tells the server of the mapping, but not of an address that it does not see us at: that is for peers alone.
    pub(super) fn send_mapped(&self) {
        if let Server::Up(link) = &self.server {
            let seen = link.welcome.observed.map(|observed| observed.ip().to_canonical());
            let is_seen = |mapped: &SocketAddr| Some(mapped.ip()) == seen;
            link.send(Mapped { addr: self.mapping.mapped.borrow().filter(is_seen) });
        }
    }
}
