//! The conversation log: signed messages that name their parents, the rule that takes them in, and the stream on
//! which two peers exchange them (`docs/protocol.md` §7).
//!
//! Everything here but [`exchange`] is pure: no clock, no randomness, no file. What is kept, and where, is the
//! business of [`crate::store`], which drives [`ingest`] inside its transactions.

pub mod content;
pub(crate) mod difference;
pub mod exchange;
pub mod id;
pub mod ingest;
pub(crate) mod mesh;
pub mod message;
mod reader;
pub mod room;
pub mod wire;

pub use content::{Content, MAX_TEXT_LEN, Reaction, Text};
pub use id::{ConversationId, MessageId};
pub use message::{DisplayOrder, Head, Message, MessageError, SignedMessage};
pub use room::{Act, Role, Room, Standing};
