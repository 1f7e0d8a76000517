//! Who is in the conversation.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};

use super::list::sign;
use crate::ui::tui::state::State;
use crate::ui::tui::text;

pub(super) fn draw(state: &State, area: Rect, frame: &mut Frame<'_>) {
    let Some(entry) = state.active().filter(|_| !area.is_empty()) else { return };
    let block = Block::new().borders(Borders::LEFT).border_style(state.theme.dim());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let width = usize::from(inside.width);
    let mut lines = vec![Line::styled(format!("{} and you", entry.members.len()), state.theme.dim())];
    for member in &entry.members {
        let name = text::fit(&member.name, width.saturating_sub(2));
        let style = state.theme.person(member.peer);
        lines.push(Line::from(vec![
            Span::raw(sign(member.presence)),
            Span::raw(" "),
            Span::styled(name, style),
        ]));
        let details = [member.role, &member.link].map(str::trim).into_iter().filter(|text| !text.is_empty());
        let details = details.collect::<Vec<_>>().join(", ");
        if !details.is_empty() {
            lines.push(Line::styled(
                format!("  {}", text::fit(&details, width.saturating_sub(2))),
                state.theme.dim(),
            ));
        }
    }
    for (line, y) in lines.into_iter().zip(inside.y..inside.bottom()) {
        frame.render_widget(line, Rect::new(inside.x, y, inside.width, 1));
    }
}
