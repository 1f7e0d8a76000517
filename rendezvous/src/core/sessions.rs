//! Introductions that are open: which two connections a session's relayed packets go between.

use std::collections::HashMap;

use common::control::{FailedReason, SessionId};

use super::ConnId;

/// Introductions that the same two connections may have open; one more ends the oldest of them. More than one,
/// for both may ask at the same time, and ask again before the other has noticed that a path is dead.
pub const MAX_PER_PAIR: usize = 4;

/// The open introductions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<SessionId, Session>,
    by_conn: HashMap<ConnId, Ends>,
}

/// The sessions of one connection.
#[derive(Debug, Default)]
struct Ends {
    /// In the order in which they were opened.
    ids: Vec<SessionId>,
    /// How many of them it asked for itself.
    own: usize,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    asker: ConnId,
    asked: ConnId,
}

impl Session {
    fn other(&self, end: ConnId) -> Option<ConnId> {
        match end {
            _ if end == self.asker => Some(self.asked),
            _ if end == self.asked => Some(self.asker),
            _ => None,
        }
    }
}

impl Sessions {
    /// Opens `id` between two connections. Returns the session of the same two that had to end for it.
    ///
    /// # Errors
    /// The reason to give to the asker.
    pub(super) fn open(
        &mut self,
        id: SessionId,
        asker: ConnId,
        asked: ConnId,
        max: usize,
    ) -> Result<Option<SessionId>, FailedReason> {
        if asker == asked || self.by_id.contains_key(&id) {
            return Err(FailedReason::Invalid);
        }
        let oldest = self.oldest_of_full_pair(asker, asked);
        if oldest.is_none() && !self.has_room(asker, asked, max) {
            return Err(FailedReason::TooMany);
        }
        if let Some(oldest) = oldest {
            self.end(oldest, asker);
        }
        self.by_id.insert(id, Session { asker, asked });
        for conn in [asker, asked] {
            let ends = self.by_conn.entry(conn).or_default();
            ends.ids.push(id);
            ends.own += usize::from(conn == asker);
        }
        Ok(oldest)
    }

    /// Whether both have room for one more session that `asker` asks for. Cheap, since the lobby wants to know it
    /// of everyone who waits.
    #[must_use]
    pub(super) fn has_room(&self, asker: ConnId, asked: ConnId, max: usize) -> bool {
        // Counted apart, so that strangers who ask for a peer cannot keep it from asking for others.
        let by_own_wish = self.by_conn.get(&asker).map_or(0, |ends| ends.own);
        let by_others_wish = self.by_conn.get(&asked).map_or(0, |ends| ends.ids.len() - ends.own);
        by_own_wish.max(by_others_wish) < max
    }

    fn oldest_of_full_pair(&self, one: ConnId, two: ConnId) -> Option<SessionId> {
        let mut pair = self.of(one).filter(|(_, s)| s.other(one) == Some(two)).map(|(id, _)| id);
        let oldest = pair.next();
        // With the first, that makes as many as a pair may have.
        pair.nth(MAX_PER_PAIR - 2).and(oldest)
    }

    /// The connection at the other end; `None` if `conn` is no end of the session.
    #[must_use]
    pub(super) fn other(&self, id: SessionId, conn: ConnId) -> Option<ConnId> {
        self.by_id.get(&id)?.other(conn)
    }

    /// Whether the session is open, between whomever.
    #[must_use]
    pub(super) fn contains(&self, id: SessionId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Ends a session; returns the connection at the other end, or `None` if `conn` is no end of it.
    pub(super) fn end(&mut self, id: SessionId, conn: ConnId) -> Option<ConnId> {
        let other = self.other(id, conn)?;
        let session = self.by_id.remove(&id)?;
        for end in [conn, other] {
            if let Some(ends) = self.by_conn.get_mut(&end) {
                ends.ids.retain(|i| *i != id);
                ends.own -= usize::from(end == session.asker);
                if ends.ids.is_empty() {
                    self.by_conn.remove(&end);
                }
            }
        }
        Some(other)
    }

    /// Ends all sessions of `conn`; returns them with their other ends.
    pub(super) fn end_all(&mut self, conn: ConnId) -> Vec<(SessionId, ConnId)> {
        let ids = self.by_conn.get(&conn).map(|ends| ends.ids.clone()).unwrap_or_default();
        ids.into_iter().filter_map(|id| Some((id, self.end(id, conn)?))).collect()
    }

    /// The sessions of `conn` with their other ends.
    pub(super) fn with(&self, conn: ConnId) -> Vec<(SessionId, ConnId)> {
        self.of(conn).filter_map(|(id, session)| Some((id, session.other(conn)?))).collect()
    }

    /// How many are open.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    fn of(&self, conn: ConnId) -> impl Iterator<Item = (SessionId, Session)> {
        self.by_conn.get(&conn).into_iter().flat_map(|ends| &ends.ids).map(|id| (*id, self.by_id[id]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);
    const C: ConnId = ConnId(3);
    const MAX: usize = 6;

    fn id(n: u64) -> SessionId {
        SessionId(n)
    }

    #[test]
    fn opens_and_ends_from_either_side() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.open(id(1), A, B, MAX), Ok(None));
        assert_eq!(sessions.open(id(1), C, B, MAX), Err(FailedReason::Invalid));
        assert_eq!(sessions.open(id(2), A, A, MAX), Err(FailedReason::Invalid));
        assert_eq!(
            (sessions.other(id(1), A), sessions.other(id(1), B), sessions.other(id(1), C)),
            (Some(B), Some(A), None)
        );
        assert_eq!(sessions.end(id(1), C), None);
        assert_eq!(sessions.end(id(1), B), Some(A));
        assert_eq!(sessions.end(id(1), B), None);
        assert!(sessions.by_conn.is_empty() && sessions.by_id.is_empty());
    }

    #[test]
    fn the_oldest_of_a_pair_makes_room() {
        let mut sessions = Sessions::default();
        for n in 0..4 {
            assert_eq!(sessions.open(id(n), A, B, MAX), Ok(None));
        }
        assert_eq!(sessions.open(id(4), B, A, MAX), Ok(Some(id(0))));
        assert!(sessions.has_room(A, C, 4) && !sessions.has_room(A, C, 3), "A asks for three");
        assert!(sessions.has_room(C, A, 2) && !sessions.has_room(C, A, 1), "one asks for A");
        assert_eq!(sessions.len(), MAX_PER_PAIR);
    }

    #[test]
    fn wishes_of_others_do_not_use_up_ones_own() {
        let mut sessions = Sessions::default();
        for n in 0..6 {
            assert_eq!(sessions.open(id(n), ConnId(100 + n), B, MAX), Ok(None));
        }
        assert_eq!(sessions.open(id(10), A, B, MAX), Err(FailedReason::TooMany));
        for n in 20..26 {
            assert_eq!(sessions.open(id(n), B, ConnId(n), MAX), Ok(None));
        }
        assert_eq!(sessions.open(id(30), B, C, MAX), Err(FailedReason::TooMany));
        assert_eq!(sessions.end_all(B).len(), 12);
        assert_eq!(sessions.len(), 0);
    }
}
