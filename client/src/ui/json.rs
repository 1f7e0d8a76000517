//! News as events for scripts: one JSON object a line. The names here are promises; a test pins them.
//!
//! Texts are as their authors wrote them, escaped as JSON demands.

mod people;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use common::identity::PeerId;
use serde::{Serialize, Serializer};

mod why;

use super::cli::Netcheck;
use super::commands;
use super::meeting;
use super::news::{News, via_word};
use super::ping::{Pinged, Reply, Tally};
use crate::engine::{LinkNews, Person};
use crate::log::{Act, Content, ConversationId, MessageId, Role};
use crate::net::PathChange;
use crate::store::{HistoryRow, MessageRow, Regard, State};
use why::Why;

/// A line: the event, its name under `event`, and when it was written.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: Event<'a>,
    /// Unix time in milliseconds.
    at: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
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
}

/// Somebody in the local network.
#[derive(Debug, Serialize)]
pub(super) struct Neighbour {
    #[serde(serialize_with = "text")]
    peer: PeerId,
    known: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Room {
    pub(super) conversation: String,
    pub(super) title: String,
    /// Their keys.
    pub(super) members: Vec<String>,
    pub(super) unread: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Path {
    #[serde(serialize_with = "text")]
    peer: PeerId,
    #[serde(flatten)]
    way: Way,
}

/// How packets travel; all is `null` where nothing is known.
#[derive(Debug, Default, Serialize)]
struct Way {
    via: Option<&'static str>,
    remote: Option<SocketAddr>,
    rtt_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
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
pub(super) struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<String>,
}

impl Place {
    fn of_person(peer: PeerId) -> Self {
        Self { peer: Some(peer.to_string()), conversation: None }
    }

    fn of_room(room: ConversationId) -> Self {
        Self { peer: None, conversation: Some(room.to_string()) }
    }
}

/// A change of a room.
#[derive(Debug, Serialize)]
struct RoomEvent<'a> {
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
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A message of the past, with what is known of it by now.
#[derive(Debug, Serialize)]
pub(super) struct Past<'a> {
    #[serde(flatten)]
    message: Message<'a>,
    received_ms: u64,
    states: Vec<Reached>,
}

#[derive(Debug, Serialize)]
struct Reached {
    #[serde(serialize_with = "text")]
    peer: PeerId,
    state: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Peer<'a> {
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

fn text<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Way {
    fn of(change: &PathChange) -> Self {
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

/// The lines for `news`, each with its line break; empty if scripts need not see it.
pub(super) fn line(news: &News, at: u64) -> String {
    let one = |event: Event<'_>| write(event, at);
    match news {
        News::Welcome { me, name } => one(Event::Info { message: &format!("you are {name}, key {me}") }),
        News::Invite { command } => one(Event::Info { message: command }),
        News::Code(code) => one(Event::Code { code }),
        News::ServerBack => one(Event::Info { message: "server reached again" }),
        News::Ready { me, server, route, .. } => {
            one(Event::Ready { peer: *me, server, carrier: route.carrier.to_string() })
        }
        News::Info(message) | News::Detail(message) => one(Event::Info { message }),
        News::Error(message) | News::ServerTrouble(message) => one(Event::Error { message }),
        News::Connected { peer, name, words, .. } => one(Event::Connected { peer: *peer, name, words }),
        News::Path { change, .. } => one(path(change)),
        News::Message { message, is_typed } => {
            let mut lines = one(Event::Message(message.as_ref().into()));
            if *is_typed {
                // What was just committed is pending, however far it may have got by now.
                let state = State::Pending.as_str();
                for (peer, _) in &message.states {
                    lines += &one(Event::State { id: message.id(), peer: *peer, state });
                }
            }
            lines
        }
        News::State { id, peer, state } => one(Event::State { id: *id, peer: *peer, state: state.as_str() }),
        News::Disconnected { peer, reason } => one(Event::Disconnected { peer: *peer, reason }),
        News::Peers { people, .. } => one(Event::Peers { people: people.iter().map(Peer::from).collect() }),
        News::Paths(paths) => match paths.as_slice() {
            [] => one(Event::Info { message: "nobody is connected" }),
            paths => paths.iter().map(|change| one(path(change))).collect(),
        },
        News::History { peer, rows, is_recent: false } => one(history(Place::of_person(*peer), rows)),
        News::RoomHistory { room, rows } => one(history(Place::of_room(*room), rows)),
        News::Chosen(choice) => one(people::choice(choice)),
        News::Settings(settings) => one(people::settings(settings)),
        News::Whois(profile) => one(Event::Whois(Box::new(profile.as_ref().into()))),
        News::Found { found, .. } => {
            one(Event::Found { messages: found.iter().map(|found| (&found.message).into()).collect() })
        }
        News::Neighbour { peer, is_here, is_new } => {
            one(Event::Neighbour { neighbour: Neighbour { peer: *peer, known: !is_new }, here: *is_here })
        }
        News::Nearby(people) => {
            let people = people.iter().map(|(peer, known)| Neighbour { peer: *peer, known: *known });
            one(Event::Nearby { people: people.collect() })
        }
        News::Why(why) => one(Event::Why(Box::new(Why::of(why)))),
        News::Pinged { peer, pinged } => one(ping(*peer, pinged)),
        News::Pings { peer, tally } => one(pings(*peer, tally)),
        News::Meeting(outcome) => one(Event::Meeting(meeting::event(outcome))),
        News::Link(news) => one(link(news)),
        News::Impostor { peer, name, known } => one(Event::Impostor { peer: *peer, name, known: *known }),
        News::Help => one(Event::Info { message: &commands::help().join("\n") }),
        News::Changed(message) => one(Event::Changed(message.as_ref().into())),
        News::Typing { conversation, peer } => {
            one(Event::Typing { conversation: *conversation, peer: *peer })
        }
        News::Invited { conversation, name, by } => {
            one(Event::Invited { conversation: *conversation, name, from: *by })
        }
        // The events `state` and `message` tell the same.
        News::Manner(_)
        | News::Roster(_)
        | News::Rooms(_)
        | News::Turned { .. }
        | News::Page { .. }
        | News::Qr { .. } => String::new(),
        News::Waiting { .. } | News::Unconfirmed { .. } | News::Delivered { .. } | News::History { .. } => {
            String::new()
        }
    }
}

fn ping(peer: PeerId, Pinged { seq, reply }: &Pinged) -> Event<'_> {
    match reply {
        Some(reply) => Event::Reply { peer, seq: *seq, reply },
        None => Event::Lost { peer, seq: *seq },
    }
}

fn link(news: &LinkNews) -> Event<'_> {
    let name = |room: &Option<ConversationId>| room.map(|room| room.to_string());
    match news {
        LinkNews::Joined { peer, room } => Event::Joined { peer: *peer, conversation: name(room) },
        LinkNews::Admitted { peer, room } => Event::Admitted { peer: *peer, conversation: name(room) },
        LinkNews::Failed { reason, .. } => Event::Error { message: reason },
    }
}

/// A line of `client history --json`; `at` is when the message got here.
pub(super) fn history_line(row: &HistoryRow, now: u64) -> String {
    match row {
        HistoryRow::Message(message) => {
            write(Event::PastMessage(message.as_ref().into()), message.received_ms)
        }
        HistoryRow::Gap { waiting, missing } => {
            write(Event::Gap { waiting: *waiting, missing: *missing }, now)
        }
    }
}

fn pings(peer: PeerId, tally: &Tally) -> Event<'static> {
    let [min_ms, avg_ms, max_ms] = tally.times().map_or([None; 3], |times| times.map(Some));
    let Tally { sent, received, .. } = *tally;
    Event::Pings { peer, sent, received, loss: tally.loss(), min_ms, avg_ms, max_ms }
}

fn path(change: &PathChange) -> Event<'static> {
    Event::Path(Path { peer: change.peer, way: Way::of(change) })
}

