//! The buffers, and which one is open.

use std::collections::BTreeMap;

use super::super::buffer::Buffer;
use crate::log::ConversationId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Panes {
    buffers: BTreeMap<ConversationId, Buffer>,
    /// What this program says.
    pub(super) notes: Buffer,
    active: Option<ConversationId>,
}

impl Panes {
    pub(super) const fn active(&self) -> Option<ConversationId> {
        self.active
    }

    pub(super) fn get(&self, id: ConversationId) -> Option<&Buffer> {
        self.buffers.get(&id)
    }

    /// The buffer of a conversation, made if there is none.
    pub(super) fn get_mut(&mut self, id: ConversationId) -> &mut Buffer {
        self.buffers.entry(id).or_default()
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Buffer> {
        self.buffers.values_mut()
    }

    pub(super) fn current(&self) -> &Buffer {
        self.active.and_then(|id| self.buffers.get(&id)).unwrap_or(&self.notes)
    }

    pub(super) fn current_mut(&mut self) -> &mut Buffer {
        match self.active {
            Some(id) => self.buffers.entry(id).or_default(),
            None => &mut self.notes,
        }
    }

    /// Opens another one: keeps what was being written in the one before, returns what was being written there.
    pub(super) fn open(&mut self, id: Option<ConversationId>, draft: String) -> String {
        let before = self.current_mut();
        before.draft = draft;
        before.selected = None;
        before.forget_unread_if_seen();
        self.active = id;
        std::mem::take(&mut self.current_mut().draft)
    }
}
