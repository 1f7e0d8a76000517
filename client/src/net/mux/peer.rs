//! One peer of the multiplexer: its agent, its relay, and what its packets need when they change paths.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::address::PEERS;
use common::control::SessionId;
use common::identity::PeerId;
use common::relay::{EcnBits, Unwrapper, Wrapper};
use common::stun::check::KeyName;
use common::traversal::tcp::StreamId;
use common::traversal::{self, Agent, Route, Tier, Way};

use super::super::congestion::PathGeneration;
use super::streams::Streams;
use super::{Outgoing, PathChange, SocketId, Via};

/// Packets up to this size may take the relay or TCP even if no path over UDP has carried so much yet.
const RELAYED_LEN: usize = 1280;
/// Packets sent last that are sent again on a new path, so that the sender's timer need not fire.
const REPLAYED: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) tag: u32,
    pub(super) agent: Agent,
    pub(super) addr: SocketAddr,
    pub(super) sessions: VecDeque<SessionId>,
    pub(super) sources: VecDeque<SocketAddr>,
    pub(super) generation: Arc<PathGeneration>,
    pub(super) wrapper: Wrapper,
    /// Each peer has its own, so that one who sends lone halves spoils nobody else's.
    pub(super) unwrapper: Unwrapper,
    pub(super) newest: VecDeque<(EcnBits, Vec<u8>)>,
    /// The largest packet that a path over UDP has carried; larger ones are not put on the relay or on TCP.
    pub(super) largest_direct: usize,
    /// The direct path that packets count on; `None` for the relay, also beside a direct path in doubt.
    pub(super) primary: Option<Way>,
    /// The direct path in doubt and the generation that it had.
    pub(super) doubted: Option<(Way, u64)>,
    pub(super) was_direct: bool,
    /// Round trip over the relay, as the last handshake that took it measured it.
    pub(super) relayed_rtt: Option<Duration>,
    /// The key of checks with a neighbour in the local network.
    pub(super) near_key: Option<KeyName>,
    /// The lasting key of checks with a contact.
    pub(super) lasting_key: Option<KeyName>,
    /// When it used that last although a connection has another.
    pub(super) called: Option<Instant>,
}

impl Peer {
    pub(super) fn new(id: PeerId, tag: u32, seed: u64) -> Self {
        Self {
            id,
            tag,
            agent: Agent::new(tag, seed),
            addr: PEERS.addr(tag),
            sessions: VecDeque::new(),
            sources: VecDeque::new(),
            generation: Arc::default(),
            wrapper: Wrapper::default(),
            unwrapper: Unwrapper::default(),
            newest: VecDeque::new(),
            largest_direct: 0,
            primary: None,
            doubted: None,
            was_direct: false,
            relayed_rtt: None,
            near_key: None,
            lasting_key: None,
            called: None,
        }
    }

    /// Whether our checks are made with the lasting key: there was no better since.
    pub(super) fn sends_with_lasting(&self) -> bool {
        self.lasting_key.is_some() && self.agent.sends_with() == self.lasting_key
    }

    /// Whether our checks are made with no key, or with one that anything better replaces.
    pub(super) fn is_provisional(&self) -> bool {
        let sending = self.agent.sends_with();
        sending.is_none() || sending == self.near_key || sending == self.lasting_key
    }

    pub(super) fn path(&self, streams: &Streams) -> PathChange {
        let way = self.agent.route().direct();
        let via = way.map_or(Via::Relay, |way| match traversal::tier(way.remote) {
            Tier::Lan => Via::Lan,
            Tier::Public => Via::Udp,
            Tier::Tcp => Via::Tcp,
        });
        let remote = way.and_then(|way| match StreamId::of(way.remote) {
            Some(stream) => streams.remote(stream),
            None => Some(way.remote),
        });
        let rtt = way.map_or(self.relayed_rtt, |way| self.agent.rtt(way));
        PathChange { peer: self.id, via, remote, rtt }
    }

