//! Whose turn it is to be asked, as one stream sees it: it asks if nobody else is being asked, and waits otherwise
//! (`docs/protocol.md` §7.4). Claims end by time, so that no waiting lasts when somebody falls silent.

use std::collections::BTreeSet;

use common::identity::PeerId;

use crate::log::ConversationId;
use crate::store::Store;

/// See the module. What it holds is given free when it is dropped.
#[derive(Debug)]
pub(super) struct Turns {
    store: Store,
    peer: PeerId,
    held: BTreeSet<ConversationId>,
    waiting: BTreeSet<ConversationId>,
    /// How much had come from the peer when it was looked last.
    taken: u64,
}

impl Turns {
    pub(super) fn new(store: Store, peer: PeerId) -> Self {
        Self { store, peer, held: BTreeSet::new(), waiting: BTreeSet::new(), taken: 0 }
    }

    /// Whether the peer may be asked about a conversation now; if not it is among [`Turns::tick`]'s later.
    pub(super) fn take(&mut self, conversation: ConversationId) -> bool {
        let may = self.store.claim_asking(conversation, self.peer);
        let set = if may { &mut self.held } else { &mut self.waiting };
        set.insert(conversation);
        may
    }

    /// Whether [`Turns::tick`] is to be called after a while.
    pub(super) fn is_busy(&self) -> bool {
        !self.held.is_empty() || !self.waiting.is_empty()
    }

    /// Some time has passed, and `taken` messages have come from the peer so far: without new ones its turns end. Returns
    /// what waited.
    pub(super) fn tick(&mut self, taken: u64) -> BTreeSet<ConversationId> {
        if self.taken == taken {
            self.give_back();
        }
        self.taken = taken;
        std::mem::take(&mut self.waiting)
    }

    fn give_back(&mut self) {
        for conversation in std::mem::take(&mut self.held) {
            self.store.release_asking(conversation, self.peer);
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.give_back();
    }
}
