//! Peers who introduce their contacts to each other while the server is away (`docs/protocol.md` §6.7). Sans-I/O.
//!
//! Three take part: who seeks, who goes between, who is sought. The one between passes on one message each way, between
//! contacts of its own who are both connected; who is sought answers only people it knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::control::{CheckKey, MAX_ENDPOINTS, SessionId};
use common::identity::PeerId;

use super::wire::{Found, Met, Seek, Sought};

/// Bytes of the tag by which the one between recognises who is sought.
const TAG_LEN: usize = 16;
/// Searches that one client has under way, and searches of others that it goes between.
const MAX_RUNNING: usize = 32;
/// How long one is under way.
const LIFETIME: Duration = Duration::from_secs(10);
/// Least time between two searches for the same peer.
const PAUSE: Duration = Duration::from_secs(5);
/// Frames of one peer that are heeded within [`LIFETIME`].
const MAX_FRAMES: u32 = 16;
/// Endpoints of its own that a side names.
pub(super) const MAX_CLAIMED: usize = 4;

/// By which a contact of `peer` recognises them, and nobody else learns who is sought.
fn tag(session: SessionId, peer: PeerId) -> [u8; TAG_LEN] {
    let input = [session.0.to_be_bytes().as_slice(), peer.as_bytes()].concat();
    let hash = blake3::derive_key("hobnob sought peer v1", &input);
    std::array::from_fn(|i| hash[i])
}

/// A search that we go between.
#[derive(Debug)]
struct Passing {
    seeker: PeerId,
    sought: PeerId,
    key: CheckKey,
    until: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Introductions {
    seeking: BTreeMap<SessionId, (PeerId, Instant)>,
    paused: BTreeMap<PeerId, Instant>,
    passing: BTreeMap<SessionId, Passing>,
    heard: BTreeMap<PeerId, (Instant, u32)>,
}

impl Introductions {
    fn expire(&mut self, now: Instant) {
        self.seeking.retain(|_, (_, until)| *until > now);
        self.paused.retain(|_, until| *until > now);
        self.passing.retain(|_, passing| passing.until > now);
        self.heard.retain(|_, (since, _)| now.saturating_duration_since(*since) < LIFETIME);
    }

    /// Whether a frame of `peer` is heeded: not too many in a short time are.
    fn heeds(&mut self, now: Instant, peer: PeerId) -> bool {
        self.expire(now);
        let (_, count) = self.heard.entry(peer).or_insert((now, 0));
        *count += 1;
        *count <= MAX_FRAMES
    }

    /// `peer` is wanted: what to ask contacts, under the fresh random name `session`; `None` if that was asked a moment ago.
    pub(super) fn seek(
        &mut self,
        now: Instant,
        peer: PeerId,
        session: SessionId,
        own: Vec<SocketAddr>,
    ) -> Option<Seek> {
        self.expire(now);
        if self.paused.contains_key(&peer) || self.seeking.len() >= MAX_RUNNING {
            return None;
        }
        self.paused.insert(peer, now + PAUSE);
        self.seeking.insert(session, (peer, now + LIFETIME));
        Some(Seek { session, tag: tag(session, peer).to_vec(), endpoints: own })
    }

    /// `seeker`, a contact, looks for one of `contacts`, who are connected with us. `key` is fresh and random.
    pub(super) fn handle_seek(
        &mut self,
        now: Instant,
        seeker: PeerId,
        seek: Seek,
        contacts: &[PeerId],
        key: CheckKey,
    ) -> Option<(PeerId, Sought)> {
        let Seek { session, tag: wanted, endpoints } = seek;
        if !self.heeds(now, seeker)
            || self.passing.len() >= MAX_RUNNING
            || self.passing.contains_key(&session)
        {
            return None;
        }
        let is_sought = |peer: &&PeerId| **peer != seeker && wanted == tag(session, **peer);
        let sought = *contacts.iter().find(is_sought)?;
        let until = now + LIFETIME;
        self.passing.insert(session, Passing { seeker, sought, key: key.clone(), until });
        Some((sought, Sought { session, peer: seeker, endpoints, key }))
    }

    /// Whether `us` answers a search of `peer` that `between` passes on. When two look for each other at the same time, the
    /// search of the smaller key counts.
    pub(super) fn handle_sought(&mut self, now: Instant, us: PeerId, between: PeerId, peer: PeerId) -> bool {
        self.heeds(now, between) && !(self.paused.contains_key(&peer) && us < peer)
    }

    /// `sought` answers a search that we have passed on.
    pub(super) fn handle_found(
        &mut self,
        now: Instant,
        sought: PeerId,
        found: Found,
    ) -> Option<(PeerId, Met)> {
        self.expire(now);
        let passing = self.passing.get(&found.session).filter(|passing| passing.sought == sought)?;
        let met = Met {
            session: found.session,
            peer: sought,
            endpoints: found.endpoints,
            key: passing.key.clone(),
        };
        let seeker = passing.seeker;
        self.passing.remove(&found.session);
        Some((seeker, met))
    }

