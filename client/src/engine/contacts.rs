//! Whom this user knows, those met last first.

use common::control::MAX_WATCHED;
use common::identity::PeerId;

/// With this many contacts, people who come by themselves are no longer remembered; whom the user looks for is. Anybody
/// may make keys without end and connect with each: the list must not grow as they like.
pub(super) const MAX_BEFORE_STRANGERS: usize = 1000;

/// The keys of all contacts, in the order of the last meeting, the newest first.
#[derive(Debug, Default)]
pub(super) struct Contacts(Vec<PeerId>);

impl Contacts {
    /// Contacts as they were stored, those met last first.
    pub(super) const fn new(newest_first: Vec<PeerId>) -> Self {
        Self(newest_first)
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.0.contains(&peer)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody new who came by themselves is still remembered.
    pub(super) const fn has_room_for_strangers(&self) -> bool {
        self.0.len() < MAX_BEFORE_STRANGERS
    }

    /// Puts `peer` first. True if that brings them among those who are watched, so that the server is to be told.
    pub(super) fn meet(&mut self, peer: PeerId) -> bool {
        let place = self.0.iter().position(|known| *known == peer);
        if let Some(place) = place {
            self.0.remove(place);
        }
        self.0.insert(0, peer);
        place.is_none_or(|place| place >= MAX_WATCHED)
    }

    /// All of them, the newest first: only so many are watched, and those matter most.
    pub(super) fn to_vec(&self) -> Vec<PeerId> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> PeerId {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        common::identity::Identity::from_seed(seed).peer_id()
    }

    #[test]
    fn who_is_met_comes_first() {
        let mut contacts = Contacts::new(vec![peer(1), peer(2)]);
        assert!(contacts.meet(peer(3)), "somebody new is to be watched");
        assert!(!contacts.meet(peer(2)), "somebody who is watched stays so");
        assert_eq!(contacts.to_vec(), [peer(2), peer(3), peer(1)]);
    }

    #[test]
    fn who_comes_back_after_many_others_is_watched_again() {
        let mut contacts = Contacts::new((0..=MAX_WATCHED).map(peer).collect());
        assert!(!contacts.meet(peer(MAX_WATCHED - 1)));
        assert!(contacts.meet(peer(MAX_WATCHED)));
        assert!(!contacts.meet(peer(MAX_WATCHED)));
        assert_eq!(contacts.to_vec().len(), MAX_WATCHED + 1);
    }

    #[test]
    fn strangers_do_not_fill_the_list_without_end() {
        let mut contacts = Contacts::new((1..MAX_BEFORE_STRANGERS).map(peer).collect());
        assert!(contacts.has_room_for_strangers());
        contacts.meet(peer(MAX_BEFORE_STRANGERS));
        assert!(!contacts.has_room_for_strangers());
    }
}
