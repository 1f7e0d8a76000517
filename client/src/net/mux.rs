//! Which path each packet takes: the peers, their virtual addresses, their routes (`docs/protocol.md` §3).
//!
//! QUIC knows each peer by one virtual address that never changes. The [`Mux`] turns it into a real address or into
//! frames for the relay, packet by packet, as the peer's traversal agent has it; and turns the sources of incoming
//! packets back. It decides and remembers; what it wants sent it hands out as [`Outgoing`] values. It reads no
//! clock and owns no socket.

mod callers;
mod hard;
mod holds;
mod introductions;
mod peer;
mod rotation;
mod socket_id;
mod streams;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::address::{PEERS, canonical};
use common::control::SessionId;
use common::identity::PeerId;
use common::relay::{self, EcnBits};
use common::stun::check::{self, Claim, KeyName};
use common::traversal::prober::{Place, Prober};
use common::traversal::tcp::StreamId;
use common::traversal::{self, Agent, Event, Local, Route, Signal};

use super::congestion::PathGeneration;
use callers::Callers;
use hard::Network;
pub(crate) use introductions::Introduction;
use peer::Peer;
pub(crate) use socket_id::SocketId;
use streams::Streams;

/// Source addresses under which one peer is known.
const MAX_SOURCES: usize = 24;
/// Relayed packets that wait for QUIC to read them.
const MAX_QUEUED: usize = 1024;

/// Relayed packets that overtook the introduction of their session: QUIC datagrams and streams are not ordered with
/// each other. A first flight of two packets each from a few peers at once; the oldest gives way.
const MAX_EARLY: usize = 16;
/// How long such a packet waits: longer than a lost packet with the introduction takes to be sent again.
const EARLY_LIFETIME: Duration = Duration::from_secs(1);

/// Something to put on a wire.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A datagram from one of our sockets, or a packet for the TCP connection that its address stands for.
    Datagram(SocketId, SocketAddr, Vec<u8>),
    /// The socket is not needed any more.
    Close(SocketId),
    /// Nor is any of this peer's.
    CloseAll(u32),
    /// A frame for the relay, already wrapped.
    Relayed(Bytes),
    /// The same, of a packet that went out directly too: not worth queueing for.
    Spare(Bytes),
}

/// A packet that came over the relay, on its way to QUIC.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) from: SocketAddr,
    pub(crate) ecn: EcnBits,
    pub(crate) packet: Bytes,
}

/// A peer's packets take another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathChange {
    /// Whose.
    pub peer: PeerId,
    /// The way.
    pub via: Via,
    /// The address that packets go to; `None` for the relay.
    pub remote: Option<SocketAddr>,
    /// Measured round trip: of a direct path the newest, of the relay that of a handshake
    /// that took it.
    pub rtt: Option<Duration>,
}

/// Kinds of paths, as people and scripts see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Through the server.
    Relay,
    /// Directly over UDP and public addresses.
    Udp,
    /// Directly over UDP within the local network.
    Lan,
    /// Directly over TCP.
    Tcp,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Mux {
    peers: BTreeMap<u32, Peer>,
    by_id: HashMap<PeerId, u32>,
    by_session: HashMap<SessionId, u32>,
    by_key: HashMap<KeyName, u32>,
    by_source: HashMap<SocketAddr, u32>,
    streams: Streams,
    next_tag: u32,
    servers: Vec<SocketAddr>,
    max_frame: usize,
    queue: VecDeque<Received>,
    /// Packets of sessions that are not known yet.
    early: VecDeque<(Instant, Bytes)>,
    outgoing: Vec<Outgoing>,
    changes: VecDeque<PathChange>,
    network: Network,
    signals: VecDeque<(PeerId, Signal)>,
    /// Peers of whose prospects something was learned.
    learned: BTreeSet<PeerId>,
    callers: Callers,
}

/// Where one outgoing transmit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// From this socket to this real address.
    Direct(SocketId, SocketAddr),
    /// Over the relay or a TCP connection, and that has been seen to.
    Handed,
}

impl Mux {
    /// Packets from `servers` pass as they are.
    pub(crate) fn set_servers(&mut self, servers: &[SocketAddr]) {
        self.servers = servers.iter().map(|server| canonical(*server)).collect();
    }

