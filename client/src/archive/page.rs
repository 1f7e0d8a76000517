//! Writes an export, in one of three formats. Pure: text comes out.

use std::collections::BTreeMap;

use super::record::{Conversation, Message, Record};
use super::{html, text};
use crate::date::Date;
use crate::reading::Reading;

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// JSON Lines: everything, with signatures; can be verified and imported.
    Jsonl,
    /// Plain text, to read.
    Text,
    /// One page of HTML, to read.
    Html,
}

/// What is written in place of keys and ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(pub BTreeMap<String, String>);

impl Names {
    /// What somebody or something is called, clean enough to show; without a name, by the beginning of the key.
    pub(super) fn get(&self, key: &str) -> String {
        let name = self.0.get(key).map_or_else(|| key.chars().take(8).collect(), Clone::clone);
        common::text::one_line(&name, 2 * common::text::MAX_NAME)
    }
}

/// An export that is being written. Hand it all records in their order.
#[derive(Debug)]
pub struct Page {
    format: Format,
    names: Names,
    owner: String,
    day: Option<Date>,
}

/// A message as it is read.
pub(super) struct Line<'a> {
    pub(super) id: &'a str,
    pub(super) is_own: bool,
    pub(super) author: String,
    /// What was said, with nothing in it that does not show.
    pub(super) text: String,
    pub(super) sent_ms: u64,
    /// Its day, if it is another one than that of the message before.
    pub(super) new_day: Option<Date>,
    /// How far an own message got, if it did not arrive.
    pub(super) state: Option<&'a str>,
}

impl Page {
    /// An export with these names, without anything in it.
    #[must_use]
    pub const fn new(format: Format, names: Names) -> Self {
        Self { format, names, owner: String::new(), day: None }
    }

    /// What `record` adds to the file.
    pub fn add(&mut self, record: &Record) -> String {
        if let Record::Start(start) = record {
            self.owner.clone_from(&start.owner);
        }
        match (self.format, record) {
            (Format::Jsonl, record) => record.to_line(),
            (Format::Text, Record::Start(start)) => text::start(&self.names.get(&start.owner)),
            (Format::Html, Record::Start(start)) => html::start(&self.names.get(&start.owner)),
            (_, Record::Contact(_) | Record::Seal { .. }) | (Format::Text, Record::End { .. }) => {
                String::new()
            }
            (format, Record::Conversation(conversation)) => {
                self.day = None;
                let title = self.title(conversation);
                if format == Format::Text { text::conversation(&title) } else { html::conversation(&title) }
            }
            // The message that it changes shows it.
            (_, Record::Message(message)) if message.now == Some(Reading::Change) => String::new(),
            (format, Record::Message(message)) => {
                let line = self.line(message);
                if format == Format::Text { text::message(&line) } else { html::message(&line) }
            }
            (Format::Html, Record::End { messages }) => html::end(*messages),
        }
    }

    fn title(&self, conversation: &Conversation) -> String {
        match self.names.0.get(&conversation.id) {
            Some(_) => self.names.get(&conversation.id),
            None => {
                let others = conversation.members.iter().filter(|member| **member != self.owner);
                others.map(|member| self.names.get(member)).collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn line<'a>(&mut self, message: &'a Message) -> Line<'a> {
        let day = Some(Date::of(message.sent_ms));
        let new_day = day.filter(|_| self.day != day);
        self.day = day;
        let text = match &message.now {
            Some(reading) => reading.words(|peer| self.names.get(&peer.to_string())),
            None => {
                message.text.as_ref().map_or_else(|| "[no text]".to_owned(), |text| common::text::lines(text))
            }
        };
        let open =
            message.states.iter().find(|reached| !matches!(reached.state.as_str(), "delivered" | "read"));
        Line {
            id: &message.id,
            is_own: message.from == self.owner,
            author: self.names.get(&message.from),
            text,
            sent_ms: message.sent_ms,
            new_day,
            state: open.map(|reached| reached.state.as_str()),
        }
    }
}

#[cfg(test)]
mod tests;
