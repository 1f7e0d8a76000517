//! News as events for scripts: one JSON object a line. The names here are promises; a test pins them.
//!
//! Texts are as their authors wrote them, escaped as JSON demands.

mod event;
mod people;
mod why;

use common::identity::PeerId;
use serde::Serialize;

use super::commands;
use super::meeting;
use super::news::News;
use super::ping::{Pinged, Tally};
use super::talking;
use crate::engine::LinkNews;
use crate::log::ConversationId;
use crate::net::PathChange;
use crate::store::{Gap, HistoryRow, MessageRow, Regard, State};
pub(super) use event::{Event, Room};
use event::{Neighbour, Path, Peer, Place, Way};
use why::Why;

/// A line: the event, its name under `event`, and when it was written.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: Event<'a>,
    /// Unix time in milliseconds.
    at: u64,
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
        News::Message { message, is_typed } => said(message, *is_typed, at),
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
        News::Talking(outcome) => one(Event::Talking(talking::event(outcome))),
        News::Link(news) => one(link(news)),
        News::Impostor { peer, name, known } => one(Event::Impostor { peer: *peer, name, known: *known }),
        News::Help => one(Event::Info { message: &commands::help().join("\n") }),
        News::Changed(message) => one(Event::Changed(message.as_ref().into())),
        News::Typing { conversation, peer } => {
            one(Event::Typing { conversation: *conversation, peer: *peer })
        }
        News::Gap { conversation, gap } => one(gap_event(Some(*conversation), *gap)),
        News::Invited { conversation, name, by } => {
            one(Event::Invited { conversation: *conversation, name, from: *by })
        }
        // The events `state` and `message` tell the same.
        News::Cancelled(_)
        | News::Manner(_)
        | News::Roster(_)
        | News::Rooms(_)
        | News::Unread(_)
        | News::Turned { .. }
        | News::Page { .. }
        | News::Qr { .. }
        | News::Waiting { .. }
        | News::Unconfirmed { .. }
        | News::Delivered { .. }
        | News::History { .. } => String::new(),
    }
}

fn said(message: &MessageRow, is_typed: bool, at: u64) -> String {
    let mut lines = write(Event::Message(message.into()), at);
    if is_typed {
        // What was just committed is pending, however far it may have got by now.
        let state = State::Pending.as_str();
        for (peer, _) in &message.states {
            lines += &write(Event::State { id: message.id(), peer: *peer, state }, at);
        }
    }
    lines
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
        HistoryRow::Gap(gap) => write(gap_event(None, *gap), now),
    }
}

fn gap_event(conversation: Option<ConversationId>, Gap { waiting, missing }: Gap) -> Event<'static> {
    Event::Gap { conversation: conversation.map(|id| id.to_string()), waiting, missing }
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
    let (mut messages, mut gap, mut blocked) = (Vec::with_capacity(rows.len()), Gap::default(), 0);
    for row in rows {
        match row {
            row if is_hidden(row) => blocked += 1,
            HistoryRow::Message(message) => messages.push(message.as_ref().into()),
            HistoryRow::Gap(found) => gap = *found,
        }
    }
    Event::History { place, messages, blocked, waiting: gap.waiting, missing: gap.missing }
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
