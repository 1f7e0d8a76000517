//! A message: what it says, how it is written down as bytes, and its author's signature.
//!
//! ```text
//! version 1 | conversation 32 | author 32 | depth 8 | label 8 | nonce 8
//! | parents: count 1, 32 each, ascending | kind 1 | body: length 4, bytes | signature 64
//! ```
//!
//! Numbers are big-endian. There is exactly one encoding of a message (`docs/protocol.md` §7.1), and its id is the
//! BLAKE3 hash of all these bytes.

use bytes::{BufMut, Bytes, BytesMut};
use common::identity::{Identity, PeerId, SIGNATURE_LEN, Signed, verify_each};

use super::content::{Content, MAX_BODY_LEN};
use super::id::{ConversationId, MessageId};
use super::reader::Reader;
use super::room::Act;

/// First byte of every message of this format.
pub const VERSION: u8 = 1;
/// Parents that one message may name. Honest members of a direct conversation never need more than two.
pub const MAX_PARENTS: usize = 16;
/// The greatest depth: far above what a conversation reaches, and safe in every signed 64-bit integer and `f64`.
pub const MAX_DEPTH: u64 = 1 << 48;
/// The greatest time label: about 8,900 years, and safe like [`MAX_DEPTH`].
pub const MAX_LABEL_MS: u64 = 1 << 48;

/// Bytes of a message besides parents and body.
const FIXED_LEN: usize = 1 + 32 + 32 + 8 + 8 + 8 + 1 + 1 + 4 + SIGNATURE_LEN;
/// Longest signed message in bytes.
pub const MAX_SIGNED_LEN: usize = FIXED_LEN + MAX_PARENTS * 32 + MAX_BODY_LEN;
/// What is signed is this and then the bytes before the signature, so that no other use of the key can be taken
/// for a message.
const SIGN_CONTEXT: &[u8] = b"hobnob message v1\0";

/// Where a message stands in everybody's view of a conversation: by depth, then label, then id. Total, and the same
/// for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DisplayOrder {
    /// One more than the depth of the deepest parent.
    pub depth: u64,
    /// The author's wall clock.
    pub label_ms: u64,
    /// The message.
    pub id: MessageId,
}

/// A message that no other message names as a parent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The message.
    pub id: MessageId,
    /// Its depth.
    pub depth: u64,
    /// Who wrote it.
    pub author: PeerId,
}

/// A message without its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Who wrote it.
    pub author: PeerId,
    /// The heads that the author had, ascending.
    pub parents: Vec<MessageId>,
    /// One more than the depth of the deepest parent; 1 without parents.
    pub depth: u64,
    /// The author's wall clock, as Unix time in milliseconds: a label, never a reason for anything.
    pub label_ms: u64,
    /// Random: tells apart equal texts on equal parents.
    pub nonce: u64,
    /// What it says.
    pub content: Content,
}

/// Why bytes are no message, or a message cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Another format, made by a newer version.
    #[error("the message has format {0}; this version reads format {VERSION}")]
    Version(u8),
    /// The bytes end early or go on after the end.
    #[error("the message is cut off or has bytes after its end")]
    Length,
    /// The body is longer than its kind allows.
    #[error("the message has {len} bytes; at most {max} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// A text that is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// A body that is not what its kind asks for.
    #[error("the body is not what its kind asks for")]
    Body,
    /// A creation that has parents, or whose room is called otherwise.
    #[error("the creation is not that of this room")]
    Creation,
    /// Too many parents, or not in strictly ascending order.
    #[error("the parents are too many or not in order")]
    Parents,
    /// A depth that cannot be right whatever the parents are.
    #[error("the depth {0} cannot be right")]
    Depth(u64),
    /// A time label beyond [`MAX_LABEL_MS`].
    #[error("the time label {0} is out of range")]
    Label(u64),
    /// The author did not sign this.
    #[error("the signature is not the author's")]
    Signature,
}

impl Message {
    /// Writes and signs a message on top of `heads`.
    ///
    /// With more than [`MAX_PARENTS`] heads it names its author's own first and then the deepest; the others stay
    /// heads.
    ///
    /// # Errors
    /// [`MessageError`] if the content or the label is out of bounds.
    pub fn compose(
        identity: &Identity,
        conversation: ConversationId,
        heads: &[Head],
        content: Content,
        label_ms: u64,
        nonce: u64,
    ) -> Result<SignedMessage, MessageError> {
        let author = identity.peer_id();
        let mut heads = heads.to_vec();
        heads.sort_by_key(|head| (head.author != author, std::cmp::Reverse(head.depth), head.id));
        heads.truncate(MAX_PARENTS);
        let depth = 1 + heads.iter().map(|head| head.depth).max().unwrap_or(0);
        let mut parents: Vec<_> = heads.into_iter().map(|head| head.id).collect();
        parents.sort_unstable();
        Self { conversation, author, parents, depth, label_ms, nonce, content }.sign(identity)
    }

    /// Signs the message as it is, after the checks that every reader makes.
    fn sign(self, identity: &Identity) -> Result<SignedMessage, MessageError> {
        let mut bytes = self.encode();
        let signature = identity.sign(&signed_part(&bytes));
        bytes.put_slice(&signature);
        SignedMessage::parse(bytes.freeze())
    }

