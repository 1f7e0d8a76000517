//! The driver's dealings with peers in the local network: contacts are reached there whether or not there is a server.

use super::super::mux::PathChange;
use super::*;

/// How long the side that does not dial waits for the other's dial.
pub(super) const NEAR_PATIENCE: Duration = Duration::from_secs(1);
/// When a neighbour that has not answered is tried again.
const NEAR_RETRY: Duration = Duration::from_secs(10);

impl Driver {
    /// Somebody has come into the local network, changed or gone, or is met again or no more. Those who are shut out are not there.
    pub(super) fn handle_nearby(&mut self, now: Instant) {
        let near = self.lan.near.borrow().clone();
        let me = self.config.identity.peer_id();
        let is_met = |it: &lan::Neighbour| it.peer != me && self.door.may_talk(it.peer);
        let near: Vec<_> = near.into_iter().filter(is_met).take(lan::MAX_NEIGHBOURS).collect();
        self.near.send_replace(near.iter().map(|neighbour| neighbour.peer).collect());
        let mut gone = Vec::new();
        for (id, peer) in self.peers.iter_mut() {
            if peer.near.is_some() && near.iter().all(|neighbour| neighbour.peer != id) {
                (peer.near, peer.awaits_path) = (None, false);
                gone.push(id);
            }
        }
        for id in gone {
            self.emit(Event::Nearby { peer: id, is_here: false });
        }
        for neighbour in near {
            let id = neighbour.peer;
            let Some(peer) = self.peers.entry(now, id) else { return };
            let before = peer.near.replace(neighbour);
            if before == peer.near {
                continue;
            }
            self.prepare_near(now, id);
            match before {
                None => self.emit(Event::Nearby { peer: id, is_here: true }),
                // If it has started anew, the paths do not answer any more, or have ended before this was heard.
                Some(_) => {
                    self.socket.with_mux(|mux| mux.doubt(now, id));
                    if let Some(path) = self.socket.with_mux(|mux| mux.path_of(id)) {
                        self.handle_near_path(now, path);
                    }
                }
            }
            self.approach(now, id);
        }
    }

    /// Contacts were named: those who are near are connected.
    pub(super) fn approach_wanted(&mut self, now: Instant) {
        for id in self.wanted.clone() {
            self.approach(now, id);
        }
    }

    /// Looks for a path to `id` if it is near and wanted, and connects if that is not so yet: the smaller key dials first.
    fn approach(&mut self, now: Instant, id: PeerId) {
        if !self.wanted.contains(&id) {
            return;
        }
        let is_first = peers::our_dial_stands(self.config.identity.peer_id(), id);
        let Some(peer) = self.peers.get(id) else { return };
        let Some(near) = &peer.near else { return };
        let addrs = near.addrs.clone();
        if peer.current.is_none() && peer.attempt.is_none() {
            peer.redial_at = Some(if is_first { now } else { now + NEAR_PATIENCE });
        }
        self.socket.with_mux(|mux| mux.add_candidates(now, id, &addrs));
    }

    /// Makes checks between us and `id` valid if it is near, so that either can begin.
    pub(super) fn prepare_near(&mut self, now: Instant, id: PeerId) {
        let me = (self.config.identity.peer_id(), self.config.instance);
        let seed = self.rng.random();
        let Some(near) = self.peers.get(id).and_then(|peer| peer.near.as_ref()) else { return };
        let key = lan::check_key(me, near);
        self.socket.with_mux(|mux| {
            mux.add_peer(id, seed);
            mux.meet(now, id, key);
        });
    }

    /// Dials a neighbour without a server, as soon as packets get there. Returns whether it is one.
    pub(super) fn dial_near(&mut self, now: Instant, id: PeerId) -> bool {
        let Some(peer) = self.peers.get(id) else { return false };
        let Some(near) = &peer.near else { return false };
        if peer.attempt.is_some() || peer.current.is_some() {
            return true;
        }
        let addrs = near.addrs.clone();
        peer.awaits_path = true;
        peer.redial_at = Some(now + NEAR_RETRY);
        self.prepare_near(now, id);
        self.socket.with_mux(|mux| mux.add_candidates(now, id, &addrs));
        if let Some(path) = self.socket.with_mux(|mux| mux.path_of(id)) {
            self.handle_near_path(now, path);
        }
        true
    }

    /// Packets for a peer take another way. A neighbour that waited for one is dialled; one that has started anew, to whom
    /// the old way is lost, is connected again.
    pub(super) fn handle_near_path(&mut self, now: Instant, change: PathChange) {
        let id = change.peer;
        let Some(peer) = self.peers.get(id) else { return };
        let Some(near) = &peer.near else { return };
        if change.via != Via::Relay {
            if std::mem::take(&mut peer.awaits_path) && peer.attempt.is_none() && peer.current.is_none() {
                peer.redial_at = None;
                self.start_dial(id);
            }
        } else if peer.online.is_none()
            && let Some(current) = &peer.current
            && current.run.is_some_and(|run| run != near.instance)
        {
            // Its end is reported like any other. The new run knows nothing of the old one's keys, and may be dialling.
            current.connection.close(VarInt::from_u32(close::REPLACED), b"it has started anew");
            let seed = self.rng.random();
            self.socket.with_mux(|mux| mux.forget_paths(id, seed));
            self.prepare_near(now, id);
            self.approach(now, id);
        }
    }

    /// A connection has ended. A neighbour that has started anew is connected again.
    pub(super) fn return_to_neighbour(&mut self, now: Instant, id: PeerId, run: Option<InstanceId>) {
        self.prepare_near(now, id);
        let is_anew = |near: &lan::Neighbour| run.is_some_and(|run| run != near.instance);
        if self.peers.get(id).and_then(|peer| peer.near.as_ref()).is_some_and(is_anew) {
            self.approach(now, id);
        }
    }
}
