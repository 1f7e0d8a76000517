//! The part of a conversation that is in memory, and which part of it is seen. Pure.

use std::ops::Range;

use common::identity::PeerId;

use super::PAGE;
use super::model::{Item, Mark, Row};
use crate::log::{DisplayOrder, MessageId};
use crate::store::Gap;

/// Items that are kept while the newest are seen.
const MAX_SETTLED: usize = 500;
/// Items that are kept at all. Somebody who reads far back sees no newer ones beyond until they return.
const MAX_ITEMS: usize = 5000;

/// What is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Scroll {
    #[default]
    Newest,
    /// The lowest item that is seen, and how many of its last lines are not.
    At { item: usize, hidden: usize },
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    items: Vec<Item>,
    scroll: Scroll,
    /// The first message that came while nobody looked.
    first_unread: Option<DisplayOrder>,
    pub(super) unread: usize,
    /// Of those, how many had come before this run: where they begin is known once they are loaded.
    owed: usize,
    /// Some of the unread ones name this user.
    pub(super) is_mentioned: bool,
    /// Nothing older is stored.
    is_whole: bool,
    is_loading: bool,
    /// Newer ones were left out for the sake of memory.
    is_cut: bool,
    /// What is kept back here.
    pub(super) gap: Gap,
    /// What the blocked said here is shown.
    pub(super) shows_blocked: bool,
    /// The message that was chosen.
    pub(super) selected: Option<MessageId>,
    /// What was being written here.
    pub(super) draft: String,
}

impl Buffer {
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(super) const fn first_unread(&self) -> Option<DisplayOrder> {
        self.first_unread
    }

