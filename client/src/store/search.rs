//! Full-text search over everything that was said, with `SQLite`'s FTS5.
//!
//! Beside its words, each message is indexed under *marks*: its author, its conversation and its day. A search that is
//! narrowed by these is then an intersection of posting lists, which takes as long as its rarest part, and not a scan over
//! everything that has the word.

use common::identity::PeerId;
use rusqlite::{Connection, params};
use serde::Serialize;

use super::Store;
use super::changes;
use super::error::StoreError;
use super::history::{self, MessageRow};
use super::sql::{int, limit, rows, run, signed};
use super::stances::UNBLOCKED;
use crate::date::DAY_MS;
use crate::log::{Content, ConversationId, MessageId, SignedMessage};

/// Days are marked at these levels, each of which joins 32 of the one before, so that few marks cover any span.
const LEVELS: u32 = 3;
/// Bits of a day's number that one level adds.
const LEVEL_BITS: u32 = 5;
/// The last day that has its own mark, in the year 2059; later ones share it.
const MAX_DAY: u64 = (1 << (LEVELS * LEVEL_BITS)) - 1;
/// Messages that are indexed in one transaction when an older database is brought up to date.
const MAX_BATCH: usize = 2048;
/// Messages that one statement indexes.
const TOGETHER: usize = 512;

/// Pages of the index that are merged each time at the least, and one more for so many messages and for so many bytes of
/// text.
const MIN_MERGED: usize = 4;
const MESSAGES_A_PAGE: usize = 8;
const BYTES_A_PAGE: usize = 1000;

/// Words that must all be in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// A word, or several that follow each other; without control characters.
    pub words: String,
    /// The last word may go on.
    pub is_prefix: bool,
}

/// What is looked for. Everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Words.
    pub terms: Vec<Term>,
    /// Who wrote it: any of these.
    pub authors: Vec<PeerId>,
    /// The conversation: any of these.
    pub conversations: Vec<ConversationId>,
    /// Not before this, by its author's clock; Unix time in milliseconds.
    pub from_ms: Option<u64>,
    /// Before this, likewise.
    pub until_ms: Option<u64>,
    /// Only what arrived before the message with this number: the next page.
    pub before_arrival: Option<u64>,
    /// At most so many messages.
    pub limit: usize,
}

impl Store {
    /// Messages of all conversations, those that arrived last first; of the blocked only if they are asked for as authors.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn search(&self, search: Search) -> Result<Vec<MessageRow>, StoreError> {
        let me = self.me();
        if self.inner.writer.is_some() {
            // What was written just now may not be indexed yet.
            self.write(|conn| catch_up(conn, usize::MAX)).await?;
        }
        self.read(move |conn| find(conn, me, &search)).await
    }
}

/// Messages that `search` asks for, those that arrived last first.
pub(super) fn find(conn: &Connection, me: PeerId, search: &Search) -> Result<Vec<MessageRow>, StoreError> {
    let Some(expression) = expression(search) else { return Ok(Vec::new()) };
    // Who asks for somebody by name means them.
    let condition = if search.authors.is_empty() { UNBLOCKED } else { "true" };
    let query = conn.prepare_cached(&format!(
        "SELECT {} FROM search s JOIN messages m ON m.row = s.rowid
         WHERE search MATCH ?1 AND s.rowid < ?2 AND m.label_ms >= ?3 AND m.label_ms < ?4 AND {condition}
         ORDER BY s.rowid DESC LIMIT ?5",
        history::COLUMNS
    ))?;
    let before = search.before_arrival.map_or(i64::MAX, int);
    let span = (int(search.from_ms.unwrap_or(0)), search.until_ms.map_or(i64::MAX, int));
    let found =
        rows(query, params![expression, before, span.0, span.1, limit(search.limit)], history::Raw::read)?;
    found.into_iter().map(|raw| raw.finish(conn, me)).collect()
}

