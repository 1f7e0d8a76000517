//! What was said, in the order that everybody sees.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::identity::PeerId;
use rusqlite::{Connection, Row, params};

use super::Store;
use super::changes::{self, Marks};
use super::conversations;
use super::error::StoreError;
use super::outbox::{self, State};
use super::sql::{int, limit, peer, rows, signed, uint};
use super::stances::{self, Regard};
use crate::log::{Content, ConversationId, DisplayOrder, MessageId, SignedMessage};

/// One message, as user interfaces show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Counts delivered messages in the order in which they got here: a cursor for [`super::Store::arrived`].
    pub arrival: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// Who wrote it.
    pub author: PeerId,
    /// Whether this user wrote it.
    pub own: bool,
    /// Its place in the conversation, with its id and the author's time label.
    pub order: DisplayOrder,
    /// When it got here, by this machine's clock.
    pub received_ms: u64,
    /// What it says, with the author's edits.
    pub content: Content,
    /// What became of it since.
    pub marks: Marks,
    /// How far it got towards each recipient; empty unless this user wrote it.
    pub states: Vec<(PeerId, State)>,
    /// How this user wants it to be treated.
    pub regard: Regard,
}

impl MessageRow {
    /// The message's name.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        self.order.id
    }
}

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryRow {
    /// A message.
    Message(Box<MessageRow>),
    /// Messages are kept back here, because earlier ones are missing.
    Gap(Gap),
}

/// Messages that are kept back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gap {
    /// How many there are; none once the gap is filled.
    pub waiting: u64,
    /// How many of their parents are missing.
    pub missing: u64,
}

/// Which part of a conversation to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// The conversation.
    pub conversation: ConversationId,
    /// Only what stands before this; `None` for the newest.
    pub before: Option<DisplayOrder>,
    /// At most so many messages.
    pub limit: usize,
}

/// Holds for messages `m` that no removal hides.
pub(super) const VISIBLE: &str = "NOT EXISTS (SELECT 1 FROM shadows s JOIN removals r ON r.event = s.removal
    WHERE s.message = m.row AND r.holds)";
/// Holds for messages `m` that are not shown by themselves but in what they change.
const CHANGE: &str = "m.kind BETWEEN 2 AND 4";
/// What [`Raw::read`] reads.
pub(super) const COLUMNS: &str = "m.row, m.author, m.received_ms, m.signed,
    EXISTS (SELECT 1 FROM changes c WHERE c.target = m.id)";

/// A message as it lies in the database.
pub(super) struct Raw {
    row: i64,
    author: PeerId,
    received_ms: u64,
    bytes: Vec<u8>,
    is_changed: bool,
}

impl Raw {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row: row.get(0)?,
            author: peer(row, 1)?,
            received_ms: uint(row.get(2)?),
            bytes: row.get(3)?,
            is_changed: row.get(4)?,
        })
    }

    /// The signed bytes.
    pub(super) fn signed(&self) -> Bytes {
        Bytes::from(self.bytes.clone())
    }

    pub(super) fn finish(self, conn: &Connection, me: PeerId) -> Result<MessageRow, StoreError> {
        let message = signed(self.bytes)?;
        let own = self.author == me;
        let states = if own { outbox::states(conn, self.row)? } else { Vec::new() };
        let mut row = shown(message, uint(self.row), self.received_ms, own, states);
        if self.is_changed {
            changes::apply(conn, &mut row)?;
        }
        if !own {
            row.regard = stances::regard(conn, row.author, row.conversation)?;
        }
        Ok(row)
    }
}

/// A message as user interfaces show it.
pub(super) fn shown(
    message: SignedMessage,
    arrival: u64,
    received_ms: u64,
    own: bool,
    states: Vec<(PeerId, State)>,
) -> MessageRow {
    MessageRow {
        arrival,
        conversation: message.message().conversation,
        author: message.author(),
        own,
        order: message.order(),
        received_ms,
        content: message.into_content(),
        marks: Marks::default(),
        states,
        regard: Regard::default(),
    }
}

/// The selected part of a conversation, oldest first; the newest part ends with its gap, if there is one.
pub(super) fn history(
    conn: &Connection,
    me: PeerId,
    selection: Selection,
) -> Result<Vec<HistoryRow>, StoreError> {
    let Some(conversation) = conversations::row(conn, selection.conversation)? else { return Ok(Vec::new()) };
    let query = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages m
         WHERE m.conversation = ?1 AND (m.depth, m.label_ms, m.id) < (?2, ?3, ?4)
         AND NOT {CHANGE} AND {VISIBLE}
         ORDER BY m.depth DESC, m.label_ms DESC, m.id DESC LIMIT ?5"
    ))?;
    let end = (i64::MAX, 0, [0; 32]);
    let before = selection.before.map_or(end, |o| (int(o.depth), int(o.label_ms), *o.id.as_bytes()));
    let params = params![conversation, before.0, before.1, before.2, limit(selection.limit)];
    let newest_first = rows(query, params, Raw::read)?;
    let mut lines = Vec::with_capacity(newest_first.len() + 1);
    for raw in newest_first.into_iter().rev() {
        lines.push(HistoryRow::Message(Box::new(raw.finish(conn, me)?)));
    }
    if selection.before.is_none() {
        lines.extend(gap(conn, conversation)?.map(HistoryRow::Gap));
    }
    Ok(lines)
}

