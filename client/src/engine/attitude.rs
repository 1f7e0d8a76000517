//! All that the user has decided about others, and what follows from it for the network.

use std::collections::BTreeSet;

use common::identity::PeerId;

use super::choice::Visibility;
use super::settings::{PRESENCE, STRANGERS};
use crate::net::{Door, OpenTo};
use crate::store::{Stance, Stances, Store, StoreError};

/// See the module. It is what the store has, read anew whenever the user decides something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attitude {
    /// Whom this user blocks, mutes and so on.
    pub stances: Stances,
    /// For whom this user is there.
    pub visibility: Visibility,
    /// Whether contacts see this user online of whom nothing else was said.
    shows_presence: bool,
    /// Whether people find this user whom they do not know.
    admits_strangers: bool,
}

impl Attitude {
    pub(super) async fn of(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            stances: store.stances().await?,
            visibility: Visibility::of(store).await?,
            shows_presence: PRESENCE.is_on(store).await?,
            admits_strangers: STRANGERS.is_on(store).await?,
        })
    }

    /// Whether this user is there for some people at the most.
    #[must_use]
    pub const fn is_invisible(&self) -> bool {
        matches!(self.visibility, Visibility::Invisible { .. })
    }

    /// Whether this client may show itself to whoever is there: in the lobby, on the local network.
    #[must_use]
    pub const fn may_announce(&self) -> bool {
        !self.is_invisible()
    }

    /// Whether anything may go to `peer` now. What is written to others waits.
    #[must_use]
    pub fn may_talk(&self, peer: PeerId) -> bool {
        let is_seen = match &self.visibility {
            Visibility::Visible => true,
            Visibility::Invisible { but } => but.contains(&peer),
        };
        is_seen && !self.stances.has(Stance::Blocked, peer)
    }

    /// Whether `peer` is shown that this user is online, if it wants to know.
    #[must_use]
    pub fn shows_presence_to(&self, peer: PeerId) -> bool {
        let is_shown = match (self.stances.has(Stance::Shown, peer), self.stances.has(Stance::Unshown, peer))
        {
            (false, false) => self.shows_presence,
            (is_shown, _) => is_shown,
        };
        is_shown && self.may_talk(peer)
    }

    /// What the network may do. `known` are those who find this user even if strangers do not, the first the soonest.
    pub(super) fn door(&self, known: impl Iterator<Item = PeerId>) -> Door {
        let open_to = match &self.visibility {
            Visibility::Invisible { but } => OpenTo::Chosen(but.iter().copied().collect::<BTreeSet<_>>()),
            Visibility::Visible if self.admits_strangers => OpenTo::Everybody,
            Visibility::Visible => OpenTo::Known(known.collect()),
        };
        Door { shut_to: self.stances.people(Stance::Blocked), open_to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::choice::Choice;
    use common::identity::Identity;

    fn peer(seed: u8) -> PeerId {
        Identity::from_seed([seed; 32]).peer_id()
    }

    /// What follows from choices that were made before a restart.
    async fn after(choices: &[Choice]) -> Attitude {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let store = Store::open(&path, peer(1)).await.unwrap();
        for (now, choice) in (1..).zip(choices) {
            choice.keep(&store, now).await.unwrap();
        }
        store.close().await;
        Attitude::of(&Store::open(&path, peer(1)).await.unwrap()).await.unwrap()
    }

    fn set(name: &str, value: &str) -> Choice {
        let setting = super::super::settings::Setting::find(name).unwrap();
        Choice::Set { setting, value: setting.value(value).unwrap() }
    }

    #[tokio::test]
    async fn presence_is_shown_by_default_and_taken_back_for_one() {
        let nothing = after(&[]).await;
        assert!(nothing.shows_presence_to(peer(2)) && nothing.may_announce());
        assert_eq!(nothing.door(std::iter::empty()), Door::default());
        let hide = Choice::Presence { peer: peer(2), is_shown: false };
        let show = Choice::Presence { peer: peer(2), is_shown: true };
        let shown = |attitude: &Attitude| [2, 3].map(|n| attitude.shows_presence_to(peer(n)));
        assert_eq!(shown(&after(std::slice::from_ref(&hide)).await), [false, true]);
        assert_eq!(shown(&after(&[hide, show.clone()]).await), [true, true]);
        assert_eq!(shown(&after(&[set("presence", "off")]).await), [false, false]);
        assert_eq!(shown(&after(&[set("presence", "off"), show]).await), [true, false]);
    }

    #[tokio::test]
    async fn the_blocked_are_never_seen_nor_chosen() {
        let block = Choice::Block { peer: peer(2), is_on: true };
        let invisible = Choice::Visibility(Visibility::Invisible { but: vec![peer(2), peer(3)] });
        let attitude = after(&[block.clone(), invisible.clone()]).await;
        assert_eq!([2, 3, 4].map(|n| attitude.may_talk(peer(n))), [false, true, false]);
        assert!(!attitude.may_announce() && !attitude.door(std::iter::empty()).may_announce());
        let unblock = Choice::Block { peer: peer(2), is_on: false };
        let visible = Choice::Visibility(Visibility::Visible);
        assert_eq!(after(&[block, invisible, unblock, visible]).await, after(&[]).await);
    }

    #[tokio::test]
    async fn without_strangers_those_who_are_known_find_us() {
        let attitude = after(&[set("strangers", "off")]).await;
        let door = attitude.door([peer(2)].into_iter());
        assert_eq!(door.open_to, OpenTo::Known(vec![peer(2)]));
        assert!(door.may_talk(peer(3)), "this user may call whom they like");
    }
}
