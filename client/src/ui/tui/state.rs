//! What the screen shows and what the keys change: keys and news in, [`Action`]s out. Pure: the time is an
//! argument, and nothing here knows of threads and terminals.

mod input;
mod news;
mod panes;
#[cfg(test)]
pub(super) mod tests;
mod travel;
mod typing;

use common::identity::PeerId;

use super::buffer::Buffer;
use super::complete::Completion;
use super::composer::Composer;
use super::model::Entry;
use super::overlay::Overlay;
use super::view::layout::{self, Areas};
use super::view::message::Look;
use super::view::theme::Theme;
use super::zone::Zone;
use crate::log::{ConversationId, DisplayOrder, MessageId};
use crate::ui::names::Names;
use crate::ui::news::Manner;
use crate::ui::plain::Input;

/// How long a word about something that happened stands at the bottom.
const NOTICE_MS: u64 = 8_000;
/// How long of that an answer to the user is not replaced by what merely happens.
const ANSWER_MS: u64 = 3_000;
/// Between two calls for attention.
const ATTENTION_MS: u64 = 3_000;

/// What is to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// For the rest of the program.
    Input(Input),
    /// Calls for attention because of this.
    Attention(String),
    /// Hands this to the clipboard.
    Copy(String),
    /// Draws everything anew.
    Redraw,
    /// Gives the terminal back to the shell for a while.
    Suspend,
}

/// What Enter does with the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Sends it.
    #[default]
    New,
    /// Sends it as an answer to this message.
    Reply(MessageId),
    /// Puts it in place of what this message said.
    Edit(MessageId),
    /// Sets it as a sign beside this message.
    React(MessageId),
    /// Leaves it alone and takes this message back.
    Delete(MessageId),
}

impl Mode {
    /// Whether the text is a message of its own.
    const fn is_of_its_own(self) -> bool {
        matches!(self, Self::New | Self::Delete(_))
    }
}

/// A word about something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) is_error: bool,
    until_ms: u64,
    /// Until then what merely happens does not take its place.
    holds_until_ms: u64,
}

/// How the server stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ServerState {
    #[default]
    Connecting,
    Up,
    Down,
}

/// Where and how a [`State`] is shown.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) me: PeerId,
    pub(super) theme: Theme,
    pub(super) zone: Zone,
    pub(super) size: (u16, u16),
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    pub(super) names: Names,
    my_name: String,
    pub(super) entries: Vec<Entry>,
    panes: panes::Panes,
    pub(super) composer: Composer,
    pub(super) mode: Mode,
    completion: Option<Completion>,
    pub(super) overlay: Option<Overlay>,
    notice: Option<Notice>,
    pub(super) server: ServerState,
    size: (u16, u16),
    with_members: bool,
    /// Somebody looks; a terminal that does not tell is taken to be looked at.
    is_focused: bool,
    pub(super) zone: Zone,
    pub(super) theme: Theme,
    last_attention_ms: u64,
    pub(super) manner: Manner,
    typing: typing::Typing,
    actions: Vec<Action>,
}

