//! QR codes in a terminal: two modules a character, in half blocks. Pure, but for asking how large the terminal is.

use std::io::{IsTerminal as _, stdout};

use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around a code (ISO/IEC 18004 §9.1).
const QUIET: usize = 4;

/// Which modules are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// The dark ones: black on white.
    Dark,
    /// The light ones, for a terminal that draws light on dark and cannot be told otherwise. On a light one the code is
    /// inverted, which most readers read as well.
    Light,
}

/// A code, and how much room it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    /// One text for each line of the terminal, all of the same width.
    pub(super) lines: Vec<String>,
    /// Columns.
    pub(super) width: usize,
}

/// The code for `text`; `None` if it does not fit into any.
pub(super) fn code(text: &str, ink: Ink) -> Option<Code> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (modules, colours) = (code.width(), code.to_colors());
    let width = modules + 2 * QUIET;
    let is_drawn = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < modules);
        let is_dark = match (inside(x), inside(y)) {
            (Some(x), Some(y)) => colours[y * modules + x] == Color::Dark,
            _ => false,
        };
        is_dark == (ink == Ink::Dark)
    };
    let line = |y: usize| {
        let half = |x| match (is_drawn(x, y), y + 1 < width && is_drawn(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        (0..width).map(half).collect()
    };
    Some(Code { lines: (0..width).step_by(2).map(line).collect(), width })
}

/// Columns and lines of the terminal that the output goes to, if it goes to one.
pub(super) fn terminal() -> Option<(usize, usize)> {
    if !stdout().is_terminal() {
        return None;
    }
    let (columns, lines) = ratatui::crossterm::terminal::size().ok()?;
    Some((columns.into(), lines.into()))
}

/// What to do where there are only `columns`; `None` if the code fits.
pub(super) fn too_narrow(code: &Code, columns: usize) -> Option<String> {
    (columns < code.width).then(|| {
        format!(
            "its QR code needs {} columns and this terminal has {columns}: make it wider, and ask again",
            code.width
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_square_and_have_a_quiet_zone() {
        let dark = code("hello", Ink::Dark).unwrap();
        // Version 1 has 21 modules.
        assert_eq!((dark.width, dark.lines.len()), (21 + 2 * QUIET, 15));
        assert!(dark.lines.iter().all(|line| line.chars().count() == dark.width));
        assert!(dark.lines[..2].iter().all(|line| line.trim().is_empty()), "four modules of white");
        // The upper edges of the finder patterns, and a module of white below them.
        assert!(dark.lines[2].starts_with("    █▀▀▀▀▀█ "), "{}", dark.lines[2]);
        let light = code("hello", Ink::Light).unwrap();
        assert!(light.lines[2].starts_with("████ ▄▄▄▄▄ █"), "{}", light.lines[2]);
    }

    #[test]
    fn narrow_terminals_are_told_to_widen() {
        let link = code(&"x".repeat(150), Ink::Dark).unwrap();
        assert_eq!((link.width, link.lines.len()), (53, 27));
        assert_eq!(too_narrow(&link, 53), None);
        assert!(too_narrow(&link, 52).unwrap().contains("53 columns"));
        assert_eq!(code(&"x".repeat(4000), Ink::Dark), None);
    }
}
