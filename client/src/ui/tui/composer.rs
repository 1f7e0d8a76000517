//! The text that is being written: several lines, a cursor that moves by what people see as characters, the
//! editing keys of readline, and what was written before. Pure.

use std::collections::VecDeque;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use super::text;
use crate::ui::plain::MAX_LINE;

/// Texts that can be called back. They are kept in memory only.
const MAX_HISTORY: usize = 1000;
/// Steps that can be undone.
const MAX_UNDO: usize = 100;

/// A change of the text or of the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    Insert(char),
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Backspace,
    Delete,
    KillToEnd,
    KillToStart,
    KillWordBack,
    KillWord,
    Yank,
    Transpose,
    Undo,
}

impl Edit {
    const fn kills(self) -> bool {
        matches!(self, Self::KillToEnd | Self::KillToStart | Self::KillWordBack | Self::KillWord)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Composer {
    text: String,
    /// Byte offset of the cursor, between two graphemes.
    cursor: usize,
    killed: String,
    /// The last edit cut something: the next one adds to it.
    goes_on_killing: bool,
    undo: VecDeque<(String, usize)>,
    history: VecDeque<String>,
    /// Which entry of the history is shown, and what was being written before it was called.
    recalled: Option<(usize, String)>,
}

/// The text as it is shown in a given width.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The lines.
    pub(super) lines: Vec<String>,
    /// Line and column of the cursor.
    pub(super) cursor: (usize, usize),
}

impl Composer {
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What stands before the cursor.
    pub(super) fn before(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Replaces it all; the cursor goes to the end.
    pub(super) fn set(&mut self, text: String) {
        self.remember();
        self.cursor = text.len();
        self.text = text;
        self.recalled = None;
    }

    /// Takes the text away without a trace.
    pub(super) fn take(&mut self) -> String {
        self.cursor = 0;
        self.undo.clear();
        self.recalled = None;
        std::mem::take(&mut self.text)
    }

    /// Takes the text, which can be called back later.
    pub(super) fn submit(&mut self) -> String {
        let text = self.take();
        if !text.trim().is_empty() && self.history.back() != Some(&text) {
            self.history.push_back(text.clone());
            if self.history.len() > MAX_HISTORY {
                self.history.pop_front();
            }
        }
        text
    }

    /// Inserts `text`, as from a paste: control characters are left out. Nothing is inserted, and `false`
    /// returned, if the whole would be longer than any message.
    pub(super) fn insert(&mut self, text: &str) -> bool {
        let clean = common::text::lines(&text.replace("\r\n", "\n").replace('\r', "\n"));
        if self.text.len() + clean.len() > MAX_LINE {
            return false;
        }
        self.remember();
        self.goes_on_killing = false;
        self.text.insert_str(self.cursor, &clean);
        self.cursor += clean.len();
        true
    }

    /// Replaces what stands between `start` and the cursor.
    pub(super) fn replace_from(&mut self, start: usize, with: &str) {
        self.remember();
        self.text.replace_range(start..self.cursor, with);
        self.cursor = start + with.len();
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Insert(c) => {
                let mut bytes = [0; 4];
                // Only a text of the greatest length refuses a character.
                self.insert(c.encode_utf8(&mut bytes));
            }
            Edit::Left => self.cursor = self.left_of(self.cursor),
            Edit::Right => self.cursor = self.right_of(self.cursor),
            Edit::WordLeft => self.cursor = self.word_left(),
            Edit::WordRight => self.cursor = self.word_right(),
            Edit::Home => self.cursor = self.line_start(),
            Edit::End => self.cursor = self.line_end(),
            Edit::Backspace => drop(self.cut(self.left_of(self.cursor), self.cursor)),
            Edit::Delete => drop(self.cut(self.cursor, self.right_of(self.cursor))),
            // At the end of a line its break goes.
            Edit::KillToEnd if self.line_end() == self.cursor => self.edit(Edit::Delete),
            Edit::KillToEnd => self.kill(self.cursor, self.line_end()),
            Edit::KillToStart => self.kill(self.line_start(), self.cursor),
            Edit::KillWordBack => self.kill(self.space_left(), self.cursor),
            Edit::KillWord => self.kill(self.cursor, self.word_right()),
            Edit::Yank => {
                let killed = self.killed.clone();
                self.insert(&killed);
            }
            Edit::Transpose => self.transpose(),
            Edit::Undo => {
                if let Some((text, cursor)) = self.undo.pop_back() {
                    (self.text, self.cursor) = (text, cursor);
                }
            }
        }
        self.goes_on_killing = edit.kills();
    }