/// The search in FTS5's language; `None` if it asks for nothing.
fn expression(search: &Search) -> Option<String> {
    let words = search.terms.iter().filter(|term| term.words.chars().any(char::is_alphanumeric));
    let mut parts: Vec<String> = words.map(|term| format!("body : {}", quoted(term))).collect();
    let mut any_of = |marks: Vec<String>| {
        if !marks.is_empty() {
            parts.push(format!("marks : ({})", marks.join(" OR ")));
        }
    };
    any_of(search.authors.iter().map(|author| author_mark(*author)).collect());
    any_of(search.conversations.iter().map(|id| conversation_mark(*id)).collect());
    let day = |ms: Option<u64>| ms.map(|ms| (ms / DAY_MS).min(MAX_DAY));
    if search.from_ms.is_some() || search.until_ms.is_some() {
        // The day on which the span ends is among them; the label tells within it.
        any_of(cover(day(search.from_ms).unwrap_or(0), day(search.until_ms).unwrap_or(MAX_DAY)));
    }
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

/// A string in FTS5's language, in which nothing has a meaning but the quotation mark.
fn quoted(term: &Term) -> String {
    let star = if term.is_prefix { " *" } else { "" };
    format!("\"{}\"{star}", term.words.replace('\0', " ").replace('"', "\"\""))
}

fn author_mark(author: PeerId) -> String {
    format!("a{author}")
}

fn conversation_mark(conversation: ConversationId) -> String {
    format!("c{conversation}")
}

fn day_mark(level: u32, number: u64) -> String {
    format!("d{level}x{number}")
}

/// The marks of a day at all levels.
fn day_marks(day: u64) -> impl Iterator<Item = String> {
    (0..LEVELS).map(move |level| day_mark(level, day >> (level * LEVEL_BITS)))
}

/// Marks of which each day from `first` to `last` has one, and no other day has any: at most 32 + 4 × 31.
fn cover(first: u64, last: u64) -> Vec<String> {
    let (mut next, end) = (first, last.min(MAX_DAY) + 1);
    let mut marks = Vec::new();
    while next < end {
        // The highest level whose span begins here and ends in time.
        let fits = |level: &u32| {
            let span = 1 << (level * LEVEL_BITS);
            next % span == 0 && next + span <= end
        };
        let level = (0..LEVELS).rev().find(fits).unwrap_or(0);
        marks.push(day_mark(level, next >> (level * LEVEL_BITS)));
        next += 1 << (level * LEVEL_BITS);
    }
    marks
}

/// Indexes the messages that were delivered since the last call; at most `max`. Returns how many.
///
/// This is done once for a whole transaction, before its commit, and many messages at a time: FTS5 writes out what it has
/// at every savepoint and for every statement, and would write a piece for each message.
pub(super) fn catch_up(conn: &Connection, max: usize) -> Result<usize, StoreError> {
    let mut query = conn.prepare_cached("SELECT row FROM search_progress")?;
    let done: i64 = query.query_row([], |row| row.get(0))?;
    let query = conn.prepare_cached(
        "SELECT m.row, m.signed, EXISTS (SELECT 1 FROM changes c WHERE c.target = m.id) FROM messages m
         WHERE m.row > ?1 ORDER BY m.row LIMIT ?2",
    )?;
    let new: Vec<(i64, Vec<u8>, bool)> =
        rows(query, params![done, limit(max)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some(&(last, ..)) = new.last() else { return Ok(0) };
    let mut entries = Vec::with_capacity(new.len());
    for (row, bytes, is_changed) in new {
        let message = signed(bytes)?;
        if let Content::Edit { target, .. } | Content::Delete { target } = message.message().content {
            index_again(conn, target, done)?;
        }
        entries.push(Entry::new(conn, row, message, is_changed)?);
    }
    insert(conn, &entries)?;
    merge(conn, &entries)?;
    run(conn, "UPDATE search_progress SET row = ?1", params![last])?;
    Ok(entries.len())
}

/// What the index has of a message.
#[derive(Serialize)]
struct Entry {
    row: i64,
    text: String,
    marks: String,
}

impl Entry {
    /// A message as its author's edits have left it. What changes another one, or was taken back, is found by nothing.
    fn new(
        conn: &Connection,
        row: i64,
        message: SignedMessage,
        is_changed: bool,
    ) -> Result<Self, StoreError> {
        let content = message.message();
        let is_change = content.content.target().is_some();
        let mut marks = vec![author_mark(content.author), conversation_mark(content.conversation)];
        marks.extend(day_marks((content.label_ms / DAY_MS).min(MAX_DAY)));
        let mut shown = history::shown(message, 0, 0, false, Vec::new());
        if is_changed {
            changes::apply(conn, &mut shown)?;
        }
        if is_change || shown.marks.deleted {
            return Ok(Self { row, text: String::new(), marks: String::new() });
        }
        let text = shown.content.as_text().unwrap_or_default();
        Ok(Self { row, text: text.replace('\0', " "), marks: marks.join(" ") })
    }
}

/// Puts entries into the index.
fn insert(conn: &Connection, entries: &[Entry]) -> Result<(), StoreError> {
    for some in entries.chunks(TOGETHER) {
        let some = serde_json::to_string(some).map_err(|error| StoreError::Io(error.to_string()))?;
        let insert = "INSERT INTO search (rowid, body, marks)
             SELECT value ->> 'row', value ->> 'text', value ->> 'marks' FROM json_each(?1)";
        run(conn, insert, params![some])?;
    }
    Ok(())
}

/// Merges as much of the index as these entries bring about in the long run: each piece of it is written once for each level,
/// of which four pieces make one of the next. Left to itself FTS5 does that in bursts that take tens of milliseconds.
fn merge(conn: &Connection, entries: &[Entry]) -> Result<(), StoreError> {
    let bytes: usize = entries.iter().map(|entry| entry.text.len()).sum();
    let pages = MIN_MERGED.max(entries.len() / MESSAGES_A_PAGE + bytes / BYTES_A_PAGE);
    run(conn, "INSERT INTO search (search, rank) VALUES ('merge', ?1)", params![limit(pages)])?;
    Ok(())
}

/// Indexes the message `target` anew, if it is among those up to the row `done`, which were indexed before.
fn index_again(conn: &Connection, target: MessageId, done: i64) -> Result<(), StoreError> {
    let query = conn.prepare_cached("SELECT row, signed FROM messages WHERE id = ?1 AND row <= ?2")?;
    let found: Vec<(i64, Vec<u8>)> =
        rows(query, params![target.as_bytes(), done], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (row, bytes) in found {
        run(conn, "DELETE FROM search WHERE rowid = ?1", params![row])?;
        insert(conn, &[Entry::new(conn, row, signed(bytes)?, true)?])?;
    }
    Ok(())
}

/// Indexes everything that is not yet, in several transactions: an interruption costs one of them.
pub(super) fn catch_up_all(conn: &Connection) -> Result<(), StoreError> {
    loop {
        let transaction = conn.unchecked_transaction()?;
        let done = catch_up(&transaction, MAX_BATCH)?;
        transaction.commit()?;
        if done < MAX_BATCH {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
