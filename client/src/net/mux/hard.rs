//! The multiplexer's part in getting through hard NATs: what our own NAT is, what the peers' agents say to each other,
//! and whose turn it is to send many packets.

use common::traversal::cause::{Access, Passes};
use common::traversal::nat::Nat;
use common::traversal::{Outlook, Signal};

use super::holds::Holds;
use super::rotation::Rotations;
use super::turns::Turns;
use super::*;

/// What is known of the network that we are on.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) prober: Prober,
    pub(super) nat: Nat,
    /// What gets out of it to the server.
    access: Access,
    turns: Turns,
    pub(super) holds: Holds,
    rotations: Rotations,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            prober: Prober::new(socket_id::PROBER),
            nat: Nat::default(),
            access: Access::default(),
            turns: Turns::default(),
            holds: Holds::default(),
            rotations: Rotations::default(),
        }
    }
}

impl Mux {
    /// Finds out what NAT we are behind at `place`, where the server answers STUN at `probes` too. `seed` feeds
    /// transaction ids.
    pub(crate) fn probe(&mut self, now: Instant, seed: u64, place: Place, probes: &[SocketAddr]) {
        let server = canonical(place.server);
        let place = Place { server, observed: canonical(place.observed), ..place };
        let probes: Vec<_> =
            probes
                .iter()
                .map(|probe| canonical(*probe))
                .map(|probe| {
                    if probe.ip().is_unspecified() {
                        SocketAddr::new(server.ip(), probe.port())
                    } else {
                        probe
                    }
                })
                .filter(|probe| traversal::may_check(*probe, server.ip().is_loopback()))
                .collect();
        self.network.rotations.handle_observed(now, place.observed);
        self.network.prober.start(now, seed, place, &probes);
        self.settle_prober(now);
        let family = |probe: &&SocketAddr| probe.is_ipv4() == server.is_ipv4() && !server.ip().is_loopback();
        if let Some(probe) = probes.iter().find(family) {
            self.enter_network(now, seed, place.observed.ip(), *probe);
        }
    }

    /// What our own NAT is, as far as it is known.
    pub(crate) fn nat(&self) -> Nat {
        self.network.nat
    }

    /// What gets out of our network to the server.
    pub(crate) fn set_access(&mut self, now: Instant, access: Access) {
        self.network.access = access;
        self.tell_all(now);
    }

    /// Whether TCP to the server does.
    pub(crate) fn set_tcp_passes(&mut self, now: Instant, tcp: Passes) {
        self.set_access(now, Access { tcp, ..self.network.access });
    }

    /// A peer of whose prospects something was learned.
    pub(crate) fn poll_learned(&mut self) -> Option<PeerId> {
        self.learned.pop_first()
    }

    /// What is known and done to reach `peer` directly.
    pub(crate) fn outlook(&self, peer: PeerId) -> Option<Outlook> {
        self.peers.get(self.by_id.get(&peer)?).map(|peer| peer.agent.outlook())
    }

    /// The connection to `peer` stands; its handshake took round trips of `rtt`.
    pub(crate) fn handle_connected(&mut self, now: Instant, peer: PeerId, rtt: Duration) {
        let Some(tag) = self.by_id.get(&peer).copied() else { return };
        if let Some(peer) = self.peers.get_mut(&tag) {
            if peer.primary.is_none() {
                peer.relayed_rtt = Some(rtt);
            }
            peer.called = None;
            peer.agent.handle_connected(now, rtt / 2);
        }
        self.settle(tag);
    }

    /// The agent at the other end says something.
    pub(crate) fn handle_signal(&mut self, now: Instant, peer: PeerId, signal: &Signal) {
        let Some(tag) = self.by_id.get(&peer).copied() else { return };
        if let Some(peer) = self.peers.get_mut(&tag) {
            peer.agent.handle_signal(now, signal);
            if let Signal::Nat(_) | Signal::Access(_) = signal {
                self.learned.insert(peer.id);
            }
        }
        self.share_turn(now, tag);
        self.settle(tag);
    }

    /// The next thing that our agent of a peer says to the one at the other end.
    pub(crate) fn poll_signal(&mut self) -> Option<(PeerId, Signal)> {
        self.signals.pop_front()
    }

    /// Gives the turn to the peer `tag`, if it wants it and nobody has it.
    pub(super) fn share_turn(&mut self, now: Instant, tag: u32) {
        let turns = &mut self.network.turns;
        let has_turn = |tag: u32| self.peers.get(&tag).is_some_and(|peer| peer.agent.has_turn());
        if turns.owner().is_some_and(|owner| !has_turn(owner)) {
            turns.end();
        }
        if let Some(peer) = self.peers.get_mut(&tag)
            && let Some(mappings) = peer.agent.wants_turn()
            && turns.grant(now, tag, mappings)
        {
            peer.agent.grant_turn(now);
        }
    }

    /// Carries out what the prober wants after an input.
    pub(super) fn settle_prober(&mut self, now: Instant) {
        let prober = &mut self.network.prober;
        while let Some(transmit) = prober.poll_transmit() {
            let socket = SocketId::of(socket_id::PROBER, transmit.local);
            self.outgoing.push(Outgoing::Datagram(socket, transmit.to, transmit.bytes));
        }
        while let Some(local) = prober.poll_released() {
            self.outgoing.push(Outgoing::Close(SocketId::of(socket_id::PROBER, local)));
        }
        if let Some(nat) = prober.poll_nat() {
            self.network.nat = nat;
            self.tell_all(now);
        }
    }

    fn tell_all(&mut self, now: Instant) {
        let tags: Vec<_> = self.peers.keys().copied().collect();
        for tag in tags {
            self.tell_nat(now, tag);
            self.settle(tag);
        }
        self.learned.extend(self.by_id.keys());
    }

    pub(super) fn tell_nat(&mut self, now: Instant, tag: u32) {
        if let Some(peer) = self.peers.get_mut(&tag) {
            peer.agent.set_nat(now, self.network.nat, self.network.prober.servers());
            peer.agent.set_access(now, self.network.access);
            peer.agent.set_rotation(self.network.rotations.rotation(self.network.nat));
        }
    }
}
