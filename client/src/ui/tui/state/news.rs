//! What the rest of the program reports, put where it is seen. What has no place of its own is told in the words of
//! the line mode: one line at the bottom and on this program's page, several lines above everything.

use common::identity::PeerId;

use super::super::PAGE;
use super::super::bind;
use super::super::keys::KEYS;
use super::super::overlay::{Found, Overlay};
use super::{Action, ServerState, State};
use crate::engine::{Choice, ConversationInfo, Person};
use crate::log::{Content, ConversationId};
use crate::store::{HistoryRow, MessageRow, Regard};
use crate::ui::commands;
use crate::ui::meeting::Outcome;
use crate::ui::news::News;
use crate::ui::plain::Input;
use crate::ui::search;
use crate::ui::show::{self, Colour};

/// Columns before a line at the bottom.
const NOTICE_SIGN: usize = 3;
/// Messages that a search finds at the most.
const MAX_FOUND: usize = 200;

impl State {
    /// Handles `news`.
    pub(in super::super) fn handle_news(&mut self, news: News, now_ms: u64) {
        match news {
            News::Welcome { ref name, .. } => {
                self.my_name.clone_from(name);
                self.fall_back(&news, now_ms);
            }
            News::Roster(people) => self.handle_roster(&people),
            News::Turned { conversation } => self.open(conversation),
            News::Rooms(rooms) => self.handle_rooms(&rooms),
            News::Unread(unread) => {
                for (id, count) in unread {
                    self.panes.get_mut(id).owe(count);
                }
            }
            News::Message { message, is_typed } => self.handle_message(&message, is_typed, now_ms),
            News::State { id, peer, state } => {
                self.panes.all_mut().for_each(|buffer| buffer.mark(id, peer, bind::mark(state)));
            }
            News::Changed(message) => {
                let row = bind::row(&message, &self.names, &self.my_name);
                self.panes.get_mut(message.conversation).change(row);
            }
            News::Cancelled(id) => self.panes.all_mut().for_each(|buffer| buffer.remove(id)),
            News::Typing { conversation, peer } => self.typing.note(conversation, peer, now_ms),
            News::Gap { conversation, gap } => {
                self.panes.get_mut(conversation).gap = gap;
                self.fall_back(&news, now_ms);
            }
            News::Page { conversation, rows } => self.handle_page(conversation, &rows),
            News::Manner(manner) => self.manner = manner,
            News::Chosen(ref choice) => {
                if let Choice::Block { peer, is_on } = choice {
                    self.panes.all_mut().for_each(|buffer| buffer.set_blocked(*peer, *is_on));
                }
                self.fall_back(&news, now_ms);
            }
            News::Help => self.show_help(),
            News::Qr { title, text, .. } => self.show_code(title, text),
            News::Found { found, has_more, is_rest } => self.handle_found(found, has_more, is_rest),
            News::Connected { peer, is_new: true, .. } => {
                self.fall_back(&news, now_ms);
                let id = self.direct(peer);
                if let Some(line) = show::lines(&news, &self.names, Colour::Off) {
                    self.panes.get_mut(id).note(now_ms, bare(&line), false);
                }
            }
            // The marks beside the messages say it, and the line for the server.
            News::Waiting { .. } | News::Unconfirmed { .. } | News::Delivered { .. } | News::Path { .. } => {}
            News::Ready { .. } | News::ServerBack => {
                self.server = ServerState::Up;
                self.fall_back(&news, now_ms);
            }
            News::ServerTrouble(_) => {
                self.server = ServerState::Down;
                self.fall_back(&news, now_ms);
            }
            other => self.fall_back(&other, now_ms),
        }
    }

