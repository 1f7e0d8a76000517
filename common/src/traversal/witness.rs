//! What peers see of our main socket: samples for [`nat::classify`](super::nat::classify) beside those of STUN servers.
//!
//! A peer may lie. Alone none is believed: it takes [`NEEDED`] at different addresses who say alike, and nobody who says
//! otherwise.

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

    /// What they say, if they agree whether everybody sees us at `observed`, where the server does. Who sees another address
    /// than the server, from within a carrier's network perhaps, says nothing of ports.
    pub(super) fn agreed(&self, observed: SocketAddr) -> Vec<(SocketAddr, SocketAddr)> {
        let comparable = self.said.iter().filter(|(_, mapped)| mapped.ip() == observed.ip());
        let (same, other): (Vec<_>, Vec<_>) =
            comparable.copied().partition(|(_, mapped)| *mapped == observed);
        match (same.len(), other.len()) {
            (NEEDED.., 0) => same,
            (0, NEEDED..) => other,
            _ => Vec::new(),
        }
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

    fn agreed(said: &[(u8, SocketAddr)]) -> usize {
        let mut witnesses = Witnesses::default();
        said.iter().for_each(|(n, mapped)| witnesses.handle(peer(*n), *mapped));
        witnesses.agreed(seen(7)).len()
    }

    #[test]
    fn two_who_say_alike_are_believed_and_nobody_else() {
        let inside = SocketAddr::from(([100, 64, 0, 1], 7));
        assert_eq!(agreed(&[(1, seen(7))]), 0, "one is not enough");
        assert_eq!(agreed(&[(1, seen(7)), (1, seen(7))]), 0, "nor is one who says it twice");
        assert_eq!(agreed(&[(1, seen(7)), (2, seen(7))]), 2);
        assert_eq!(agreed(&[(1, seen(8)), (2, seen(9))]), 2);
        assert_eq!(agreed(&[(1, seen(7)), (2, seen(7)), (3, seen(9))]), 0, "they disagree");
        assert_eq!(
            agreed(&[(1, seen(7)), (2, seen(7)), (3, inside)]),
            2,
            "who sees another address says nothing"
        );
    }

    #[test]
    fn so_many_are_remembered() {
        let mut witnesses = Witnesses::default();
        (0..=255).for_each(|n| witnesses.handle(peer(n), seen(7)));
        assert_eq!(witnesses.agreed(seen(7)).len(), MAX_WITNESSES);
        witnesses.forget();
        assert!(witnesses.agreed(seen(7)).is_empty());
    }
}
