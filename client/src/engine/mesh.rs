//! With which members of a room one keeps connected. Pure, and the same for all who know the same members.

use std::collections::BTreeSet;

use common::identity::PeerId;

use crate::log::ConversationId;

/// Up to so many members everybody connects to everybody.
pub(super) const FULL: usize = 16;
/// In larger rooms members stand in a ring in the order of a hash, and each connects to those at these distances on both
/// sides: near ones, so that the ring holds while many are away, and far ones, so that three hops reach everybody.
const DISTANCES: [usize; 8] = [1, 2, 3, 5, 11, 19, 31, 47];

/// The neighbours of `me` among `members`.
pub(super) fn neighbours(room: ConversationId, me: PeerId, members: &[PeerId]) -> BTreeSet<PeerId> {
    let others = || members.iter().copied().filter(|peer| *peer != me);
    if members.len() <= FULL {
        return others().collect();
    }
    let place = |peer: &PeerId| *blake3::keyed_hash(room.as_bytes(), peer.as_bytes()).as_bytes();
    let mut ring: Vec<PeerId> = members.to_vec();
    ring.sort_by_cached_key(place);
    let Some(mine) = ring.iter().position(|peer| *peer == me) else { return BTreeSet::new() };
    let len = ring.len();
    let at = |distance: usize| [ring[(mine + distance) % len], ring[(mine + len - distance % len) % len]];
    DISTANCES.into_iter().flat_map(at).filter(|peer| *peer != me).collect()
}

#[cfg(test)]
mod room;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn members(count: usize) -> Vec<PeerId> {
        (0..count).map(|n| PeerId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes())).collect()
    }

    fn mesh(members: &[PeerId]) -> BTreeMap<PeerId, BTreeSet<PeerId>> {
        let room = ConversationId::from_bytes([7; 32]);
        members.iter().map(|peer| (*peer, neighbours(room, *peer, members))).collect()
    }

    /// The greatest number of hops from `start`, and how many are reached.
    fn reach(mesh: &BTreeMap<PeerId, BTreeSet<PeerId>>, start: PeerId) -> (usize, usize) {
        let mut seen = BTreeSet::from([start]);
        let mut edge = vec![start];
        let mut hops = 0;
        loop {
            let next: Vec<_> = edge
                .iter()
                .flat_map(|peer| &mesh[peer])
                .filter(|peer| seen.insert(**peer))
                .copied()
                .collect();
            if next.is_empty() {
                return (hops, seen.len());
            }
            hops += 1;
            edge = next;
        }
    }

    #[test]
    fn small_rooms_are_whole() {
        for count in 1..=FULL {
            assert!(mesh(&members(count)).values().all(|others| others.len() == count - 1));
        }
    }

    #[test]
    fn large_rooms_are_connected_in_three_hops_and_both_sides_agree() {
        for count in FULL + 1..=crate::log::room::MAX_MEMBERS {
            let members = members(count);
            let mesh = mesh(&members);
            for (peer, others) in &mesh {
                assert!(others.len() <= FULL, "{count}: {}", others.len());
                assert!(others.iter().all(|other| mesh[other].contains(peer)), "both want the connection");
            }
            let (hops, reached) = reach(&mesh, members[0]);
            assert!(hops <= 3 && reached == count, "{count}: {hops} hops reach {reached}");
        }
    }
}
