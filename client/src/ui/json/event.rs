//! The events, and what they say of messages, people and paths.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use common::identity::PeerId;
use serde::{Serialize, Serializer};

use super::people;
use super::why::Why;
use crate::engine::Person;
use crate::log::{Act, Content, ConversationId, MessageId, Role};
use crate::net::PathChange;
use crate::store::{MessageRow, Regard, State};
use crate::ui::cli::Netcheck;
use crate::ui::meeting;
use crate::ui::news::via_word;
use crate::ui::ping::Reply;
use crate::ui::talking;

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(in crate::ui) enum Event<'a> {
    Ready {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        /// `HOST:PORT#KEY`.
        server: &'a str,
        /// How the server is reached.
        carrier: String,
    },
    Connected {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        name: &'a str,
        words: &'a str,
    },
    Path(Path),
    Message(Message<'a>),
    State {
        #[serde(serialize_with = "text")]
        id: MessageId,
        #[serde(serialize_with = "text")]
        peer: PeerId,
        state: &'static str,
    },
    /// What a message has become.
    Changed(Past<'a>),
    Typing {
        #[serde(serialize_with = "text")]
        conversation: ConversationId,
        #[serde(serialize_with = "text")]
        peer: PeerId,
    },
    Invited {
        #[serde(serialize_with = "text")]
        conversation: ConversationId,
        name: &'a str,
        #[serde(serialize_with = "text")]
        from: PeerId,
    },
    Disconnected {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        reason: &'a str,
    },
    Error {
        message: &'a str,
    },
    Info {
        message: &'a str,
    },
    Code {
        code: &'a str,
    },
    Peers {
        people: Vec<Peer<'a>>,
    },
    History {
        #[serde(flatten)]
        place: Place,
        messages: Vec<Past<'a>>,
        /// Messages of the blocked that are left out.
        #[serde(skip_serializing_if = "is_zero")]
        blocked: u64,
        /// Messages that are kept back because earlier ones are missing.
        waiting: u64,
        /// How many are missing.
        missing: u64,
    },
    Found {
        messages: Vec<Past<'a>>,
    },
    /// Somebody came into the local network or left it.
    Neighbour {
        #[serde(flatten)]
        neighbour: Neighbour,
        here: bool,
    },
    /// Who is there.
    Nearby {
        people: Vec<Neighbour>,
    },
    Why(Box<Why<'a>>),
    /// A ping was answered.
    Reply {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        seq: u64,
        #[serde(flatten)]
        reply: &'a Reply,
    },
    /// One was not.
    Lost {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        seq: u64,
    },
    /// What pings came to.
    Pings {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        sent: u64,
        received: u64,
        /// The share that was not answered, from 0 to 1.
        loss: f64,
        min_ms: Option<f64>,
        avg_ms: Option<f64>,
        max_ms: Option<f64>,
    },
    Gap {
        /// Where, if it is not said otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        conversation: Option<String>,
        waiting: u64,
        missing: u64,
    },
    /// Messages of the blocked that are left out.
    Blocked {
        messages: usize,
    },
    Block {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        on: bool,
    },
    Mute {
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        conversation: Option<String>,
        on: bool,
        until_ms: Option<u64>,
    },
    /// Whether somebody may see when this user is online.
    Shown {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        on: bool,
    },
    Visibility {
        visible: bool,
        seen_by: Vec<String>,
    },
    Setting {
        name: &'a str,
        value: &'a str,
    },
    Settings {
        settings: Vec<people::Value<'a>>,
    },
    Whois(Box<people::Whois>),
    Status {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        /// Whether a client runs.
        running: bool,
        /// Its server.
        server: Option<&'a str>,
        /// Whether that answers.
        registered: bool,
        /// People who are known.
        contacts: usize,
        /// Those of them who are connected.
        connected: usize,
        /// Messages that are not delivered yet, counted for each recipient.
        unsent: usize,
        /// Whether this user is there for everybody.
        visible: bool,
    },
    /// What `client netcheck` found.
    Netcheck(&'a Netcheck),
    /// What `client rooms` lists.
    Rooms {
        rooms: Vec<Room>,
    },
    /// What `client verify` found.
    Verified {
        owner: Option<&'a str>,
        /// The owner has signed the whole file.
        sealed: bool,
        messages: u64,
        damaged: u64,
        /// Messages that others name as their parents and that are not in the file.
        missing: usize,
    },
    /// What `client import` did.
    Imported {
        added: u64,
        known: u64,
        waiting: u64,
        damaged: u64,
    },
    /// What `client backup` wrote.
    BackedUp {
        file: &'a str,
        messages: u64,
    },
    /// Somebody goes by the name of a verified contact, but has another key.
    Impostor {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        name: &'a str,
        #[serde(serialize_with = "text")]
        known: PeerId,
    },
    /// This user came by a link.
    Joined {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        conversation: Option<String>,
    },
    /// Somebody came by a link of this user.
    Admitted {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        conversation: Option<String>,
    },
    #[serde(rename = "message")]
    PastMessage(Past<'a>),
    #[serde(untagged)]
    Meeting(meeting::Event),
    #[serde(untagged)]
    Talking(talking::Event<'a>),
}

/// Somebody in the local network.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct Neighbour {
    #[serde(serialize_with = "text")]
    pub(super) peer: PeerId,
    pub(super) known: bool,
}

#[derive(Debug, Serialize)]
pub(in crate::ui) struct Room {
    pub(in crate::ui) conversation: String,
    pub(in crate::ui) title: String,
    /// How this user stands to it; none once they have left.
    pub(in crate::ui) standing: Option<String>,
    /// Their keys.
    pub(in crate::ui) members: Vec<String>,
    pub(in crate::ui) unread: usize,
}

#[derive(Debug, Serialize)]
pub(in crate::ui) struct Path {
    #[serde(serialize_with = "text")]
    pub(super) peer: PeerId,
    #[serde(flatten)]
    pub(super) way: Way,
}

/// How packets travel; all is `null` where nothing is known.
#[derive(Debug, Default, Serialize)]
pub(super) struct Way {
    via: Option<&'static str>,
    remote: Option<SocketAddr>,
    rtt_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(in crate::ui) struct Message<'a> {
    #[serde(serialize_with = "text")]
    conversation: ConversationId,
    #[serde(serialize_with = "text")]
    from: PeerId,
    #[serde(serialize_with = "text")]
    id: MessageId,
    /// `null` if it is no text, or was taken back.
    text: Option<&'a str>,
    sent_ms: u64,
    /// The message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mentions: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    edited: bool,
    #[serde(skip_serializing_if = "is_false")]
    deleted: bool,
    /// Its author or its room is muted.
    #[serde(skip_serializing_if = "is_false")]
    quiet: bool,
    /// Who set which sign.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reactions: BTreeMap<&'a str, Vec<String>>,
    /// What happened to the room.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    room: Option<RoomEvent<'a>>,
}

/// Whose past: a person's or a room's.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<String>,
}

impl Place {
    pub(super) fn of_person(peer: PeerId) -> Self {
        Self { peer: Some(peer.to_string()), conversation: None }
    }

    pub(super) fn of_room(room: ConversationId) -> Self {
        Self { peer: None, conversation: Some(room.to_string()) }
    }
}

/// A change of a room.
#[derive(Debug, Serialize)]
pub(super) struct RoomEvent<'a> {
    /// `create`, `add`, `remove`, `accept`, `leave`, `owner`, `member`, `topic`, `rename`.
    act: &'static str,
    /// Whom it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    /// The name or the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

impl<'a> RoomEvent<'a> {
    fn of(content: &'a Content) -> Option<Self> {
        let Content::Room(act) = content else { return None };
        let (act, peer, value) = match act {
            Act::Create { name } => ("create", None, Some(name)),
            Act::Add(peer) => ("add", Some(peer), None),
            Act::Remove(peer) => ("remove", Some(peer), None),
            Act::Accept => ("accept", None, None),
            Act::Leave => ("leave", None, None),
            Act::Appoint(peer, Role::Owner) => ("owner", Some(peer), None),
            Act::Appoint(peer, Role::Member) => ("member", Some(peer), None),
            Act::Topic(topic) => ("topic", None, Some(topic)),
            Act::Rename(name) => ("rename", None, Some(name)),
        };
        Some(Self { act, peer: peer.map(ToString::to_string), value: value.map(String::as_str) })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A message of the past, with what is known of it by now.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct Past<'a> {
    #[serde(flatten)]
    message: Message<'a>,
    received_ms: u64,
    states: Vec<Reached>,
}

#[derive(Debug, Serialize)]
pub(super) struct Reached {
    #[serde(serialize_with = "text")]
    peer: PeerId,
    state: &'static str,
}

#[derive(Debug, Serialize)]
pub(in crate::ui) struct Peer<'a> {
    #[serde(serialize_with = "text")]
    peer: PeerId,
    name: String,
    online: bool,
    connected: bool,
    verified: bool,
    words: Option<&'a str>,
    #[serde(flatten)]
    way: Way,
    #[serde(skip_serializing_if = "is_false")]
    blocked: bool,
    #[serde(skip_serializing_if = "is_false")]
    muted: bool,
}

pub(super) fn text<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Way {
    pub(super) fn of(change: &PathChange) -> Self {
        // Tenths are what a measurement is good for.
        let ms = |rtt: std::time::Duration| (rtt.as_secs_f64() * 10_000.0).round() / 10.0;
        Self { via: Some(via_word(change.via)), remote: change.remote, rtt_ms: change.rtt.map(ms) }
    }
}

impl<'a> From<&'a MessageRow> for Message<'a> {
    fn from(row: &'a MessageRow) -> Self {
        let (reply_to, mentions) = match &row.content {
            Content::Text(text) => (
                text.reply_to.map(|id| id.to_string()),
                text.mentions.iter().map(ToString::to_string).collect(),
            ),
            _ => (None, Vec::new()),
        };
        let by = |(sign, authors): &'a (String, Vec<PeerId>)| {
            (sign.as_str(), authors.iter().map(ToString::to_string).collect())
        };
        Self {
            reply_to,
            mentions,
            edited: row.marks.edited,
            deleted: row.marks.deleted,
            quiet: row.regard == Regard::Quiet,
            reactions: row.marks.reactions.iter().map(by).collect(),
            room: RoomEvent::of(&row.content),
            conversation: row.conversation,
            from: row.author,
            id: row.id(),
            text: row.content.as_text().filter(|_| !row.marks.deleted),
            sent_ms: row.order.label_ms,
        }
    }
}

impl<'a> From<&'a MessageRow> for Past<'a> {
    fn from(row: &'a MessageRow) -> Self {
        let reached = |(peer, state): &(PeerId, State)| Reached { peer: *peer, state: state.as_str() };
        let states = row.states.iter().map(reached).collect();
        Self { message: row.into(), received_ms: row.received_ms, states }
    }
}

impl<'a> From<&'a Person> for Peer<'a> {
    fn from(person: &'a Person) -> Self {
        let live = person.connected.as_ref();
        Self {
            peer: person.contact.peer,
            name: person.contact.name(),
            online: person.online,
            connected: live.is_some(),
            verified: person.verified_ms.is_some(),
            words: live.map(|live| live.words.as_str()),
            way: live.and_then(|live| live.path.as_ref()).map(Way::of).unwrap_or_default(),
            blocked: person.regard == Regard::Hidden,
            muted: person.regard == Regard::Quiet,
        }
    }
}