    /// Frames for the relay may have this many bytes.
    pub(crate) fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// Makes room for `peer`, if there is none yet. `seed` feeds its transaction ids.
    pub(crate) fn add_peer(&mut self, peer: PeerId, seed: u64) {
        if self.by_id.contains_key(&peer) {
            return;
        }
        self.next_tag = self.next_tag.wrapping_add(1);
        let tag = self.next_tag;
        self.by_id.insert(peer, tag);
        let mut peer = Peer::new(peer, tag, seed);
        peer.agent.set_hold(self.network.holds.interval());
        self.peers.insert(tag, peer);
    }

    /// Forgets `peer`: its packets are dropped from now on.
    pub(crate) fn remove_peer(&mut self, peer: PeerId) {
        let Some(tag) = self.by_id.remove(&peer) else { return };
        self.peers.remove(&tag);
        self.outgoing.push(Outgoing::CloseAll(tag));
        self.by_session.retain(|_, owner| *owner != tag);
        self.by_key.retain(|_, owner| *owner != tag);
        self.by_source.retain(|_, owner| *owner != tag);
        self.streams.forget(tag);
    }

    /// Forgets where `peer` was reached and under which keys: it has started anew, somewhere. Its virtual address and
    /// its relay stay.
    pub(crate) fn forget_paths(&mut self, peer: PeerId, seed: u64) {
        let Some(tag) = self.by_id.get(&peer).copied() else { return };
        let Some(peer) = self.peers.get_mut(&tag) else { return };
        peer.agent = Agent::new(tag, seed);
        peer.agent.set_hold(self.network.holds.interval());
        self.outgoing.push(Outgoing::CloseAll(tag));
        peer.sources.clear();
        peer.newest.clear();
        peer.was_direct = false;
        peer.handle_route(Route::Relay, &mut self.outgoing, self.max_frame);
        self.by_key.retain(|_, owner| *owner != tag);
        self.by_source.retain(|_, owner| *owner != tag);
    }

    /// The virtual address of `peer` and the generation of its paths.
    pub(crate) fn handle_of(&self, peer: PeerId) -> Option<(SocketAddr, Arc<PathGeneration>)> {
        let peer = self.peers.get(self.by_id.get(&peer)?)?;
        Some((peer.addr, Arc::clone(&peer.generation)))
    }

    /// The peer behind a virtual address.
    pub(crate) fn peer_at(&self, addr: SocketAddr) -> Option<PeerId> {
        self.peers.get(&PEERS.tag(addr)?).map(|peer| peer.id)
    }

    /// The network under this machine has changed.
    pub(crate) fn handle_network_change(&mut self, now: Instant) {
        let ids: Vec<_> = self.by_id.keys().copied().collect();
        for id in ids {
            self.doubt(now, id);
        }
    }

    /// Our endpoint has another port; returns the peers whose packets went by it.
    pub(crate) fn handle_main_moved(&mut self, now: Instant) -> Vec<PeerId> {
        let mut affected = Vec::new();
        let tags: Vec<_> = self.peers.keys().copied().collect();
        for tag in tags {
            let Some(peer) = self.peers.get_mut(&tag) else { continue };
            if peer.agent.route().direct().is_none_or(|way| way.local == Local::MAIN) {
                affected.push(peer.id);
            }
            peer.agent.handle_main_moved(now);
            self.settle(tag);
        }
        affected
    }

    /// The paths to `peer` may not work any more: it asked to be introduced again.
    pub(crate) fn doubt(&mut self, now: Instant, peer: PeerId) {
        if let Some(peer) = self.peer_mut(peer) {
            peer.agent.handle_network_change(now);
        }
        if let Some(tag) = self.by_id.get(&peer).copied() {
            self.settle(tag);
        }
    }

    fn peer_mut(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(self.by_id.get(&peer)?)
    }

