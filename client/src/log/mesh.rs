//! With which members of a room one keeps connected, and to which of them one hands on what (`docs/protocol.md` §7.4).
//! Pure, and the same for all who know the same of the same members.

use std::collections::{BTreeSet, VecDeque};

use common::identity::PeerId;

use super::id::ConversationId;

/// Where up to so many members are there everybody connects to everybody.
pub(crate) const FULL: usize = 16;
/// In larger companies members stand in a ring in the order of a hash, and each connects to those at these distances on both
/// sides: near ones, so that the ring holds while many are away, and far ones, so that three hops reach everybody.
const DISTANCES: [usize; 8] = [1, 2, 3, 5, 11, 19, 31, 47];

/// The neighbours of `me` among `members`: those who would be if all were there, and for each who is not there the next one in
/// the ring who is.
pub(crate) fn neighbours(
    room: ConversationId,
    me: PeerId,
    members: &[PeerId],
    is_there: impl Fn(PeerId) -> bool,
) -> BTreeSet<PeerId> {
    let others = members.iter().copied().filter(|peer| *peer != me);
    if members.len() <= FULL {
        return others.collect();
    }
    let ring = ring(room, members);
    let Some(mine) = ring.iter().position(|peer| *peer == me) else { return BTreeSet::new() };
    let mut near: BTreeSet<_> = around(mine, ring.len()).map(|place| ring[place]).collect();
    let there: BTreeSet<_> = others.filter(|peer| is_there(*peer)).collect();
    if there.len() < FULL {
        near.extend(there);
    } else {
        let stand_ins = DISTANCES.into_iter().flat_map(|distance| {
            let is_there = |place: &usize| there.contains(&ring[*place]);
            let onwards = (distance..ring.len()).map(|far| (mine + far) % ring.len()).find(is_there);
            let back =
                (distance..ring.len()).map(|far| (mine + ring.len() - far) % ring.len()).find(is_there);
            [onwards, back]
        });
        near.extend(stand_ins.flatten().map(|place| ring[place]));
    }
    near.remove(&me);
    near
}

/// To whom `me` hands on what `author` has written and `bearer` has brought: all have the same tree of shortest ways from
/// the author, and what came along it goes on along it. What came otherwise does not: others may have been
/// quicker, and whom it has not reached is told of it.
pub(crate) fn onward(
    room: ConversationId,
    members: &[PeerId],
    author: PeerId,
    bearer: PeerId,
    me: PeerId,
) -> BTreeSet<PeerId> {
    if members.len() <= FULL {
        return BTreeSet::new();
    }
    let ring = ring(room, members);
    let place = |peer: PeerId| ring.iter().position(|other| *other == peer);
    let (Some(root), Some(mine)) = (place(author), place(me)) else { return BTreeSet::new() };
    let parents = parents(root, ring.len());
    if root == mine || (bearer != author && parents[mine].map(|parent| ring[parent]) != Some(bearer)) {
        return BTreeSet::new();
    }
    let is_mine = |(child, parent): &(usize, Option<usize>)| *child != root && *parent == Some(mine);
    parents.into_iter().enumerate().filter(is_mine).map(|(child, _)| ring[child]).collect()
}

/// The members in the order in which they stand in the ring.
fn ring(room: ConversationId, members: &[PeerId]) -> Vec<PeerId> {
    let mut ring = members.to_vec();
    ring.sort_by_cached_key(|peer| *blake3::keyed_hash(room.as_bytes(), peer.as_bytes()).as_bytes());
    ring
}

/// The places that are connected to one of `len`.
fn around(place: usize, len: usize) -> impl Iterator<Item = usize> {
    DISTANCES.into_iter().flat_map(move |distance| {
        let distance = distance % len;
        [(place + distance) % len, (place + len - distance) % len]
    })
}