    /// Tells `news` as the line mode does: at the bottom, and what is to be read whole but does not fit there above
    /// everything.
    fn fall_back(&mut self, news: &News, now_ms: u64) {
        let Some(lines) = show::lines(news, &self.names, Colour::Off) else { return };
        let text = bare(&lines);
        let has_room = super::super::text::width(&text) + NOTICE_SIGN <= usize::from(self.size.0);
        let is_list = text.contains('\n');
        let is_read_whole = is_answer(news) && (is_list || !has_room);
        if is_read_whole || is_list && matches!(news, News::Info(_) | News::Talking(_)) {
            if is_said_once(news) {
                self.panes.notes.note(now_ms, text, false);
            }
            let mut lines = lines.lines().map(bare);
            let title = lines.next().unwrap_or_default();
            self.overlay = Some(Overlay::Text { title, lines: lines.collect(), top: 0 });
            return;
        }
        if let (News::Error(_), Some(Overlay::Search { note, .. })) = (news, &mut self.overlay) {
            *note = text;
            return;
        }
        let is_error = matches!(news, News::Error(_) | News::ServerTrouble(_) | News::Impostor { .. });
        let line = text.replace('\n', " ");
        if is_happening(news) {
            self.mention(line, now_ms);
        } else {
            self.tell(line, is_error, now_ms);
        }
        self.panes.notes.note(now_ms, text, is_error);
    }

    fn direct(&self, peer: PeerId) -> ConversationId {
        ConversationId::direct(self.names.me(), peer)
    }

    fn handle_roster(&mut self, people: &[Person]) {
        for person in people {
            self.names.set(person.contact.peer, &person.contact.name());
        }
        let (active, me) = (self.panes.active(), self.names.me());
        let is_gone = |peer: PeerId| {
            let is_hidden = |person: &Person| person.contact.peer == peer && person.regard == Regard::Hidden;
            people.iter().any(is_hidden) && Some(ConversationId::direct(me, peer)) != active
        };
        self.entries.retain(|entry| !entry.peer.is_some_and(is_gone));
        for person in people.iter().filter(|person| !is_gone(person.contact.peer)) {
            let entry = bind::direct(self.names.me(), person, &self.names, &self.zone);
            match self.entries.iter_mut().find(|known| known.id == entry.id) {
                Some(known) => *known = entry,
                None => self.entries.push(entry),
            }
        }
        self.load_if_short();
    }

    /// Rooms stand behind the people; one that was left goes.
    fn handle_rooms(&mut self, rooms: &[ConversationInfo]) {
        let entries: Vec<_> = rooms.iter().filter_map(|room| bind::room(room, &self.names)).collect();
        let active = self.panes.active();
        self.entries.retain(|entry| {
            entry.peer.is_some() || Some(entry.id) == active || entries.iter().any(|room| room.id == entry.id)
        });
        for entry in entries {
            self.names.set_room(entry.id, entry.title.trim_start_matches('#'));
            match self.entries.iter_mut().find(|known| known.id == entry.id) {
                Some(known) => *known = entry,
                None => self.entries.push(entry),
            }
        }
        self.load_if_short();
    }

    fn handle_page(&mut self, id: ConversationId, rows: &[HistoryRow]) {
        let messages: Vec<_> = rows
            .iter()
            .filter_map(|row| match row {
                HistoryRow::Message(message) => Some(bind::row(message, &self.names, &self.my_name)),
                HistoryRow::Gap(_) => None,
            })
            .collect();
        let is_first = messages.len() < PAGE;
        self.panes.get_mut(id).add_page(messages, is_first);
        if self.panes.active() == Some(id) {
            self.load_if_short();
        }
    }

    fn handle_message(&mut self, message: &MessageRow, is_typed: bool, now_ms: u64) {
        let id = message.conversation;
        let row = bind::row(message, &self.names, &self.my_name);
        let (order, author, is_mention) = (row.order, row.author, row.mentions_me);
        self.typing.end(id, author);
        let is_looked_at = self.is_focused && self.panes.active() == Some(id) && self.buffer().is_at_newest();
        if !self.panes.get_mut(id).insert(row) || message.own {
            if is_typed {
                self.newest();
            }
            return;
        }
        let entry = self.entries.iter().find(|entry| entry.id == id);
        if message.regard != Regard::Open {
            // It neither calls nor counts; what is on the screen has been seen all the same.
            if is_looked_at && message.regard == Regard::Quiet {
                self.tell_seen();
            }
            return;
        }
        let is_direct = entry.is_none_or(|entry| entry.peer.is_some());
        let is_said = matches!(message.content, Content::Text(_)) && !message.marks.deleted;
        if !is_looked_at && !is_said {
            // What happens in a room calls nobody.
        } else if !is_looked_at {
            self.panes.get_mut(id).add_unread(order, is_mention);
            if is_direct || is_mention {
                self.call(format!("message from {}", self.names.shown(author)), now_ms);
            }
        } else {
            self.tell_seen();
        }
    }

