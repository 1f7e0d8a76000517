//! Whom the driver has to do with at all.

use super::super::door::OpenTo;
use super::*;

impl Driver {
    /// Opens or shuts the door. Those who are shut out see this side leave, and hear nothing from then on.
    pub(super) fn set_door(&mut self, now: Instant, door: Door) {
        self.door = door;
        let shut_out: Vec<_> =
            self.peers.iter_mut().map(|(id, _)| id).filter(|id| !self.door.may_talk(*id)).collect();
        for id in shut_out {
            self.shut_out(now, id);
        }
        self.tell_door();
        self.admit_callers();
        self.lan.announce(self.door.may_announce());
        self.handle_nearby(now);
    }

    /// What the server is to be told. Who looks for somebody new, in the lobby or by a code, is found by strangers
    /// meanwhile.
    pub(super) fn admit(&self) -> Admit {
        let is_looking = self.lobby.is_some() || self.meetings.is_running();
        match &self.door {
            Door { shut_to, open_to: OpenTo::Known(_) } if is_looking => {
                Door { shut_to: shut_to.clone(), open_to: OpenTo::Everybody }.to_frame()
            }
            door => door.to_frame(),
        }
    }

    /// Tells the server, unless it knows.
    pub(super) fn tell_door(&mut self) {
        let admit = self.admit();
        if let Server::Up(link) = &self.server
            && admit != self.told
        {
            link.send(admit.clone());
            self.told = admit;
        }
    }

    fn shut_out(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get(id) else { return };
        peer.handle_farewell(now);
        peer.attempt = None;
        match &peer.current {
            // Its end is reported, and all that belongs to it goes then.
            Some(current) => current.connection.close(VarInt::from_u32(close::BYE), b""),
            None => {
                peer.take_sessions();
                self.socket.with_mux(|mux| mux.remove_peer(id));
            }
        }
    }

    /// Those who are not watched any more are taken for offline: the server tells nothing of them.
    pub(super) fn set_watched(&mut self, now: Instant, wanted: Vec<PeerId>, seen: Vec<PeerId>) {
        (self.wanted, self.seen) = (wanted, seen);
        for (id, peer) in self.peers.iter_mut() {
            if !self.wanted.contains(&id) && !self.seen.contains(&id) {
                peer.online = None;
            }
        }
        self.send_watch();
        self.admit_callers();
        self.approach_wanted(now);
    }
}
