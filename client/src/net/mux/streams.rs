//! TCP connections to peers, as the multiplexer knows them: each is a path with an address of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use common::demux::{self, Kind};
use common::identity::PeerId;
use common::traversal::Local;
use common::traversal::tcp::StreamId;

use super::{MAX_QUEUED, Mux, Received};

/// Connections of one peer at the same time: a round of connecting makes a few, and one wins.
const MAX_STREAMS: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_id: BTreeMap<StreamId, Entry>,
    next: u32,
}

#[derive(Debug)]
struct Entry {
    tag: u32,
    remote: SocketAddr,
}

impl Streams {
    /// Where the connection really goes.
    pub(super) fn remote(&self, id: StreamId) -> Option<SocketAddr> {
        self.by_id.get(&id).map(|entry| entry.remote)
    }

    /// The peer with this tag is gone.
    pub(super) fn forget(&mut self, tag: u32) {
        self.by_id.retain(|_, entry| entry.tag != tag);
    }

    fn add(&mut self, tag: u32, remote: SocketAddr) -> Option<StreamId> {
        if self.by_id.values().filter(|entry| entry.tag == tag).count() == MAX_STREAMS {
            return None;
        }
        self.next = self.next.wrapping_add(1);
        let id = StreamId(self.next);
        self.by_id.insert(id, Entry { tag, remote });
        Some(id)
    }
}

impl Mux {
    /// A TCP connection to `remote` may be one to `peer`: it is a path from now on, if it answers. `None` if the peer
    /// is gone or has enough of them.
    pub(crate) fn add_stream(&mut self, peer: PeerId, remote: SocketAddr) -> Option<StreamId> {
        self.streams.add(*self.by_id.get(&peer)?, remote)
    }

    /// The connection can be written to: checks start.
    pub(crate) fn check_stream(&mut self, now: Instant, id: StreamId) {
        let Some(tag) = self.streams.by_id.get(&id).map(|entry| entry.tag) else { return };
        if let Some(peer) = self.peers.get_mut(&tag) {
            peer.agent.add_candidate(now, id.addr());
        }
        self.settle(tag);
    }

    /// The connection has ended.
    pub(crate) fn remove_stream(&mut self, now: Instant, id: StreamId) {
        let Some(Entry { tag, .. }) = self.streams.by_id.remove(&id) else { return };
        self.by_source.remove(&id.addr());
        if let Some(peer) = self.peers.get_mut(&tag) {
            peer.sources.retain(|source| *source != id.addr());
            peer.agent.remove_path(now, id.addr());
        }
        self.settle(tag);
    }

    /// Whether the peer has proved that it is at the other end.
    pub(crate) fn is_proven(&self, id: StreamId) -> bool {
        self.by_source.contains_key(&id.addr())
    }

    /// The TCP connection that packets for `peer` take now.
    pub(crate) fn stream_in_use(&self, peer: PeerId) -> Option<StreamId> {
        StreamId::of(self.peers.get(self.by_id.get(&peer)?)?.agent.route().direct()?.remote)
    }

    /// A packet came over the connection: a check of its peer, or QUIC if the peer has proved itself there.
    pub(crate) fn handle_stream_packet(&mut self, now: Instant, id: StreamId, packet: Bytes) {
        let Some(tag) = self.streams.by_id.get(&id).map(|entry| entry.tag) else { return };
        let Some(peer) = self.peers.get_mut(&tag) else { return };
        match demux::kind(&packet) {
            Kind::Stun => {
                peer.agent.handle_datagram(now, Local::MAIN, id.addr(), &packet);
                self.settle(tag);
            }
            Kind::Quic if self.by_source.contains_key(&id.addr()) && self.queue.len() < MAX_QUEUED => {
                self.queue.push_back(Received { from: peer.addr, ecn: 0, packet });
            }
            Kind::Quic | Kind::Other => {}
        }
    }
}
