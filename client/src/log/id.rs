//! The names of conversations and messages.

use std::fmt;
use std::str::FromStr;

use common::identity::PeerId;
use serde::{Deserialize, Serialize};

/// Context of the key derivation that names a direct conversation.
const DIRECT_CONTEXT: &str = "hobnob 2025 direct conversation v1";

/// Context of the key derivation that names a room.
const ROOM_CONTEXT: &str = "hobnob 2026 room v1";

/// Names a conversation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationId(#[serde(with = "serde_bytes")] [u8; 32]);

/// Names a message: the BLAKE3 hash of its signed bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(#[serde(with = "serde_bytes")] [u8; 32]);

impl ConversationId {
    /// The direct conversation of two people: the same for both, whoever asks.
    #[must_use]
    pub fn direct(a: PeerId, b: PeerId) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let pair = [low.as_bytes().as_slice(), high.as_bytes()].concat();
        Self(blake3::derive_key(DIRECT_CONTEXT, &pair))
    }

    /// The room that this creation makes: nobody else can make another of the same id.
    #[must_use]
    pub fn room(creator: PeerId, label_ms: u64, nonce: u64, name: &str) -> Self {
        let fields: [&[u8]; 4] =
            [creator.as_bytes(), &label_ms.to_be_bytes(), &nonce.to_be_bytes(), name.as_bytes()];
        Self(blake3::derive_key(ROOM_CONTEXT, &fields.concat()))
    }
}

impl MessageId {
    /// The name of the message with these signed bytes, whether or not they are a valid message.
    #[must_use]
    pub fn of(signed: &[u8]) -> Self {
        Self(blake3::hash(signed).into())
    }
}

/// A text that is no name of a conversation or message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name of a conversation or message is 64 hexadecimal digits")]
pub struct ParseIdError;

/// What both kinds of name have in common.
macro_rules! name {
    ($name:ident) => {
        impl $name {
            /// Takes 32 bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &blake3::Hash::from_bytes(self.0).to_hex()[..8])
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                blake3::Hash::from_hex(text).map(|hash| Self(hash.into())).map_err(|_| ParseIdError)
            }
        }
    };
}

name!(ConversationId);
name!(MessageId);

#[cfg(test)]
mod tests {
    use super::*;
    use common::identity::Identity;

    #[test]
    fn both_sides_name_a_direct_conversation_alike() {
        let [a, b, c] = [1, 2, 3].map(|seed| Identity::from_seed([seed; 32]).peer_id());
        assert_eq!(ConversationId::direct(a, b), ConversationId::direct(b, a));
        assert_ne!(ConversationId::direct(a, b), ConversationId::direct(a, c));
    }

    #[test]
    fn text_comes_back() {
        let id = MessageId::of(b"x");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("".parse::<MessageId>(), Err(ParseIdError));
        assert_eq!("zz".parse::<ConversationId>(), Err(ParseIdError));
    }
}
