//! Who may find whom (`docs/protocol.md` §4.8): to those whom a client does not admit it is as if it were not registered.

use std::collections::HashMap;

use common::control::{Admit, End, MAX_WATCHED};
use common::identity::PeerId;

use super::lobby::Pair;
use super::{Broken, Conn, ConnId, Core};

/// Whom one client admits; everybody unless it says otherwise.
#[derive(Debug, Default)]
pub(super) struct Door {
    is_only: bool,
    /// Sorted.
    listed: Vec<PeerId>,
}

impl Door {
    /// # Errors
    /// [`Broken`] if there are more than [`MAX_WATCHED`] peers.
    pub(super) fn new(Admit { only, peers: mut listed }: Admit) -> Result<Self, Broken> {
        if listed.len() > MAX_WATCHED {
            return Err(Broken("an Admit of too many peers".to_owned()));
        }
        listed.sort_unstable();
        Ok(Self { is_only: only, listed })
    }

    fn lets_in(&self, peer: PeerId) -> bool {
        self.listed.binary_search(&peer).is_ok() == self.is_only
    }
}

/// Whether `peer` may learn that the client at the end of `conn` is there.
pub(super) fn lets_in(conns: &HashMap<ConnId, Conn>, conn: ConnId, peer: PeerId) -> bool {
    let link = conns.get(&conn).and_then(|entry| entry.link.as_ref());
    link.is_some_and(|link| link.door.lets_in(peer))
}

/// Whether both of a pair may learn of each other.
pub(super) fn may_meet(conns: &HashMap<ConnId, Conn>, pair: &Pair) -> bool {
    let peer = |conn| conns.get(&conn).and_then(|entry| entry.link.as_ref()).map(|link| link.peer);
    let lets_in = |conn, other| peer(other).is_some_and(|peer| lets_in(conns, conn, peer));
    lets_in(pair.later, pair.earlier) && lets_in(pair.earlier, pair.later)
}

impl Core {
    /// Replaces whom `conn` admits. Those who are not admitted any more see it leave.
    pub(super) fn admit(&mut self, conn: ConnId, admit: Admit) -> Result<(), Broken> {
        let door = Door::new(admit)?;
        let Some(link) = self.link_mut(conn) else { return Ok(()) };
        let old = std::mem::replace(&mut link.door, door);
        let mut left = Vec::new();
        for (session, other) in self.sessions.with(conn) {
            let Some(peer) = self.link_mut(other).map(|link| link.peer) else { continue };
            if old.lets_in(peer) && !lets_in(&self.conns, conn, peer) {
                self.sessions.end(session, conn);
                self.send(other, End { session });
                left.push(other);
            }
        }
        left.push(conn);
        self.retry_lobby(left);
        Ok(())
    }
}
