//! What two peers say to each other on the stream of the log (`docs/protocol.md` §7.2).

use common::messages;
use serde::{Deserialize, Serialize};

use super::id::{ConversationId, MessageId};
use super::ingest::Invalid;
use super::message::{MAX_SIGNED_LEN, MessageError};

/// Ids that one [`Ack`] or [`Want`] may hold, 34 bytes each.
pub const MAX_IDS: usize = 256;
/// The largest frame of this stream: the longest message and the names around it.
pub const MAX_FRAME_LEN: usize = MAX_SIGNED_LEN + 64;

/// A signed message, as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// The signed bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// The sender of this frame has committed these messages: it will have them after a power cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// At most [`MAX_IDS`].
    pub ids: Vec<MessageId>,
}

/// The sender of this frame lacks these parents of messages it has. Whoever holds them may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// At most [`MAX_IDS`].
    pub ids: Vec<MessageId>,
}

/// The sender of this frame will never take this message; sending it again is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// The message.
    pub id: MessageId,
    /// Why.
    pub reason: RefuseReason,
}

/// Why a message was refused. A number, so that newer reasons do not break older readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefuseReason(pub u8);

impl RefuseReason {
    /// The bytes are no message.
    pub const MALFORMED: Self = Self(1);
    /// The message has a format that this side does not read.
    pub const VERSION: Self = Self(2);
    /// The signature is not the author's.
    pub const SIGNATURE: Self = Self(3);
    /// The conversation is unknown, or author or bearer is no member.
    pub const NOT_MEMBER: Self = Self(4);
    /// The depth or the parents are wrong.
    pub const GRAPH: Self = Self(5);
    /// The author may not do this in the room.
    pub const NOT_ALLOWED: Self = Self(6);
    /// The author has said as much in the room as one member may.
    pub const TOO_MUCH: Self = Self(7);
}

impl From<&Invalid> for RefuseReason {
    fn from(invalid: &Invalid) -> Self {
        match invalid {
            Invalid::Malformed(MessageError::Version(_)) => Self::VERSION,
            Invalid::Malformed(MessageError::Signature) => Self::SIGNATURE,
            Invalid::Malformed(_) => Self::MALFORMED,
            Invalid::UnknownConversation | Invalid::BearerNotMember | Invalid::AuthorNotMember => {
                Self::NOT_MEMBER
            }
            Invalid::NotAllowed | Invalid::TooManyEvents => Self::NOT_ALLOWED,
            Invalid::TooMuch => Self::TOO_MUCH,
            Invalid::ForeignParent | Invalid::Depth { .. } => Self::GRAPH,
        }
    }
}

impl std::fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::MALFORMED => f.write_str("it is malformed"),
            Self::VERSION => f.write_str("the other side does not read this format"),
            Self::SIGNATURE => f.write_str("its signature is wrong"),
            Self::NOT_MEMBER => f.write_str("somebody is not a member of the conversation"),
            Self::NOT_ALLOWED => f.write_str("its author may not do this in the room"),
            Self::TOO_MUCH => f.write_str("its author has said as much in the room as one member may"),
            Self::GRAPH => f.write_str("its place in the conversation is wrong"),
            Self(code) => write!(f, "reason {code}"),
        }
    }
}

/// What the heads of a conversation come to: equal for two members who have the same messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeadsHash(#[serde(with = "serde_bytes")] [u8; 16]);

impl HeadsHash {
    /// The hash of these heads, in whatever order.
    #[must_use]
    pub fn of(mut heads: Vec<MessageId>) -> Self {
        heads.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for head in heads {
            hasher.update(head.as_bytes());
        }
        let mut hash = [0; 16];
        hasher.finalize_xof().fill(&mut hash);
        Self(hash)
    }
}

/// What conversations come to that the sender of this frame shares with the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// At most [`MAX_IDS`].
    pub conversations: Vec<(ConversationId, HeadsHash)>,
}

/// A [`Summary`] of one room that the sender named on this stream before, in a third of its bytes: in large rooms this is what
/// is said most. An array rather than a map for the same reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct News(
    /// Which room: how many others were named before it was.
    pub u16,
    /// What its heads come to.
    pub HeadsHash,
);

/// The sender of this frame has these messages of a conversation, with all that is above them, and wants what it
/// lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// The conversation.
    pub conversation: ConversationId,
    /// Heads and some others; at most [`MAX_IDS`]. Empty: it has nothing.
    pub ids: Vec<MessageId>,
}

/// The user has read these messages of the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// At most [`MAX_IDS`].
    pub ids: Vec<MessageId>,
}

/// The user is typing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typing {
    /// Where.
    pub conversation: ConversationId,
}

/// The sender of this frame has no room for more of a conversation now. It will ask with [`Have`] once it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    /// Which.
    pub conversation: ConversationId,
}

messages! {
    /// Between two peers, in both directions.
    pub enum LogFrame (max MAX_FRAME_LEN) {
        /// See [`Carry`].
        Message(Carry) = 1,
        /// See [`Ack`].
        Ack(Ack) = 2,
        /// See [`Want`].
        Want(Want) = 3,
        /// See [`Refuse`].
        Refuse(Refuse) = 4,
        /// See [`Summary`].
        Summary(Summary) = 5,
        /// See [`Have`].
        Have(Have) = 6,
        /// See [`Read`].
        Read(Read) = 7,
        /// See [`Typing`].
        Typing(Typing) = 8,
        /// See [`News`].
        News(News) = 9,
        /// See [`Later`].
        Later(Later) = 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::frame::{Message, take};

    #[test]
    fn largest_frames_fit() {
        let carry = LogFrame::from(Carry { bytes: vec![7; MAX_SIGNED_LEN] });
        let ack = LogFrame::from(Ack { ids: vec![MessageId::of(b"x"); MAX_IDS] });
        let have = LogFrame::from(Have {
            conversation: ConversationId::from_bytes([1; 32]),
            ids: vec![MessageId::of(b"x"); MAX_IDS],
        });
        let summary = (ConversationId::from_bytes([1; 32]), HeadsHash::of(Vec::new()));
        let summary = LogFrame::from(Summary { conversations: vec![summary; MAX_IDS] });
        for frame in [carry, ack, have, summary] {
            assert_eq!(take(&mut frame.to_bytes().into()).unwrap(), Some(frame));
        }
    }
}
