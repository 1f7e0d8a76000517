//! An export as plain text.

use super::page::Line;
use crate::date;

/// What begins the second and later lines of a message, so that none of them can pass for another message.
const INDENT: &str = "        ";

pub(super) fn start(owner: &str) -> String {
    format!("Conversations of {owner}; times are UTC\n")
}

pub(super) fn conversation(title: &str) -> String {
    format!("\n\n=== {title} ===\n")
}

pub(super) fn message(line: &Line<'_>) -> String {
    let day = line.new_day.map_or_else(String::new, |day| format!("\n--- {day} ---\n"));
    let state = line.state.map_or_else(String::new, |state| format!(" ({state})"));
    let text = line.text.replace('\n', &format!("\n{INDENT}"));
    format!("{day}{} <{}> {text}{state}\n", date::time(line.sent_ms), line.author)
}
