//! What is known of one person.

use common::identity::PeerId;

use super::{Attitude, Connected, Engine, EngineError};
use crate::log::ConversationId;
use crate::store::{Contact, Regard, Span, Stance, Store, StoreError};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Their key.
    pub peer: PeerId,
    /// What is remembered of them; `None` if they are no contact.
    pub contact: Option<Contact>,
    /// When their key was compared, in Unix milliseconds.
    pub verified_ms: Option<u64>,
    /// Whether they are online, as far as they want this user to know.
    pub online: bool,
    /// Their connection, if there is one.
    pub connected: Option<Connected>,
    /// How this user wants what they say to be treated.
    pub regard: Regard,
    /// For how long they are muted.
    pub muted: Option<Span>,
    /// Whether they are shown that this user is online, if they want to know.
    pub shows_presence: bool,
    /// Rooms to which both belong, with their names; these may hold anything.
    pub rooms: Vec<(ConversationId, String)>,
}

impl Profile {
    /// What the store has of `peer`.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn of(store: &Store, peer: PeerId) -> Result<Self, StoreError> {
        let attitude = Attitude::of(store).await?;
        let contact = store.contacts().await?.into_iter().find(|contact| contact.peer == peer);
        let me = store.me();
        let rooms = store.conversations().await?.into_iter().filter_map(|conversation| {
            let belongs = |wanted| conversation.members.iter().any(|(member, _)| *member == wanted);
            let is_shared = belongs(me) && belongs(peer);
            let room = conversation.room.filter(|_| is_shared)?;
            Some((conversation.id, room.name))
        });
        Ok(Self {
            peer,
            contact,
            verified_ms: store.verified().await?.get(&peer).copied(),
            online: false,
            connected: None,
            regard: attitude.stances.regard(peer.as_bytes()),
            muted: attitude.stances.get(Stance::Muted, peer.as_bytes()),
            shows_presence: attitude.shows_presence_to(peer),
            rooms: rooms.collect(),
        })
    }
}

impl Engine {
    /// What is known of `peer`.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub async fn whois(&self, peer: PeerId) -> Result<Profile, EngineError> {
        let stored = Profile::of(&self.store, peer).await?;
        let live = self.live.borrow().get(&peer).cloned().unwrap_or_default();
        let path = self.net.path(peer);
        let connected = live.words.map(|words| Connected { words, path });
        Ok(Profile { online: live.online || connected.is_some(), connected, ..stored })
    }
}
