//! How a message is read: what it says and what became of it since, the same in lines and pages; screens, which show the parts
//! apart, take their words from here. Pure; what comes out is safe to show.

use common::identity::PeerId;
use common::text::{lines, one_line};

use crate::log::{Act, Content, MessageId, Role};
use crate::store::MessageRow;

/// What stands in the place of a text that its author took back.
pub(crate) const TAKEN_BACK: &str = "[taken back]";
/// Characters of a reaction.
const MAX_SIGN: usize = 16;
/// Digits of an id that name a message or a room.
const ID_LEN: usize = 8;
/// Characters of a room's name and topic.
const MAX_VALUE: usize = 200;

/// A message with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A text.
    Text {
        /// What it answers.
        reply_to: Option<MessageId>,
        /// What it says, with the author's edits.
        text: String,
        /// It was edited.
        is_edited: bool,
        /// Reactions to it, and how many people have each.
        reactions: Vec<(String, usize)>,
    },
    /// Its author took it back.
    TakenBack,
    /// Something in a room.
    Room(Act),
    /// It changes another message, which shows that.
    Change,
    /// Of a kind that this version does not know.
    Unknown(u8),
}

impl Reading {
    /// How `row` is read.
    #[must_use]
    pub fn of(row: &MessageRow) -> Self {
        match &row.content {
            content if content.target().is_some() => Self::Change,
            _ if row.marks.deleted => Self::TakenBack,
            Content::Text(text) => Self::Text {
                reply_to: text.reply_to,
                text: text.text.clone(),
                is_edited: row.marks.edited,
                reactions: row.marks.reactions.iter().map(|(sign, by)| (sign.clone(), by.len())).collect(),
            },
            Content::Room(act) => Self::Room(act.clone()),
            other => Self::Unknown(other.kind()),
        }
    }

    /// The message in words, of one or several lines. `name` says what somebody is called, clean enough to show.
    #[must_use]
    pub fn words(&self, name: impl Fn(PeerId) -> String) -> String {
        match self {
            Self::Text { reply_to, text, is_edited, reactions } => {
                let mut words =
                    reply_to.as_ref().map_or_else(String::new, |id| format!("[re {}] ", short(id)));
                words += &lines(text);
                if *is_edited {
                    words += " (edited)";
                }
                for (text, count) in reactions {
                    words += &format!(" [{} {count}]", sign(text));
                }
                words
            }
            Self::TakenBack => TAKEN_BACK.to_owned(),
            Self::Room(act) => act_words(act, name),
            Self::Change => "[a change of another message]".to_owned(),
            Self::Unknown(kind) => unknown(*kind),
        }
    }
}

/// What stands in the place of a kind that this version does not know.
pub(crate) fn unknown(kind: u8) -> String {
    format!("[a message of kind {kind}, which this version cannot show]")
}

/// A reaction, clean enough to show.
pub(crate) fn sign(text: &str) -> String {
    one_line(text, MAX_SIGN)
}

/// The beginning of an id: enough to name a message or a room.
pub(crate) fn short(id: &impl ToString) -> String {
    id.to_string().chars().take(ID_LEN).collect()
}

/// What has happened in a room, in words. `name` says what somebody is called, clean enough to show.
pub(crate) fn act_words(act: &Act, name: impl Fn(PeerId) -> String) -> String {
    let safe = |value: &str| one_line(value, MAX_VALUE);
    match act {
        Act::Create { name } => format!("[made the room {}]", safe(name)),
        Act::Add(peer) => format!("[invited {}]", name(*peer)),
        Act::Remove(peer) => format!("[removed {}]", name(*peer)),
        Act::Accept => "[joined]".to_owned(),
        Act::Leave => "[left]".to_owned(),
        Act::Appoint(peer, Role::Owner) => format!("[made {} an owner]", name(*peer)),
        Act::Appoint(peer, Role::Member) => format!("[made {} a member]", name(*peer)),
        Act::Topic(topic) if topic.is_empty() => "[cleared the topic]".to_owned(),
        Act::Topic(topic) => format!("[set the topic: {}]", safe(topic)),
        Act::Rename(name) => format!("[renamed the room to {}]", safe(name)),
    }
}