    /// Keeps the newest packets of a transmit for [`Peer::handle_route`].
    pub(super) fn remember(&mut self, ecn: EcnBits, contents: &[u8], segment: usize) {
        let count = contents.len().div_ceil(segment.max(1));
        for packet in contents.chunks(segment.max(1)).skip(count.saturating_sub(REPLAYED)) {
            // The oldest buffer is used again: this happens for every transmit.
            let oldest = if self.newest.len() == REPLAYED { self.newest.pop_front() } else { None };
            let mut buffer = oldest.map_or_else(Vec::new, |(_, buffer)| buffer);
            buffer.clear();
            buffer.extend_from_slice(packet);
            self.newest.push_back((ecn, buffer));
        }
    }

    /// Puts packets on the relay, but for those that another path might not carry: QUIC must not learn from the
    /// relay that they pass.
    pub(super) fn relay(
        &mut self,
        outgoing: &mut Vec<Outgoing>,
        kind: fn(Bytes) -> Outgoing,
        max_frame: usize,
        ecn: EcnBits,
        contents: &[u8],
        segment: usize,
    ) {
        let Some(session) = self.sessions.back() else { return };
        let limit = RELAYED_LEN.max(self.largest_direct);
        for packet in contents.chunks(segment.max(1)).filter(|packet| packet.len() <= limit) {
            outgoing.extend(self.wrapper.wrap(*session, ecn, packet, max_frame).map(kind));
        }
    }

    /// Puts packets on a TCP connection, but for those that another path might not carry.
    pub(super) fn send_on_stream(
        &self,
        outgoing: &mut Vec<Outgoing>,
        to: SocketAddr,
        contents: &[u8],
        segment: usize,
    ) {
        let limit = RELAYED_LEN.max(self.largest_direct);
        let packets = contents.chunks(segment.max(1)).filter(|packet| packet.len() <= limit);
        outgoing.extend(packets.map(|packet| Outgoing::Datagram(SocketId::Main, to, packet.to_vec())));
    }

    /// Chooses the congestion controller for `route`. While a direct path is in doubt nothing but the relay can be
    /// counted on, so that a fresh controller takes over: the old one's window belongs to a path of another size
    /// and would flood the relay. If the doubt was wrong, the old one goes on.
    fn follow(&mut self, route: Route) {
        let primary = if let Route::Direct(way) = route { Some(way) } else { None };
        if self.primary != primary {
            match (self.doubted, primary) {
                (Some((way, generation)), Some(primary)) if way == primary => {
                    self.generation.resume(generation);
                }
                _ => {
                    let before = self.generation.advance();
                    self.doubted = self.primary.map(|way| (way, before));
                }
            }
            self.primary = primary;
        }
        if let Route::Direct(_) | Route::Relay = route {
            self.doubted = None;
        }
    }

    /// Packets take another route: the congestion controller changes with it, and the newest packets are sent again,
    /// for they may have been lost with the old one.
    pub(super) fn handle_route(&mut self, route: Route, outgoing: &mut Vec<Outgoing>, max_frame: usize) {
        self.follow(route);
        let newest = self.newest.clone();
        // What the relay has carried is not lost with it.
        let is_lost = self.was_direct || self.sessions.is_empty();
        for (ecn, packet) in newest {
            match route {
                Route::Relay | Route::Both(_) => {
                    self.relay(outgoing, Outgoing::Relayed, max_frame, ecn, &packet, packet.len());
                }
                Route::Direct(way) if is_lost && StreamId::of(way.remote).is_some() => {
                    self.send_on_stream(outgoing, way.remote, &packet, packet.len());
                }
                Route::Direct(way) if is_lost => {
                    let socket = SocketId::of(self.tag, way.local);
                    outgoing.push(Outgoing::Datagram(socket, way.remote, packet.clone()));
                }
                Route::Direct(_) => {}
            }
        }
    }
}