    /// QUIC sends `contents`, datagrams of `segment` bytes each, to the virtual address `to`.
    pub(crate) fn handle_send(
        &mut self,
        now: Instant,
        to: SocketAddr,
        ecn: EcnBits,
        contents: &[u8],
        segment: usize,
    ) -> Destination {
        let Some(tag) = PEERS.tag(to) else { return Destination::Handed };
        let Some(peer) = self.peers.get_mut(&tag) else { return Destination::Handed };
        peer.agent.handle_sent(now, contents.len());
        let route = peer.agent.route();
        if let Some(way) = route.direct() {
            peer.remember(ecn, contents, segment);
            let is_stream = StreamId::of(way.remote).is_some();
            if is_stream {
                peer.send_on_stream(&mut self.outgoing, way.remote, contents, segment);
            } else {
                peer.largest_direct = peer.largest_direct.max(segment.min(contents.len()));
            }
            if let Route::Both(_) = route {
                peer.relay(&mut self.outgoing, Outgoing::Spare, self.max_frame, ecn, contents, segment);
            }
            self.settle(tag);
            return if is_stream {
                Destination::Handed
            } else {
                Destination::Direct(SocketId::of(tag, way.local), way.remote)
            };
        }
        peer.remember(ecn, contents, segment);
        peer.relay(&mut self.outgoing, Outgoing::Relayed, self.max_frame, ecn, contents, segment);
        self.settle(tag);
        Destination::Handed
    }

    /// The address under which QUIC knows the sender of a datagram from `from`; `None` drops it.
    pub(crate) fn source(&self, from: SocketAddr) -> Option<SocketAddr> {
        if self.servers.contains(&from) {
            return Some(map(from));
        }
        self.peers.get(self.by_source.get(&from)?).map(|peer| peer.addr)
    }

    /// A STUN datagram came to `socket`. Returns whether it was a check of one of the peers.
    pub(crate) fn handle_stun(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        let (asked, tag) = match check::claim(datagram) {
            Some(Claim::Request(name, _)) => (Some(name), self.by_key.get(&name).copied()),
            Some(Claim::Response(id)) => (None, Some(Agent::tag_of(id))),
            None => (None, None),
        };
        if let (Some(name), None) = (asked, tag) {
            self.callers.handle_request(name, datagram);
        }
        // Sockets are not shared but for the main one.
        let Some((tag, local)) = tag.and_then(|tag| Some((tag, socket.name_for(tag)?))) else { return false };
        if tag == socket_id::PROBER {
            self.network.prober.handle_response(now, local, from, datagram);
            self.settle_prober(now);
            return false;
        }
        if tag == socket_id::CANARIES {
            self.network.holds.canaries.handle_response(now, local, from, datagram);
            self.settle_canaries();
            return false;
        }
        let Some(peer) = self.peers.get_mut(&tag) else { return false };
        let valid = peer.agent.handle_datagram(now, local, from, datagram);
        if let (true, Some(name)) = (valid, asked) {
            self.note_call(now, tag, name);
        }
        self.settle(tag);
        // The peer may have said where it sees us.
        self.settle_prober(now);
        valid
    }

    /// A frame of the relay came in.
    pub(crate) fn handle_relayed(&mut self, now: Instant, frame: &Bytes) {
        let Some(session) = relay::session(frame) else { return };
        let Some(tag) = self.by_session.get(&session).copied() else {
            self.early.retain(|(came, _)| now.saturating_duration_since(*came) < EARLY_LIFETIME);
            if self.early.len() == MAX_EARLY {
                self.early.pop_front();
            }
            // Copied, because the slice may keep a whole receive buffer of many packets alive.
            return self.early.push_back((now, Bytes::copy_from_slice(frame)));
        };
        let Some(peer) = self.peers.get_mut(&tag) else { return };
        let Some(unwrapped) = peer.unwrapper.unwrap(frame) else { return };
        let is_quic = common::demux::kind(&unwrapped.packet) == common::demux::Kind::Quic;
        if !is_quic || self.queue.len() == MAX_QUEUED {
            return;
        }
        peer.agent.handle_relayed(now);
        self.queue.push_back(Received { from: peer.addr, ecn: unwrapped.ecn, packet: unwrapped.packet });
        self.settle(tag);
    }