    /// Moves a line up or down within the text; `false` if there is none.
    pub(super) fn move_line(&mut self, is_up: bool) -> bool {
        let (start, end) = (self.line_start(), self.line_end());
        let column = text::width(&self.text[start..self.cursor]);
        let line = if is_up {
            let Some(before) = start.checked_sub(1) else { return false };
            self.text[..before].rfind('\n').map_or(0, |at| at + 1)..before
        } else {
            let begin = end + 1;
            let Some(rest) = self.text.get(begin..) else { return false };
            begin..rest.find('\n').map_or(self.text.len(), |at| begin + at)
        };
        let mut used = 0;
        let target = self.text[line.clone()].grapheme_indices(true).find(|(_, grapheme)| {
            used += text::width(grapheme);
            used > column
        });
        self.cursor = target.map_or(line.end, |(at, _)| line.start + at);
        true
    }

    /// Calls back what was written before (`is_back`) or after; `false` if there is nothing.
    pub(super) fn recall(&mut self, is_back: bool) -> bool {
        let at = match (&self.recalled, is_back) {
            (None, true) => self.history.len().checked_sub(1),
            (None, false) => None,
            (Some((at, _)), true) => at.checked_sub(1),
            (Some((at, _)), false) => Some(at + 1),
        };
        let Some(at) = at else { return false };
        let draft = match self.recalled.take() {
            Some((_, draft)) => draft,
            None => self.text.clone(),
        };
        match self.history.get(at) {
            Some(text) => {
                self.text = text.clone();
                self.recalled = Some((at, draft));
            }
            None => self.text = draft,
        }
        self.cursor = self.text.len();
        true
    }

    /// The text in lines of at most `columns`, with `first` columns of the first line taken by a prompt.
    pub(super) fn shown(&self, columns: usize, first: usize) -> Shown {
        // The cursor needs a place behind the last character.
        let ranges = text::wrap(&self.text, columns.saturating_sub(1).max(1), first);
        let on = ranges.iter().rposition(|range| range.start <= self.cursor).unwrap_or(0);
        let end = self.cursor.clamp(ranges[on].start, ranges[on].end.max(ranges[on].start));
        let column = text::width(&self.text[ranges[on].start..end]) + if on == 0 { first } else { 0 };
        Shown {
            lines: ranges.into_iter().map(|range| self.text[range].to_owned()).collect(),
            cursor: (on, column),
        }
    }

    fn remember(&mut self) {
        self.undo.push_back((self.text.clone(), self.cursor));
        if self.undo.len() > MAX_UNDO {
            self.undo.pop_front();
        }
    }

    fn cut(&mut self, from: usize, to: usize) -> String {
        if from < to {
            self.remember();
        }
        self.cursor = from;
        self.text.drain(from..to).collect()
    }

    fn kill(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        if !self.goes_on_killing {
            self.killed.clear();
        }
        let at = if from < self.cursor { 0 } else { self.killed.len() };
        let cut = self.cut(from, to);
        self.killed.insert_str(at, &cut);
    }

    fn transpose(&mut self) {
        let right = if self.cursor == self.text.len() { self.cursor } else { self.right_of(self.cursor) };
        let middle = self.left_of(right);
        let left = self.left_of(middle);
        if left < middle && middle < right {
            self.remember();
            let swapped = format!("{}{}", &self.text[middle..right], &self.text[left..middle]);
            self.text.replace_range(left..right, &swapped);
            self.cursor = right;
        }
    }

    fn left_of(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        cursor.prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    fn right_of(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        cursor.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len())
    }

    fn line_start(&self) -> usize {
        self.before().rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }

    /// The beginning of the word before the cursor.
    fn word_left(&self) -> usize {
        self.before().unicode_word_indices().next_back().map_or(0, |(at, _)| at)
    }

    /// The end of the word behind the cursor.
    fn word_right(&self) -> usize {
        let rest = &self.text[self.cursor..];
        rest.unicode_word_indices().next().map_or(self.text.len(), |(at, word)| self.cursor + at + word.len())
    }

