//! What lies over the rest of the screen: help, an answer, the jump and the search. Pure.

use super::model::Row;
use crate::log::{ConversationId, DisplayOrder};

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) conversation: ConversationId,
    pub(super) title: String,
    pub(super) row: Row,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Overlay {
    /// Text to read, from line `top` on.
    Text { title: String, lines: Vec<String>, top: usize },
    /// What there is to read, and a QR code of `text` below it.
    Qr { title: String, notes: Vec<String>, text: String },
    /// The best conversations for what is typed.
    Jump { typed: String, ranked: Vec<usize>, chosen: usize },
    /// Messages in which the words were found; `note` says why there are none.
    Search { typed: String, found: Vec<Found>, has_more: bool, chosen: usize, note: String },
}

/// What is done with the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    /// This place in the list of conversations.
    Entry(usize),
    Message(ConversationId, DisplayOrder),
}

impl Overlay {
    /// A search for what is typed, before anything was found.
    pub(super) const fn search(typed: String) -> Self {
        Self::Search { typed, found: Vec::new(), has_more: false, chosen: 0, note: String::new() }
    }

    /// Moves the choice, or the text by `page` lines.
    pub(super) fn step(&mut self, is_up: bool, by: usize) {
        let (place, count) = match self {
            Self::Qr { .. } => return,
            Self::Text { lines, top, .. } => (top, lines.len()),
            Self::Jump { ranked, chosen, .. } => (chosen, ranked.len()),
            Self::Search { found, chosen, .. } => (chosen, found.len()),
        };
        let last = count.saturating_sub(1);
        *place = if is_up { place.saturating_sub(by) } else { (*place + by).min(last) };
    }

    /// The last of what was found is chosen, and there is more.
    pub(super) fn wants_more(&self) -> bool {
        matches!(self, Self::Search { found, has_more: true, chosen, .. } if chosen + 1 == found.len())
    }

    /// What is typed into it.
    pub(super) const fn typed_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Text { .. } | Self::Qr { .. } => None,
            Self::Jump { typed, .. } | Self::Search { typed, .. } => Some(typed),
        }
    }

    /// What is chosen now.
    pub(super) fn chosen(&self) -> Option<Chosen> {
        match self {
            Self::Text { .. } | Self::Qr { .. } => None,
            Self::Jump { ranked, chosen, .. } => ranked.get(*chosen).map(|at| Chosen::Entry(*at)),
            Self::Search { found, chosen, .. } => {
                found.get(*chosen).map(|found| Chosen::Message(found.conversation, found.row.order))
            }
        }
    }
}
