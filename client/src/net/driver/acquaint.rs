//! Introductions that a contact makes, while there is no server (`docs/protocol.md` §6.7): there is no relay, and packets
//! flow once a direct path is found.

use common::control::{CheckKey, SessionId};

use super::*;

/// What a contact tells of another peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquaintance {
    /// Names the key of the checks.
    pub session: SessionId,
    /// Whom to connect with.
    pub peer: PeerId,
    /// Where it may be reached.
    pub endpoints: Vec<SocketAddr>,
    /// The key.
    pub key: CheckKey,
    /// Which side this client is.
    pub side: Side,
}

impl Driver {
    pub(super) fn acquaint(&mut self, now: Instant, known: &Acquaintance) {
        let id = known.peer;
        let Some(peer) = self.peers.entry(now, id).filter(|_| id != self.config.identity.peer_id()) else {
            return;
        };
        if peer.current.is_some() {
            return;
        }
        peer.expect(now);
        // One that is under way waits for a relay that is gone.
        peer.attempt = None;
        let seed = self.rng.random();
        let introduction = Introduction {
            session: known.session,
            peer: id,
            endpoints: &known.endpoints[..known.endpoints.len().min(control::MAX_ENDPOINTS)],
            key: &known.key,
            side: known.side,
        };
        self.socket.with_mux(|mux| {
            mux.add_peer(id, seed);
            mux.acquaint(now, &introduction);
        });
        if known.side == Side::Dialer {
            self.start_dial(id);
        }
    }
}
