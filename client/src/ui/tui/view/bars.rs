//! The title at the top, the status above the composer, and the composer.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::list::sign;
use crate::ui::tui::model::{Entry, Presence};
use crate::ui::tui::state::{Mode, ServerState, State};
use crate::ui::tui::text;

pub(super) fn title(state: &State, area: Rect, frame: &mut Frame<'_>) {
    let left = match state.active() {
        None => " hobnob".to_owned(),
        Some(entry) => {
            let topic = if entry.topic.is_empty() { String::new() } else { format!("  {}", entry.topic) };
            let is_narrow = area.width < 60;
            let sign = if is_narrow { format!("{} ", sign(entry.presence())) } else { String::new() };
            format!(" {sign}{}{topic}", entry.title)
        }
    };
    bar(&left, "F1 help ", area, state.theme.bar(), frame);
}

/// `left` and `right` at the two ends; `right` gives way.
fn bar(left: &str, right: &str, area: Rect, style: Style, frame: &mut Frame<'_>) {
    let width = usize::from(area.width);
    let left = text::fit(left, width);
    let room = width - text::width(&left);
    let right = if text::width(right) < room { right } else { "" };
    let line = format!("{left}{}{right}", " ".repeat(room - text::width(right)));
    frame.render_widget(Line::styled(line, style), area);
}

pub(super) fn status(state: &State, area: Rect, frame: &mut Frame<'_>) {
    if let Some(notice) = state.notice() {
        let style =
            if notice.is_error { state.theme.bar().patch(state.theme.bad()) } else { state.theme.bar() };
        let sign = if notice.is_error { "!" } else { "*" };
        bar(&format!(" {sign} {}", notice.text), "", area, style, frame);
        return;
    }
    let left = match (state.mode, state.active()) {
        (Mode::Reply(_) | Mode::Edit(_) | Mode::React(_) | Mode::Delete(_), _) => " Esc leaves it".to_owned(),
        (Mode::New, Some(entry)) => {
            format!(" {} {}{}{}", sign(entry.presence()), entry.status, kept_back(state), writers(state))
        }
        (Mode::New, None) => connected(state),
    };
    let hidden = if state.manner.is_invisible { "invisible " } else { "" };
    bar(&left, &(elsewhere(state) + hidden + server(state)), area, state.theme.bar(), frame);
}

/// What cannot be shown yet.
fn kept_back(state: &State) -> String {
    match state.buffer().gap.waiting {
        0 => String::new(),
        count => format!("  {count} kept back: earlier ones are missing"),
    }
}

/// Who is writing.
fn writers(state: &State) -> String {
    match state.writers().as_slice() {
        [] => String::new(),
        [one] => format!("  {one} is typing"),
        [one, other] => format!("  {one} and {other} are typing"),
        many => format!("  {} are typing", many.len()),
    }
}

/// How many are connected.
fn connected(state: &State) -> String {
    let is_there = |entry: &&Entry| entry.peer.is_some() && entry.presence() == Presence::Connected;
    let there = state.entries.iter().filter(is_there).count();
    match there {
        0 => " nobody is connected".to_owned(),
        count => format!(" {count} connected"),
    }
}

/// What waits to be read.
fn elsewhere(state: &State) -> String {
    let below = if state.buffer().is_at_newest() { "" } else { "older messages: Alt+End  " };
    let unread = state.entries.iter().map(|entry| state.unread(entry.id).0).sum::<usize>();
    match unread {
        0 => below.to_owned(),
        count => format!("{below}{count} new: Alt+a  "),
    }
}

const fn server(state: &State) -> &'static str {
    match state.server {
        ServerState::Connecting => "server … ",
        ServerState::Up => "server ✓ ",
        ServerState::Down => "no server ",
    }
}

pub(super) fn composer(state: &State, area: Rect, frame: &mut Frame<'_>) {
    let prompt = state.prompt();
    let shown = state.composer.shown(usize::from(area.width), text::width(&prompt));
    let (row, column) = shown.cursor;
    let height = usize::from(area.height);
    let top = (row + 1).saturating_sub(height);
    for (number, line) in shown.lines.iter().enumerate().skip(top).take(height) {
        let head = if number == 0 { Span::styled(prompt.clone(), state.theme.own()) } else { Span::raw("") };
        let y = area.y + u16::try_from(number - top).unwrap_or(0);
        let line = Line::from(vec![head, Span::raw(line.clone())]);
        frame.render_widget(line, Rect::new(area.x, y, area.width, 1));
    }
    let offset = |at: usize, max: u16| u16::try_from(at).unwrap_or(max).min(max.saturating_sub(1));
    if state.overlay.is_none() && !area.is_empty() {
        let (x, y) = (area.x + offset(column, area.width), area.y + offset(row - top, area.height));
        frame.set_cursor_position(Position::new(x, y));
    }
}
