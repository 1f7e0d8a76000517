//! What peers see of our main socket, beside what STUN servers do.
//!
//! A peer may lie. It takes [`NEEDED`] at different addresses who say alike, and nobody who says otherwise; and what follows
//! from it may be haste, never that something is left undone.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Peers that have to say alike.
const NEEDED: usize = 2;
/// Peers of whom it is remembered what they said; the oldest gives way.
const MAX_WITNESSES: usize = 8;

/// The peers of one network.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    /// Where each is, and where it has seen us; one for each IP address.
    said: VecDeque<(SocketAddr, SocketAddr)>,
}

impl Witnesses {
    /// The peer at `remote` sees us at `mapped`.
    pub(super) fn handle(&mut self, remote: SocketAddr, mapped: SocketAddr) {
        self.said.retain(|(known, _)| known.ip() != remote.ip());
        if self.said.len() == MAX_WITNESSES {
            self.said.pop_front();
        }
        self.said.push_back((remote, mapped));
    }

    /// We are on another network, or seen elsewhere.
    pub(super) fn forget(&mut self) {
        self.said.clear();
    }

    /// Whether they say that our endpoint is another one for them than `observed`, which the server sees. Who sees another
    /// address than the server, from within a carrier's network perhaps, says nothing of ports.
    pub(super) fn see_others(&self, observed: SocketAddr) -> bool {
        let comparable = || self.said.iter().filter(|(_, mapped)| mapped.ip() == observed.ip());
        comparable().count() >= NEEDED && comparable().all(|(_, mapped)| *mapped != observed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 4000))
    }

    fn seen(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 1], port))
    }

    fn see_others(said: &[(u8, SocketAddr)]) -> bool {
        let mut witnesses = Witnesses::default();
        said.iter().for_each(|(n, mapped)| witnesses.handle(peer(*n), *mapped));
        witnesses.see_others(seen(7))
    }

    #[test]
    fn two_who_say_alike_are_believed_and_nobody_else() {
        let inside = SocketAddr::from(([100, 64, 0, 1], 8));
        assert!(!see_others(&[(1, seen(8))]), "one is not enough");
        assert!(!see_others(&[(1, seen(8)), (1, seen(9))]), "nor is one who says it twice");
        assert!(see_others(&[(1, seen(8)), (2, seen(9))]));
        assert!(!see_others(&[(1, seen(7)), (2, seen(8)), (3, seen(9))]), "they disagree");
        assert!(!see_others(&[(1, seen(8)), (2, inside)]), "who sees another address says nothing");
        assert!(!see_others(&[(1, seen(7)), (2, seen(7))]));
    }

    #[test]
    fn so_many_are_remembered() {
        let mut witnesses = Witnesses::default();
        (0..=255).for_each(|n| witnesses.handle(peer(n), seen(8)));
        assert_eq!(witnesses.said.len(), MAX_WITNESSES);
        witnesses.forget();
        assert!(!witnesses.see_others(seen(7)));
    }
}