    /// The beginning of what stands before the cursor without a space.
    fn space_left(&self) -> usize {
        let solid = self.before().trim_end();
        solid
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + solid[at..].chars().next().map_or(1, char::len_utf8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn typed(text: &str) -> Composer {
        let mut composer = Composer::default();
        text.chars().for_each(|c| composer.edit(Edit::Insert(c)));
        composer
    }

    fn after(text: &str, edits: &[Edit]) -> (String, usize) {
        let mut composer = typed(text);
        edits.iter().for_each(|edit| composer.edit(*edit));
        (composer.text, composer.cursor)
    }

    #[test]
    fn keys_do_what_readline_does() {
        use Edit::*;
        assert_eq!(after("one two three", &[KillWordBack]), ("one two ".to_owned(), 8));
        assert_eq!(after("one two", &[KillWordBack, Home, Yank]), ("twoone ".to_owned(), 3));
        assert_eq!(after("one two", &[KillWordBack, KillWordBack, Yank]), ("one two".to_owned(), 7));
        assert_eq!(after("one two", &[KillWordBack, Left, KillWordBack, Yank]), ("one ".to_owned(), 3));
        assert_eq!(after("one two", &[WordLeft, WordLeft, KillWord]), (" two".to_owned(), 0));
        assert_eq!(after("ab\ncd", &[Home, KillToEnd]), ("ab\n".to_owned(), 3));
        assert_eq!(after("ab\ncd", &[Home, Left, KillToEnd]), ("abcd".to_owned(), 2));
        assert_eq!(after("ab\ncd", &[KillToStart]), ("ab\n".to_owned(), 3));
        assert_eq!(after("ab", &[Transpose]), ("ba".to_owned(), 2));
        assert_eq!(after("ab", &[Backspace, Backspace, Undo]), ("a".to_owned(), 1));
        assert_eq!(after("ab", &[Home, Delete, End]), ("b".to_owned(), 1));
    }

    #[test]
    fn the_cursor_steps_over_what_people_see_as_one_character() {
        assert_eq!(after("a👩\u{200d}🚀", &[Edit::Backspace]).0, "a");
        assert_eq!(after("ae\u{301}", &[Edit::Left]).1, 1);
    }

    #[test]
    fn pastes_keep_their_lines_and_lose_their_escapes() {
        let mut composer = typed("x");
        assert!(composer.insert("a\r\nb\rc\u{1b}[31m"));
        assert_eq!(composer.text, "xa\nb\nc[31m");
        assert!(!composer.insert(&"y".repeat(MAX_LINE)));
        assert_eq!(composer.text, "xa\nb\nc[31m");
    }

    #[test]
    fn lines_are_walked_and_history_is_called_back() {
        let mut composer = typed("first");
        assert_eq!(composer.submit(), "first");
        for c in "one\n日本three".chars() {
            composer.edit(Edit::Insert(c));
        }
        assert!(composer.move_line(true));
        assert_eq!(composer.before(), "one");
        assert!(!composer.move_line(true));
        assert!(composer.move_line(false));
        assert_eq!(composer.before(), "one\n日");
        assert!(composer.recall(true));
        assert_eq!(composer.text, "first");
        assert!(!composer.recall(true));
        assert!(composer.recall(false));
        assert_eq!(composer.text, "one\n日本three");
        assert!(!composer.recall(false));
    }

    #[test]
    fn the_cursor_is_shown_where_it_stands() {
        let shown = typed("hello wide world").shown(11, 2);
        assert_eq!(shown.lines, ["hello", "wide world"]);
        assert_eq!(shown.cursor, (1, 10));
        assert_eq!(typed("").shown(10, 3).cursor, (0, 3));
        assert_eq!(typed("ab\n").shown(10, 3).cursor, (1, 0));
    }

    proptest! {
        #[test]
        fn no_sequence_of_edits_breaks_it(
            text in "[a é日\u{301}👩\u{200d}🚀\n]{0,20}",
            edits in proptest::collection::vec(0usize..18, 0..40),
        ) {
            use Edit::*;
            let all = [Left, Right, WordLeft, WordRight, Home, End, Backspace, Delete, KillToEnd, KillToStart,
                KillWordBack, KillWord, Yank, Transpose, Undo, Insert('x')];
            let mut composer = typed(&text);
            for edit in edits {
                match all.get(edit) {
                    Some(edit) => composer.edit(*edit),
                    None => drop(composer.move_line(edit == 16)),
                }
                prop_assert!(composer.text.is_char_boundary(composer.cursor));
                let shown = composer.shown(7, 2);
                prop_assert!(shown.cursor.0 < shown.lines.len() && shown.cursor.1 <= 8);
            }
        }
    }
}