    /// An answer to a search of ours: whether it is one. The first counts.
    pub(super) fn handle_met(&mut self, now: Instant, met: &Met) -> bool {
        self.expire(now);
        let is_ours = self.seeking.get(&met.session).is_some_and(|(peer, _)| *peer == met.peer);
        if is_ours {
            self.seeking.retain(|_, (peer, _)| *peer != met.peer);
        }
        is_ours
    }
}

/// What the other side is told of somebody's endpoints: first where we see them ourselves, then what they claim.
pub(super) fn endpoints(seen: Option<SocketAddr>, claimed: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<_> = seen.into_iter().collect();
    for claim in claimed.into_iter().take(MAX_CLAIMED) {
        if !all.contains(&claim) {
            all.push(claim);
        }
    }
    all.truncate(MAX_ENDPOINTS);
    all
}

#[cfg(test)]
mod tests {
    use common::identity::Identity;

    use super::*;

    fn peer(number: u8) -> PeerId {
        Identity::from_seed([number; 32]).peer_id()
    }

    #[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
    fn start() -> Instant {
        Instant::now()
    }

    fn key() -> CheckKey {
        CheckKey([9; 16])
    }

    fn addr(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn a_search_goes_one_way_and_its_answer_the_other() {
        let now = start();
        let [mut alice, mut carol] = [Introductions::default(), Introductions::default()];
        let seek = alice.seek(now, peer(2), SessionId(7), vec![addr(1)]).unwrap();
        assert!(
            !format!("{seek:?}").contains(&peer(2).short()),
            "the one between learns only of whom it knows"
        );
        assert_eq!(alice.seek(now, peer(2), SessionId(8), Vec::new()), None, "asked a moment ago");
        assert_eq!(carol.handle_seek(now, peer(1), seek.clone(), &[peer(1), peer(4)], key()), None);
        let (to, sought) = carol.handle_seek(now, peer(1), seek, &[peer(4), peer(2)], key()).unwrap();
        assert_eq!((to, sought.peer, sought.endpoints), (peer(2), peer(1), vec![addr(1)]));
        let found = Found { session: SessionId(7), endpoints: vec![addr(2)] };
        assert_eq!(carol.handle_found(now, peer(4), found.clone()), None, "somebody else answers");
        let (to, met) = carol.handle_found(now, peer(2), found.clone()).unwrap();
        assert_eq!((to, met.peer, met.key.clone()), (peer(1), peer(2), key()));
        assert_eq!(carol.handle_found(now, peer(2), found), None, "once");
        assert!(!alice.handle_met(now, &Met { peer: peer(4), ..met.clone() }));
        assert!(alice.handle_met(now, &met) && !alice.handle_met(now, &met));
    }

    #[test]
    fn answers_come_in_time_or_not_at_all() {
        let now = start();
        let mut all = Introductions::default();
        let seek = all.seek(now, peer(2), SessionId(7), Vec::new()).unwrap();
        all.handle_seek(now, peer(1), seek, &[peer(2)], key()).unwrap();
        let late = now + LIFETIME;
        assert_eq!(
            all.handle_found(late, peer(2), Found { session: SessionId(7), endpoints: Vec::new() }),
            None
        );
        let met = Met { session: SessionId(7), peer: peer(2), endpoints: Vec::new(), key: key() };
        assert!(!all.handle_met(late, &met));
        assert!(all.seek(late, peer(2), SessionId(9), Vec::new()).is_some());
    }

    #[test]
    fn one_peer_can_neither_flood_nor_fill() {
        let now = start();
        let mut carol = Introductions::default();
        let mut tell = |n: u64, from: u8, now| {
            let session = SessionId(n);
            let seek = Seek { session, tag: tag(session, peer(2)).to_vec(), endpoints: Vec::new() };
            carol.handle_seek(now, peer(from), seek, &[peer(2)], key()).is_some()
        };
        assert_eq!((0..100).filter(|n| tell(*n, 1, now)).count(), 16);
        assert_eq!((100..200).filter(|n| tell(*n, 3, now)).count(), 16);
        assert!(!tell(200, 4, now), "thirty-two are under way");
        assert!(tell(201, 1, now + LIFETIME));
        let mut alice = Introductions::default();
        let asked =
            (0..100_u8).filter(|n| alice.seek(now, peer(*n), SessionId((*n).into()), Vec::new()).is_some());
        assert_eq!(asked.count(), MAX_RUNNING);
    }

    #[test]
    fn of_two_who_look_for_each_other_one_dials() {
        let now = start();
        let (small, great) = (peer(1).min(peer(2)), peer(1).max(peer(2)));
        let answers = |us: PeerId, other: PeerId| {
            let mut it = Introductions::default();
            it.seek(now, other, SessionId(1), Vec::new()).unwrap();
            it.handle_sought(now, us, peer(3), other)
        };
        assert!(answers(great, small) && !answers(small, great));
        assert!(
            Introductions::default().handle_sought(now, small, peer(3), great),
            "who does not look answers"
        );
    }

    #[test]
    fn what_was_seen_comes_before_what_is_claimed() {
        let claims: Vec<_> = (1..20).map(addr).collect();
        assert_eq!(endpoints(Some(addr(2)), claims), [2, 1, 3, 4].map(addr));
        assert_eq!(endpoints(None, Vec::new()), []);
    }
}
