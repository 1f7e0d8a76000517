//! Takes out of an export who said what when: keys, ids, names, addresses, numbers, links and mentions are replaced, the
//! same thing by the same word everywhere, under a random key that nobody keeps. Times are cut to the day.
//!
//! What is found in texts is a matter of patterns (`anonymise/patterns.rs`) and of the names that the owner knows. Names of people
//! who are neither contacts nor addressed as `Mrs …` are not found, nor is what only its meaning gives away. In doubt a word
//! is replaced.

mod patterns;

use std::net::Ipv6Addr;

use data_encoding::BASE32_NOPAD;
use regex::{Captures, Regex};

use super::record::{Message, Record};
use crate::date::Date;
use crate::reading::Reading;

/// Letters of a replacement: 35 bits, so that different things hardly ever get the same word.
const LETTERS: usize = 7;
/// Shortest run of letters and digits that is taken for a key.
const MIN_KEY: usize = 20;
/// Without a digit in it, a word must be as long as this to be taken for a key.
const MIN_LETTER_KEY: usize = 45;

/// Too many names to look for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are too many names to look for: {0}")]
pub struct TooManyNames(String);

/// Replaces what is personal. The key must be random, and is to be forgotten.
#[derive(Debug)]
pub struct Anonymiser {
    key: [u8; 32],
    patterns: Regex,
    names: Vec<Known>,
}

/// Somebody or something with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Whose it is: the key of a person, the id of a room.
    pub of: String,
    /// The name.
    pub name: String,
    /// Each of its words is a name as well.
    pub is_person: bool,
}

/// A name, and what is written in its place.
#[derive(Debug)]
struct Known {
    pattern: Regex,
    label: String,
}

impl Anonymiser {
    /// Will replace these names and whatever else is found.
    ///
    /// # Errors
    /// [`TooManyNames`].
    pub fn new(key: [u8; 32], names: &[Name]) -> Result<Self, TooManyNames> {
        let explain = |error: regex::Error| TooManyNames(error.to_string());
        // Longer names first: a part of a name stands for the same person, unless it is somebody else's whole name.
        let mut parts: Vec<(&str, &str, bool)> = Vec::new();
        for Name { of, name, is_person } in names {
            parts.push((of, name.trim(), true));
            let words = name.split_whitespace().filter(|_| *is_person);
            parts.extend(words.map(|word| (of.as_str(), word, false)));
        }
        parts.retain(|(_, name, is_whole)| patterns::is_name(name, *is_whole));
        parts.sort_by_key(|(_, name, is_whole)| (std::cmp::Reverse(name.chars().count()), !is_whole));
        let mut alternatives = Vec::new();
        let mut known = Vec::new();
        for (id, name, _) in parts {
            let pattern = patterns::name(name);
            if !alternatives.contains(&pattern) {
                let whole = patterns::build(&format!("^(?:{pattern})$")).map_err(explain)?;
                known.push(Known { pattern: whole, label: label(&key, "person", id) });
                alternatives.push(pattern);
            }
        }
        let patterns = patterns::build(&patterns::all(&alternatives)).map_err(explain)?;
        Ok(Self { key, patterns, names: known })
    }

    /// What stands for a person.
    #[must_use]
    pub fn person(&self, key: &str) -> String {
        self.label("person", key)
    }

    /// What stands for a conversation, a message or the like.
    fn id(&self, id: &str) -> String {
        self.label("id", id)
    }

    fn label(&self, kind: &str, what: &str) -> String {
        label(&self.key, kind, what)
    }

    /// The record without anything personal; `None` if it is better left out.
    #[must_use]
    pub fn record(&self, record: Record) -> Option<Record> {
        Some(match record {
            Record::Start(mut start) => {
                (start.owner, start.anonymised) = (self.person(&start.owner), true);
                Record::Start(start)
            }
            // A seal would tell whose export it is.
            Record::Contact(_) | Record::Seal { .. } => return None,
            Record::Conversation(mut conversation) => {
                conversation.id = self.id(&conversation.id);
                // Their order would tell something of the keys.
                conversation.members =
                    conversation.members.iter().map(|member| self.person(member)).collect();
                conversation.members.sort_unstable();
                Record::Conversation(conversation)
            }
            Record::Message(message) => Record::Message(Box::new(self.message(*message))),
            Record::End { messages } => Record::End { messages },
        })
    }

