//! An item of a conversation as lines. Pure.

use common::identity::PeerId;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::theme::Theme;
use crate::log::{DisplayOrder, MessageId};
use crate::reading::TAKEN_BACK;
use crate::ui::names::Names;
use crate::ui::show::placeholder;
use crate::ui::tui::model::{Item, Mark, Reaction, Row};
use crate::ui::tui::text;
use crate::ui::tui::zone::Zone;

/// Columns of the time and the space behind it.
const TIME: usize = 6;
/// Panes narrower than this show no times.
const NARROW: usize = 34;

/// What lines are made with.
#[derive(Debug)]
pub(in crate::ui::tui) struct Look<'a> {
    pub(in crate::ui::tui) names: &'a Names,
    pub(in crate::ui::tui) zone: &'a Zone,
    pub(in crate::ui::tui) theme: Theme,
    /// Columns of the pane.
    pub(in crate::ui::tui) width: usize,
    /// Where the line for unread messages stands.
    pub(in crate::ui::tui) first_unread: Option<DisplayOrder>,
    pub(in crate::ui::tui) selected: Option<MessageId>,
    /// What blocked people said is open.
    pub(in crate::ui::tui) shows_blocked: bool,
}

impl Look<'_> {
    /// Whether something else stands for the message.
    fn hides(&self, item: &Item) -> bool {
        !self.shows_blocked && item.message().is_some_and(|row| row.is_blocked)
    }
}

/// The lines of item `at`, with those above it that mark a new day and what is unread.
pub(in crate::ui::tui) fn lines(look: &Look<'_>, items: &[Item], at: usize) -> Vec<Line<'static>> {
    let item = &items[at];
    let day = look.zone.day(item.at_ms());
    let before = at.checked_sub(1).map(|before| look.zone.day(items[before].at_ms()));
    let mut lines = Vec::new();
    if before.as_ref() != Some(&day) {
        lines.push(rule(&day, '─', look.width, look.theme.dim()));
    }
    match item {
        // The last of those that stand together tells of all.
        item if look.hides(item) => {
            if !items.get(at + 1).is_some_and(|next| look.hides(next)) {
                let count = items[..=at].iter().rev().take_while(|item| look.hides(item)).count();
                let said = format!("{} (Alt+O)", placeholder(count));
                lines.push(rule(&said, ' ', look.width, look.theme.dim()));
            }
        }
        Item::Message(row) => {
            if look.first_unread == Some(row.order) {
                lines.push(rule("new", '─', look.width, look.theme.fresh()));
            }
            message(look, items, row, &mut lines);
        }
        Item::Note { at_ms, text, is_error } => {
            let style = if *is_error { look.theme.bad() } else { look.theme.dim() };
            let head = vec![Span::styled(if *is_error { "! " } else { "* " }, style)];
            body(look, *at_ms, head, text, style, &mut lines);
        }
    }
    lines
}

/// A word in the middle of a line.
fn rule(word: &str, sign: char, width: usize, style: Style) -> Line<'static> {
    let word = text::fit(&format!(" {word} "), width);
    let left = width.saturating_sub(text::width(&word)) / 2;
    let right = width.saturating_sub(text::width(&word) + left);
    let bar = |count| sign.to_string().repeat(count);
    Line::styled(format!("{}{word}{}", bar(left), bar(right)), style)
}

fn indent(look: &Look<'_>) -> usize {
    if look.width < NARROW { 2 } else { TIME }
}

fn message(look: &Look<'_>, items: &[Item], row: &Row, lines: &mut Vec<Line<'static>>) {
    let first = lines.len();
    let theme = look.theme;
    if let Some(target) = row.reply {
        let rows = items.iter().rev().filter_map(Item::message);
        let said = match rows.into_iter().find(|row| row.order.id == target) {
            Some(row) if row.is_blocked && !look.shows_blocked => {
                "↪ a message of a blocked person".to_owned()
            }
            Some(row) if row.is_deleted => format!("↪ {}: {TAKEN_BACK}", look.names.shown(row.author)),
            Some(row) => format!("↪ {}: {}", look.names.shown(row.author), row.body.replace('\n', " ")),
            None => "↪ an earlier message".to_owned(),
        };
        let said = text::fit(&said, look.width.saturating_sub(indent(look)));
        lines.push(Line::styled(" ".repeat(indent(look)) + &said, theme.dim()));
    }
    let head = vec![Span::styled(format!("{}  ", look.names.shown(row.author)), author(theme, row))];
    let (said, style) = if row.is_deleted {
        (TAKEN_BACK, theme.dim())
    } else if row.mentions_me {
        (row.body.as_str(), theme.fresh())
    } else {
        (row.body.as_str(), Style::new())
    };
    body(look, row.at_ms, head, said, style, lines);
    let mut tail = String::new();
    if row.is_edited && !row.is_deleted {
        tail += " (edited)";
    }
    let (mark, mark_style) = delivery(theme, row);
    if !mark.is_empty() {
        tail = format!("{tail} {mark}");
    }
    append(look, lines, tail, mark_style);
    if !row.reactions.is_empty() {
        lines.push(reactions(look, &row.reactions));
    }
    if look.selected == Some(row.order.id) {
        for line in &mut lines[first..] {
            line.style = line.style.add_modifier(Modifier::REVERSED);
        }
    }
}

