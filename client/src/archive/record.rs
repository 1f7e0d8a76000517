//! What lies in an export: one JSON object a line.
//!
//! A file begins with [`Record::Start`] and ends with [`Record::End`] and [`Record::Seal`]; each conversation stands before its messages, which
//! come in the order that everybody sees, so that parents stand before their children. The same messages make the same
//! bytes, wherever they are exported.

use common::identity::PeerId;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::log::Content;
use crate::reading::Reading;
use crate::store::{Archived, Contact as Known, Conversation as Stored};

/// The version of the format.
pub const VERSION: u32 = 1;

/// A line of an export. Keys and ids are texts as they are shown elsewhere, or what an anonymised export has in their
/// place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// The first line.
    Start(Start),
    /// Somebody whom the owner knows. Nothing of this is signed.
    Contact(Contact),
    /// A conversation, whose messages follow.
    Conversation(Conversation),
    /// A message.
    Message(Box<Message>),
    /// All messages have been.
    End {
        /// Messages in the file.
        messages: u64,
    },
    /// The last line.
    Seal {
        /// The owner's signature over everything before, in base64; see [`super::seal`].
        signature: String,
    },
}

/// Whose export it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// [`VERSION`].
    pub hobnob_export: u32,
    /// The key of who exported it.
    pub owner: String,
    /// Nothing in it can be verified or imported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymised: bool,
}

/// See [`Record::Contact`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Their key.
    pub peer: String,
    /// The name they go by.
    pub given_name: String,
    /// The owner's name for them; may be empty.
    pub own_name: String,
    /// When they were met, in Unix time in milliseconds; so with all times here.
    pub first_met_ms: u64,
    /// When they were connected last.
    pub last_seen_ms: u64,
}

/// See [`Record::Conversation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// The members' keys, ascending.
    pub members: Vec<String>,
}

/// See [`Record::Message`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The conversation's id.
    pub conversation: String,
    /// The message's id: the BLAKE3 hash of the signed bytes.
    pub id: String,
    /// The author's key.
    pub from: String,
    /// The author's clock.
    pub sent_ms: u64,
    /// When it got to the owner: not signed.
    pub received_ms: u64,
    /// What it says; `null` for a kind that has no text.
    pub text: Option<String>,
    /// How far it got, if the owner wrote it: not signed.
    pub states: Vec<Reached>,
    /// The signed bytes (`docs/protocol.md` §7.1) in base64; `null` in an anonymised export.
    pub signed: Option<String>,
    /// How people read it now: in the formats for them, and not in the file with signatures, so that it is not known of
    /// one that comes out of such a file.
    #[serde(skip)]
    pub now: Option<Reading>,
}

/// How far a message got towards a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Whose key.
    pub peer: String,
    /// A word of [`crate::store::State`].
    pub state: String,
}

impl Record {
    /// The first line of an export by `owner`.
    #[must_use]
    pub fn start(owner: PeerId) -> Self {
        Self::Start(Start { hobnob_export: VERSION, owner: owner.to_string(), anonymised: false })
    }

    /// The record as a line with its line break.
    ///
    /// # Panics
    /// Never: strings, numbers and lists always become JSON.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and lists always become JSON") + "\n"
    }
}

impl From<Known> for Record {
    fn from(contact: Known) -> Self {
        Self::Contact(Contact {
            peer: contact.peer.to_string(),
            given_name: contact.given_name,
            own_name: contact.own_name,
            first_met_ms: contact.first_met_ms,
            last_seen_ms: contact.last_seen_ms,
        })
    }
}

impl From<&Stored> for Record {
    fn from(conversation: &Stored) -> Self {
        let members = conversation.members.iter().map(|(member, _)| member.to_string()).collect();
        Self::Conversation(Conversation { id: conversation.id.to_string(), members })
    }
}

impl From<Archived> for Record {
    fn from(archived: Archived) -> Self {
        let Archived { row, content, signed } = archived;
        let states = row
            .states
            .iter()
            .map(|(peer, state)| Reached { peer: peer.to_string(), state: state.to_string() });
        Self::Message(Box::new(Message {
            conversation: row.conversation.to_string(),
            id: row.id().to_string(),
            from: row.author.to_string(),
            sent_ms: row.order.label_ms,
            received_ms: row.received_ms,
            states: states.collect(),
            text: readable(&content).map(str::to_owned),
            signed: Some(BASE64.encode(&signed)),
            now: Some(Reading::of(&row)),
        }))
    }
}

/// What can be read of a message.
pub(super) fn readable(content: &Content) -> Option<&str> {
    match content {
        Content::Edit { text, .. } => Some(text),
        other => other.as_text(),
    }
}