    /// Lets time pass for all agents.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.network.prober.handle_timeout(now);
        self.settle_prober(now);
        self.network.holds.canaries.handle_timeout(now);
        self.settle_canaries();
        let due: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.agent.poll_timeout().is_some_and(|at| at <= now))
            .map(|(tag, _)| *tag)
            .collect();
        for tag in due {
            if let Some(peer) = self.peers.get_mut(&tag) {
                peer.agent.handle_timeout(now);
            }
            self.share_turn(now, tag);
            self.settle(tag);
        }
    }

    /// When [`Mux::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let agents = self.peers.values().filter_map(|peer| peer.agent.poll_timeout());
        let network = [self.network.prober.poll_timeout(), self.network.holds.canaries.poll_timeout()];
        agents.chain(network.into_iter().flatten()).min()
    }

    /// Whether a relayed packet waits for QUIC.
    pub(crate) fn has_received(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next relayed packet for QUIC.
    pub(crate) fn poll_received(&mut self) -> Option<Received> {
        self.queue.pop_front()
    }

    /// Whether there is something to send.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What is to be sent now.
    pub(crate) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// Whether a path has changed, or an agent has something to say.
    pub(crate) fn has_news(&self) -> bool {
        !self.changes.is_empty()
            || !self.signals.is_empty()
            || !self.learned.is_empty()
            || self.callers.have_called()
            || self.network.holds.have_news()
    }

    /// The next change of a path.
    pub(crate) fn poll_change(&mut self) -> Option<PathChange> {
        self.changes.pop_front()
    }

    /// How packets for `peer` travel now.
    pub(crate) fn path_of(&self, peer: PeerId) -> Option<PathChange> {
        self.peers.get(self.by_id.get(&peer)?).map(|peer| peer.path(&self.streams))
    }

    /// Whether packets for `peer` go through the server, if anywhere.
    pub(crate) fn is_relayed(&self, peer: PeerId) -> bool {
        self.path_of(peer).is_none_or(|path| path.via == Via::Relay)
    }

    /// Whether the direct path to `peer` has missed an answer.
    pub(crate) fn is_in_doubt(&self, peer: PeerId) -> bool {
        let peer = self.by_id.get(&peer).and_then(|tag| self.peers.get(tag));
        peer.is_some_and(|peer| matches!(peer.agent.route(), Route::Both(_)))
    }

    /// Whether nothing can be sent to `peer`.
    pub(crate) fn is_stranded(&self, peer: PeerId) -> bool {
        let has_relay = self.by_id.get(&peer).is_some_and(|tag| !self.peers[tag].sessions.is_empty());
        !has_relay && self.is_relayed(peer)
    }

    /// Carries out what an agent wants after an input.
    fn settle(&mut self, tag: u32) {
        let Some(peer) = self.peers.get_mut(&tag) else { return };
        while let Some(transmit) = peer.agent.poll_transmit() {
            let socket = SocketId::of(tag, transmit.local);
            self.outgoing.push(Outgoing::Datagram(socket, transmit.to, transmit.bytes));
        }
        let (mut forgotten, mut seen) = (None, None);
        while let Some(event) = peer.agent.poll_event() {
            match event {
                Event::Forgotten(silence) => forgotten = Some(silence),
                Event::Heard(from) | Event::Answered(from) => {
                    if self.by_source.insert(from, tag) != Some(tag) {
                        peer.sources.push_back(from);
                    }
                    if peer.sources.len() > MAX_SOURCES
                        && let Some(oldest) = peer.sources.pop_front()
                        && self.by_source.get(&oldest) == Some(&tag)
                    {
                        self.by_source.remove(&oldest);
                    }
                }
                Event::Seen { remote, mapped } => seen = Some((remote, mapped)),
                Event::Signal(signal) => self.signals.push_back((peer.id, signal)),
                Event::Released(local) => self.outgoing.push(Outgoing::Close(SocketId::of(tag, local))),
                Event::Routed(route) => {
                    peer.handle_route(route, &mut self.outgoing, self.max_frame);
                    // Only the newest counts, so that a reader who is late finds no more than one for each peer.
                    self.changes.retain(|change| change.peer != peer.id);
                    self.changes.push_back(peer.path(&self.streams));
                    peer.was_direct |= route.direct().is_some();
                }
            }
        }
        if let Some(silence) = forgotten {
            self.handle_forgotten(silence);
        }
        if let Some((remote, mapped)) = seen {
            self.network.prober.handle_witness(remote, mapped);
        }
    }
}

/// The address as QUIC sees it: our socket looks like an IPv6 one, so IPv4 is v4-mapped.
pub(crate) fn map(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// An address for an endpoint whose real one is unknown; only its family matters to QUIC.
pub(crate) const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