    pub(super) fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.items.iter().filter_map(Item::message)
    }

    pub(super) fn row(&self, id: MessageId) -> Option<&Row> {
        self.rows().rev().find(|row| row.order.id == id)
    }

    pub(super) const fn is_at_newest(&self) -> bool {
        matches!(self.scroll, Scroll::Newest) && !self.is_cut
    }

    /// Adds a message at its place, or puts it in place of what it was before. Returns whether it is new.
    pub(super) fn insert(&mut self, row: Row) -> bool {
        let at = self.place(row.order);
        if let Some(Item::Message(known)) = at.checked_sub(1).and_then(|before| self.items.get_mut(before))
            && known.order == row.order
        {
            **known = row;
            return false;
        }
        let is_newest = at == self.items.len();
        if is_newest && (self.is_cut || self.items.len() >= MAX_ITEMS) {
            self.is_cut = true;
            return true;
        }
        self.insert_at(at, Item::Message(Box::new(row)));
        true
    }

    /// A message reads differently now.
    pub(super) fn change(&mut self, row: Row) {
        if self.row(row.order.id).is_some() {
            self.insert(row);
        }
    }

    /// It has never been written.
    pub(super) fn remove(&mut self, id: MessageId) {
        self.items.retain(|item| item.message().is_none_or(|row| row.order.id != id));
        self.selected.take_if(|selected| *selected == id);
    }

    /// Somebody is blocked, or not any more.
    pub(super) fn set_blocked(&mut self, peer: PeerId, is_blocked: bool) {
        for item in &mut self.items {
            if let Item::Message(row) = item
                && row.author == peer
            {
                row.is_blocked = is_blocked;
            }
        }
    }

    /// Adds something that this program says at the end.
    pub(super) fn note(&mut self, at_ms: u64, text: String, is_error: bool) {
        if !self.is_cut {
            self.insert_at(self.items.len(), Item::Note { at_ms, text, is_error });
        }
    }

    fn insert_at(&mut self, at: usize, item: Item) {
        self.items.insert(at, item);
        if let Scroll::At { item, .. } = &mut self.scroll
            && at <= *item
        {
            *item += 1;
        }
        let surplus = self.items.len().saturating_sub(MAX_SETTLED + PAGE);
        if surplus > 0 && self.is_at_newest() {
            self.items.drain(..surplus + PAGE);
            self.is_whole = false;
        }
    }

    /// Where a message of this order goes: behind the last one that is not greater.
    fn place(&self, order: DisplayOrder) -> usize {
        let before = self.items.iter().rposition(|item| item.message().is_some_and(|row| row.order <= order));
        match before {
            Some(at) if self.items[at + 1..].iter().all(|item| item.message().is_none()) => {
                // Notes stay where they are: what comes later stands below them, what is known already is found.
                if self.items[at].message().is_some_and(|row| row.order == order) {
                    at + 1
                } else {
                    self.items.len()
                }
            }
            Some(at) => at + 1,
            None if self.items.iter().all(|item| item.message().is_none()) => self.items.len(),
            None => 0,
        }
    }

    /// An own message got further towards `peer`.
    pub(super) fn mark(&mut self, id: MessageId, peer: PeerId, mark: Mark) {
        let found = self.items.iter_mut().rev().find_map(|item| match item {
            Item::Message(row) if row.order.id == id => Some(row),
            _ => None,
        });
        if let Some(row) = found {
            row.marks.insert(peer, mark);
        }
    }

    /// A message came that nobody has seen.
    pub(super) fn add_unread(&mut self, order: DisplayOrder, is_mention: bool) {
        self.first_unread = Some(self.first_unread.map_or(order, |first| first.min(order)));
        self.unread += 1;
        self.is_mentioned |= is_mention;
    }

    /// So many were not read before this run.
    pub(super) const fn owe(&mut self, count: usize) {
        self.owed = count;
        self.unread += count;
    }

    /// Everything is seen; the line above what was new stays until [`Buffer::forget_unread_if_seen`].
    pub(super) const fn see(&mut self) {
        self.unread = 0;
        self.is_mentioned = false;
    }

    pub(super) const fn forget_unread_if_seen(&mut self) {
        if self.unread == 0 {
            self.first_unread = None;
        }
    }

    /// What is to be loaded: messages before this one, or the newest if there are none.
    pub(super) fn next_page(&mut self) -> Option<Option<DisplayOrder>> {
        if self.is_whole || self.is_loading || self.items.len() >= MAX_ITEMS {
            return None;
        }
        self.is_loading = true;
        Some(self.rows().next().map(|row| row.order))
    }

    /// Messages that were asked for have come; `is_first` if there are no older ones.
    pub(super) fn add_page(&mut self, rows: Vec<Row>, is_first: bool) {
        self.is_loading = false;
        self.is_whole |= is_first;
        let owed = std::mem::take(&mut self.owed);
        if let Some(last) = owed.checked_sub(1) {
            let others: Vec<_> = rows.iter().rev().filter(|row| !row.is_own).map(|row| row.order).collect();
            self.first_unread = others.get(last).or(others.last()).copied();
        }
        if self.rows().next().is_none() {
            let page = rows.into_iter().map(|row| Item::Message(Box::new(row)));
            self.items.splice(0..0, page);
            if let Some(item) = self.selected.and_then(|id| self.position(id)) {
                self.scroll = Scroll::At { item, hidden: 0 };
            }
            return;
        }
        let known = self.rows().next().map(|row| row.order);
        let (older, rest): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| Some(row.order) < known);
        let count = older.len();
        self.items.splice(0..0, older.into_iter().map(|row| Item::Message(Box::new(row))));
        if let Scroll::At { item, .. } = &mut self.scroll {
            *item += count;
        }
        for row in rest {
            self.insert(row);
        }
    }

    /// Scrolls by `lines` in a pane of `height` lines. Returns whether older messages are wanted.
    pub(super) fn scroll(
        &mut self,
        is_up: bool,
        lines: usize,
        height: usize,
        heights: &dyn Fn(&[Item], usize) -> usize,
    ) -> bool {
        let Some(last) = self.items.len().checked_sub(1) else { return true };
        let heights = &|at| heights(&self.items, at);
        let (item, hidden) = self.bottom(last);
        let (mut item, mut hidden) = if is_up {
            back(item, hidden + lines, heights)
        } else {
            forth(item, hidden, lines, last, heights)
        };
        let above = |item, hidden| lines_above(item, hidden, 2 * height, heights);
        if above(item, hidden) < height {
            (item, hidden) = forth(0, heights(0), height, last, heights);
        }
        let is_newest = item == last && hidden == 0;
        self.scroll = if is_newest { Scroll::Newest } else { Scroll::At { item, hidden } };
        above(item, hidden) < 2 * height
    }

    /// Goes to the newest message. Returns whether it has to be loaded anew.
    pub(super) fn scroll_to_newest(&mut self) -> bool {
        self.scroll = Scroll::Newest;
        self.selected = None;
        let is_cut = std::mem::take(&mut self.is_cut);
        if is_cut {
            self.items.clear();
            (self.is_whole, self.is_loading) = (false, false);
        }
        is_cut
    }

    /// The last item that is kept is seen, but newer ones are not kept.
    pub(super) const fn is_at_cut(&self) -> bool {
        matches!(self.scroll, Scroll::Newest) && self.is_cut
    }

    /// Chooses a message, which becomes the lowest that is seen. If it is not kept, what stands up to it has to be
    /// loaded: messages before the order that is returned.
    pub(super) fn choose_order(&mut self, order: DisplayOrder) -> Option<DisplayOrder> {
        self.selected = Some(order.id);
        if let Some(item) = self.position(order.id) {
            self.scroll = Scroll::At { item, hidden: 0 };
            return None;
        }
        self.items.clear();
        self.scroll = Scroll::Newest;
        (self.is_whole, self.is_loading, self.is_cut) = (false, true, true);
        Some(DisplayOrder { depth: order.depth + 1, label_ms: 0, id: MessageId::from_bytes([0; 32]) })
    }

    fn position(&self, id: MessageId) -> Option<usize> {
        self.items.iter().rposition(|item| item.message().is_some_and(|row| row.order.id == id))
    }

    /// Chooses the message above or below the chosen one, and brings it into sight. Below the last is none.
    pub(super) fn select(&mut self, is_up: bool, height: usize, heights: &dyn Fn(&[Item], usize) -> usize) {
        let is_seen = |row: &&Row| self.shows_blocked || !row.is_blocked;
        let ids: Vec<_> = self.rows().filter(is_seen).map(|row| row.order.id).collect();
        let at = self.selected.and_then(|id| ids.iter().rposition(|known| *known == id));
        let next = match (at, is_up) {
            (None, true) => ids.len().checked_sub(1),
            (None, false) => None,
            (Some(at), true) => Some(at.saturating_sub(1)),
            (Some(at), false) => Some(at + 1),
        };
        self.selected = next.and_then(|at| ids.get(at).copied());
        let Some(id) = self.selected else {
            self.scroll_to_newest();
            return;
        };
        let seen = self.seen(height, heights);
        let Some(item) = self.position(id) else { return };
        if item >= seen.items.end {
            self.scroll = Scroll::At { item, hidden: 0 };
        } else if item < seen.items.start || (item == seen.items.start && seen.skipped > 0) {
            let last = self.items.len().saturating_sub(1);
            let heights = &|at| heights(&self.items, at);
            let (item, hidden) = forth(item, heights(item), height, last, heights);
            self.scroll = Scroll::At { item, hidden };
        }
    }

    fn bottom(&self, last: usize) -> (usize, usize) {
        match self.scroll {
            Scroll::Newest => (last, 0),
            Scroll::At { item, hidden } => (item.min(last), hidden),
        }
    }

    /// What is seen in a pane of `height` lines.
    pub(super) fn seen(&self, height: usize, heights: &dyn Fn(&[Item], usize) -> usize) -> Seen {
        let Some(last) = self.items.len().checked_sub(1) else { return Seen::default() };
        let heights = &|at| heights(&self.items, at);
        let (bottom, hidden) = self.bottom(last);
        let mut lines = heights(bottom).saturating_sub(hidden);
        let mut first = bottom;
        while lines < height && first > 0 {
            first -= 1;
            lines += heights(first);
        }
        Seen { items: first..bottom + 1, skipped: lines.saturating_sub(height), below: last - bottom }
    }
}

