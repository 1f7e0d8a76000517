//! Who is writing. Pure.

use std::collections::BTreeMap;

use common::identity::PeerId;

use crate::log::ConversationId;

/// How long a sign that somebody writes holds.
const HOLDS_MS: u64 = 6_000;
/// How often others are told that this user writes: often enough that one lost sign is not seen.
const TELL_MS: u64 = 2_500;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Typing {
    /// Until when others count as writing.
    others: BTreeMap<(ConversationId, PeerId), u64>,
    /// Where and when others were told last.
    told: Option<(ConversationId, u64)>,
}

impl Typing {
    /// Somebody writes.
    pub(super) fn note(&mut self, conversation: ConversationId, peer: PeerId, now_ms: u64) {
        self.others.insert((conversation, peer), now_ms + HOLDS_MS);
    }

    /// Somebody has said what they wrote.
    pub(super) fn end(&mut self, conversation: ConversationId, peer: PeerId) {
        self.others.remove(&(conversation, peer));
    }

    /// Who is writing in a conversation.
    pub(super) fn who(&self, conversation: ConversationId) -> impl Iterator<Item = PeerId> {
        self.others.keys().filter(move |(there, _)| *there == conversation).map(|(_, peer)| *peer)
    }

    /// This user writes; returns whether others are to be told now.
    pub(super) fn is_to_be_told(&mut self, conversation: ConversationId, now_ms: u64) -> bool {
        let is_known = self.told.is_some_and(|(there, at)| there == conversation && now_ms < at + TELL_MS);
        if !is_known {
            self.told = Some((conversation, now_ms));
        }
        !is_known
    }

    /// This user has said what they wrote.
    pub(super) const fn own_end(&mut self) {
        self.told = None;
    }

    /// When [`Typing::handle_timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.others.values().min().copied()
    }

    /// Returns whether anybody has stopped.
    pub(super) fn handle_timeout(&mut self, now_ms: u64) -> bool {
        let before = self.others.len();
        self.others.retain(|_, until| *until > now_ms);
        self.others.len() < before
    }
}