    /// What was told just before stands above the code.
    fn show_code(&mut self, title: String, text: String) {
        let (title, notes) = match self.overlay.take() {
            Some(Overlay::Text { title, lines, .. }) => (title, lines),
            _ => (title, Vec::new()),
        };
        self.overlay = Some(Overlay::Qr { title, notes, text });
    }

    fn show_help(&mut self) {
        let keys = KEYS.iter().filter(|binding| !binding.help.is_empty());
        let width = keys.clone().map(|binding| binding.keys.chars().count()).max().unwrap_or(0);
        let keys = keys.map(|binding| format!("{:width$}  {}", binding.keys, binding.help));
        let lines = std::iter::once("Commands".to_owned())
            .chain(commands::help())
            .chain([String::new(), "Keys".to_owned()])
            .chain(keys)
            .collect();
        self.overlay = Some(Overlay::Text { title: "help".to_owned(), lines, top: 0 });
    }

    /// Asks for what is typed into the search.
    pub(super) fn search(&mut self) {
        if let Some(Overlay::Search { typed, found, note, .. }) = &mut self.overlay {
            found.clear();
            note.clear();
            if !typed.trim().is_empty() {
                self.actions.push(Action::Input(Input::Search { query: begun(typed) }));
            }
        }
    }

    fn handle_found(&mut self, hits: Vec<search::Found>, more: bool, is_rest: bool) {
        let overlay = self.overlay.take().filter(|overlay| matches!(overlay, Overlay::Search { .. }));
        let mut overlay = overlay.unwrap_or_else(|| Overlay::search(String::new()));
        if let Overlay::Search { found, has_more, note, typed, .. } = &mut overlay {
            if !is_rest {
                found.clear();
            }
            *has_more = more && found.len() < MAX_FOUND;
            let hits = hits.into_iter().map(|hit| Found {
                conversation: hit.message.conversation,
                title: hit.title,
                row: bind::row(&hit.message, &self.names, &self.my_name),
            });
            found.extend(hits);
            let is_nothing = found.is_empty() && !typed.trim().is_empty();
            *note = if is_nothing { "nothing was found".to_owned() } else { String::new() };
        }
        self.overlay = Some(overlay);
    }
}

/// The user has asked for it.
const fn is_answer(news: &News) -> bool {
    matches!(
        news,
        News::Code(_)
            | News::Meeting(
                Outcome::Link { .. } | Outcome::Links(_) | Outcome::Names { .. } | Outcome::Safety(_)
            )
            | News::Peers { .. }
            | News::Paths(_)
            | News::History { .. }
            | News::RoomHistory { .. }
            | News::Settings(_)
            | News::Whois(_)
            | News::Why(_)
            | News::Nearby(_)
    )
}

/// It cannot be asked for again.
const fn is_said_once(news: &News) -> bool {
    matches!(news, News::Code(_) | News::Meeting(Outcome::Link { .. }))
}

/// It comes by itself.
const fn is_happening(news: &News) -> bool {
    matches!(
        news,
        News::Connected { is_new: false, .. }
            | News::Disconnected { .. }
            | News::Neighbour { .. }
            | News::Gap { .. }
    )
}

/// A query in which the word that is being typed stands for all words that begin so.
fn begun(typed: &str) -> String {
    let word = typed.rsplit(' ').next().unwrap_or_default();
    let is_word = !word.is_empty() && word.chars().all(char::is_alphanumeric);
    if is_word && typed.matches('"').count().is_multiple_of(2) {
        format!("{typed}*")
    } else {
        typed.to_owned()
    }
}

/// Lines without the signs that the line mode puts before them.
fn bare(line: &str) -> String {
    line.trim_start_matches(['*', '!']).trim_start().to_owned()
}
