//! The multiplexer's part in contacts who call without an introduction: they are known by their lasting keys
//! (`docs/protocol.md` §12), also while there is no room for them yet.

use common::stun::check::Key;

use super::*;

/// For how long a call shows that the peer does not know the key of the connection.
const CALL_LIFETIME: Duration = Duration::from_secs(5);

/// Who may call.
#[derive(Debug, Default)]
pub(super) struct Callers {
    keys: HashMap<KeyName, (PeerId, Key)>,
    /// Those who have.
    called: BTreeSet<PeerId>,
}

impl Callers {
    /// A request under a key that no agent has. It is repeated, and answered once the caller has an agent.
    pub(super) fn handle_request(&mut self, name: KeyName, datagram: &[u8]) {
        if let Some((peer, key)) = self.keys.get(&name)
            && check::verify_request(key, datagram)
        {
            self.called.insert(*peer);
        }
    }

    pub(super) fn have_called(&self) -> bool {
        !self.called.is_empty()
    }
}

impl Mux {
    /// These may call from now on, with these keys, and nobody else.
    pub(crate) fn set_callers(&mut self, callers: Vec<(PeerId, Key)>) {
        self.callers.keys = callers.into_iter().map(|(peer, key)| (key.name, (peer, key))).collect();
    }

    /// The next peer who has called and is not connected, or does not know the key of the connection.
    pub(crate) fn poll_call(&mut self) -> Option<PeerId> {
        self.callers.called.pop_first()
    }

    /// Accepts checks of `peer` under its lasting key, and makes them with it for as long as there is no other.
    pub(crate) fn recall(&mut self, now: Instant, peer: PeerId, key: Key) {
        let Some(tag) = self.by_id.get(&peer).copied() else { return };
        let name = key.name;
        if self.by_key.get(&name) == Some(&tag) {
            return;
        }
        self.add_key(peer, key);
        if let Some(peer) = self.peers.get_mut(&tag) {
            peer.lasting_key = Some(name);
        }
        self.tell_nat(now, tag);
        self.settle(tag);
    }

    /// Whether a direct path to `peer` was found with its lasting key.
    pub(crate) fn is_recalled(&self, peer: PeerId) -> bool {
        let peer = self.by_id.get(&peer).and_then(|tag| self.peers.get(tag));
        peer.is_some_and(|peer| peer.sends_with_lasting() && peer.agent.route().direct().is_some())
    }

    /// Stops looking for those of `whom` who have not answered yet.
    pub(crate) fn remove_sought(&mut self, whom: impl Fn(PeerId) -> bool) {
        let is_sought =
            |peer: &&Peer| peer.sends_with_lasting() && peer.agent.route() == Route::Relay && whom(peer.id);
        let sought: Vec<_> = self.peers.values().filter(is_sought).map(|peer| peer.id).collect();
        sought.into_iter().for_each(|peer| self.remove_peer(peer));
    }

    /// Whether `peer` has just shown that it does not know the key of the connection.
    pub(crate) fn has_called(&self, now: Instant, peer: PeerId) -> bool {
        let called = self.by_id.get(&peer).and_then(|tag| self.peers.get(tag)?.called);
        called.is_some_and(|called| now.saturating_duration_since(called) < CALL_LIFETIME)
    }

    /// The peer `tag` has made a valid request with the key `name`. If that is the lasting one although there is a better, it
    /// may have started anew: then the path in use does not answer any more.
    pub(super) fn note_call(&mut self, now: Instant, tag: u32, name: KeyName) {
        let Some(peer) = self.peers.get_mut(&tag) else { return };
        if peer.lasting_key != Some(name) || peer.is_provisional() {
            return;
        }
        self.callers.called.insert(peer.id);
        if peer.agent.route() == Route::Relay {
            // Nobody answers under the other key, and whoever calls knows this one.
            peer.agent.send_with(name);
        }
        let before = peer.called.replace(now);
        if before.is_none_or(|before| now.saturating_duration_since(before) >= CALL_LIFETIME) {
            peer.agent.handle_network_change(now);
        }
    }

    /// The addresses at which `peer` has answered over UDP, the one in use first.
    pub(crate) fn answered_at(&self, peer: PeerId) -> Vec<SocketAddr> {
        let peer = self.by_id.get(&peer).and_then(|tag| self.peers.get(tag));
        peer.map_or_else(Vec::new, |peer| peer.agent.answered_at())
    }
}
