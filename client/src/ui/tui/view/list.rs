//! The list of conversations.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};

use crate::ui::tui::model::{Entry, Presence};
use crate::ui::tui::state::State;
use crate::ui::tui::text;

/// Conversations that have a key of their own.
const NUMBERED: usize = 9;

pub(super) fn draw(state: &State, area: Rect, frame: &mut Frame<'_>) {
    if area.is_empty() {
        return;
    }
    let block = Block::new().borders(Borders::RIGHT).border_style(state.theme.dim());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let height = usize::from(inside.height);
    let chosen = state.number();
    // The chosen one is always seen.
    let top = (chosen + 1).saturating_sub(height);
    let width = usize::from(inside.width);
    let own = line(width, Some(0), &Span::raw("  hobnob"), Span::raw(""), chosen == 0, state);
    let entries =
        state.entries.iter().enumerate().map(|(at, entry)| conversation(state, at + 1, entry, width));
    let lines = std::iter::once(own).chain(entries).skip(top).take(height);
    for (line, y) in lines.zip(inside.y..) {
        frame.render_widget(line, Rect::new(inside.x, y, inside.width, 1));
    }
}

fn conversation(state: &State, number: usize, entry: &Entry, width: usize) -> Line<'static> {
    let (unread, is_mentioned) = state.unread(entry.id);
    let style = if unread > 0 { state.theme.bold() } else { Style::new() };
    let title = Span::styled(format!("{} {}", sign(entry.presence()), entry.title), style);
    let count = match (unread, is_mentioned) {
        (0, _) => String::new(),
        (count, true) => format!("@{count}"),
        (count, false) if count > 999 => "999+".to_owned(),
        (count, false) => count.to_string(),
    };
    let count_style = if entry.is_muted { state.theme.dim() } else { state.theme.fresh() };
    let shown = (number <= NUMBERED).then_some(number);
    line(width, shown, &title, Span::styled(count, count_style), state.number() == number, state)
}

/// A number, a title that is cut to fit, and a count at the right.
fn line(
    width: usize,
    number: Option<usize>,
    title: &Span<'static>,
    count: Span<'static>,
    is_chosen: bool,
    state: &State,
) -> Line<'static> {
    let number = number.map_or_else(|| " ".to_owned(), |number| number.to_string());
    let room = width.saturating_sub(2 + text::width(&count.content) + 1);
    let title = Span::styled(text::pad(&title.content, room), title.style);
    let spans = vec![Span::styled(number + " ", state.theme.dim()), title, Span::raw(" "), count];
    let line = Line::from(spans);
    if is_chosen { line.patch_style(state.theme.chosen()) } else { line }
}

/// A sign for how near somebody is.
pub(super) const fn sign(presence: Presence) -> &'static str {
    match presence {
        Presence::Connected => "●",
        Presence::Online => "○",
        Presence::Offline => "·",
    }
}
