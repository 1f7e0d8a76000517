//! Whom this client talks with, and who may find it (`docs/protocol.md` §4.8).

use std::collections::BTreeSet;

use common::control::{Admit, MAX_WATCHED};
use common::identity::PeerId;

/// See the module. By default it is open to everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Door {
    /// Nothing goes to these and nothing of theirs is heard; those shut out last come first, for the server is told of so
    /// many only.
    pub shut_to: Vec<PeerId>,
    /// The others.
    pub open_to: OpenTo,
}

/// To whom a door is open that is not shut to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OpenTo {
    /// Everybody may find this client.
    #[default]
    Everybody,
    /// Only these find it, the first the soonest; it may call others.
    Known(Vec<PeerId>),
    /// Only these find it, and nothing goes to anybody else.
    Chosen(BTreeSet<PeerId>),
}

impl Door {
    /// Whether anything may go to `peer`.
    #[must_use]
    pub fn may_talk(&self, peer: PeerId) -> bool {
        let is_chosen = match &self.open_to {
            OpenTo::Everybody | OpenTo::Known(_) => true,
            OpenTo::Chosen(chosen) => chosen.contains(&peer),
        };
        is_chosen && !self.shut_to.contains(&peer)
    }

    /// Whether this client may show itself to whoever is there: in the lobby, on the local network.
    #[must_use]
    pub const fn may_announce(&self) -> bool {
        !matches!(self.open_to, OpenTo::Chosen(_))
    }

    /// What the server is told.
    #[must_use]
    pub fn to_frame(&self) -> Admit {
        let is_shut = |peer: &&PeerId| self.shut_to.contains(peer);
        let listed = |peers: &mut dyn Iterator<Item = &PeerId>| peers.take(MAX_WATCHED).copied().collect();
        match &self.open_to {
            OpenTo::Everybody => Admit { only: false, peers: listed(&mut self.shut_to.iter()) },
            OpenTo::Known(peers) => {
                Admit { only: true, peers: listed(&mut peers.iter().filter(|peer| !is_shut(peer))) }
            }
            OpenTo::Chosen(peers) => {
                Admit { only: true, peers: listed(&mut peers.iter().filter(|peer| !is_shut(peer))) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    #[test]
    fn who_is_shut_out_is_so_whatever_else_holds() {
        let peers = [1, 2, 3].map(peer);
        let door = |open_to| Door { shut_to: vec![peer(1)], open_to };
        for (open_to, talks, only, listed) in [
            (OpenTo::Everybody, [false, true, true], false, vec![peer(1)]),
            (OpenTo::Known(vec![peer(2), peer(1)]), [false, true, true], true, vec![peer(2)]),
            (OpenTo::Chosen([peer(1), peer(2)].into()), [false, true, false], true, vec![peer(2)]),
        ] {
            let door = door(open_to);
            assert_eq!(peers.map(|peer| door.may_talk(peer)), talks, "{door:?}");
            assert_eq!(door.to_frame(), Admit { only, peers: listed }, "{door:?}");
        }
        assert_eq!(Door::default().to_frame(), Admit::default());
    }

    #[test]
    fn the_server_is_told_of_the_first_so_many() {
        let shut_to: Vec<_> = (0..=255).map(peer).collect();
        let door = Door { shut_to: shut_to.clone(), ..Door::default() };
        assert_eq!(door.to_frame().peers, shut_to[..MAX_WATCHED]);
        assert!(!door.may_talk(shut_to[255]), "the client keeps to all of them");
    }
}
