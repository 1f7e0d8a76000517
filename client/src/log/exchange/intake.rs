//! What is said to the peer about messages that it handed over, once they are committed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAX_UNKNOWN, Note};
use crate::log::ingest::{Invalid, Outcome};
use crate::log::wire::{MAX_IDS, RefuseReason};
use crate::log::{ConversationId, MessageId};
use crate::store::Ingested;

/// What was asked for on one stream.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(super) struct Intake {
    /// What was asked for and has not come.
    asked: BTreeSet<MessageId>,
    /// Conversations that are not known here and were asked for.
    unknown: BTreeSet<ConversationId>,
}

impl Intake {
    /// Asks for what is missing, each message once a stream.
    pub(super) fn ask(&mut self, missing: Vec<MessageId>) -> Vec<Note> {
        let new: Vec<_> = missing.into_iter().filter(|&id| self.asked.insert(id)).collect();
        new.chunks(MAX_IDS).map(|ids| Note::Want(ids.to_vec())).collect()
    }

    /// What follows from messages that were committed, in the order in which it is to be said.
    pub(super) fn judge(&mut self, results: &[Ingested]) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut committed = Vec::new();
        let mut postponed = BTreeMap::new();
        for result in results {
            let was_asked_for = self.asked.remove(&result.id);
            match &result.outcome {
                Outcome::Delivered | Outcome::Duplicate => committed.push(result.id),
                Outcome::Waiting { missing } => {
                    committed.push(result.id);
                    match result.conversation {
                        // The gap is deeper than one message.
                        Some(conversation) if was_asked_for => notes.push(Note::Compare(conversation)),
                        _ => notes.extend(self.ask(missing.clone())),
                    }
                }
                // A room that this user was invited to just now, most likely: it is asked for once, as a whole.
                Outcome::Invalid(Invalid::UnknownConversation) => {
                    if let Some(conversation) = result.conversation
                        && self.unknown.len() < MAX_UNKNOWN
                        && self.unknown.insert(conversation)
                    {
                        notes.push(Note::Compare(conversation));
                    }
                }
                Outcome::Invalid(invalid) => {
                    notes.push(Note::Refuse(result.id, RefuseReason::from(invalid)));
                }
                Outcome::Postponed(quota) => {
                    postponed.extend(result.conversation.map(|conversation| (conversation, *quota)));
                }
                Outcome::NoRoom => {}
            }
        }
        notes.extend(postponed.into_iter().map(|(conversation, quota)| Note::Postpone(conversation, quota)));
        notes.extend(committed.chunks(MAX_IDS).map(|ids| Note::Ack(ids.to_vec())));
        notes
    }
}