/// Delivered messages of all conversations in order of arrival, beginning after `after`.
pub(super) fn arrived(
    conn: &Connection,
    me: PeerId,
    after: u64,
    max: usize,
) -> Result<Vec<MessageRow>, StoreError> {
    let query = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages m
         WHERE m.row > ?1 AND {VISIBLE} ORDER BY m.row LIMIT ?2"
    ))?;
    let found = rows(query, params![int(after), limit(max)], Raw::read)?;
    found.into_iter().map(|raw| raw.finish(conn, me)).collect()
}

/// Single messages by their ids; those that are not here are left out.
pub(super) fn get(conn: &Connection, me: PeerId, ids: &[MessageId]) -> Result<Vec<MessageRow>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let query = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM messages m WHERE m.id = ?1"))?;
        found.extend(rows(query, params![id.as_bytes()], Raw::read)?);
    }
    found.into_iter().map(|raw| raw.finish(conn, me)).collect()
}

/// The signed bytes of those of `ids` that are here and that `reader` may have, being a member of the conversation.
pub(super) fn signed_for(
    conn: &Connection,
    reader: PeerId,
    ids: &[MessageId],
) -> Result<Vec<SignedMessage>, StoreError> {
    let mut found = Vec::new();
    for id in ids {
        let query = conn.prepare_cached(
            "SELECT m.signed FROM messages m
             JOIN members b ON b.conversation = m.conversation AND b.peer = ?2 WHERE m.id = ?1",
        )?;
        let bytes: Vec<Vec<u8>> = rows(query, params![id.as_bytes(), reader.as_bytes()], |row| row.get(0))?;
        for bytes in bytes {
            found.push(signed(bytes)?);
        }
    }
    Ok(found)
}

/// The gap in a conversation.
fn gap(conn: &Connection, conversation: i64) -> Result<Option<Gap>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT count(*), (SELECT count(DISTINCT g.parent) FROM gaps g JOIN waiting v ON v.row = g.child
            WHERE v.conversation = ?1 AND NOT EXISTS (SELECT 1 FROM waiting p WHERE p.id = g.parent))
         FROM waiting WHERE conversation = ?1",
    )?;
    let gap = query.query_row(params![conversation], |row| {
        Ok(Gap { waiting: uint(row.get(0)?), missing: uint(row.get(1)?) })
    })?;
    Ok((gap.waiting > 0).then_some(gap))
}

/// The gaps in all conversations.
pub(super) fn gaps(conn: &Connection) -> Result<BTreeMap<ConversationId, Gap>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT c.row, c.id FROM conversations c WHERE c.row IN (SELECT conversation FROM waiting)",
    )?;
    let with_gaps: Vec<(i64, [u8; 32])> = rows(query, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found = with_gaps.into_iter().map(|(row, id)| {
        let gap = gap(conn, row)?;
        Ok(gap.map(|gap| (ConversationId::from_bytes(id), gap)))
    });
    found.filter_map(Result::transpose).collect()
}

impl Store {
    /// The selected part of a conversation, oldest first.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn history(&self, selection: Selection) -> Result<Vec<HistoryRow>, StoreError> {
        let me = self.inner.me;
        self.read(move |conn| history(conn, me, selection)).await
    }

    /// Where messages are kept back because earlier ones are missing.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn gaps(&self) -> Result<BTreeMap<ConversationId, Gap>, StoreError> {
        self.read(gaps).await
    }

    /// Delivered messages of all conversations in order of arrival, at most `limit` after the arrival number
    /// `after`: together with [`Store::newest`] a way to miss nothing and see nothing twice.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn arrived(&self, after: u64, limit: usize) -> Result<Vec<MessageRow>, StoreError> {
        let me = self.inner.me;
        self.read(move |conn| arrived(conn, me, after, limit)).await
    }

    /// Single messages; those that are not here are left out.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn get(&self, ids: &[MessageId]) -> Result<Vec<MessageRow>, StoreError> {
        let (me, ids) = (self.inner.me, ids.to_vec());
        self.read(move |conn| get(conn, me, &ids)).await
    }

    /// The signed form of those of `ids` that are here and whose conversation has `reader` as a member.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn signed_for(
        &self,
        reader: PeerId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<SignedMessage>, StoreError> {
        self.read(move |conn| signed_for(conn, reader, &ids)).await
    }
}
