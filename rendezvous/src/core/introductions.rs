//! Two clients are told of each other: one asks for the other, or the lobby pairs them.

use std::time::Instant;

use common::control::{
    CheckKey, Connect, End, Failed, FailedReason, Introduce, Lobby as LobbyFrame, SessionId,
};
use common::identity::PeerId;
use rand::Rng;

use super::lobby::Pair;
use super::{ConnId, Core, door};

impl Core {
    pub(super) fn connect(&mut self, now: Instant, conn: ConnId, connect: &Connect) {
        let session = connect.session;
        let asker = self.link_mut(conn).map(|link| link.peer);
        let is_there =
            |asked: &&ConnId| asker.is_some_and(|asker| door::lets_in(&self.conns, **asked, asker));
        let opened = match self.by_peer.get(&connect.peer).filter(is_there) {
            None => Err(FailedReason::Offline),
            Some(&asked) => {
                self.sessions.open(session, conn, asked, self.limits.max_sessions).map(|ended| (asked, ended))
            }
        };
        let early = self.early.release(conn, session);
        match opened {
            Err(reason) => {
                self.stats.dropped_unknown += u64::try_from(early.len()).unwrap_or(u64::MAX);
                self.send(conn, Failed { session, reason });
            }
            Ok((asked, ended)) => {
                self.tell_displaced(ended, [conn, asked]);
                self.introduce(session, conn, asked, false);
                for frame in early {
                    self.relay(now, conn, session, frame);
                }
                if ended.is_some() {
                    self.retry_lobby([conn, asked]);
                }
            }
        }
    }

    /// Tells both ends of a session that had to end for a newer one of the same two.
    fn tell_displaced(&mut self, ended: Option<SessionId>, ends: [ConnId; 2]) {
        let Some(session) = ended else { return };
        for conn in ends {
            self.send(conn, End { session });
        }
    }

    /// Tells two connections of each other. `dialler` opens the peers' connection.
    pub(super) fn introduce(&mut self, session: SessionId, dialler: ConnId, other: ConnId, lobby: bool) {
        let mut key = [0; 16];
        self.rng.fill_bytes(&mut key);
        for (to, about, dial) in [(dialler, other, true), (other, dialler, false)] {
            let entry = &self.conns[&about];
            let Some(link) = &entry.link else { continue };
            let Some(instance) = link.instance else { continue };
            let (peer, endpoints) = (link.peer, entry.endpoints());
            let key = CheckKey(key);
            self.send(to, Introduce { session, peer, instance, endpoints, key, dial, lobby });
        }
        self.stats.introductions += 1;
    }

    pub(super) fn lobby_frame(&mut self, conn: ConnId, peer: PeerId, frame: LobbyFrame) {
        if frame.waiting {
            let (sessions, limits, conns) = (&self.sessions, &self.limits, &self.conns);
            let may = |pair: &Pair| {
                sessions.has_room(pair.later, pair.earlier, limits.max_sessions)
                    && door::may_meet(conns, pair)
            };
            if let Some(pair) = self.lobby.enter(conn, peer, frame.except, limits.max_lobby, may) {
                self.pair(&pair);
            }
        } else {
            self.lobby.leave(conn);
        }
        self.admit_to_lobby();
    }

    /// Gives the places that got free to those who wait for one.
    pub(super) fn admit_to_lobby(&mut self) {
        loop {
            let (sessions, limits, conns) = (&self.sessions, &self.limits, &self.conns);
            let may = |pair: &Pair| {
                sessions.has_room(pair.later, pair.earlier, limits.max_sessions)
                    && door::may_meet(conns, pair)
            };
            let Some(pair) = self.lobby.admit(limits.max_lobby, may) else { return };
            self.pair(&pair);
        }
    }

    /// Looks again for partners of those who wait in the lobby and of whom a session has ended.
    pub(super) fn retry_lobby(&mut self, conns: impl IntoIterator<Item = ConnId>) {
        for conn in conns {
            let (sessions, max, conns) = (&self.sessions, self.limits.max_sessions, &self.conns);
            let may =
                |pair: &Pair| sessions.has_room(pair.later, pair.earlier, max) && door::may_meet(conns, pair);
            if let Some(pair) = self.lobby.retry(conn, may) {
                self.pair(&pair);
            }
        }
        self.admit_to_lobby();
    }

    fn pair(&mut self, &Pair { later, earlier }: &Pair) {
        let session = self.unused_session();
        // The lobby pairs only those who have room for one more session, so this does not fail.
        if let Ok(ended) = self.sessions.open(session, later, earlier, self.limits.max_sessions) {
            self.tell_displaced(ended, [later, earlier]);
            self.stats.paired += 1;
            self.introduce(session, later, earlier, true);
        }
    }

    fn unused_session(&mut self) -> SessionId {
        loop {
            let id = SessionId(self.rng.next_u64());
            if !self.sessions.contains(id) {
                return id;
            }
        }
    }
}
