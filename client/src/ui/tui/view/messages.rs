//! The pane of messages.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::message;
use crate::ui::tui::state::State;

/// What this program's page says when there is nothing else.
const NOTHING: &str = "nothing was said here yet";

pub(super) fn draw(state: &State, area: Rect, frame: &mut Frame<'_>) {
    let buffer = state.buffer();
    let look = state.look();
    let height = usize::from(area.height);
    let heights = |items: &[_], at: usize| message::lines(&look, items, at).len();
    let seen = buffer.seen(height, &heights);
    if buffer.items().is_empty() {
        frame.render_widget(Line::styled(NOTHING, state.theme.dim()).centered(), area);
        return;
    }
    let lines = seen.items.flat_map(|at| message::lines(&look, buffer.items(), at)).skip(seen.skipped);
    // What is short stands at the bottom, beside the composer.
    let lines: Vec<_> = lines.take(height).collect();
    let empty = area.height - u16::try_from(lines.len()).unwrap_or(area.height);
    for (line, y) in lines.into_iter().zip(area.y + empty..) {
        frame.render_widget(line, Rect::new(area.x, y, area.width, 1));
    }
}
