//! What came of wishes, for people and for scripts. Pure.

use common::text;
use serde::Serialize;

use super::Outcome;
use crate::engine::Member;
use crate::reading::{Reading, short};
use crate::store::{MessageRow, Regard, Unsent};
use crate::ui::names::Names;

/// Characters of a text in a list.
const MAX_SHOWN: usize = 60;
/// Unsent messages that are listed.
pub(super) const MAX_LISTED: usize = 100;
/// Characters of a topic.
const MAX_TOPIC: usize = 240;

/// For people: lines without the last line break.
pub(in crate::ui) fn lines(outcome: &Outcome, names: &Names) -> String {
    match outcome {
        Outcome::Created { room, name } => {
            format!("the room #{} is made, id {}", text::one_line(name, text::MAX_NAME), short(room))
        }
        Outcome::Done(done) => done.clone(),
        Outcome::Topic { topic, .. } if topic.is_empty() => "no topic is set".to_owned(),
        Outcome::Topic { topic, .. } => format!("topic: {}", text::one_line(topic, MAX_TOPIC)),
        Outcome::Members { title, members, .. } => {
            let lines = members.iter().map(|it| format!("\n   {}", member(it)));
            format!("in {title}:{}", lines.collect::<String>())
        }
        Outcome::Unsent(unsent) if unsent.is_empty() => "all that you wrote is delivered".to_owned(),
        Outcome::Unsent(unsent) => {
            let lines = unsent.iter().map(|(unsent, row)| {
                let words = Reading::of(row).words(|peer| names.shown(peer));
                let text = text::one_line(&words, MAX_SHOWN);
                let recipient = names.shown(unsent.recipient);
                format!("\n   {} to {recipient}, {}: {text}", short(&unsent.id), unsent.state)
            });
            let count = match unsent.len() {
                count if count > MAX_LISTED => format!("more than {MAX_LISTED}"),
                count => count.to_string(),
            };
            format!("{count} not delivered:{}", lines.take(MAX_LISTED).collect::<String>())
        }
        Outcome::Cancelled(id) => format!("{} is cancelled", short(id)),
    }
}

fn member(member: &Member) -> String {
    let name = &member.name;
    let state = match (member.regard, member.connected) {
        (Regard::Hidden, _) => ", blocked",
        (Regard::Quiet, true) => ", muted, connected",
        (Regard::Quiet, false) => ", muted",
        (Regard::Open, true) => ", connected",
        (Regard::Open, false) => "",
    };
    format!("{name} [{}] {}{state}", member.peer.short(), member.standing)
}

/// For scripts.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(in crate::ui) enum Event<'a> {
    Created { conversation: String, name: &'a str },
    Topic { conversation: String, topic: &'a str },
    Members { conversation: String, title: &'a str, members: Vec<Listed<'a>> },
    Unsent { messages: Vec<Open> },
    Cancelled { id: String },
    Info { message: &'a str },
}

#[derive(Debug, Serialize)]
pub(in crate::ui) struct Listed<'a> {
    peer: String,
    name: &'a str,
    standing: String,
    connected: bool,
    blocked: bool,
}

#[derive(Debug, Serialize)]
pub(in crate::ui) struct Open {
    id: String,
    conversation: String,
    /// Who has not confirmed it.
    to: String,
    state: &'static str,
    text: Option<String>,
}

impl<'a> From<&'a Member> for Listed<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            peer: member.peer.to_string(),
            name: &member.name,
            standing: member.standing.to_string(),
            connected: member.connected,
            blocked: member.regard == Regard::Hidden,
        }
    }
}

impl From<&(Unsent, MessageRow)> for Open {
    fn from((unsent, row): &(Unsent, MessageRow)) -> Self {
        Self {
            id: unsent.id.to_string(),
            conversation: row.conversation.to_string(),
            to: unsent.recipient.to_string(),
            state: unsent.state.as_str(),
            text: row.content.as_text().map(str::to_owned),
        }
    }
}

/// The event that tells scripts of `outcome`.
pub(in crate::ui) fn event(outcome: &Outcome) -> Event<'_> {
    match outcome {
        Outcome::Created { room, name } => Event::Created { conversation: room.to_string(), name },
        Outcome::Done(message) => Event::Info { message },
        Outcome::Topic { room, topic } => Event::Topic { conversation: room.to_string(), topic },
        Outcome::Members { room, title, members } => Event::Members {
            conversation: room.to_string(),
            title: title.trim_start_matches('#'),
            members: members.iter().map(Listed::from).collect(),
        },
        Outcome::Unsent(unsent) => Event::Unsent { messages: unsent.iter().map(Open::from).collect() },
        Outcome::Cancelled(cancelled) => Event::Cancelled { id: cancelled.to_string() },
    }
}