impl State {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            names: Names::new(setting.me),
            my_name: String::new(),
            entries: Vec::new(),
            panes: panes::Panes::default(),
            composer: Composer::default(),
            mode: Mode::default(),
            completion: None,
            overlay: None,
            notice: None,
            server: ServerState::default(),
            size: setting.size,
            with_members: false,
            is_focused: true,
            zone: setting.zone,
            theme: setting.theme,
            last_attention_ms: 0,
            manner: Manner { bell: true, notice: true, is_invisible: false },
            typing: typing::Typing::default(),
            actions: Vec::new(),
        }
    }

    /// What is to be done now.
    pub(super) fn poll_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When [`State::handle_timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let notice = self.notice.as_ref().map(|notice| notice.until_ms);
        [notice, self.typing.poll_timeout()].into_iter().flatten().min()
    }

    /// Returns whether anything changes on the screen.
    pub(super) fn handle_timeout(&mut self, now_ms: u64) -> bool {
        let is_over = self.notice.take_if(|notice| notice.until_ms <= now_ms).is_some();
        self.typing.handle_timeout(now_ms) || is_over
    }

    /// The conversation that is open; `None` for this program's own page.
    pub(super) fn active(&self) -> Option<&Entry> {
        let id = self.panes.active()?;
        self.entries.iter().find(|entry| entry.id == id)
    }

    pub(super) fn buffer(&self) -> &Buffer {
        self.panes.current()
    }

    /// What is unread in a conversation, and whether this user is named there.
    pub(super) fn unread(&self, id: ConversationId) -> (usize, bool) {
        self.panes.get(id).map_or((0, false), |buffer| (buffer.unread, buffer.is_mentioned))
    }

    /// Who is writing in the open conversation, by name.
    pub(super) fn writers(&self) -> Vec<String> {
        let writers = self.panes.active().into_iter().flat_map(|id| self.typing.who(id));
        writers.map(|peer| self.names.shown(peer)).collect()
    }

    pub(super) const fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref()
    }

    pub(super) fn areas(&self) -> Areas {
        let (width, height) = self.size;
        let lines = self.composer.shown(usize::from(width), self.prompt_width()).lines.len();
        layout::areas(width, height, lines, self.with_members && self.active().is_some())
    }

    /// What stands before the text.
    pub(super) fn prompt(&self) -> String {
        let name = |id| self.buffer().row(id).map_or_else(String::new, |row| self.names.shown(row.author));
        let prompt = match (self.mode, self.active()) {
            (Mode::Reply(id), _) => format!("reply to {}> ", name(id)),
            (Mode::Edit(_), _) => "change> ".to_owned(),
            (Mode::React(id), _) => format!("sign for {}> ", name(id)),
            (Mode::Delete(_), _) => "Enter deletes it> ".to_owned(),
            (Mode::New, Some(entry)) => format!("{}> ", entry.title),
            (Mode::New, None) => "> ".to_owned(),
        };
        super::text::fit(&prompt, usize::from(self.size.0) / 2)
    }

    pub(super) fn prompt_width(&self) -> usize {
        super::text::width(&self.prompt())
    }

    /// How the messages of the open conversation are shown.
    pub(super) fn look(&self) -> Look<'_> {
        let buffer = self.buffer();
        Look {
            names: &self.names,
            zone: &self.zone,
            theme: self.theme,
            width: usize::from(self.areas().messages.width),
            first_unread: buffer.first_unread(),
            selected: buffer.selected,
            shows_blocked: buffer.shows_blocked,
        }
    }

    /// Tells something that the user has to know now.
    fn tell(&mut self, text: String, is_error: bool, now_ms: u64) {
        let (until_ms, holds_until_ms) = (now_ms + NOTICE_MS, now_ms + ANSWER_MS);
        self.notice = Some(Notice { text, is_error, until_ms, holds_until_ms });
    }

    /// Tells something that has happened.
    fn mention(&mut self, text: String, now_ms: u64) {
        if self.notice.as_ref().is_none_or(|notice| notice.holds_until_ms <= now_ms) {
            let until_ms = now_ms + NOTICE_MS;
            self.notice = Some(Notice { text, is_error: false, until_ms, holds_until_ms: now_ms });
        }
    }

    /// Calls for attention, but not all the time.
    fn call(&mut self, text: String, now_ms: u64) {
        if now_ms >= self.last_attention_ms + ATTENTION_MS {
            self.last_attention_ms = now_ms;
            self.actions.push(Action::Attention(text));
        }
    }

    /// Opens a conversation, or this program's page.
    fn open(&mut self, id: Option<ConversationId>) {
        if id == self.panes.active() {
            self.see();
            return;
        }
        let draft = self.composer.take();
        let draft = if self.mode.is_of_its_own() { draft } else { String::new() };
        (self.mode, self.completion) = (Mode::New, None);
        let draft = self.panes.open(id, draft);
        self.composer.set(draft);
        let place = self.active().map(Entry::place);
        self.actions.push(Action::Input(Input::Open(place)));
        self.see();
        self.load_if_short();
    }

    /// What is on the screen has been seen.
    fn see(&mut self) {
        if self.is_focused && self.buffer().is_at_newest() {
            if self.buffer().unread > 0 {
                self.tell_seen();
            }
            self.panes.current_mut().see();
        }
    }

    /// What stands in the open conversation was read.
    fn tell_seen(&mut self) {
        if let Some(conversation) = self.active().map(|entry| entry.id) {
            self.actions.push(Action::Input(Input::Seen(conversation)));
        }
    }

    /// The text has changed: others see that somebody writes.
    fn tell_typing(&mut self, now_ms: u64) {
        let text = self.composer.before();
        let is_said = !text.is_empty() && (!text.starts_with('/') || text.starts_with("//"));
        if let Some(conversation) = self.active().map(|entry| entry.id).filter(|_| is_said)
            && self.typing.is_to_be_told(conversation, now_ms)
        {
            self.actions.push(Action::Input(Input::Typing(conversation)));
        }
    }

    /// Asks for older messages.
    fn load(&mut self) {
        if self.active().is_some()
            && let Some(before) = self.panes.current_mut().next_page()
        {
            self.ask_page(before);
        }
    }

    fn ask_page(&mut self, before: Option<DisplayOrder>) {
        if let Some(conversation) = self.active().map(|entry| entry.id) {
            self.actions.push(Action::Input(Input::Page { conversation, before }));
        }
    }

    /// Asks for older messages if there is an empty place for them.
    fn load_if_short(&mut self) {
        let areas = self.areas();
        let look = self.look();
        let height = usize::from(areas.messages.height);
        let heights = |items: &[_], at: usize| super::view::message::lines(&look, items, at).len();
        let seen = self.buffer().seen(height, &heights);
        if seen.items.start == 0 && seen.skipped == 0 {
            self.load();
        }
    }

    /// Runs `work` on the open conversation with the height of the pane and the heights of its items.
    fn with_heights<T>(
        &mut self,
        work: impl FnOnce(&mut Buffer, usize, &dyn Fn(&[super::model::Item], usize) -> usize) -> T,
    ) -> T {
        let area = self.areas().messages;
        let Self { names, zone, theme, panes, .. } = self;
        let buffer = panes.current_mut();
        let look = Look {
            names,
            zone,
            theme: *theme,
            width: usize::from(area.width),
            first_unread: buffer.first_unread(),
            selected: None,
            shows_blocked: buffer.shows_blocked,
        };
        let heights =
            |items: &[super::model::Item], at: usize| super::view::message::lines(&look, items, at).len();
        work(buffer, usize::from(area.height), &heights)
    }
}
