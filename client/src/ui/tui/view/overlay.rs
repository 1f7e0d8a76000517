//! Help, answers, the jump and the search, in a box over the rest.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear};

use super::layout;
use super::list::sign;
use super::message::person;
use super::theme::Theme;
use crate::ui::qr::{self, Ink};
use crate::ui::tui::overlay::{Found, Overlay};
use crate::ui::tui::state::State;
use crate::ui::tui::text;

/// Columns of what there is to read beside a QR code.
const MIN_NOTES: u16 = 34;

pub(super) fn draw(state: &State, frame: &mut Frame<'_>) {
    let Some(overlay) = &state.overlay else { return };
    let area = layout::over(frame.area());
    let (title, foot) = match overlay {
        Overlay::Qr { title, .. } => (title.as_str(), "c copies, Esc closes"),
        Overlay::Text { title, .. } => (title.as_str(), "↑↓ scroll, Esc closes"),
        Overlay::Jump { .. } => ("jump to", "↑↓ choose, Enter opens, Esc closes"),
        Overlay::Search { .. } => ("search", "↑↓ choose, Enter goes there, Esc closes"),
    };
    let width = usize::from(area.width.saturating_sub(4));
    let block = Block::bordered()
        .title(format!(" {} ", text::fit(title, width)))
        .title_bottom(Line::from(format!(" {} ", text::fit(foot, width))).right_aligned());
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    match overlay {
        Overlay::Qr { notes, text, .. } => code(state.theme, notes, text, inside, frame),
        Overlay::Text { lines, top, .. } => read(state, lines, *top, inside, frame),
        Overlay::Jump { typed, ranked, chosen } => {
            let choices = ranked.iter().map(|at| jump(state, *at, inside)).collect();
            choose(state, typed, choices, *chosen, inside, frame);
        }
        Overlay::Search { typed, found, chosen, note, .. } => {
            let mut choices: Vec<_> = found.iter().map(|found| hit(state, found, inside)).collect();
            if choices.is_empty() {
                choices = vec![Line::styled(note.clone(), state.theme.dim())];
            }
            choose(state, typed, choices, *chosen, inside, frame);
        }
    }
}

/// Writes lines at the top of `area`; returns what is left below them.
fn write(lines: &[String], area: Rect, frame: &mut Frame<'_>) -> Rect {
    let mut y = area.y;
    for line in lines {
        let line = line.trim_start();
        for range in text::wrap(line, usize::from(area.width), 0) {
            if y < area.bottom() {
                frame.render_widget(Line::raw(&line[range]), Rect::new(area.x, y, area.width, 1));
                y += 1;
            }
        }
    }
    Rect::new(area.x, y, area.width, area.bottom() - y)
}

/// What there is to read, and a QR code below it, or beside it where the screen is low. The code is black on white, or
/// light on dark where nothing is coloured.
fn code(theme: Theme, notes: &[String], text: &str, area: Rect, frame: &mut Frame<'_>) {
    let plain = Style::new();
    let (ink, style) = match theme {
        Theme::Plain => (Ink::Light, plain),
        Theme::Coloured => (Ink::Dark, plain.fg(Color::Black).bg(Color::White)),
    };
    let Some(code) = qr::code(text, ink) else { return };
    let size = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    let (width, height) = (size(code.width), size(code.lines.len()));
    let left = area.width.saturating_sub(width);
    let place = if left >= MIN_NOTES && area.height >= height {
        write(notes, Rect { width: left - 1, ..area }, frame);
        Rect { x: area.x + left, width, ..area }
    } else {
        write(notes, area, frame)
    };
    if place.width < width || place.height < height {
        let advice = format!(
            "The QR code needs {width} columns and {height} lines here, and there are {} and {}: make the window larger.",
            place.width, place.height
        );
        write(&[advice], place, frame);
        return;
    }
    for (line, y) in code.lines.iter().zip(place.y..) {
        frame.render_widget(Line::styled(line.as_str(), style), Rect::new(place.x, y, width, 1));
    }
}

fn read(state: &State, lines: &[String], top: usize, area: Rect, frame: &mut Frame<'_>) {
    let columns = usize::from(area.width);
    let wrapped = lines.iter().flat_map(|line| {
        // The second column of a table stays one.
        let indent =
            line.find("  ").map_or(2, |at| line.len() - line[at..].trim_start().len()).min(columns / 2);
        let rest = columns.saturating_sub(indent);
        let ranges = text::wrap(line, columns, 0);
        match ranges.as_slice() {
            [one] => vec![line[one.clone()].to_owned()],
            [first, ..] => {
                let tail = &line[first.end..].trim_start();
                let tail =
                    text::wrap(tail, rest, 0).into_iter().map(|range| " ".repeat(indent) + &tail[range]);
                std::iter::once(line[first.clone()].to_owned()).chain(tail).collect()
            }
            [] => Vec::new(),
        }
    });
    let wrapped: Vec<_> = wrapped.collect();
    let top = top.min(wrapped.len().saturating_sub(usize::from(area.height)));
    for (line, y) in wrapped.into_iter().skip(top).zip(area.y..area.bottom()) {
        let is_head = !line.starts_with(['/', ' ']) && !line.contains(' ');
        let style = if is_head { state.theme.bold() } else { Style::new() };
        frame.render_widget(Line::styled(line, style), Rect::new(area.x, y, area.width, 1));
    }
}

/// A line that is typed into, and what can be chosen below it.
fn choose(
    state: &State,
    typed: &str,
    choices: Vec<Line<'static>>,
    chosen: usize,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let shown = format!("> {typed}");
    frame.render_widget(Line::from(shown.clone()), area);
    let x = area.x + u16::try_from(text::width(&shown)).unwrap_or(0).min(area.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(x, area.y));
    let height = usize::from(area.height.saturating_sub(1));
    let top = (chosen + 1).saturating_sub(height);
    let lines = choices.into_iter().enumerate().skip(top);
    for ((at, line), y) in lines.zip(area.y + 1..area.bottom()) {
        let line = if at == chosen { line.patch_style(state.theme.chosen()) } else { line };
        frame.render_widget(line, Rect::new(area.x, y, area.width, 1));
    }
}

fn jump(state: &State, at: usize, area: Rect) -> Line<'static> {
    let Some(entry) = state.entries.get(at) else { return Line::default() };
    let shown = format!("{} {}", sign(entry.presence()), entry.title);
    let unread = match state.unread(entry.id).0 {
        0 => String::new(),
        count => count.to_string(),
    };
    let room = usize::from(area.width).saturating_sub(text::width(&unread));
    Line::from(vec![Span::raw(text::pad(&shown, room)), Span::styled(unread, state.theme.fresh())])
}

fn hit(state: &State, found: &Found, area: Rect) -> Line<'static> {
    let name = state.names.shown(found.row.author);
    let date = format!("{}  ", state.zone.date(found.row.at_ms));
    // In a direct conversation the other one speaks to this user.
    let entry = state.entries.iter().find(|entry| entry.id == found.conversation);
    let place = match entry.filter(|entry| entry.peer != Some(found.row.author)) {
        Some(entry) => format!(" → {}  ", entry.title),
        None => "  ".to_owned(),
    };
    let used = text::width(&date) + text::width(&name) + text::width(&place);
    let said = text::fit(&found.row.body.replace('\n', " "), usize::from(area.width).saturating_sub(used));
    let name = person(state.theme, found.row.author, name);
    let dim = state.theme.dim();
    Line::from(vec![Span::styled(date, dim), name, Span::styled(place, dim), Span::raw(said)])
}
