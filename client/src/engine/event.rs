//! What the engine tells its front end.

use std::net::SocketAddr;
use std::time::Duration;

use common::code;
use common::identity::PeerId;

use super::Choice;
use crate::log::{ConversationId, MessageId};
use crate::net::{PathChange, Route, ServerError};
use crate::store::{Gap, MessageRow, State};

/// What front ends learn.
#[derive(Debug)]
pub enum Event {
    /// Registered with the server.
    ServerUp {
        /// Its key.
        key: PeerId,
        /// How it is reached.
        route: Route,
        /// The UDP endpoint at which it sees this machine, if UDP is the way.
        observed: Option<SocketAddr>,
    },
    /// The connection to the server goes another way; it is the same connection.
    ServerRerouted(Route),
    /// No connection to the server.
    ServerDown {
        /// Why.
        error: ServerError,
        /// When it is tried again; `None` for never.
        retry: Option<Duration>,
    },
    /// Waiting in the lobby for a newcomer.
    Waiting,
    /// The server has paired us with a newcomer, who is being connected.
    Paired {
        /// Who it says they are.
        peer: PeerId,
    },
    /// What became of a code that was offered or claimed.
    Code(code::News),
    /// What became of a link, this user's or somebody else's.
    Link(LinkNews),
    /// Somebody goes by the name of a contact whose key was compared, but has another key.
    Impostor {
        /// Who.
        peer: PeerId,
        /// The name.
        name: String,
        /// The contact.
        known: PeerId,
    },
    /// A peer is connected and proven.
    Connected {
        /// Who.
        peer: PeerId,
        /// The name they go by.
        name: String,
        /// Words that both people see and compare.
        words: String,
        /// Whether they were not known before.
        is_new: bool,
    },
    /// A peer's packets take another path.
    Path(PathChange),
    /// A message became part of a conversation; it is stored durably. Own messages are reported too.
    Message {
        /// The message.
        message: MessageRow,
        /// The name of its author.
        author: String,
    },
    /// What is shown of a conversation has changed: an edit, a deletion, a reaction, or the room itself.
    Changed {
        /// Which.
        conversation: ConversationId,
        /// The message that reads differently now; `None` if the room has changed.
        message: Option<Box<MessageRow>>,
    },
    /// Somebody invites this user into a room.
    Invited {
        /// The room.
        conversation: ConversationId,
        /// Its name; may hold anything.
        name: String,
        /// Who invites.
        by: PeerId,
    },
    /// For a while messages have been kept back, or their number has changed, or there are none any more.
    Gap {
        /// Where.
        conversation: ConversationId,
        /// How many.
        gap: Gap,
    },
    /// Somebody is typing.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        peer: PeerId,
    },
    /// A message got further towards a recipient.
    State {
        /// The message.
        id: MessageId,
        /// The recipient.
        peer: PeerId,
        /// How far.
        state: State,
    },
    /// A peer's connection has ended.
    Disconnected {
        /// Whose.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// A peer cannot be connected now; what is written meanwhile waits.
    Unreachable {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// Somebody came into the local network or left it.
    Nearby {
        /// Who they say they are.
        peer: PeerId,
        /// Whether they are there.
        is_here: bool,
        /// Whether they are no contact.
        is_new: bool,
    },
    /// A contact came online or went.
    Presence {
        /// Who.
        peer: PeerId,
        /// Whether they are online.
        online: bool,
    },
    /// The user has decided something, here or elsewhere.
    Chosen(Choice),
    /// A message that had gone to nobody was taken back, here or elsewhere.
    Cancelled {
        /// Which.
        id: MessageId,
    },
    /// Somebody goes by another name here, by the user's will.
    Renamed {
        /// Who.
        peer: PeerId,
    },
    /// Something went wrong that the user should know.
    Error {
        /// What, in a sentence.
        message: String,
    },
}

/// What becomes of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkNews {
    /// This user has come by the link of `peer`.
    Joined {
        /// Who gave it out.
        peer: PeerId,
        /// The room that it led to.
        room: Option<ConversationId>,
    },
    /// The link of `peer` leads nowhere.
    Failed {
        /// Who gave it out.
        peer: PeerId,
        /// Why, in a sentence.
        reason: String,
    },
    /// Somebody came by a link of this user.
    Admitted {
        /// Who.
        peer: PeerId,
        /// The room that they are invited into.
        room: Option<ConversationId>,
    },
}
