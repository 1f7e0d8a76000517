//! News as events for scripts: one JSON object a line. The names here are promises; a test pins them.
//!
//! Texts are as their authors wrote them, escaped as JSON demands.

use std::net::SocketAddr;

use common::identity::PeerId;
use serde::{Serialize, Serializer};

use super::line;
use super::news::{News, via_word};
use crate::engine::Person;
use crate::log::{Content, ConversationId, MessageId};
use crate::net::PathChange;
use crate::store::{HistoryRow, MessageRow, State};

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
enum Event<'a> {
    Ready {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        /// `HOST:PORT#KEY`.
        server: &'a str,
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
    Peers {
        people: Vec<Peer<'a>>,
    },
    History {
        #[serde(serialize_with = "text")]
        peer: PeerId,
        messages: Vec<Past<'a>>,
        /// Messages that are kept back because earlier ones are missing.
        waiting: u64,
        /// How many are missing.
        missing: u64,
    },
    Gap {
        waiting: u64,
        missing: u64,
    },
    #[serde(rename = "message")]
    PastMessage(Past<'a>),
}

#[derive(Debug, Serialize)]
struct Path {
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
struct Message<'a> {
    #[serde(serialize_with = "text")]
    conversation: ConversationId,
    #[serde(serialize_with = "text")]
    from: PeerId,
    #[serde(serialize_with = "text")]
    id: MessageId,
    /// `null` for a kind of message that this version does not know.
    text: Option<&'a str>,
    sent_ms: u64,
}

/// A message of the past, with what is known of it by now.
#[derive(Debug, Serialize)]
struct Past<'a> {
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
struct Peer<'a> {
    #[serde(serialize_with = "text")]
    peer: PeerId,
    name: String,
    online: bool,
    connected: bool,
    words: Option<&'a str>,
    #[serde(flatten)]
    way: Way,
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
        let text = match &row.content {
            Content::Text(text) => Some(text.as_str()),
            Content::Unknown { .. } => None,
        };
        Self {
            conversation: row.conversation,
            from: row.author,
            id: row.id(),
            text,
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
            words: live.map(|live| live.words.as_str()),
            way: live.and_then(|live| live.path.as_ref()).map(Way::of).unwrap_or_default(),
        }
    }
}

/// The lines for `news`, each with its line break; empty if scripts need not see it.
pub(super) fn line(news: &News, at: u64) -> String {
    let one = |event: Event<'_>| write(event, at);
    match news {
        News::Welcome { me, name } => one(Event::Info { message: &format!("you are {name}, key {me}") }),
        News::Invite { command } => one(Event::Info { message: command }),
        News::Ready { me, server, .. } => one(Event::Ready { peer: *me, server }),
        News::Info(message) | News::Detail(message) => one(Event::Info { message }),
        News::Error(message) => one(Event::Error { message }),
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
        News::History { peer, rows, is_recent: false } => one(history(*peer, rows)),
        News::Help => one(Event::Info { message: &line::help() }),
        // The events `state` and `message` tell the same.
        News::Waiting { .. } | News::Unconfirmed { .. } | News::Delivered { .. } | News::History { .. } => {
            String::new()
        }
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

fn path(change: &PathChange) -> Event<'static> {
    Event::Path(Path { peer: change.peer, way: Way::of(change) })
}

fn history(peer: PeerId, rows: &[HistoryRow]) -> Event<'_> {
    let (mut messages, mut gap) = (Vec::with_capacity(rows.len()), (0, 0));
    for row in rows {
        match row {
            HistoryRow::Message(message) => messages.push(message.as_ref().into()),
            HistoryRow::Gap { waiting, missing } => gap = (*waiting, *missing),
        }
    }
    Event::History { peer, messages, waiting: gap.0, missing: gap.1 }
}

fn write(event: Event<'_>, at: u64) -> String {
    let mut line =
        serde_json::to_string(&Line { event, at }).expect("strings, numbers and lists always become JSON");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests;
