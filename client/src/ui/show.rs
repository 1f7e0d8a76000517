//! News as lines for people. Pure; whatever a peer can have written is made safe here or in [`Names`].

mod network;
mod people;

use common::identity::PeerId;
use common::text;

use super::commands;
use super::meeting;
use super::names::Names;
use super::news::{News, path_text, rtt_text, via_word};
use super::qr::{self, Ink};
use super::search::Found;
use super::talking;
use super::time::iso;
use crate::engine::{LinkNews, Person};
use crate::net::{Carrier, PathChange, Via, unix_ms};
use crate::reading::Reading;
use crate::store::{Gap, HistoryRow, MessageRow, Regard, State};

pub(super) use people::{placeholder, visible};

/// Characters of a reason that a peer may have chosen.
const MAX_REASON: usize = 200;
/// What continues a message of several lines.
const INDENT: &str = "    ";

/// Whether lines are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Off,
    On,
}

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Off => text.to_owned(),
            Self::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn name(self, text: &str) -> String {
        self.paint("1;36", text)
    }

    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }
}

/// The lines for `news`, without the last line break; `None` if people need not see it.
pub(super) fn lines(news: &News, names: &Names, colour: Colour) -> Option<String> {
    let note = |text: String| Some(format!("* {text}"));
    match news {
        News::Welcome { me, name } => note(format!("you are {name}, key {}", me.short())),
        News::Invite { command } => note(format!(
            "the server runs in this client; on the other machine type\n{INDENT}{}",
            colour.paint("1", command)
        )),
        News::Code(code) => note(format!(
            "say this to whom you want to meet; it works once, within ten minutes\n{INDENT}/code {}",
            colour.paint("1", code)
        )),
        News::Ready { server, key, route, .. } => {
            let address = server.split('#').next().unwrap_or(server);
            let way = if route.carrier == Carrier::Udp { String::new() } else { format!(" by {route}") };
            note(format!("server {address} reached{way}, key {}", key.short()))
        }
        News::Info(message) => note(message.clone()),
        News::ServerBack => note("server reached again".to_owned()),
        News::Error(message) | News::ServerTrouble(message) => {
            Some(colour.bad(&format!("! {}", text::one_line(message, 4 * MAX_REASON))))
        }
        News::Connected { peer, words, is_new, via, .. } => {
            note(connected(&names.shown(*peer), words, *is_new, *via, colour))
        }
        News::Path { is_shown: true, .. } | News::State { .. } | News::Detail(_) | News::Cancelled(_) => None,
        News::Roster(_) | News::Rooms(_) | News::Unread(_) | News::Turned { .. } | News::Page { .. } => None,
        News::Manner(_) | News::Typing { .. } => None,
        News::Path { change, is_shown: false } => {
            note(colour.dim(&format!("{}: now {}", names.shown(change.peer), path(change))))
        }
        News::Message { is_typed: true, .. } => None,
        News::Message { message, is_typed: false } => Some(said(message, names, colour)),
        News::Waiting { peer, count } => Some(colour.dim(&waiting(&names.shown(*peer), *count))),
        News::Unconfirmed { peer, count } => Some(colour.dim(&unconfirmed(&names.shown(*peer), *count))),
        News::Delivered { peer, count } => Some(colour.dim(&delivered(&names.shown(*peer), *count))),
        News::Disconnected { peer, reason } => {
            note(format!("disconnected from {}: {}", names.shown(*peer), text::one_line(reason, MAX_REASON)))
        }
        News::Peers { people, current } => note(peers(people, *current, names, colour)),
        News::Paths(paths) => note(all_paths(paths, names)),
        News::Neighbour { .. }
        | News::Nearby(_)
        | News::Why(_)
        | News::Pinged { .. }
        | News::Pings { .. } => network::line(news, names).and_then(note),
        News::History { peer, rows, is_recent } => {
            history(&names.shown(*peer), "with", rows, *is_recent, names, colour)
        }
        News::RoomHistory { room, rows } => history(&names.room(*room), "in", rows, false, names, colour),
        News::Chosen(choice) => note(people::choice(choice, names)),
        News::Settings(settings) => note(people::settings(settings)),
        News::Whois(profile) => note(people::profile(profile, names)),
        News::Found { found, has_more, .. } => note(all_found(found, *has_more, names, colour)),
        News::Changed(message) => Some(colour.dim(&format!("~ {}", said(message, names, Colour::Off)))),
        News::Gap { conversation, gap } => note(gap_news(&names.conversation(*conversation), *gap)),
        News::Invited { name, by, .. } => note(format!(
            "{} invites you into the room {}; /accept or /leave",
            names.shown(*by),
            colour.name(&text::one_line(name, MAX_REASON))
        )),
        News::Meeting(outcome) => note(meeting::lines(outcome, names, unix_ms())),
        News::Talking(outcome) => note(talking::lines(outcome, names)),
        News::Link(news) => Some(link(news, names, colour)),
        News::Impostor { peer, name, known } => Some(colour.bad(&impostor(*peer, name, *known))),
        News::Qr { text, columns, .. } => note(code(text, *columns, colour)),
        News::Help => Some(commands::help().join("\n")),
    }
}