    fn message(&self, mut message: Message) -> Message {
        let day = |ms| Date::of(ms).start_ms();
        for reached in &mut message.states {
            reached.peer = self.person(&reached.peer);
        }
        Message {
            conversation: self.id(&message.conversation),
            id: self.id(&message.id),
            from: self.person(&message.from),
            sent_ms: day(message.sent_ms),
            received_ms: day(message.received_ms),
            text: message.text.map(|text| self.text(&text)),
            states: message.states,
            signed: None,
            now: match message.now {
                Some(Reading::Text { text, is_edited, reactions, .. }) => {
                    let reactions = reactions.into_iter().map(|(sign, count)| (without_words(sign), count));
                    Some(Reading::Text {
                        reply_to: None,
                        text: self.text(&text),
                        is_edited,
                        reactions: reactions.collect(),
                    })
                }
                same @ Some(Reading::TakenBack | Reading::Change) => same,
                Some(Reading::Room(_) | Reading::Unknown(_)) | None => None,
            },
        }
    }

    /// A text without what is personal.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.patterns.replace_all(text, |found: &Captures<'_>| self.replace(text, found)).into_owned()
    }

    fn replace(&self, text: &str, found: &Captures<'_>) -> String {
        let whole = found.get(0).map_or("", |found| found.as_str());
        let is = |kind| found.name(kind).is_some();
        if is("link") || is("mail") || is("mention") {
            let kind = ["link", "mail", "mention"].into_iter().find(|kind| is(kind)).unwrap_or("link");
            let (body, after) = split_end(whole);
            return self.label(kind, &folded(body)) + after;
        }
        if is("colons") {
            let start = found.get(0).map_or(0, |found| found.start());
            return if is_ipv6(whole, text, start) {
                self.label("address", &folded(whole))
            } else {
                self.numbers(whole)
            };
        }
        if is("name") {
            return match self.names.iter().find(|known| known.pattern.is_match(whole)) {
                Some(known) => known.label.clone(),
                None => self.label("person", &folded(whole)),
            };
        }
        if is("key") {
            let needed = if whole.chars().any(char::is_numeric) { MIN_KEY } else { MIN_LETTER_KEY };
            return if whole.len() >= needed { self.label("key", whole) } else { whole.to_owned() };
        }
        if let (Some(form), Some(name)) = (found.name("form"), found.name("title")) {
            return form.as_str().to_owned() + &self.label("person", &folded(name.as_str()));
        }
        match ["street", "address"].into_iter().find(|kind| is(kind)) {
            Some(kind) => self.label(kind, &folded(whole)),
            None => self.label("number", &compact(whole)),
        }
    }

    /// Colons and what is between them: a time, or nothing that counts.
    fn numbers(&self, text: &str) -> String {
        if text.chars().any(|c| c.is_ascii_digit()) { self.label("number", text) } else { text.to_owned() }
    }
}

fn label(key: &[u8; 32], kind: &str, what: &str) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(kind.as_bytes()).update(&[0]).update(what.as_bytes());
    let word = BASE32_NOPAD.encode(hasher.finalize().as_bytes()).to_lowercase();
    format!("{kind}-{}", &word[..LETTERS])
}

/// The same for what differs in case alone.
fn folded(text: &str) -> String {
    text.to_lowercase()
}

/// The same for a number, however it is grouped.
fn compact(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Punctuation at the end of a link or address belongs to the sentence around it.
fn split_end(text: &str) -> (&str, &str) {
    let body =
        text.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '"', '\'', '>', '»', '”', '…']);
    if body.is_empty() { (text, "") } else { text.split_at(body.len()) }
}

/// Whether colons and hexadecimal digits that begin at `start` are an address and not part of a path in a program.
fn is_ipv6(found: &str, text: &str, start: usize) -> bool {
    let before = text[..start].chars().next_back();
    let after = text[start + found.len()..].chars().next();
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let address = found.trim_end_matches('.');
    !is_word(before)
        && !is_word(after)
        && (address.parse::<Ipv6Addr>().is_ok() || address.split(':').count() == 6 && address.len() == 17)
}

/// A reaction, unless it can hold a name or a number.
fn without_words(sign: String) -> String {
    if sign.chars().any(char::is_alphanumeric) { "word".to_owned() } else { sign }
}

#[cfg(test)]
mod tests;
