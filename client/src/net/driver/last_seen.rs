//! The driver's dealings with contacts at the addresses where they were seen last, while there is no server to ask. They are called
//! with the key of checks that two contacts always have, and dialled when they answer.

use super::super::mux::PathChange;
use super::nearby::NEAR_PATIENCE;
use super::*;

impl Driver {
    /// Whether `id` may be looked for where it was seen last.
    fn may_ask(&self, id: PeerId) -> bool {
        self.door.may_talk(id) && self.peers.is_unconnected(id)
    }

    /// When somebody is to be looked for.
    pub(super) fn last_seen_timeout(&self) -> Option<Instant> {
        self.last_seen.poll_timeout(|id| self.wanted.contains(&id), |id| self.may_ask(id))
    }

    /// Looks for contacts whose turn it is.
    pub(super) fn look_where_last_seen(&mut self, now: Instant) {
        let part = self.rng.random_range(0.5..=1.0);
        let Self { last_seen, wanted, door, peers, .. } = self;
        let may_ask = |id| door.may_talk(id) && peers.is_unconnected(id);
        for (id, endpoints) in last_seen.take_due(now, part, |id| wanted.contains(&id), may_ask) {
            self.recall(now, id);
            self.socket.with_mux(|mux| mux.add_candidates(now, id, &endpoints));
            self.follow_recalled(now, id);
        }
    }

    /// Makes checks between us and `id` valid for a while, so that either can begin.
    fn recall(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.entry(now, id) else { return };
        peer.expect(now);
        let Some(key) = self.last_seen.key(&self.config.identity, id) else { return };
        let seed = self.rng.random();
        self.socket.with_mux(|mux| {
            mux.add_peer(id, seed);
            mux.recall(now, id, key);
        });
    }

    /// Contacts may call to whom this client shows itself, and nobody else.
    pub(super) fn admit_callers(&mut self) {
        let is_admitted = |id: &PeerId| self.door.may_talk(*id) && !self.last_seen.has_left(*id);
        let callers: Vec<_> = self.watched().filter(is_admitted).take(control::MAX_WATCHED).collect();
        let door = &self.door;
        self.last_seen.retain(|id| callers.contains(&id), |id| !door.shut_to.contains(&id));
        let key = |id| Some((id, self.last_seen.key(&self.config.identity, id)?));
        let callers = callers.into_iter().filter_map(key).collect();
        self.socket.with_mux(|mux| mux.set_callers(callers));
    }

    /// The user takes leave of `id`.
    pub(super) fn leave(&mut self, id: PeerId) {
        self.last_seen.leave(id);
        self.admit_callers();
    }

    /// `id` is met again, or the user wants that: it is looked for, and may call.
    pub(super) fn come_back(&mut self, id: PeerId) {
        if self.last_seen.come_back(id) {
            self.admit_callers();
        }
    }

    /// A contact calls with the lasting key. If it is connected it has started anew, unless the old connection answers.
    pub(super) fn handle_call(&mut self, now: Instant, id: PeerId) {
        if !self.door.may_talk(id) {
            return;
        }
        self.recall(now, id);
        if self.socket.with_mux(|mux| mux.is_stranded(id)) {
            self.believe_call(now, id);
        }
    }

    /// Packets for a peer take another way.
    pub(super) fn handle_recalled_path(&mut self, now: Instant, change: PathChange) {
        let id = change.peer;
        if change.via != Via::Relay {
            self.follow_recalled(now, id);
        } else if self.socket.with_mux(|mux| mux.is_stranded(id) && mux.has_called(now, id)) {
            self.believe_call(now, id);
        }
    }

    /// Connects to somebody who has answered where it was seen last: the smaller key dials first.
    fn follow_recalled(&mut self, now: Instant, id: PeerId) {
        if !self.is_recalled(id) {
            return;
        }
        let Some(peer) = self.peers.get(id) else { return };
        if peers::our_dial_stands(self.config.identity.peer_id(), id) {
            peer.redial_at = None;
            self.start_dial(id);
        } else {
            peer.redial_at.get_or_insert(now + NEAR_PATIENCE);
        }
    }

    /// Whether `id` can be dialled where it was seen last.
    pub(super) fn is_recalled(&self, id: PeerId) -> bool {
        self.may_ask(id) && self.socket.with_mux(|mux| mux.is_recalled(id))
    }

    /// The connection to `id` is silent, and somebody who has its key calls without knowing that of the connection: it is another
    /// run, which is met afresh.
    fn believe_call(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get(id).filter(|peer| peer.online.is_none()) else { return };
        let Some(old) = peer.current.take() else { return };
        peer.instance = None;
        old.connection.close(VarInt::from_u32(close::REPLACED), b"it has started anew");
        let seed = self.rng.random();
        self.socket.with_mux(|mux| mux.forget_paths(id, seed));
        self.recall(now, id);
        self.last_seen.handle_closed(id);
        self.emit(Event::Closed { peer: id, reason: "started anew".to_owned() });
    }

    /// The server answers: it says who is there, and nobody is looked for elsewhere.
    pub(super) fn stop_looking(&mut self) {
        self.last_seen.handle_server_up();
        self.socket.with_mux(|mux| mux.remove_sought(|id| self.peers.is_unconnected(id)));
    }
}