fn impostor(peer: PeerId, name: &str, known: PeerId) -> String {
    format!(
        "! WARNING: somebody calls themselves {} but has the key {}, not {}, which you have verified",
        text::one_line(name, text::MAX_NAME),
        peer.short(),
        known.short()
    )
}

fn link(news: &LinkNews, names: &Names, colour: Colour) -> String {
    match news {
        LinkNews::Joined { peer, room: None } => {
            format!("* you came by the link of {}; what you type goes to them", names.shown(*peer))
        }
        LinkNews::Joined { peer, room: Some(room) } => format!(
            "* you came by the link of {} into the room {}; /join {1} to talk there",
            names.shown(*peer),
            names.room(*room)
        ),
        LinkNews::Admitted { peer, room } => {
            let whither = room.map_or_else(String::new, |room| format!(" into {}", names.room(room)));
            format!("* {} came by your link{whither}", names.shown(*peer))
        }
        LinkNews::Failed { peer, reason } => {
            colour.bad(&format!("! the link of {} leads nowhere: {reason}", names.shown(*peer)))
        }
    }
}

/// A QR code for a terminal of so many columns. With colours it is black on white, whatever the terminal is.
pub(super) fn code(text: &str, columns: usize, colour: Colour) -> String {
    let ink = if colour == Colour::On { Ink::Dark } else { Ink::Light };
    let Some(code) = qr::code(text, ink) else { return "it is too long for a QR code".to_owned() };
    if let Some(advice) = qr::too_narrow(&code, columns) {
        return advice;
    }
    let lines = code.lines.iter().map(|line| format!("\n{}", colour.paint("30;107", line)));
    format!("as a QR code:{}", lines.collect::<String>())
}

fn messages(count: usize) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

fn waiting(name: &str, count: usize) -> String {
    match count {
        1 => format!("(pending: {name} is offline; sent when you are both here)"),
        _ => format!("({count} pending: {name} is offline; sent when you are both here)"),
    }
}

fn unconfirmed(name: &str, count: usize) -> String {
    format!("(pending: {} to {name} not confirmed; sent again when you are both here)", messages(count))
}

fn delivered(name: &str, count: usize) -> String {
    match count {
        1 => format!("✓ delivered to {name}"),
        _ => format!("✓ {} delivered to {name}", messages(count)),
    }
}

fn connected(name: &str, words: &str, is_new: bool, via: Option<Via>, colour: Colour) -> String {
    let how = match via {
        None => "",
        Some(Via::Relay) => " (relay)",
        Some(Via::Udp) => " (direct)",
        Some(Via::Lan) => " (local network)",
        Some(Via::Tcp) => " (direct, TCP)",
    };
    let name = colour.name(name);
    if is_new {
        let words = colour.paint("1", words);
        format!("connected to {name}{how}, words: {words}, compare them")
    } else {
        format!("connected to {name}{how}")
    }
}

fn path(change: &PathChange) -> String {
    path_text(change.via, change.remote, change.rtt)
}

/// A message as `NAME> text`; further lines are indented, so that none of them can pass for another message.
fn said(message: &MessageRow, names: &Names, colour: Colour) -> String {
    let name = names.shown(message.author);
    let name = if message.own { colour.good(&format!("{name}>")) } else { colour.name(&format!("{name}>")) };
    let place = match names.is_room(message.conversation) {
        true => format!("{} ", names.room(message.conversation)),
        false => String::new(),
    };
    let body = Reading::of(message).words(|peer| names.shown(peer));
    format!("{place}{name} {}", body.replace('\n', &format!("\n{INDENT}")))
}

