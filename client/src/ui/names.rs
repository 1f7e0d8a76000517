//! What people are called on the screen, and who is meant by what is typed.

use std::collections::BTreeMap;

use common::identity::PeerId;
use common::text;

use crate::log::ConversationId;
use crate::reading::short;
use crate::store::{Store, StoreError};

/// How this user is called.
pub(super) const ME: &str = "me";
/// Letters of a key that name somebody at the least: fewer are too easily a name.
const MIN_KEY: usize = 4;

/// Names of everybody who is known here.
#[derive(Debug, Clone)]
pub(super) struct Names {
    me: PeerId,
    names: BTreeMap<PeerId, String>,
    rooms: BTreeMap<ConversationId, String>,
}

/// Why it is not clear who is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    /// Nobody is called so.
    #[error("nobody whom you know is called {0:?}")]
    Nobody(String),
    /// No room is.
    #[error("none of your rooms is called {0:?}")]
    NoRoom(String),
    /// Several are.
    #[error("{text:?} can be {}; write more of the name, or what is in brackets", .candidates.join(", "))]
    Ambiguous {
        /// What was typed.
        text: String,
        /// Who can be meant.
        candidates: Vec<String>,
    },
}

impl Names {
    pub(super) fn new(me: PeerId) -> Self {
        Self { me, names: BTreeMap::new(), rooms: BTreeMap::new() }
    }

    /// The names of all contacts in `store`.
    pub(super) async fn of(store: &Store) -> Result<Self, StoreError> {
        let mut names = Self::new(store.me());
        for contact in store.contacts().await? {
            names.set(contact.peer, &contact.name());
        }
        Ok(names)
    }

    /// This user.
    pub(super) const fn me(&self) -> PeerId {
        self.me
    }

    /// Somebody is called `name`, whatever it holds.
    pub(super) fn set(&mut self, peer: PeerId, name: &str) {
        self.names.insert(peer, clean(name, peer));
    }

    /// Whether somebody has a name here.
    pub(super) fn knows(&self, peer: PeerId) -> bool {
        peer == self.me || self.names.contains_key(&peer)
    }

    /// A room is called `name`, whatever it holds.
    pub(super) fn set_room(&mut self, room: ConversationId, name: &str) {
        self.rooms.insert(room, text::one_line(name, text::MAX_NAME));
    }

    /// What to call a room.
    pub(super) fn room(&self, room: ConversationId) -> String {
        let name = self.rooms.get(&room).filter(|name| !name.is_empty());
        format!("#{}", name.cloned().unwrap_or_else(|| short(&room)))
    }

    /// Whether the conversation is a room.
    pub(super) fn is_room(&self, conversation: ConversationId) -> bool {
        self.rooms.contains_key(&conversation)
    }

    /// What to call a conversation: a room, or the other one of a direct conversation.
    pub(super) fn conversation(&self, id: ConversationId) -> String {
        let peer = self.names.keys().find(|peer| ConversationId::direct(self.me, **peer) == id);
        peer.map_or_else(|| self.room(id), |peer| self.shown(*peer))
    }

    /// What to call somebody: the beginning of the key is added where the name alone could mislead.
    pub(super) fn shown(&self, peer: PeerId) -> String {
        if peer == self.me {
            return ME.to_owned();
        }
        let Some(name) = self.names.get(&peer) else { return peer.short() };
        let folded = name.to_lowercase();
        let is_taken = self.names.iter().any(|(other, n)| *other != peer && n.to_lowercase() == folded);
        if is_taken || folded == ME { format!("{name} ({})", peer.short()) } else { name.clone() }
    }

    /// The names of everybody, in no particular order.
    pub(super) fn all(&self) -> impl Iterator<Item = String> {
        self.names.values().cloned()
    }

    /// Who is meant: by the whole name if there is somebody, else by its beginning, else by that of the key.
    pub(super) fn find(&self, typed: &str) -> Result<PeerId, NameError> {
        let wanted = typed.trim().to_lowercase();
        let by_name = |matches: &dyn Fn(&str) -> bool| -> Vec<PeerId> {
            self.names
                .iter()
                .filter(|(_, name)| matches(&name.to_lowercase()))
                .map(|(peer, _)| *peer)
                .collect()
        };
        let by_key = || -> Vec<PeerId> {
            let is_key = wanted.len() >= MIN_KEY;
            self.names
                .keys()
                .filter(|peer| is_key && peer.to_string().starts_with(&wanted))
                .copied()
                .collect()
        };
        let mut found = by_name(&|name| name == wanted);
        if found.is_empty() && !wanted.is_empty() {
            found = by_name(&|name| name.starts_with(&wanted));
            found.extend(by_key());
            found.sort_unstable();
            found.dedup();
        }
        let text = || text::one_line(typed, text::MAX_NAME);
        match found.as_slice() {
            [peer] => Ok(*peer),
            [] => Err(NameError::Nobody(text())),
            several => {
                let shown = |peer: &PeerId| {
                    let name = self.names.get(peer).map_or("", String::as_str);
                    format!("{name} ({})", peer.short())
                };
                Err(NameError::Ambiguous { text: text(), candidates: several.iter().map(shown).collect() })
            }
        }
    }
}

/// A name that can stand before a message without being taken for anything else.
fn clean(name: &str, peer: PeerId) -> String {
    let name = text::one_line(name, text::MAX_NAME).replace('>', "");
    let name = name.trim_start_matches(['*', '!', ' ']).trim_end();
    if name.is_empty() { peer.short() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::identity::Identity;

    fn names(list: &[&str]) -> (Names, Vec<PeerId>) {
        let peer = |seed: usize| Identity::from_seed([u8::try_from(seed).unwrap(); 32]).peer_id();
        let mut names = Names::new(peer(99));
        let peers: Vec<_> = (0..list.len()).map(peer).collect();
        for (peer, name) in peers.iter().zip(list) {
            names.set(*peer, name);
        }
        (names, peers)
    }

    #[test]
    fn people_are_found_by_what_is_clear() {
        let (names, peers) = names(&["Anna", "Annabel", "Bert"]);
        assert_eq!(names.find("anna"), Ok(peers[0]));
        assert_eq!(names.find("annab"), Ok(peers[1]));
        assert_eq!(names.find(" B"), Ok(peers[2]));
        assert_eq!(names.find(&peers[2].to_string()), Ok(peers[2]));
        assert_eq!(names.find(&peers[2].short().to_uppercase()), Ok(peers[2]));
        assert!(matches!(names.find("carl"), Err(NameError::Nobody(_))));
        assert!(matches!(names.find(""), Err(NameError::Nobody(_))));
        let Err(NameError::Ambiguous { candidates, .. }) = names.find("an") else { panic!("an is clear") };
        assert_eq!(candidates.len(), 2);
    }

    #[test]
    fn names_that_mislead_carry_the_key() {
        let (names, peers) = names(&["Anna", "anna", "Me", "* x>\u{1b}", ""]);
        assert_eq!(names.shown(peers[0]), format!("Anna ({})", peers[0].short()));
        assert_eq!(names.shown(peers[1]), format!("anna ({})", peers[1].short()));
        assert_eq!(names.shown(peers[2]), format!("Me ({})", peers[2].short()));
        assert_eq!(names.shown(peers[3]), "x");
        assert_eq!(names.shown(peers[4]), peers[4].short());
        assert_eq!(names.shown(names.me), "me");
    }
}
