//! From one place to another: between conversations, through messages, and over what lies above them.

use super::super::composer::Edit;
use super::super::jump;
use super::super::keys::{self, Intent};
use super::super::overlay::{Chosen, Overlay};
use super::{Action, State};
use crate::ui::plain::Input;

/// More lines than any pane has.
const FAR: usize = 1_000_000;

impl State {
    pub(super) fn handle_travel(&mut self, intent: Intent) {
        let half = usize::from(self.areas().messages.height / 2).max(1);
        match intent {
            Intent::Scroll { is_up } => self.scroll(is_up, half),
            Intent::Oldest => self.scroll(true, FAR),
            Intent::Newest => self.newest(),
            Intent::NextActive => self.open_next_active(),
            Intent::Direct(number) => self.open_number(number),
            Intent::Neighbour { is_up } => self.open_neighbour(is_up),
            Intent::Select { is_up } => {
                self.with_heights(|buffer, height, heights| buffer.select(is_up, height, heights));
                self.load_if_short();
            }
            _ => {}
        }
    }

    pub(super) fn scroll(&mut self, is_up: bool, lines: usize) {
        let wants_more =
            self.with_heights(|buffer, height, heights| buffer.scroll(is_up, lines, height, heights));
        if wants_more && is_up {
            self.load();
        }
        if !is_up && self.buffer().is_at_cut() {
            self.newest();
        }
        self.see();
    }

    pub(super) fn newest(&mut self) {
        if self.panes.current_mut().scroll_to_newest() {
            self.load();
        }
        self.see();
    }

    /// Opens a conversation by its place in the list, from 1; 0 is this program's page. What was told before is seen.
    pub(super) fn open_number(&mut self, number: usize) {
        self.notice = None;
        match number.checked_sub(1) {
            None => self.open(None),
            Some(at) => {
                if let Some(id) = self.entries.get(at).map(|entry| entry.id) {
                    self.open(Some(id));
                }
            }
        }
    }

    /// The place in the list of what is open.
    pub(in super::super) fn number(&self) -> usize {
        let id = self.panes.active();
        self.entries.iter().position(|entry| Some(entry.id) == id).map_or(0, |at| at + 1)
    }

    fn open_neighbour(&mut self, is_up: bool) {
        let count = self.entries.len() + 1;
        self.open_number((self.number() + if is_up { count - 1 } else { 1 }) % count);
    }

    /// The next one with something new: those that name this user first.
    fn open_next_active(&mut self) {
        let from = self.number().min(self.entries.len());
        let after = (from..self.entries.len()).chain(0..from);
        let news = |at: usize| self.unread(self.entries[at].id);
        let candidates: Vec<_> = after.filter(|at| news(*at).0 > 0).collect();
        let best = candidates.iter().find(|at| news(**at).1).or(candidates.first());
        if let Some(at) = best {
            self.open_number(at + 1);
        }
    }

    pub(super) fn start_jump(&mut self) {
        self.overlay = Some(Overlay::Jump { typed: String::new(), ranked: Vec::new(), chosen: 0 });
        self.refresh_overlay();
    }

    pub(super) fn start_search(&mut self, typed: String) {
        self.overlay = Some(Overlay::search(typed));
        self.search();
    }

    /// What was typed into the overlay has changed.
    pub(super) fn refresh_overlay(&mut self) {
        match &mut self.overlay {
            Some(Overlay::Jump { typed, ranked, chosen }) => {
                *ranked = jump::rank(self.entries.iter().map(|entry| entry.title.as_str()), typed);
                *chosen = 0;
            }
            Some(Overlay::Search { .. }) => self.search(),
            Some(Overlay::Text { .. } | Overlay::Qr { .. }) | None => {}
        }
    }

    pub(super) fn handle_overlay(&mut self, intent: Intent) {
        let page = usize::from(self.size.1 / 2).max(1);
        let Some(overlay) = &mut self.overlay else { return };
        match intent {
            Intent::Cancel | Intent::Help | Intent::EndOfInput => self.overlay = None,
            Intent::Line { is_up } | Intent::Recall { is_back: is_up } => self.step_overlay(is_up, 1),
            Intent::Scroll { is_up } => self.step_overlay(is_up, page),
            Intent::Oldest | Intent::Edit(Edit::Home) => overlay.step(true, FAR),
            Intent::Newest | Intent::Edit(Edit::End) => overlay.step(false, FAR),
            Intent::Edit(edit) => match (overlay.typed_mut(), edit) {
                (None, Edit::Insert(keys::CLOSE)) => self.overlay = None,
                (None, _) => {}
                (Some(typed), edit) => {
                    match edit {
                        Edit::Insert(c) => typed.push(c),
                        Edit::Backspace => drop(typed.pop()),
                        Edit::KillToStart | Edit::KillWordBack => typed.clear(),
                        _ => return,
                    }
                    self.refresh_overlay();
                }
            },
            Intent::Send => self.take_choice(),
            _ => {}
        }
    }

    fn step_overlay(&mut self, is_up: bool, by: usize) {
        let Some(overlay) = &mut self.overlay else { return };
        overlay.step(is_up, by);
        if !is_up && overlay.wants_more() {
            self.actions.push(Action::Input(Input::Search { query: String::new() }));
        }
    }

    fn take_choice(&mut self) {
        match self.overlay.take().as_ref().and_then(Overlay::chosen) {
            Some(Chosen::Entry(at)) => self.open_number(at + 1),
            Some(Chosen::Message(conversation, order)) => {
                self.open(Some(conversation));
                if let Some(before) = self.panes.current_mut().choose_order(order) {
                    self.ask_page(Some(before));
                } else {
                    self.load_if_short();
                }
            }
            None => {}
        }
    }
}
