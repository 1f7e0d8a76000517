//! What a message says: its kind and its body (`docs/protocol.md` §7.1). There is exactly one encoding of each content.

use bytes::{BufMut, Bytes};
use common::identity::PeerId;

use super::id::MessageId;
use super::message::MessageError;
use super::reader::Reader;
use super::room::{Act, Role};

/// Longest text, in bytes of UTF-8.
pub const MAX_TEXT_LEN: usize = 16 * 1024;
/// Longest body of any kind, also of kinds that later versions add.
pub const MAX_BODY_LEN: usize = 32 * 1024;
/// People that one text may mention.
pub const MAX_MENTIONS: usize = 32;
/// Longest reaction, in bytes of UTF-8: enough for every emoji with its modifiers.
pub const MAX_REACTION_LEN: usize = 64;
/// Longest name of a room, in bytes of UTF-8.
pub const MAX_ROOM_NAME_LEN: usize = 128;
/// Longest topic of a room, in bytes of UTF-8.
pub const MAX_TOPIC_LEN: usize = 1024;

/// Kind bytes; numbers that are free are for later versions.
mod kind {
    pub(super) const TEXT: u8 = 1;
    pub(super) const EDIT: u8 = 2;
    pub(super) const DELETE: u8 = 3;
    pub(super) const REACT: u8 = 4;
    pub(super) const CREATE: u8 = 16;
    pub(super) const ADD: u8 = 17;
    pub(super) const REMOVE: u8 = 18;
    pub(super) const ACCEPT: u8 = 19;
    pub(super) const LEAVE: u8 = 20;
    pub(super) const ROLE: u8 = 21;
    pub(super) const TOPIC: u8 = 22;
    pub(super) const RENAME: u8 = 23;
}

/// A text with what it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// At most [`MAX_TEXT_LEN`] bytes.
    pub text: String,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// People it mentions, ascending; at most [`MAX_MENTIONS`].
    pub mentions: Vec<PeerId>,
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// Whether a reaction is set or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Set.
    Add,
    /// Taken back.
    Remove,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Plain text.
    Text(Text),
    /// The author's earlier message reads like this now.
    Edit {
        /// The earlier message.
        target: MessageId,
        /// At most [`MAX_TEXT_LEN`] bytes.
        text: String,
    },
    /// The author takes an earlier message back.
    Delete {
        /// The earlier message.
        target: MessageId,
    },
    /// A sign beside somebody's message.
    React {
        /// The message.
        target: MessageId,
        /// The sign, usually an emoji: 1 to [`MAX_REACTION_LEN`] bytes.
        sign: String,
        /// Whether it comes or goes.
        reaction: Reaction,
    },
    /// A change of a room.
    Room(Act),
    /// A kind that this version does not know: kept, passed on, and shown as such.
    Unknown {
        /// The kind byte.
        kind: u8,
        /// The body, at most [`MAX_BODY_LEN`] bytes.
        body: Bytes,
    },
}