fn author(theme: Theme, row: &Row) -> Style {
    if row.is_own { theme.own() } else { theme.person(row.author) }
}

/// `text` behind the time and `head`; further lines are indented, so that none can pass for another message.
fn body(
    look: &Look<'_>,
    at_ms: u64,
    head: Vec<Span<'static>>,
    said: &str,
    style: Style,
    lines: &mut Vec<Line<'static>>,
) {
    let indent = indent(look);
    let columns = look.width.saturating_sub(indent).max(1);
    let time = if look.width < NARROW { String::new() } else { text::pad(&look.zone.time(at_ms), TIME) };
    let mut spans = vec![Span::styled(time, look.theme.dim())];
    let used: usize = head.iter().map(|span| text::width(&span.content)).sum::<usize>();
    // Without times the head stands in the place of the indent.
    let first = if look.width < NARROW { used.saturating_sub(indent) } else { used };
    spans.extend(head);
    for (number, range) in text::wrap(said, columns, first).into_iter().enumerate() {
        if number > 0 {
            lines.push(Line::from(std::mem::take(&mut spans)));
            spans.push(Span::raw(" ".repeat(indent)));
        }
        spans.push(Span::styled(said[range].to_owned(), style));
    }
    lines.push(Line::from(spans));
}

/// Puts `tail` behind the last line, or on one of its own if there is no room.
fn append(look: &Look<'_>, lines: &mut Vec<Line<'static>>, tail: String, style: Style) {
    let Some(last) = lines.last_mut() else { return };
    if tail.is_empty() {
        return;
    }
    let used: usize = last.spans.iter().map(|span| text::width(&span.content)).sum();
    if used + text::width(&tail) <= look.width {
        last.push_span(Span::styled(tail, style));
    } else {
        lines.push(Line::styled(" ".repeat(indent(look)) + tail.trim_start(), style));
    }
}

/// How far an own message got: `…` waits, `✓` sent, `✓✓` delivered, and bold when it was read; of many recipients
/// those that got as far as anybody are counted.
fn delivery(theme: Theme, row: &Row) -> (String, Style) {
    let Some(best) = row.marks.values().max().copied() else { return (String::new(), theme.dim()) };
    let (sign, style) = match best {
        Mark::Refused => ("✗", theme.bad()),
        Mark::Pending => ("…", theme.dim()),
        Mark::Sent => ("✓", theme.dim()),
        Mark::Delivered => ("✓✓", theme.dim()),
        Mark::Read => ("✓✓", theme.good()),
    };
    let reached = row.marks.values().filter(|mark| **mark == best).count();
    let all = row.marks.len();
    (if reached == all { sign.to_owned() } else { format!("{sign} {reached}/{all}") }, style)
}

fn reactions(look: &Look<'_>, reactions: &[Reaction]) -> Line<'static> {
    let mut spans = vec![Span::raw(" ".repeat(indent(look)))];
    let mut used = indent(look);
    for reaction in reactions {
        let shown = if reaction.count > 1 {
            format!("{} {}", reaction.text, reaction.count)
        } else {
            reaction.text.clone()
        };
        used += text::width(&shown) + 2;
        if used > look.width {
            break;
        }
        let style = if reaction.is_own { look.theme.bold() } else { Style::new() };
        spans.extend([Span::styled(shown, style), Span::raw("  ")]);
    }
    Line::from(spans)
}

/// The name of `peer` in their colour.
pub(super) fn person(theme: Theme, peer: PeerId, name: String) -> Span<'static> {
    Span::styled(name, theme.person(peer))
}
