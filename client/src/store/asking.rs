//! Of whom this client asks what it lacks of a conversation: of one member at a time, or all who tell of the same news
//! would send it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::identity::PeerId;

use super::Store;
use crate::log::ConversationId;

/// See the module. As many entries as there are streams at most, times the conversations that are compared on one.
#[derive(Debug, Default)]
pub(super) struct Asking {
    asked: Mutex<BTreeMap<ConversationId, PeerId>>,
}

impl Asking {
    fn asked(&self) -> MutexGuard<'_, BTreeMap<ConversationId, PeerId>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Claims that `peer` is the one who is asked; `false` if another one is.
    pub(crate) fn claim_asking(&self, conversation: ConversationId, peer: PeerId) -> bool {
        *self.inner.asking.asked().entry(conversation).or_insert(peer) == peer
    }

    /// `peer` has nothing more to say.
    pub(crate) fn release_asking(&self, conversation: ConversationId, peer: PeerId) {
        let mut asked = self.inner.asking.asked();
        if asked.get(&conversation) == Some(&peer) {
            asked.remove(&conversation);
        }
    }
}
