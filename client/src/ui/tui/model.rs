//! What the screen shows, apart from where: conversations, people, messages. All text here is safe to show.

use std::collections::BTreeMap;

use common::identity::PeerId;

use crate::log::{ConversationId, DisplayOrder, MessageId};
use crate::ui::plain::Place;

/// How near somebody is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    #[default]
    Offline,
    /// The server says that they are there.
    Online,
    /// Connected with us.
    Connected,
}

/// Somebody in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) peer: PeerId,
    pub(super) name: String,
    pub(super) presence: Presence,
    /// A role that is worth showing.
    pub(super) role: &'static str,
    /// How they are reached, such as `direct over UDP, 12 ms`; empty if they are not.
    pub(super) link: String,
}

/// A line of the list of conversations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: ConversationId,
    pub(super) title: String,
    /// The other one of a direct conversation.
    pub(super) peer: Option<PeerId>,
    pub(super) topic: String,
    /// Everybody but this user.
    pub(super) members: Vec<Member>,
    pub(super) is_muted: bool,
    /// How the conversation stands, such as `Anna: direct over UDP, 12 ms`.
    pub(super) status: String,
}

impl Entry {
    /// Where one talks here.
    pub(super) fn place(&self) -> Place {
        self.peer.map_or(Place::Room(self.id), Place::Person)
    }

    /// How near the nearest member is.
    pub(super) fn presence(&self) -> Presence {
        self.members.iter().map(|member| member.presence).max().unwrap_or_default()
    }
}

/// How far an own message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    Refused,
    Pending,
    Sent,
    Delivered,
    Read,
}

/// People who reacted in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reaction {
    pub(super) text: String,
    pub(super) count: usize,
    /// This user is among them.
    pub(super) is_own: bool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) order: DisplayOrder,
    pub(super) author: PeerId,
    pub(super) is_own: bool,
    /// Its author is blocked.
    pub(super) is_blocked: bool,
    /// When it was written, by its author's clock.
    pub(super) at_ms: u64,
    pub(super) body: String,
    /// The message that it answers.
    pub(super) reply: Option<MessageId>,
    pub(super) is_edited: bool,
    pub(super) is_deleted: bool,
    pub(super) mentions_me: bool,
    pub(super) reactions: Vec<Reaction>,
    /// How far it got towards each recipient, if this user wrote it.
    pub(super) marks: BTreeMap<PeerId, Mark>,
}

/// What stands in the pane of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Message(Box<Row>),
    /// Something that this program says.
    Note {
        at_ms: u64,
        text: String,
        is_error: bool,
    },
}

impl Item {
    pub(super) const fn message(&self) -> Option<&Row> {
        match self {
            Self::Message(row) => Some(row),
            Self::Note { .. } => None,
        }
    }

    pub(super) const fn at_ms(&self) -> u64 {
        match self {
            Self::Message(row) => row.at_ms,
            Self::Note { at_ms, .. } => *at_ms,
        }
    }
}