fn peers(people: &[Person], current: Option<PeerId>, names: &Names, colour: Colour) -> String {
    if people.is_empty() {
        return "you know nobody yet; with /meet you wait for somebody".to_owned();
    }
    let lines = people.iter().map(|person| {
        let peer = person.contact.peer;
        let mark = if current == Some(peer) { "->" } else { "  " };
        let regard = match person.regard {
            Regard::Open => "",
            Regard::Quiet => "muted, ",
            Regard::Hidden => "blocked, ",
        };
        let state = match &person.connected {
            Some(live) => {
                let path = live.path.as_ref().map_or_else(|| "connected".to_owned(), path);
                format!("{path}; words: {}", live.words)
            }
            None if person.online => "online, not connected".to_owned(),
            None => format!("offline, last seen {}", iso(person.contact.last_seen_ms)),
        };
        let verified = if person.verified_ms.is_some() { "verified, " } else { "" };
        format!("\n{mark} {} [{}] {verified}{regard}{state}", colour.name(&names.shown(peer)), peer.short())
    });
    format!("whom you know:{}", lines.collect::<String>())
}

fn all_paths(paths: &[PathChange], names: &Names) -> String {
    if paths.is_empty() {
        return "nobody is connected".to_owned();
    }
    let lines = paths.iter().map(|change| {
        let rtt = change.rtt.map_or_else(|| "not measured".to_owned(), rtt_text);
        let remote = change.remote.map_or_else(|| "through the server".to_owned(), |to| format!("to {to}"));
        format!("\n   {}: via {}, {remote}, round trip {rtt}", names.shown(change.peer), via_word(change.via))
    });
    format!("how people are reached:{}", lines.collect::<String>())
}

/// One line of the history with its date, as `client history` shows it too.
pub(super) fn history_line(row: &HistoryRow, names: &Names, colour: Colour) -> String {
    match row {
        HistoryRow::Message(message) => {
            let state = match message.states.iter().map(|(_, state)| *state).min() {
                None | Some(State::Delivered | State::Read) => String::new(),
                Some(state) => colour.dim(&format!("  ({state})")),
            };
            let date = colour.dim(&iso(message.order.label_ms));
            format!("{date} {}{state}", said(message, names, colour))
        }
        HistoryRow::Gap(gap) => format!("... {}", gap_text(*gap)),
    }
}

/// What a gap means.
fn gap_text(Gap { waiting, missing }: Gap) -> String {
    format!("{waiting} newer kept back until {missing} that are missing have come")
}

fn gap_news(conversation: &str, gap: Gap) -> String {
    match gap.waiting {
        0 => format!("{conversation}: nothing is missing any more"),
        _ => format!("{conversation}: {}", gap_text(gap)),
    }
}

/// Lines of the history; what stands together of the blocked is one.
pub(super) fn history_lines(rows: &[HistoryRow], names: &Names, colour: Colour) -> Vec<String> {
    let groups = rows.chunk_by(|one, next| is_hidden(one) && is_hidden(next));
    let line = |group: &[HistoryRow]| match group {
        [first, ..] if is_hidden(first) => colour.dim(&format!("... {}", placeholder(group.len()))),
        group => group.iter().map(|row| history_line(row, names, colour)).collect(),
    };
    groups.map(line).collect()
}

fn is_hidden(row: &HistoryRow) -> bool {
    matches!(row, HistoryRow::Message(message) if message.regard == Regard::Hidden)
}

/// A message that was found, with what its conversation is called.
pub(super) fn found_line(title: &str, row: &HistoryRow, names: &Names, colour: Colour) -> String {
    format!("[{title}] {}", history_line(row, names, colour))
}

fn all_found(found: &[Found], has_more: bool, names: &Names, colour: Colour) -> String {
    let lines = found.iter().map(|Found { title, message }| {
        let row = HistoryRow::Message(Box::new(message.clone()));
        format!("\n{}", found_line(title, &row, names, colour))
    });
    let more = if has_more { "\n  /search shows more" } else { "" };
    match found.len() {
        0 => "nothing was found".to_owned(),
        _ => format!("newest first:{}{more}", lines.collect::<String>()),
    }
}

fn history(
    name: &str,
    with: &str,
    rows: &[HistoryRow],
    is_recent: bool,
    names: &Names,
    colour: Colour,
) -> Option<String> {
    if rows.is_empty() {
        return (!is_recent).then(|| format!("* nothing was said {with} {name} yet"));
    }
    let title = if is_recent { "earlier" } else { "history" };
    let lines = history_lines(rows, names, colour).into_iter().map(|line| format!("\n{line}"));
    Some(format!("* {title} {with} {name}:{}", lines.collect::<String>()))
}

#[cfg(test)]
mod tests;