impl Content {
    /// A text that refers to nothing.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Text::from(text.into()))
    }

    /// The words of a text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    /// The message that an edit, a deletion or a reaction changes.
    #[must_use]
    pub const fn target(&self) -> Option<MessageId> {
        match self {
            Self::Edit { target, .. } | Self::Delete { target } | Self::React { target, .. } => Some(*target),
            Self::Text(_) | Self::Room(_) | Self::Unknown { .. } => None,
        }
    }

    /// The kind byte.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Text(_) => kind::TEXT,
            Self::Edit { .. } => kind::EDIT,
            Self::Delete { .. } => kind::DELETE,
            Self::React { .. } => kind::REACT,
            Self::Room(Act::Create { .. }) => kind::CREATE,
            Self::Room(Act::Add(_)) => kind::ADD,
            Self::Room(Act::Remove(_)) => kind::REMOVE,
            Self::Room(Act::Accept) => kind::ACCEPT,
            Self::Room(Act::Leave) => kind::LEAVE,
            Self::Room(Act::Appoint(..)) => kind::ROLE,
            Self::Room(Act::Topic(_)) => kind::TOPIC,
            Self::Room(Act::Rename(_)) => kind::RENAME,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// The body as it is signed.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Text(text) => put_text(&mut out, text),
            Self::Edit { target, text } => {
                out.put_slice(target.as_bytes());
                out.put_slice(text.as_bytes());
            }
            Self::Delete { target } => out.put_slice(target.as_bytes()),
            Self::React { target, sign, reaction } => {
                out.put_slice(target.as_bytes());
                out.put_u8(u8::from(*reaction == Reaction::Add));
                out.put_slice(sign.as_bytes());
            }
            Self::Room(Act::Create { name } | Act::Rename(name)) => out.put_slice(name.as_bytes()),
            Self::Room(Act::Topic(topic)) => out.put_slice(topic.as_bytes()),
            Self::Room(Act::Add(peer) | Act::Remove(peer)) => out.put_slice(peer.as_bytes()),
            Self::Room(Act::Appoint(peer, role)) => {
                out.put_slice(peer.as_bytes());
                out.put_u8(u8::from(*role == Role::Owner));
            }
            Self::Room(Act::Accept | Act::Leave) => {}
            Self::Unknown { body, .. } => out.put_slice(body),
        }
        out
    }

    /// Reads the body of a message of this kind.
    ///
    /// # Errors
    /// [`MessageError`] if it is longer than its kind allows or is not what its kind asks for.
    pub fn parse(kind: u8, body: Bytes) -> Result<Self, MessageError> {
        if body.len() > MAX_BODY_LEN {
            return Err(MessageError::TooLong { len: body.len(), max: MAX_BODY_LEN });
        }
        let mut reader = Reader::new(body.clone());
        Ok(match kind {
            kind::TEXT => Self::Text(take_text(reader)?),
            kind::EDIT => Self::Edit {
                target: MessageId::from_bytes(reader.array()?),
                text: reader.text(MAX_TEXT_LEN)?,
            },
            kind::DELETE => {
                let target = MessageId::from_bytes(reader.array()?);
                reader.end()?;
                Self::Delete { target }
            }
            kind::REACT => {
                let target = MessageId::from_bytes(reader.array()?);
                let reaction = if flag(reader.u8()?)? { Reaction::Add } else { Reaction::Remove };
                Self::React { target, sign: some(reader.text(MAX_REACTION_LEN)?)?, reaction }
            }
            kind::CREATE..=kind::RENAME => Self::Room(take_act(kind, reader)?),
            _ => Self::Unknown { kind, body },
        })
    }
}

fn put_text(out: &mut Vec<u8>, text: &Text) {
    out.put_u8(u8::from(text.reply_to.is_some()));
    if let Some(target) = &text.reply_to {
        out.put_slice(target.as_bytes());
    }
    out.put_u8(u8::try_from(text.mentions.len()).unwrap_or(u8::MAX));
    for peer in &text.mentions {
        out.put_slice(peer.as_bytes());
    }
    out.put_slice(text.text.as_bytes());
}

fn take_text(mut reader: Reader) -> Result<Text, MessageError> {
    let reply_to = if flag(reader.u8()?)? { Some(MessageId::from_bytes(reader.array()?)) } else { None };
    let count = usize::from(reader.u8()?);
    if count > MAX_MENTIONS {
        return Err(MessageError::Body);
    }
    let mentions =
        (0..count).map(|_| reader.array().map(PeerId::from_bytes)).collect::<Result<Vec<_>, _>>()?;
    if !mentions.is_sorted_by(|a, b| a < b) {
        return Err(MessageError::Body);
    }
    Ok(Text { text: reader.text(MAX_TEXT_LEN)?, reply_to, mentions })
}

fn take_act(kind: u8, mut reader: Reader) -> Result<Act, MessageError> {
    match kind {
        kind::CREATE => return Ok(Act::Create { name: some(reader.text(MAX_ROOM_NAME_LEN)?)? }),
        kind::RENAME => return Ok(Act::Rename(some(reader.text(MAX_ROOM_NAME_LEN)?)?)),
        kind::TOPIC => return Ok(Act::Topic(reader.text(MAX_TOPIC_LEN)?)),
        _ => {}
    }
    let act = match kind {
        kind::ADD => Act::Add(PeerId::from_bytes(reader.array()?)),
        kind::REMOVE => Act::Remove(PeerId::from_bytes(reader.array()?)),
        kind::ACCEPT => Act::Accept,
        kind::LEAVE => Act::Leave,
        _ => {
            let peer = PeerId::from_bytes(reader.array()?);
            Act::Appoint(peer, if flag(reader.u8()?)? { Role::Owner } else { Role::Member })
        }
    };
    reader.end()?;
    Ok(act)
}

const fn flag(byte: u8) -> Result<bool, MessageError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(MessageError::Body),
    }
}

fn some(text: String) -> Result<String, MessageError> {
    if text.is_empty() { Err(MessageError::Body) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