/// A part of the items.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) items: Range<usize>,
    /// Lines of the first that are not seen.
    pub(super) skipped: usize,
    /// Items below.
    pub(super) below: usize,
}

/// Where the bottom is after going up until `hidden` lines of what was `item` and above are hidden.
fn back(mut item: usize, mut hidden: usize, heights: &impl Fn(usize) -> usize) -> (usize, usize) {
    while item > 0 && hidden >= heights(item) {
        hidden -= heights(item);
        item -= 1;
    }
    (item, hidden.min(heights(item)))
}

/// Where the bottom is after going down by `lines`.
fn forth(
    mut item: usize,
    mut hidden: usize,
    mut lines: usize,
    last: usize,
    heights: &impl Fn(usize) -> usize,
) -> (usize, usize) {
    while lines > hidden {
        if item >= last {
            return (last, 0);
        }
        lines -= hidden;
        item += 1;
        hidden = heights(item);
    }
    (item, hidden - lines)
}

/// Lines from the bottom upwards, counted up to `enough`.
fn lines_above(item: usize, hidden: usize, enough: usize, heights: &impl Fn(usize) -> usize) -> usize {
    let mut lines = heights(item).saturating_sub(hidden);
    for above in (0..item).rev() {
        if lines >= enough {
            break;
        }
        lines += heights(above);
    }
    lines
}

#[cfg(test)]
mod tests;
