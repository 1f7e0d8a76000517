//! Which key does what: one table, from which keys are looked up and the help is made.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::composer::Edit;

/// Closes what lies over the rest and is only to be read; every other letter does so too, and is written.
pub(super) const CLOSE: char = 'q';
/// Copies the text of a QR code.
pub(super) const COPY: char = 'c';

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Edit(Edit),
    Newline,
    Send,
    Complete {
        is_back: bool,
    },
    /// A line up or down in the text; beyond its ends the last own message or the history.
    Line {
        is_up: bool,
    },
    /// What was written before or after.
    Recall {
        is_back: bool,
    },
    /// Half a page towards older or newer messages.
    Scroll {
        is_up: bool,
    },
    Oldest,
    Newest,
    NextActive,
    /// The conversation with this number; 0 is this program's own page.
    Direct(usize),
    /// The neighbour in the list.
    Neighbour {
        is_up: bool,
    },
    /// Chooses a message to answer, change or react to.
    Select {
        is_up: bool,
    },
    Jump,
    Search,
    Help,
    Members,
    /// Opens or closes what blocked people said.
    Blocked,
    Cancel,
    Redraw,
    Suspend,
    Interrupt,
    /// Deletes to the right, and ends the program if there is no text.
    EndOfInput,
}

/// A line of the table.
pub(super) struct Binding {
    /// The keys as [`name`] writes them, separated by spaces.
    pub(super) keys: &'static str,
    pub(super) intent: Intent,
    /// What they do; empty for those that are not worth a line.
    pub(super) help: &'static str,
}

const fn key(keys: &'static str, intent: Intent, help: &'static str) -> Binding {
    Binding { keys, intent, help }
}

/// All keys. What is not here and has a character writes it.
pub(super) const KEYS: [Binding; 43] = [
    key("Enter", Intent::Send, "send"),
    key("Alt+Enter Ctrl+J", Intent::Newline, "a new line in the message"),
    key("Tab", Intent::Complete { is_back: false }, "complete a command or a name; again for the next"),
    key("Shift+Tab", Intent::Complete { is_back: true }, ""),
    key("Ctrl+K", Intent::Jump, "jump to a conversation by some of its letters"),
    key("Alt+A", Intent::NextActive, "next conversation with something new"),
    key("Alt+Down", Intent::Neighbour { is_up: false }, "next conversation"),
    key("Alt+Up", Intent::Neighbour { is_up: true }, "previous conversation"),
    key("PageUp", Intent::Scroll { is_up: true }, "older messages"),
    key("PageDown", Intent::Scroll { is_up: false }, "newer messages"),
    key("Alt+Home", Intent::Oldest, "older messages, by a page that is loaded"),
    key("Alt+End", Intent::Newest, "the newest message"),
    key(
        "Ctrl+Up",
        Intent::Select { is_up: true },
        "choose a message: then r replies, e edits, d deletes, + reacts",
    ),
    key("Ctrl+Down", Intent::Select { is_up: false }, ""),
    key("Ctrl+R", Intent::Search, "search in what was said"),
    key("Alt+M F3", Intent::Members, "show or hide who is in the conversation"),
    key("Alt+O F4", Intent::Blocked, "open or close what blocked people said here"),
    key("F1", Intent::Help, "this help"),
    key("Esc", Intent::Cancel, "close what is open; leave a choice, a reply or a change"),
    key("Up", Intent::Line { is_up: true }, "line above; in an empty message: change your last one"),
    key("Down", Intent::Line { is_up: false }, ""),
    key("Ctrl+P", Intent::Recall { is_back: true }, "what you wrote before"),
    key("Ctrl+N", Intent::Recall { is_back: false }, "what you wrote after it"),
    key("Left Ctrl+B", Intent::Edit(Edit::Left), ""),
    key("Right Ctrl+F", Intent::Edit(Edit::Right), ""),
    key("Alt+B Ctrl+Left Alt+Left", Intent::Edit(Edit::WordLeft), "a word to the left"),
    key("Alt+F Ctrl+Right Alt+Right", Intent::Edit(Edit::WordRight), "a word to the right"),
    key("Ctrl+A Home", Intent::Edit(Edit::Home), "beginning of the line"),
    key("Ctrl+E End", Intent::Edit(Edit::End), "end of the line"),
    key("Backspace Ctrl+H Shift+Backspace", Intent::Edit(Edit::Backspace), ""),
    key("Delete", Intent::Edit(Edit::Delete), ""),
    key("Ctrl+W Alt+Backspace", Intent::Edit(Edit::KillWordBack), "cut the word before the cursor"),
    key("Alt+D", Intent::Edit(Edit::KillWord), "cut the word behind the cursor"),
    key("Ctrl+U", Intent::Edit(Edit::KillToStart), "cut to the beginning of the line"),
    key("Alt+K", Intent::Edit(Edit::KillToEnd), "cut to the end of the line"),
    key("Ctrl+Y", Intent::Edit(Edit::Yank), "insert what was cut last"),
    key("Ctrl+T", Intent::Edit(Edit::Transpose), "exchange two characters"),
    key("Ctrl+_ Ctrl+7", Intent::Edit(Edit::Undo), "undo"),
    key("Ctrl+L", Intent::Redraw, "draw the screen anew"),
    key("Ctrl+Z", Intent::Suspend, "back to the shell; fg returns"),
    key("Ctrl+D", Intent::EndOfInput, "end, if there is no text"),
    key("Ctrl+C", Intent::Interrupt, "end at once"),
    key("Alt+0…9", Intent::Direct(0), "the conversation with this number; 0 is this program's page"),
];

