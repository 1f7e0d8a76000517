//! Keys, pastes, the mouse, and the terminal's size.

use ratatui::crossterm::event::{Event, KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::super::complete::Completion;
use super::super::composer::Edit;
use super::super::keys::{self, Intent};
use super::super::overlay::Overlay;
use super::{Action, Mode, State};
use crate::log::{MAX_TEXT_LEN, MessageId};
use crate::ui::line::{self, Command, Line};
use crate::ui::plain::{Input, Place};

/// Lines that a turn of the wheel scrolls.
const WHEEL: usize = 3;

impl State {
    /// Handles what the terminal reports. Returns whether anything changes on the screen.
    pub(in super::super) fn handle_event(&mut self, event: Event, now_ms: u64) -> bool {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.handle_key(&key, now_ms),
            Event::Key(_) => return false,
            Event::Paste(text) => self.handle_paste(&text, now_ms),
            Event::Resize(width, height) => {
                self.size = (width, height);
                self.load_if_short();
            }
            Event::FocusGained => {
                self.is_focused = true;
                self.see();
            }
            Event::FocusLost => {
                self.is_focused = false;
                self.panes.current_mut().forget_unread_if_seen();
            }
            Event::Mouse(mouse) => return self.handle_mouse(mouse),
        }
        true
    }

    fn handle_paste(&mut self, text: &str, now_ms: u64) {
        self.close_what_is_read();
        match self.overlay.as_mut().and_then(Overlay::typed_mut) {
            Some(typed) => {
                typed.push_str(&common::text::one_line(text, common::text::MAX_NAME));
                self.refresh_overlay();
            }
            None if self.composer.insert(text) => self.tell_typing(now_ms),
            None => {
                let message = format!("a message may have {MAX_TEXT_LEN} bytes; nothing was inserted");
                self.tell(message, true, now_ms);
            }
        }
    }

    fn handle_mouse(&mut self, mouse: MouseEvent) -> bool {
        let areas = self.areas();
        match mouse.kind {
            MouseEventKind::ScrollUp => self.scroll(true, WHEEL),
            MouseEventKind::ScrollDown => self.scroll(false, WHEEL),
            MouseEventKind::Down(MouseButton::Left)
                if areas.list.contains(Position::new(mouse.column, mouse.row)) =>
            {
                self.open_number(usize::from(mouse.row - areas.list.y));
            }
            _ => return false,
        }
        true
    }

    /// Whoever goes on writing has read what lies over the rest.
    fn close_what_is_read(&mut self) {
        self.overlay.take_if(|overlay| overlay.typed_mut().is_none());
    }

    fn handle_key(&mut self, key: &KeyEvent, now_ms: u64) {
        let Some(intent) = keys::intent(key) else { return };
        match (intent, &self.overlay) {
            (Intent::Edit(Edit::Insert(keys::CLOSE)), _) => {}
            (Intent::Edit(Edit::Insert(keys::COPY)), Some(Overlay::Qr { text, .. })) => {
                self.actions.push(Action::Copy(text.clone()));
                return self.tell("copied, if the terminal takes it".to_owned(), false, now_ms);
            }
            (Intent::Edit(Edit::Insert(_)), _) => self.close_what_is_read(),
            _ => {}
        }
        match intent {
            Intent::Interrupt => self.actions.push(Action::Input(Input::Interrupt)),
            Intent::Suspend => self.actions.push(Action::Suspend),
            Intent::Redraw => self.actions.push(Action::Redraw),
            _ if self.overlay.is_some() => self.handle_overlay(intent),
            _ if self.handle_selected(intent, now_ms) => {}
            _ => self.handle_intent(intent, now_ms),
        }
    }

    fn handle_intent(&mut self, intent: Intent, now_ms: u64) {
        if !matches!(intent, Intent::Complete { .. }) {
            self.completion = None;
        }
        match intent {
            Intent::Edit(edit) => {
                if matches!(self.mode, Mode::Delete(_)) {
                    self.mode = Mode::New;
                }
                self.composer.edit(edit);
                if matches!(edit, Edit::Insert(_)) {
                    self.tell_typing(now_ms);
                }
            }
            Intent::Newline => self.composer.edit(Edit::Insert('\n')),
            Intent::Send => self.send(now_ms),
            Intent::Complete { is_back } => self.complete(is_back),
            Intent::Line { is_up } => self.line(is_up),
            Intent::Recall { is_back } => drop(self.composer.recall(is_back)),
            Intent::Cancel => self.cancel(),
            Intent::EndOfInput if self.composer.is_empty() => self.actions.push(Action::Input(Input::End)),
            Intent::EndOfInput => self.composer.edit(Edit::Delete),
            Intent::Help => self.command("/help"),
            Intent::Jump => self.start_jump(),
            Intent::Search => self.start_search(String::new()),
            Intent::Blocked => {
                let buffer = self.panes.current_mut();
                buffer.shows_blocked = !buffer.shows_blocked;
                self.load_if_short();
            }
            Intent::Members => {
                self.with_members = !self.with_members;
                self.load_if_short();
            }
            travel => self.handle_travel(travel),
        }
    }

    fn command(&mut self, text: &str) {
        self.actions.push(Action::Input(Input::Line { text: text.to_owned(), to: None }));
    }

    /// Keys while a message is chosen; `false` for those that mean what they always do.
    fn handle_selected(&mut self, intent: Intent, now_ms: u64) -> bool {
        let Some(id) = self.buffer().selected else { return false };
        let is_own = self.buffer().row(id).is_some_and(|row| row.is_own);
        match intent {
            Intent::Edit(Edit::Insert('r')) => self.mode = Mode::Reply(id),
            Intent::Edit(Edit::Insert('e')) if is_own => self.start_edit(id),
            Intent::Edit(Edit::Insert('d')) if is_own => self.mode = Mode::Delete(id),
            Intent::Edit(Edit::Insert('e' | 'd')) => {
                self.tell("only what you wrote yourself can be changed or deleted".to_owned(), true, now_ms);
                return true;
            }
            Intent::Edit(Edit::Insert('+')) => {
                self.mode = Mode::React(id);
                self.composer.set(String::new());
            }
            Intent::Line { is_up } => {
                self.handle_travel(Intent::Select { is_up });
                return true;
            }
            Intent::Cancel => {}
            _ => return false,
        }
        self.panes.current_mut().selected = None;
        true
    }

    fn cancel(&mut self) {
        if !std::mem::take(&mut self.mode).is_of_its_own() {
            self.composer.take();
        }
        self.notice = None;
    }

    /// A line up or down; at the ends of the text the history begins.
    fn line(&mut self, is_up: bool) {
        let last =
            self.buffer().rows().rev().find(|row| row.is_own && !row.is_deleted).map(|row| row.order.id);
        match last {
            Some(id) if is_up && self.composer.is_empty() && self.mode == Mode::New => {
                self.start_edit(id);
            }
            _ if self.composer.move_line(is_up) => {}
            _ => drop(self.composer.recall(is_up)),
        }
    }

    fn start_edit(&mut self, id: MessageId) {
        let Some(body) = self.buffer().row(id).map(|row| row.body.clone()) else { return };
        self.mode = Mode::Edit(id);
        self.composer.set(body);
    }

    fn send(&mut self, now_ms: u64) {
        let to = self.active().map(|entry| entry.peer.map_or(Place::Room(entry.id), Place::Person));
        let mode = std::mem::take(&mut self.mode);
        if let Mode::Delete(id) = mode {
            self.actions.push(Action::Input(Input::Line { text: format!("/delete {}", short(id)), to }));
            return;
        }
        let text = self.composer.submit();
        if text.trim().is_empty() {
            return;
        }
        let is_command = text.starts_with('/') && !text.starts_with("//");
        if self.active().is_none() && !is_command {
            let message = "choose a conversation first: Ctrl+K, or /to NAME; nothing was sent";
            self.tell(message.to_owned(), true, now_ms);
            self.composer.set(text);
            return;
        }
        self.notice = None;
        if let Ok(Line::Command(Command::Search { query })) = line::parse(&text)
            && !query.is_empty()
        {
            self.start_search(query);
            return;
        }
        let said = text.strip_prefix('/').unwrap_or(&text);
        let line = match mode {
            Mode::Reply(id) if !is_command => format!("/reply {} {said}", short(id)),
            Mode::Edit(id) if !is_command => format!("/edit {} {said}", short(id)),
            Mode::React(id) if !is_command => format!("/react {} {said}", short(id)),
            _ => text,
        };
        self.actions.push(Action::Input(Input::Line { text: line, to }));
        if !is_command {
            self.typing.own_end();
            self.newest();
        }
    }

    fn complete(&mut self, is_back: bool) {
        match &mut self.completion {
            Some(completion) => completion.step(is_back),
            None => {
                let titles: Vec<_> = self.entries.iter().map(|entry| entry.title.clone()).collect();
                self.completion = Completion::new(self.composer.before(), &self.names, &titles);
            }
        }
        if let Some(completion) = &self.completion {
            self.composer.replace_from(completion.start, completion.current());
            if completion.count() == 1 {
                self.completion = None;
            }
        }
    }
}

/// The beginning of an id, long enough to be clear.
fn short(id: MessageId) -> String {
    id.to_string().chars().take(16).collect()
}