/// Lines of `client history --json`; what stands together of the blocked is one.
pub(super) fn history_lines(rows: &[HistoryRow], now: u64) -> String {
    let groups = rows.chunk_by(|one, next| is_hidden(one) && is_hidden(next));
    let line = |group: &[HistoryRow]| match group {
        [first, ..] if is_hidden(first) => write(Event::Blocked { messages: group.len() }, now),
        group => group.iter().map(|row| history_line(row, now)).collect(),
    };
    groups.map(line).collect()
}

fn is_hidden(row: &HistoryRow) -> bool {
    matches!(row, HistoryRow::Message(message) if message.regard == Regard::Hidden)
}

fn history(place: Place, rows: &[HistoryRow]) -> Event<'_> {
    let (mut messages, mut gap, mut blocked) = (Vec::with_capacity(rows.len()), (0, 0), 0);
    for row in rows {
        match row {
            row if is_hidden(row) => blocked += 1,
            HistoryRow::Message(message) => messages.push(message.as_ref().into()),
            HistoryRow::Gap { waiting, missing } => gap = (*waiting, *missing),
        }
    }
    Event::History { place, messages, blocked, waiting: gap.0, missing: gap.1 }
}

/// An event as a line, with its line break.
pub(super) fn write(event: Event<'_>, at: u64) -> String {
    let mut line =
        serde_json::to_string(&Line { event, at }).expect("strings, numbers and lists always become JSON");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests;
