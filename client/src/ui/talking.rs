//! What is done in conversations besides writing new messages: rooms, and messages that are there. One set of wishes for
//! all front ends, carried out with the engine of the running client or on the store alone.

mod perform;
mod show;

use serde::{Deserialize, Serialize};

pub(super) use perform::perform;
pub(super) use show::{Event, event, lines};

use crate::engine::Member;
use crate::log::{ConversationId, MessageId};
use crate::store::{MessageRow, Unsent};

/// What somebody wants. A room is named by its name, its id, or the beginning of one; `whom` is a room or a person; `which` counts
/// back from 1, or is the beginning of a message's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wish {
    /// Makes a room.
    Create { name: String },
    /// Takes the invitation to a room.
    Accept { room: String },
    /// Leaves a room, or declines the invitation.
    Leave { room: String },
    /// Invites somebody into a room.
    Invite { room: String, peer: String },
    /// Puts somebody out of a room.
    Remove { room: String, peer: String },
    /// What a room is about, or from now on.
    Topic { room: String, topic: Option<String> },
    /// Who is in a room.
    Members { room: String },
    /// Own messages that somebody has not confirmed.
    Unsent,
    /// Takes back a message that has gone to nobody: the last one, or the one whose id begins so.
    Cancel { id: String },
    /// Answers a message.
    Reply { whom: String, which: String, text: String },
    /// Changes an own message.
    Edit { whom: String, which: String, text: String },
    /// Takes an own message back.
    Delete { whom: String, which: String },
    /// Sets a sign beside a message, or takes it away again.
    React { whom: String, which: String, sign: String },
}

/// What came of a wish, unless it is a message that was written or has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A room of this user alone.
    Created { room: ConversationId, name: String },
    /// Something was done that others see in the room.
    Done(String),
    /// What a room is about.
    Topic { room: ConversationId, topic: String },
    /// Who is in a room.
    Members { room: ConversationId, title: String, members: Vec<Member> },
    /// What is not confirmed, the oldest first.
    Unsent(Vec<(Unsent, MessageRow)>),
    /// It has never been written.
    Cancelled(MessageId),
}
