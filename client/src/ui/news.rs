//! What happens, on its way to people or scripts.

use std::net::SocketAddr;
use std::time::Duration;

use common::identity::PeerId;

use super::meeting::Outcome;
use super::ping::{Pinged, Tally};
use super::search::Found;
use crate::engine::settings::Setting;
use crate::engine::{Choice, ConversationInfo, LinkNews, Person, Profile, Why};
use crate::log::{ConversationId, MessageId};
use crate::net::{PathChange, Route, Via};
use crate::store::{Gap, HistoryRow, MessageRow, State};

/// Something to say.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// Who we are.
    Welcome { me: PeerId, name: String },
    /// A server runs here; this is what to type elsewhere.
    Invite { command: String },
    /// The server is reached for the first time.
    Ready { me: PeerId, server: String, key: PeerId, route: Route },
    /// A code to say to somebody.
    Code(String),
    /// Something that is good to know.
    Info(String),
    /// Something that scripts may want to know, and that people see anyway.
    Detail(String),
    /// Something went wrong.
    Error(String),
    /// The server is not reached, and why.
    ServerTrouble(String),
    /// It is reached again.
    ServerBack,
    /// Somebody is connected.
    Connected { peer: PeerId, name: String, words: String, is_new: bool, via: Option<Via> },
    /// Somebody's packets take another path; `is_shown` if people have seen this one already.
    Path { change: PathChange, is_shown: bool },
    /// A message; `is_typed` if it was typed here and stands on the screen.
    Message { message: Box<MessageRow>, is_typed: bool },
    /// A message got further.
    State { id: MessageId, peer: PeerId, state: State },
    /// Messages that wait, for `peer` is not there.
    Waiting { peer: PeerId, count: usize },
    /// Messages of which it is unknown whether they arrived, for `peer` has gone.
    Unconfirmed { peer: PeerId, count: usize },
    /// Messages that had waited are delivered.
    Delivered { peer: PeerId, count: usize },
    /// Somebody's connection has ended.
    Disconnected { peer: PeerId, reason: String },
    /// Whom we know; `current` is whom the user talks to.
    Peers { people: Vec<Person>, current: Option<PeerId> },
    /// How those who are connected are reached.
    Paths(Vec<PathChange>),
    /// Somebody came into the local network or left it.
    Neighbour { peer: PeerId, is_here: bool, is_new: bool },
    /// Who is in the local network, and whether they are known.
    Nearby(Vec<(PeerId, bool)>),
    /// How somebody is connected, and why not better.
    Why(Box<Why>),
    /// What came of one ping.
    Pinged { peer: PeerId, pinged: Pinged },
    /// What all of them came to.
    Pings { peer: PeerId, tally: Tally },
    /// What was said; `is_recent` if nobody asked, but somebody came.
    History { peer: PeerId, rows: Vec<HistoryRow>, is_recent: bool },
    /// What was said in a room.
    RoomHistory { room: ConversationId, rows: Vec<HistoryRow> },
    /// The user has decided something about others.
    Chosen(Choice),
    /// Settings with their values.
    Settings(Vec<(&'static Setting, &'static str)>),
    /// What is known of somebody.
    Whois(Box<Profile>),
    /// How a screen behaves by the user's will.
    Manner(Manner),
    /// What a search found, newest first; `is_rest` if it goes on from what was found before.
    Found { found: Vec<Found>, has_more: bool, is_rest: bool },
    /// A message reads differently now.
    Changed(Box<MessageRow>),
    /// A message was taken back before anybody had it.
    Cancelled(MessageId),
    /// Messages of a conversation are kept back, or not any more.
    Gap { conversation: ConversationId, gap: Gap },
    /// Somebody is typing.
    Typing { conversation: ConversationId, peer: PeerId },
    /// Somebody invites the user into a room.
    Invited { conversation: ConversationId, name: String, by: PeerId },
    /// What came of a wish to find or know people.
    Meeting(Outcome),
    /// What came of a wish about rooms, or about messages that wait.
    Talking(crate::ui::talking::Outcome),
    /// What became of a link.
    Link(LinkNews),
    /// Somebody goes by the name of a contact whose key was compared, but has another key.
    Impostor { peer: PeerId, name: String, known: PeerId },
    /// A QR code, on a terminal of so many columns.
    Qr { title: String, text: String, columns: usize },
    /// The commands.
    Help,
    /// Everybody who is known, for a screen that shows how they are.
    Roster(Vec<Person>),
    /// Whom the user talks to, for a screen that shows the conversation.
    Turned { conversation: Option<ConversationId> },
    /// The rooms, for a screen.
    Rooms(Vec<ConversationInfo>),
    /// How many texts of each conversation were not read before this run, for a screen.
    Unread(Vec<(ConversationId, usize)>),
    /// A part of a conversation that a screen has asked for.
    Page { conversation: ConversationId, rows: Vec<HistoryRow> },
}

/// How a screen behaves by the user's will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// Rings the bell.
    pub(super) bell: bool,
    /// Shows notices on the desktop.
    pub(super) notice: bool,
    pub(super) is_invisible: bool,
}

/// The word for a kind of path, stable for scripts.
pub(super) const fn via_word(via: Via) -> &'static str {
    match via {
        Via::Relay => "relay",
        Via::Udp => "udp",
        Via::Lan => "lan",
        Via::Tcp => "tcp",
    }
}

/// A measured round trip for people: whole milliseconds, but for the shortest.
pub(super) fn rtt_text(rtt: Duration) -> String {
    let ms = rtt.as_secs_f64() * 1000.0;
    if ms < 9.95 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// How packets travel, in words.
pub(super) fn path_text(via: Via, remote: Option<SocketAddr>, rtt: Option<Duration>) -> String {
    let to = remote.map_or_else(String::new, |remote| format!(" to {remote}"));
    let rtt = rtt.map_or_else(String::new, |rtt| format!(", {}", rtt_text(rtt)));
    match via {
        Via::Relay => format!("over the relay{rtt}"),
        Via::Udp => format!("direct{to} over UDP{rtt}"),
        Via::Lan => format!("direct{to} in the local network{rtt}"),
        Via::Tcp => format!("direct{to} over TCP{rtt}"),
    }
}