/// From which place each gets what the one at `root` says.
fn parents(root: usize, len: usize) -> Vec<Option<usize>> {
    let mut parents = vec![None; len];
    parents[root] = Some(root);
    let mut queue = VecDeque::from([root]);
    while let Some(place) = queue.pop_front() {
        for next in around(place, len) {
            if parents[next].is_none() {
                parents[next] = Some(place);
                queue.push_back(next);
            }
        }
    }
    parents
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
        members.iter().map(|peer| (*peer, neighbours(room, *peer, members, |_| true))).collect()
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

    #[test]
    fn whoever_is_there_is_reached_in_three_hops() {
        let room = ConversationId::from_bytes([7; 32]);
        for count in [FULL + 1, 30, 60, crate::log::room::MAX_MEMBERS] {
            let members = members(count);
            for (salt, share) in (0..20).flat_map(|salt| [(salt, 10), (salt, 30), (salt, 50), (salt, 90)]) {
                let is_there = |peer: PeerId| {
                    let chance = blake3::keyed_hash(&[salt; 32], peer.as_bytes()).as_bytes()[0];
                    u32::from(chance) * 100 < share * 256
                };
                let there: Vec<_> = members.iter().copied().filter(|peer| is_there(*peer)).collect();
                let Some(first) = there.first() else { continue };
                let mut mesh: BTreeMap<PeerId, BTreeSet<PeerId>> = BTreeMap::new();
                for me in &there {
                    let near = neighbours(room, *me, &members, is_there);
                    assert!(near.len() <= 2 * FULL);
                    for other in near.into_iter().filter(|peer| is_there(*peer)) {
                        mesh.entry(*me).or_default().insert(other);
                        mesh.entry(other).or_default().insert(*me);
                    }
                }
                mesh.entry(*first).or_default();
                let (hops, reached) = reach(&mesh, *first);
                assert_eq!(reached, there.len(), "{count}: {share} % there");
                assert!(
                    hops <= 3 && (there.len() > FULL || hops <= 1),
                    "{count}: {hops} hops, {share} % there"
                );
                let most = mesh.values().map(BTreeSet::len).max();
                assert!(most < Some(5 * FULL), "{count}: {most:?} connections, {share} % there");
            }
        }
    }

    /// Everybody is handed it once, by a neighbour.
    #[test]
    fn each_way_from_an_author_is_taken_once() {
        let room = ConversationId::from_bytes([7; 32]);
        for count in [FULL, FULL + 1, 23, 60, crate::log::room::MAX_MEMBERS] {
            let members = members(count);
            let author = members[count / 3];
            let mut brought: BTreeMap<PeerId, PeerId> =
                neighbours(room, author, &members, |_| true).into_iter().map(|peer| (peer, author)).collect();
            let mut edge: Vec<_> = brought.keys().copied().collect();
            while let Some(me) = edge.pop() {
                for next in onward(room, &members, author, brought[&me], me) {
                    assert!(neighbours(room, me, &members, |_| true).contains(&next) && next != author);
                    assert_eq!(brought.insert(next, me), None, "{count}: handed over twice");
                    edge.push(next);
                }
            }
            assert_eq!(brought.len(), count - 1, "{count}");
        }
    }

    #[test]
    fn what_did_not_come_along_the_tree_is_not_handed_on() {
        let (room, members) = (ConversationId::from_bytes([7; 32]), members(100));
        let (author, stranger) = (members[0], PeerId::from_bytes([1; 32]));
        let hands_on = |bearer: PeerId, me: PeerId| !onward(room, &members, author, bearer, me).is_empty();
        let near = neighbours(room, author, &members, |_| true);
        let busy = near.iter().copied().find(|me| hands_on(author, *me)).expect("somebody hands on");
        let other = near.iter().copied().find(|peer| *peer != busy).expect("another one");
        assert!(!hands_on(other, busy));
        assert!(!hands_on(stranger, busy) && !hands_on(author, stranger) && !hands_on(busy, author));
        assert_eq!(onward(room, &members, stranger, busy, other), BTreeSet::new());
    }
}
