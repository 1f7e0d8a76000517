//! The multiplexer's part in meeting peers: the sessions over which they are relayed, the keys of their checks, and the
//! addresses at which they may be.

use common::control::{CheckKey, SessionId};
use common::stun::check::{Key, Side};

use super::*;

/// Introductions of one peer whose relay is listened to.
const MAX_SESSIONS: usize = 4;

/// An introduction, as the multiplexer needs it.
#[derive(Debug)]
pub(crate) struct Introduction<'a> {
    pub(crate) session: SessionId,
    pub(crate) peer: PeerId,
    pub(crate) endpoints: &'a [SocketAddr],
    pub(crate) key: &'a CheckKey,
    pub(crate) side: Side,
}

impl Mux {
    /// The session over which packets for `peer` are relayed from now on; older ones are still listened to.
    pub(crate) fn add_session(&mut self, peer: PeerId, session: SessionId) {
        let Some(tag) = self.by_id.get(&peer) else { return };
        let Some(peer) = self.peers.get_mut(tag) else { return };
        if peer.sessions.contains(&session) {
            return;
        }
        if peer.sessions.len() == MAX_SESSIONS
            && let Some(oldest) = peer.sessions.pop_front()
        {
            self.by_session.remove(&oldest);
        }
        peer.sessions.push_back(session);
        self.by_session.insert(session, *tag);
        self.release_early(session);
    }

    /// Packets of `session` that came before it go on their way.
    fn release_early(&mut self, session: SessionId) {
        for (came, frame) in std::mem::take(&mut self.early) {
            if relay::session(&frame) == Some(session) {
                self.handle_relayed(came, &frame);
            } else {
                self.early.push_back((came, frame));
            }
        }
    }

    /// Whose packets `session` relays.
    pub(crate) fn owner_of(&self, session: SessionId) -> Option<PeerId> {
        self.peers.get(self.by_session.get(&session)?).map(|peer| peer.id)
    }

    /// The relay of `session` is no more.
    pub(crate) fn remove_session(&mut self, session: SessionId) {
        let Some(tag) = self.by_session.remove(&session) else { return };
        if let Some(peer) = self.peers.get_mut(&tag) {
            peer.sessions.retain(|known| *known != session);
        }
    }

    /// All relays are gone: the connection to the server has ended.
    pub(crate) fn remove_all_sessions(&mut self) {
        self.by_session.clear();
        for peer in self.peers.values_mut() {
            peer.sessions.clear();
        }
    }

    /// The server introduced a peer: checks to its endpoints start at once.
    pub(crate) fn introduce(&mut self, now: Instant, introduction: &Introduction<'_>) {
        self.add_session(introduction.peer, introduction.session);
        self.acquaint(now, introduction);
    }

    /// Somebody introduced a peer: checks to its endpoints start at once. There is no relay.
    pub(crate) fn acquaint(&mut self, now: Instant, introduction: &Introduction<'_>) {
        let name = KeyName(introduction.session.0);
        self.add_key(introduction.peer, Key::new(name, introduction.side, &introduction.key.0));
        let Some(tag) = self.by_id.get(&introduction.peer).copied() else { return };
        if let Some(peer) = self.peers.get_mut(&tag)
            && peer.is_provisional()
        {
            // The peer may not have heard of us in the local network, or not want to be called; it hears of this.
            peer.agent.send_with(name);
        }
        self.tell_nat(now, tag);
        let server_is_loopback = self.has_loopback_server();
        let mut endpoints = introduction.endpoints.iter().map(|addr| canonical(*addr));
        if let Some(peer) = self.peers.get_mut(&tag)
            && let Some(endpoint) = endpoints.find(|addr| traversal::may_check(*addr, server_is_loopback))
        {
            peer.agent.introduce(now, endpoint);
        }
        self.add_candidates(now, introduction.peer, introduction.endpoints);
    }

    /// A neighbour in the local network has this key of checks with us. It is used for ours until there is another.
    pub(crate) fn meet(&mut self, now: Instant, peer: PeerId, key: Key) {
        let Some(tag) = self.by_id.get(&peer).copied() else { return };
        let name = key.name;
        let is_known =
            self.peers.get(&tag).is_some_and(|peer| peer.agent.key_names().any(|known| known == name));
        if is_known {
            return;
        }
        self.add_key(peer, key);
        if let Some(peer) = self.peers.get_mut(&tag) {
            // An older run's key is of no use any more.
            if peer.is_provisional() {
                peer.agent.send_with(name);
            }
            peer.near_key = Some(name);
        }
        self.tell_nat(now, tag);
        self.settle(tag);
    }

    pub(crate) fn has_loopback_server(&self) -> bool {
        self.servers.iter().any(|server| server.ip().is_loopback())
    }

    /// Accepts checks of `peer` under `key`.
    pub(crate) fn add_key(&mut self, peer: PeerId, key: Key) {
        let Some(tag) = self.by_id.get(&peer) else { return };
        let Some(peer) = self.peers.get_mut(tag) else { return };
        let name = key.name;
        peer.agent.add_key(key);
        let live: Vec<_> = peer.agent.key_names().collect();
        self.by_key.retain(|name, owner| owner != tag || live.contains(name));
        self.by_key.insert(name, *tag);
    }

    /// Makes checks of `peer` with the key `name`.
    pub(crate) fn send_with(&mut self, peer: PeerId, name: KeyName) {
        if let Some(peer) = self.peer_mut(peer) {
            peer.agent.send_with(name);
        }
    }

    /// Tries `addrs` as ways to `peer`, as far as checks to them are allowed.
    pub(crate) fn add_candidates(&mut self, now: Instant, peer: PeerId, addrs: &[SocketAddr]) {
        let server_is_loopback = self.has_loopback_server();
        let Some(tag) = self.by_id.get(&peer).copied() else { return };
        let Some(peer) = self.peers.get_mut(&tag) else { return };
        for addr in addrs.iter().map(|addr| canonical(*addr)) {
            if traversal::may_check(addr, server_is_loopback) {
                peer.agent.add_candidate(now, addr);
            }
        }
        self.settle(tag);
    }
}
