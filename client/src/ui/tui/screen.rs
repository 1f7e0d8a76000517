//! The terminal's modes: taken for the full screen, and given back however the program ends.

use std::io::{self, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use data_encoding::BASE64;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
    EnableMouseCapture,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::style::Print;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// Whether the terminal is taken; it is one for the whole process.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether the mouse is taken with it.
static WITH_MOUSE: AtomicBool = AtomicBool::new(false);

/// Whether the program takes the mouse; the terminal can select text only while it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) enum Mouse {
    /// The terminal keeps it.
    Left,
    /// The wheel scrolls, and a click opens a conversation.
    Taken,
}

/// Gives the terminal back when it is dropped, and before a panic is told.
#[derive(Debug)]
pub(in crate::ui) struct Restore;

impl Restore {
    /// Takes the terminal.
    pub(in crate::ui) fn take(mouse: Mouse) -> io::Result<Self> {
        WITH_MOUSE.store(mouse == Mouse::Taken, Ordering::Relaxed);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
        let restore = Self;
        take()?;
        Ok(restore)
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    IS_TAKEN.store(true, Ordering::Relaxed);
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
    if WITH_MOUSE.load(Ordering::Relaxed) {
        execute!(io::stdout(), EnableMouseCapture)?;
    }
    Ok(())
}

/// Undoes [`take`]. A terminal that is gone needs nothing, so errors are of no interest.
fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    if WITH_MOUSE.load(Ordering::Relaxed) {
        let _ = execute!(io::stdout(), DisableMouseCapture);
    }
    let _ = execute!(io::stdout(), DisableFocusChange, DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Stops the process until the shell continues it.
#[cfg(unix)]
pub(super) fn suspend() -> io::Result<()> {
    use nix::sys::signal::{Signal, raise};
    give_back();
    raise(Signal::SIGTSTP)?;
    take()
}

/// There is no shell to go back to.
#[cfg(not(unix))]
pub(super) fn suspend() -> io::Result<()> {
    Ok(())
}

/// Rings the bell if `bell`, and if `notice` asks the terminal for a notice on the desktop. `text` has no control
/// characters and no semicolons.
pub(super) fn call(text: &str, bell: bool, notice: bool) -> io::Result<()> {
    if notice {
        execute!(io::stdout(), Print(attention(text, &|name| std::env::var(name).ok())))?;
    }
    if bell {
        execute!(io::stdout(), Print('\u{7}'))?;
    }
    io::stdout().flush()
}

/// The notice in the form that the terminal knows: OSC 777 for rxvt, foot and the terminals of GNOME's
/// family, OSC 9 for the others. tmux hands it on if it is allowed to.
fn attention(text: &str, env: &dyn Fn(&str) -> Option<String>) -> String {
    let term = env("TERM").unwrap_or_default();
    let knows_777 = term.starts_with("rxvt") || term.starts_with("foot") || env("VTE_VERSION").is_some();
    let notice = if knows_777 {
        format!("\u{1b}]777;notify;Hobnob;{text}\u{7}")
    } else {
        format!("\u{1b}]9;Hobnob: {text}\u{7}")
    };
    through_tmux(notice, env)
}

fn through_tmux(sequence: String, env: &dyn Fn(&str) -> Option<String>) -> String {
    match env("TMUX") {
        Some(_) => format!("\u{1b}Ptmux;{}\u{1b}\\", sequence.replace('\u{1b}', "\u{1b}\u{1b}")),
        None => sequence,
    }
}

/// Hands `text` to the clipboard of the terminal (OSC 52), also over SSH. Whether it takes it cannot be known.
pub(super) fn copy(text: &str) -> io::Result<()> {
    let sequence = format!("\u{1b}]52;c;{}\u{7}", BASE64.encode(text.as_bytes()));
    execute!(io::stdout(), Print(&sequence))?;
    let env = |name: &str| std::env::var(name).ok();
    match env("TMUX") {
        // It took the first if it is told to have a clipboard, and hands the second on if it is told to.
        Some(_) => execute!(io::stdout(), Print(through_tmux(sequence, &env))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_has_the_form_that_the_terminal_knows() {
        let with = |name: &'static str, value: &'static str| {
            attention("hi", &move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(with("TERM", "xterm"), "\u{1b}]9;Hobnob: hi\u{7}");
        assert_eq!(with("TERM", "foot-extra"), "\u{1b}]777;notify;Hobnob;hi\u{7}");
        assert_eq!(with("TMUX", "x"), "\u{1b}Ptmux;\u{1b}\u{1b}]9;Hobnob: hi\u{7}\u{1b}\\");
    }
}