/// What `key` asks for, if anything.
pub(super) fn intent(key: &KeyEvent) -> Option<Intent> {
    if let (KeyCode::Char(c), KeyModifiers::ALT) = (key.code, key.modifiers)
        && let Some(number) = c.to_digit(10)
    {
        return Some(Intent::Direct(number as usize));
    }
    if let Some(name) = name(key)
        && let Some(found) = KEYS.iter().find(|binding| binding.keys.split(' ').any(|key| key == name))
    {
        return Some(found.intent);
    }
    let is_plain = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SUPER);
    match key.code {
        KeyCode::Char(c) if is_plain && !c.is_control() => Some(Intent::Edit(Edit::Insert(c))),
        _ => None,
    }
}

/// A key as people write it: `Ctrl+K`, `Alt+Enter`, `F1`; `None` for a plain character.
fn name(key: &KeyEvent) -> Option<String> {
    let (name, is_shift_free) = match key.code {
        KeyCode::Char(c) if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
            (c.to_uppercase().to_string(), true)
        }
        KeyCode::Enter => ("Enter".to_owned(), false),
        KeyCode::Tab => ("Tab".to_owned(), false),
        KeyCode::BackTab => ("Shift+Tab".to_owned(), true),
        KeyCode::Backspace => ("Backspace".to_owned(), false),
        KeyCode::Delete => ("Delete".to_owned(), false),
        KeyCode::Esc => ("Esc".to_owned(), false),
        KeyCode::Left => ("Left".to_owned(), false),
        KeyCode::Right => ("Right".to_owned(), false),
        KeyCode::Up => ("Up".to_owned(), false),
        KeyCode::Down => ("Down".to_owned(), false),
        KeyCode::Home => ("Home".to_owned(), false),
        KeyCode::End => ("End".to_owned(), false),
        KeyCode::PageUp => ("PageUp".to_owned(), false),
        KeyCode::PageDown => ("PageDown".to_owned(), false),
        KeyCode::F(number) => (format!("F{number}"), false),
        _ => return None,
    };
    let modifiers = [
        (KeyModifiers::CONTROL, "Ctrl+"),
        (KeyModifiers::ALT, "Alt+"),
        (KeyModifiers::SHIFT, if is_shift_free { "" } else { "Shift+" }),
    ];
    let held = modifiers.iter().filter(|(held, _)| key.modifiers.contains(*held));
    Some(held.map(|(_, word)| *word).collect::<String>() + &name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn of(code: KeyCode, modifiers: KeyModifiers) -> Option<Intent> {
        intent(&KeyEvent::new(code, modifiers))
    }

    #[test]
    fn keys_are_found_and_characters_are_written() {
        assert_eq!(of(KeyCode::Enter, KeyModifiers::ALT), Some(Intent::Newline));
        assert_eq!(of(KeyCode::Char('k'), KeyModifiers::CONTROL), Some(Intent::Jump));
        assert_eq!(of(KeyCode::Char('A'), KeyModifiers::ALT | KeyModifiers::SHIFT), Some(Intent::NextActive));
        assert_eq!(of(KeyCode::BackTab, KeyModifiers::SHIFT), Some(Intent::Complete { is_back: true }));
        assert_eq!(of(KeyCode::Char('3'), KeyModifiers::ALT), Some(Intent::Direct(3)));
        assert_eq!(of(KeyCode::Char('É'), KeyModifiers::SHIFT), Some(Intent::Edit(Edit::Insert('É'))));
        assert_eq!(of(KeyCode::Char('q'), KeyModifiers::CONTROL), None);
        assert_eq!(of(KeyCode::F(12), KeyModifiers::NONE), None);
    }

    #[test]
    fn no_key_has_two_meanings() {
        let mut seen = BTreeSet::new();
        for key in KEYS.iter().flat_map(|binding| binding.keys.split(' ')) {
            assert!(seen.insert(key), "{key} is there twice");
        }
    }
}