    fn encode(&self) -> BytesMut {
        let body = self.content.body();
        let mut out = BytesMut::with_capacity(FIXED_LEN + self.parents.len() * 32 + body.len());
        out.put_u8(VERSION);
        out.put_slice(self.conversation.as_bytes());
        out.put_slice(self.author.as_bytes());
        out.put_u64(self.depth);
        out.put_u64(self.label_ms);
        out.put_u64(self.nonce);
        out.put_u8(u8::try_from(self.parents.len()).unwrap_or(u8::MAX));
        for parent in &self.parents {
            out.put_slice(parent.as_bytes());
        }
        out.put_u8(self.content.kind());
        out.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        out.put_slice(&body);
        out
    }

    /// The checks that need neither parents nor keys.
    fn check(self) -> Result<Self, MessageError> {
        if self.parents.len() > MAX_PARENTS || !self.parents.is_sorted_by(|a, b| a < b) {
            return Err(MessageError::Parents);
        }
        let has_parents = !self.parents.is_empty();
        if self.depth == 0 || self.depth > MAX_DEPTH || has_parents != (self.depth > 1) {
            return Err(MessageError::Depth(self.depth));
        }
        if self.label_ms > MAX_LABEL_MS {
            return Err(MessageError::Label(self.label_ms));
        }
        if let Content::Room(Act::Create { name }) = &self.content {
            let room = ConversationId::room(self.author, self.label_ms, self.nonce, name);
            if has_parents || self.conversation != room {
                return Err(MessageError::Creation);
            }
        }
        Ok(self)
    }
}

/// A message with its author's signature, its bytes and its id. Whoever holds one from [`SignedMessage::decode`]
/// knows that the signature is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMessage {
    id: MessageId,
    message: Message,
    bytes: Bytes,
}

impl SignedMessage {
    /// Reads a message from somewhere else: checks every bound and the signature.
    ///
    /// # Errors
    /// [`MessageError`] for the first thing that is wrong.
    pub fn decode(bytes: Bytes) -> Result<Self, MessageError> {
        let message = Self::parse(bytes)?;
        let (signed, signature) = message.signed();
        if message.author().verify(&signed, signature) { Ok(message) } else { Err(MessageError::Signature) }
    }

    /// Reads messages as [`SignedMessage::decode`] does, for a third of the time; the outcomes are in the same order.
    #[must_use]
    pub fn decode_each(all: Vec<Bytes>) -> Vec<Result<Self, MessageError>> {
        let parsed: Vec<_> = all.into_iter().map(Self::parse).collect();
        let sound = || parsed.iter().flatten();
        let parts: Vec<_> = sound().map(Self::signed).collect();
        let signed = sound().zip(&parts).map(|(message, (signed, signature))| Signed {
            by: message.author(),
            message: signed,
            signature,
        });
        let mut verdicts = verify_each(&signed.collect::<Vec<_>>()).into_iter();
        let mut verified =
            |message| if verdicts.next() == Some(true) { Ok(message) } else { Err(MessageError::Signature) };
        parsed.into_iter().map(|message| message.and_then(&mut verified)).collect()
    }

    /// What the author signed, and the signature.
    fn signed(&self) -> (Vec<u8>, &[u8; SIGNATURE_LEN]) {
        let (unsigned, signature) =
            self.bytes.split_last_chunk().expect("what was parsed ends with a signature");
        (signed_part(unsigned), signature)
    }

    /// Reads a message whose signature was checked when it came in.
    ///
    /// # Errors
    /// [`MessageError`] for the first bound that does not hold.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self, MessageError> {
        if bytes.len() > MAX_SIGNED_LEN {
            return Err(MessageError::TooLong { len: bytes.len(), max: MAX_SIGNED_LEN });
        }
        let mut reader = Reader::new(bytes.clone());
        let version = reader.u8()?;
        if version != VERSION {
            return Err(MessageError::Version(version));
        }
        let conversation = ConversationId::from_bytes(reader.array()?);
        let author = PeerId::from_bytes(reader.array()?);
        let [depth, label_ms, nonce] = [reader.u64()?, reader.u64()?, reader.u64()?];
        let count = usize::from(reader.u8()?);
        if count > MAX_PARENTS {
            return Err(MessageError::Parents);
        }
        let parents =
            (0..count).map(|_| reader.array().map(MessageId::from_bytes)).collect::<Result<_, _>>()?;
        let kind = reader.u8()?;
        let len = u32::from_be_bytes(reader.array()?);
        let body = reader.take(usize::try_from(len).map_err(|_| MessageError::Length)?)?;
        reader.take(SIGNATURE_LEN)?;
        reader.end()?;
        let content = Content::parse(kind, body)?;
        let message = Message { conversation, author, parents, depth, label_ms, nonce, content }.check()?;
        Ok(Self { id: MessageId::of(&bytes), message, bytes })
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        self.id
    }

    /// What was signed.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// Who wrote it.
    #[must_use]
    pub const fn author(&self) -> PeerId {
        self.message.author
    }

    /// The signed bytes, as they travel and are kept.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where it stands in the conversation.
    #[must_use]
    pub const fn order(&self) -> DisplayOrder {
        DisplayOrder { depth: self.message.depth, label_ms: self.message.label_ms, id: self.id }
    }

    /// What it says.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.message.content
    }

    /// The content, without the rest.
    #[must_use]
    pub fn into_content(self) -> Content {
        self.message.content
    }
}

fn signed_part(unsigned: &[u8]) -> Vec<u8> {
    [SIGN_CONTEXT, unsigned].concat()
}

#[cfg(test)]
mod tests;
