//! Draws a terminal's screen as SVG: `tmux capture-pane -p -e | terminal_svg COLUMNS > screen.svg`.
//!
//! `tests/terminal-picture` makes docs/terminal.svg with it from the real program.

use std::io::{Read, Write, stdin, stdout};

use unicode_width::UnicodeWidthChar;

/// Pixels of a character's cell.
const CELL: (usize, usize) = (8, 17);
const MARGIN: usize = 12;
const FOREGROUND: &str = "#d7dae0";
const BACKGROUND: &str = "#1e2127";
/// The sixteen colours.
const COLOURS: [&str; 16] = [
    "#3f4451", "#e06c75", "#98c379", "#d19a66", "#61afef", "#c678dd", "#56b6c2", "#d7dae0", "#5c6370",
    "#ff7b86", "#b1e18b", "#efb074", "#67cdff", "#e48bff", "#63d4e0", "#ffffff",
];

/// How characters look, from the select-graphic-rendition sequences so far (ECMA-48 §8.3.117).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    foreground: Option<usize>,
    background: Option<usize>,
    is_bold: bool,
    is_dim: bool,
    is_reversed: bool,
}

impl Look {
    fn apply(&mut self, parameters: &str) {
        let mut codes = parameters.split(';').map(|parameter| parameter.parse().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.is_bold = true,
                2 => self.is_dim = true,
                7 => self.is_reversed = true,
                22 => (self.is_bold, self.is_dim) = (false, false),
                27 => self.is_reversed = false,
                code @ 30..=37 => self.foreground = Some(code - 30),
                // One of 256 colours, of which the first are the sixteen.
                38 => self.foreground = codes.nth(1).filter(|colour| *colour < COLOURS.len()),
                39 => self.foreground = None,
                code @ 40..=47 => self.background = Some(code - 40),
                48 => self.background = codes.nth(1).filter(|colour| *colour < COLOURS.len()),
                49 => self.background = None,
                code @ 90..=97 => self.foreground = Some(code - 82),
                code @ 100..=107 => self.background = Some(code - 92),
                _ => {}
            }
        }
    }

    /// The colours of the characters and of what is behind them, if it is not the screen's.
    fn colours(self) -> (&'static str, Option<&'static str>) {
        let foreground = self.foreground.map_or(FOREGROUND, |colour| COLOURS[colour]);
        let background = self.background.map(|colour| COLOURS[colour]);
        match self.is_reversed {
            true => (background.unwrap_or(BACKGROUND), Some(foreground)),
            false => (foreground, background),
        }
    }
}

/// Characters that look the same, with the column where they begin and the columns that they take.
fn runs(line: &str, look: &mut Look) -> Vec<(usize, usize, Look, String)> {
    let mut runs: Vec<(usize, usize, Look, String)> = Vec::new();
    let mut column = 0;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if let Some((parameters, after)) =
            rest.strip_prefix('[').filter(|_| c == '\u{1b}').and_then(|s| s.split_once('m'))
        {
            look.apply(parameters);
            rest = after;
            continue;
        }
        let width = c.width().unwrap_or(0);
        match runs.last_mut() {
            // Wide characters stand alone, so that what follows stands in its column whatever the font.
            Some((_, columns, same, text))
                if *same == *look && width < 2 && *columns == text.chars().count() =>
            {
                *columns += width;
                text.push(c);
            }
            _ => runs.push((column, width, *look, c.to_string())),
        }
        column += width;
    }
    runs
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn draw(screen: &str, columns: usize) -> String {
    let lines: Vec<_> = screen.lines().collect();
    let (width, height) = (columns * CELL.0 + 2 * MARGIN, lines.len() * CELL.1 + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"DejaVu Sans Mono,Menlo,Consolas,monospace\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    let mut look = Look::default();
    for (number, line) in lines.iter().enumerate() {
        let top = MARGIN + number * CELL.1;
        for (column, columns, look, text) in runs(line, &mut look) {
            let (left, wide) = (MARGIN + column * CELL.0, columns * CELL.0);
            let (foreground, background) = look.colours();
            if let Some(background) = background {
                let height = CELL.1;
                svg += &format!(
                    "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{height}\" fill=\"{background}\"/>\n"
                );
            }
            if !text.trim().is_empty() {
                let weight = if look.is_bold { " font-weight=\"bold\"" } else { "" };
                let opacity = if look.is_dim { " opacity=\"0.6\"" } else { "" };
                svg += &format!(
                    "<text x=\"{left}\" y=\"{}\" textLength=\"{wide}\" xml:space=\"preserve\" \
                     fill=\"{foreground}\"{weight}{opacity}>{}</text>\n",
                    top + CELL.1 - 4,
                    escaped(&text)
                );
            }
        }
    }
    svg + "</svg>\n"
}

fn main() -> anyhow::Result<()> {
    let columns = std::env::args().nth(1).and_then(|columns| columns.parse().ok()).unwrap_or(80);
    let mut screen = String::new();
    stdin().read_to_string(&mut screen)?;
    stdout().write_all(draw(&screen, columns).as_bytes())?;
    Ok(())
}
